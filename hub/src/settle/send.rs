//! From a plan to the chain: simulate, estimate, sign, send, wait, and check what came of it.

use super::{
    exit::SettleError,
    node::{Node, timed},
    plan::{Plan, Proof},
};
use alloy::{
    eips::{BlockId, eip2718::Encodable2718 as _},
    network::{
        EthereumWallet, NetworkTransactionBuilder as _, ReceiptResponse as _, TransactionBuilder as _,
    },
    primitives::{Address, B256, Bytes, TxHash, U256},
    providers::Provider as _,
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// Hard limit of one transaction's gas (EIP-7825).
const GAS_MAX: u64 = 1 << 24;
/// The limit asked for is the estimate plus one in this many.
const GAS_MARGIN_PART: u64 = 4;
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(400);
/// How long a transaction is waited for.
const WAIT_TIMEOUT: Duration = Duration::from_secs(900);

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

/// How far a transaction is that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// In no block yet.
    Pending {
        /// Since it was waited for.
        waited: Duration,
    },
    /// In a block.
    Included {
        /// Its number.
        block: u64,
        /// Confirmations, its own block included.
        seen: u64,
        /// Confirmations it is to have.
        wanted: u64,
    },
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending { waited } => write!(
                f,
                "in no block yet; waiting {} s more at most",
                WAIT_TIMEOUT.saturating_sub(*waited).as_secs()
            ),
            Self::Included { block, seen, wanted } => {
                write!(f, "in block {block}: {seen} of {wanted} confirmation(s)")
            }
        }
    }
}

/// A transaction in a block, its event seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mined {
    /// The transaction.
    pub hash: TxHash,
    /// Its block.
    pub block: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Wei paid.
    pub wei: U256,
    /// Confirmations seen.
    pub confirmations: u64,
}

impl Node {
    fn request(call: &Transaction) -> TransactionRequest {
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
            let (estimate, balance) = tokio::try_join!(
                timed("eth_estimateGas", async {
                    self.provider.estimate_gas(Self::request(call)).await
                }),
                timed("eth_getBalance", async {
                    self.provider.get_balance(call.sender).await
                }),
            )?;
            let fees = timed("eth_feeHistory", self.provider.estimate_eip1559_fees()).await?;
            let gas_limit = estimate
                .saturating_add(estimate.div_ceil(GAS_MARGIN_PART))
                .min(GAS_MAX);
            if estimate > gas_limit {
                return Err(SettleError::Refused(format!(
                    "it needs {estimate} gas, one transaction may use {GAS_MAX}: show fewer locks at once"
                )));
            }
            Ok(Cost {
                gas_estimate: estimate,
                gas_limit,
                fee_per_gas_max: fees.max_fee_per_gas,
                priority_fee_per_gas_max: fees.max_priority_fee_per_gas,
                value: call.value,
                balance,
            })
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
            if cost.too_expensive() {
                return Err(SettleError::Refused(format!(
                    "the sender {} holds {} wei and this may cost {} wei: fund it",
                    call.sender,
                    cost.balance,
                    cost.wei_max()
                )));
            }
            let (chain_id, nonce) = tokio::try_join!(
                timed("eth_chainId", self.provider.get_chain_id()),
                timed("eth_getTransactionCount", async {
                    self.provider.get_transaction_count(call.sender).pending().await
                }),
            )?;
            let request = Self::request(call)
                .with_chain_id(chain_id)
                .with_nonce(nonce)
                .with_gas_limit(cost.gas_limit)
                .with_max_fee_per_gas(cost.fee_per_gas_max)
                .with_max_priority_fee_per_gas(cost.priority_fee_per_gas_max);
            let signed = request.build(wallet).await.map_err(|error| {
                SettleError::Refused(format!("the key cannot sign for {}: {error}", call.sender))
            })?;
            let hash = *signed.tx_hash();
            let bytes = signed.encoded_2718();
            let _pending = timed("eth_sendRawTransaction", async {
                self.provider.send_raw_transaction(&bytes).await
            })
            .await?;
            Ok(hash)
        })
    }

    /// [`Self::wait_telling`] in silence.
    ///
    /// # Errors
    /// The same.
    pub fn wait<'a>(
        &'a self,
        call: &'a Transaction,
        hash: TxHash,
        confirmations: u64,
    ) -> BoxFuture<'a, Result<Mined, SettleError>> {
        Box::pin(async move {
            let mut tell = |_| {};
            self.wait_telling(call, hash, confirmations, &mut tell).await
        })
    }

    /// Waits until the transaction has `confirmations` (its own block is the first) and checks receipt and event then.
    /// Every look is told.
    ///
    /// # Errors
    /// [`SettleError::Reverted`] when it is in a block and failed, [`SettleError::NotIncluded`] after 15 minutes,
    /// [`SettleError::Refused`] when the event is missing, [`SettleError::Unreachable`].
    pub fn wait_telling<'a>(
        &'a self,
        call: &'a Transaction,
        hash: TxHash,
        confirmations: u64,
        tell: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Mined, SettleError>> {
        Box::pin(async move {
            let (began, wanted) = (Instant::now(), confirmations.max(1));
            loop {
                let receipt = timed(
                    "eth_getTransactionReceipt",
                    self.provider.get_transaction_receipt(hash),
                )
                .await?;
                if let Some((receipt, block)) =
                    receipt.and_then(|receipt| Some((receipt.block_number?, receipt)).map(|(b, r)| (r, b)))
                {
                    if !receipt.status() {
                        return Err(self.explain(call, block).await);
                    }
                    let seen = self.head().await?.number.saturating_sub(block).saturating_add(1);
                    // The receipt is asked for again at each look, so a reorg is seen.
                    if seen >= wanted {
                        return mined(call, &receipt, block, seen);
                    }
                    tell(Progress::Included { block, seen, wanted });
                } else {
                    let waited = began.elapsed();
                    tell(Progress::Pending { waited });
                }
                if began.elapsed() >= WAIT_TIMEOUT {
                    return Err(SettleError::NotIncluded(format!(
                        "{hash} has not {wanted} confirmations yet; it may still get there, see `settle status`"
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
        })
    }

    /// Why a mined transaction failed, by running it again on its block.
    async fn explain(&self, call: &Transaction, block: u64) -> SettleError {
        match self.call(Self::request(call), BlockId::number(block)).await {
            Err(SettleError::Reverted(reason)) => {
                SettleError::Reverted(format!("in block {block}: {reason}"))
            }
            _ => SettleError::Reverted(format!("in block {block}; run `settle status` and plan again")),
        }
    }
}

fn mined(
    call: &Transaction,
    receipt: &TransactionReceipt,
    block: u64,
    seen: u64,
) -> Result<Mined, SettleError> {
    if !has_event(receipt, call) {
        return Err(SettleError::Refused(format!(
            "{} is in block {block} but {} emitted no {} for it: do not trust this node",
            receipt.transaction_hash, call.to, call.proof.name
        )));
    }
    Ok(Mined {
        hash: receipt.transaction_hash,
        block,
        gas_used: receipt.gas_used,
        wei: U256::from(receipt.effective_gas_price()).saturating_mul(U256::from(receipt.gas_used)),
        confirmations: seen,
    })
}

fn has_event(receipt: &TransactionReceipt, call: &Transaction) -> bool {
    let Proof { event, about, .. } = call.proof;
    let expected: [&B256; 2] = [&event, &about];
    receipt
        .logs()
        .iter()
        .any(|log| log.address() == call.to && log.topics().iter().take(2).eq(expected))
}
