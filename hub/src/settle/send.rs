//! From a plan to the chain: simulate, estimate, sign, send.

use super::{
    agree::is_known_already,
    exit::SettleError,
    node::{Node, REQUEST_TIMEOUT, classify, no_answer, timed},
    plan::{Plan, Proof},
};
use alloy::{
    eips::{BlockId, eip2718::Encodable2718 as _},
    network::{
        Ethereum, EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _,
        TransactionBuilderError,
    },
    primitives::{Address, Bytes, TxHash, U256},
    providers::{Provider as _, utils::Eip1559Estimator},
    rpc::types::TransactionRequest,
    signers::Error as SigningError,
};
use futures::future::BoxFuture;

/// Hard limit of one transaction's gas (EIP-7825).
const GAS_MAX: u64 = 1 << 24;
/// The limit asked for is the estimate plus one in this many.
const GAS_MARGIN_PART: u64 = 4;
/// Most that is offered without a limit by the caller, in times what the nodes ask for: more would not be why it is stuck.
const MARKET_TIMES_MAX: u128 = 8;

/// A call that is to be sent, and how it is known that it did what it was sent for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// The sender.
    pub sender: Address,
    /// The contract.
    pub to: Address,
    /// Coins sent along, wei.
    pub value: U256,
    /// The call.
    pub calldata: Bytes,
    /// The event expected of that contract.
    pub proof: Proof,
}

impl Plan {
    /// What is sent for it.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        Transaction {
            sender: self.sender,
            to: self.to,
            value: U256::ZERO,
            calldata: self.calldata.clone(),
            proof: self.proof,
        }
    }
}

/// What a transaction would cost, from a simulation that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// By eth_estimateGas.
    pub gas_estimate: u64,
    /// The limit that is sent: the estimate with a margin.
    pub gas_limit: u64,
    /// Most wei per gas.
    pub fee_per_gas_max: u128,
    /// Tip in it.
    pub priority_fee_per_gas_max: u128,
    /// Coins sent along, wei.
    pub value: U256,
    /// The sender's coins.
    pub balance: U256,
}

impl Cost {
    /// Most that it can cost with what is sent along, wei.
    #[must_use]
    pub fn wei_max(&self) -> U256 {
        let gas = U256::from(self.fee_per_gas_max).saturating_mul(U256::from(self.gas_limit));
        gas.saturating_add(self.value)
    }

    /// True when the sender's coins do not cover [`Self::wei_max`].
    #[must_use]
    pub fn too_expensive(&self) -> bool {
        self.balance < self.wei_max()
    }
}

/// What the caller wants otherwise than the node estimates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fees {
    /// Wei per gas, at most.
    pub fee_per_gas_max: Option<u128>,
    /// Tip in it, wei per gas.
    pub priority_fee_per_gas_max: Option<u128>,
    /// The gas limit sent.
    pub gas_limit: Option<u64>,
}

impl Fees {
    /// Overrides what the node estimated; the tip never exceeds the whole.
    fn apply(self, cost: Cost) -> Result<Cost, SettleError> {
        let fee = self.fee_per_gas_max.unwrap_or(cost.fee_per_gas_max);
        let tip = self
            .priority_fee_per_gas_max
            .unwrap_or_else(|| cost.priority_fee_per_gas_max.min(fee));
        // A tip beyond the estimated whole raises the whole; beyond a whole that was asked for it is a mistake.
        let fee = if self.fee_per_gas_max.is_none() {
            fee.max(tip)
        } else {
            fee
        };
        if tip > fee {
            return Err(SettleError::Usage(
                "--priority-fee-gwei is a part of --max-fee-gwei and cannot exceed it".to_owned(),
            ));
        }
        let gas_limit = self.gas_limit.unwrap_or(cost.gas_limit);
        if gas_limit < cost.gas_estimate {
            return Err(SettleError::Usage(format!(
                "--gas-limit {gas_limit} is below the {} gas that it needs",
                cost.gas_estimate
            )));
        }
        if gas_limit > GAS_MAX {
            return Err(SettleError::Usage(format!(
                "--gas-limit {gas_limit}: one transaction may use {GAS_MAX} (EIP-7825)"
            )));
        }
        Ok(Cost {
            gas_limit,
            fee_per_gas_max: fee,
            priority_fee_per_gas_max: tip,
            ..cost
        })
    }
}

/// A transaction that is signed and can be sent, any number of times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Its hash.
    pub hash: TxHash,
    /// The sender's nonce in it.
    pub nonce: u64,
    /// The bytes for the node.
    pub raw: Bytes,
}

impl Node {
    pub(super) fn request(call: &Transaction) -> TransactionRequest {
        TransactionRequest::default()
            .with_from(call.sender)
            .with_to(call.to)
            .with_value(call.value)
            .with_input(call.calldata.clone())
    }

    /// Runs the call by eth_call on the newest block and prices it.
    ///
    /// # Errors
    /// [`SettleError::Reverted`] with the adjudicator's reason, [`SettleError::Unreachable`].
    pub fn simulate<'a>(&'a self, call: &'a Transaction) -> BoxFuture<'a, Result<Cost, SettleError>> {
        Box::pin(async move {
            self.call(Self::request(call), BlockId::latest()).await?;
            let (head, estimate, balance) = tokio::try_join!(
                self.head(),
                timed("eth_estimateGas", async {
                    // Not on the pending state: there a transaction that is to be replaced has been mined already.
                    let estimate = self.provider.estimate_gas(Self::request(call));
                    estimate.block(BlockId::latest()).await
                }),
                timed("eth_getBalance", async {
                    self.provider.get_balance(call.sender).await
                }),
            )?;
            let (fee, tip) = self.fees().await?;
            // Nodes refuse what asks for more than a whole block.
            let most = GAS_MAX.min(head.gas_limit);
            let gas_limit = estimate
                .saturating_add(estimate.div_ceil(GAS_MARGIN_PART))
                .min(most);
            if estimate > gas_limit {
                return Err(SettleError::Refused(format!(
                    "it needs {estimate} gas, one transaction may use {most} (EIP-7825, and a block's limit)"
                )));
            }
            Ok(Cost {
                gas_estimate: estimate,
                gas_limit,
                fee_per_gas_max: fee,
                priority_fee_per_gas_max: tip,
                value: call.value,
                balance,
            })
        })
    }

    /// [`Self::simulate`], then what `fees` say instead of the node's estimates.
    ///
    /// # Errors
    /// The same, and [`SettleError::Usage`] when `fees` cannot be.
    pub fn simulate_with<'a>(
        &'a self,
        call: &'a Transaction,
        fees: Fees,
    ) -> BoxFuture<'a, Result<Cost, SettleError>> {
        Box::pin(async move { fees.apply(self.simulate(call).await?) })
    }

    /// (fee, tip) per gas that the node estimates now, wei.
    pub(super) fn fees<'a>(&'a self) -> BoxFuture<'a, Result<(u128, u128), SettleError>> {
        Box::pin(async move {
            let estimator = Eip1559Estimator::new(node_rpc::market_fees);
            let fees = timed(
                "eth_feeHistory",
                self.provider.estimate_eip1559_fees_with(estimator),
            )
            .await?;
            Ok((fees.max_fee_per_gas, fees.max_priority_fee_per_gas))
        })
    }

    /// The sender's next nonce, transactions that wait in the node's pool counted.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn next_nonce<'a>(&'a self, sender: Address) -> BoxFuture<'a, Result<u64, SettleError>> {
        Box::pin(async move {
            timed("eth_getTransactionCount", async {
                self.provider.get_transaction_count(sender).pending().await
            })
            .await
        })
    }

    /// Signs the call with the sender's key in `wallet`. Sends nothing.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when the sender cannot pay or the wallet lacks its key, [`SettleError::Unreachable`].
    pub fn sign<'a>(
        &'a self,
        call: &'a Transaction,
        cost: &'a Cost,
        wallet: &'a EthereumWallet,
        nonce: u64,
    ) -> BoxFuture<'a, Result<Signed, SettleError>> {
        Box::pin(async move {
            if cost.too_expensive() {
                return Err(SettleError::Refused(format!(
                    "the sender {} holds {} wei and this may cost {} wei: fund it",
                    call.sender,
                    cost.balance,
                    cost.wei_max()
                )));
            }
            let request = Self::request(call)
                .with_chain_id(self.chain_id().await?)
                .with_nonce(nonce)
                .with_gas_limit(cost.gas_limit)
                .with_max_fee_per_gas(cost.fee_per_gas_max)
                .with_max_priority_fee_per_gas(cost.priority_fee_per_gas_max);
            let signed = request
                .build(wallet)
                .await
                .map_err(|error| not_signed(call.sender, &error))?;
            Ok(Signed {
                hash: *signed.tx_hash(),
                nonce,
                raw: signed.encoded_2718().into(),
            })
        })
    }

    /// Sends signed bytes. That they are known already is no failure.
    ///
    /// # Errors
    /// [`NotSent::Refused`] when the node answered that it will not take them, [`NotSent::Unknown`] when they may have
    /// arrived.
    pub fn send_raw<'a>(&'a self, raw: &'a [u8]) -> BoxFuture<'a, Result<(), NotSent>> {
        Box::pin(async move {
            let send = async { self.provider.send_raw_transaction(raw).await.map(drop) };
            let answer = match tokio::time::timeout(REQUEST_TIMEOUT, send).await {
                Ok(answer) => answer,
                Err(_) => return Err(NotSent::Unknown(no_answer("eth_sendRawTransaction"))),
            };
            let Err(error) = answer else { return Ok(()) };
            let Some(payload) = error.as_error_resp() else {
                return Err(NotSent::Unknown(classify("eth_sendRawTransaction", &error)));
            };
            match is_known_already(&payload.message.to_lowercase()) {
                true => Ok(()),
                false => Err(NotSent::Refused(classify("eth_sendRawTransaction", &error))),
            }
        })
    }

    /// Signs the call with the sender's key in `wallet` and sends it.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when the sender cannot pay or the wallet lacks its key, [`SettleError::Unreachable`].
    pub fn broadcast<'a>(
        &'a self,
        call: &'a Transaction,
        cost: &'a Cost,
        wallet: &'a EthereumWallet,
    ) -> BoxFuture<'a, Result<TxHash, SettleError>> {
        Box::pin(async move {
            let nonce = self.next_nonce(call.sender).await?;
            let signed = self.sign(call, cost, wallet, nonce).await?;
            self.send_raw(&signed.raw).await.map_err(NotSent::into_error)?;
            Ok(signed.hash)
        })
    }
}

/// Most wei per gas that a transaction may offer: what the caller says, else some times what the nodes ask for now.
pub(super) fn fee_most(given: Option<u128>, market: u128) -> u128 {
    given.unwrap_or_else(|| market.saturating_mul(MARKET_TIMES_MAX))
}

/// What a signer elsewhere said is inside of alloy's error.
fn not_signed(sender: Address, error: &TransactionBuilderError<Ethereum>) -> SettleError {
    if let TransactionBuilderError::Signer(SigningError::Other(inner)) = error
        && let Some(said) = inner.downcast_ref::<SettleError>()
    {
        return said.clone();
    }
    SettleError::Refused(format!("the key cannot sign for {sender}: {error}"))
}

/// Why signed bytes were not sent, or may not have been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotSent {
    /// The node will not take them.
    Refused(SettleError),
    /// No answer: they may be on their way.
    Unknown(SettleError),
}

impl NotSent {
    /// The failure, whichever it is.
    #[must_use]
    pub fn into_error(self) -> SettleError {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_it_is_eight_times_the_market() {
        assert_eq!(fee_most(None, 10), 80);
        assert_eq!(fee_most(None, u128::MAX), u128::MAX);
        assert_eq!(fee_most(Some(7), 10), 7);
        assert_eq!(fee_most(Some(700), 10), 700);
    }
}
