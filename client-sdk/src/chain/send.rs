//! Transactions: signed once, handed to every endpoint, so that none of them alone can lose or hide one.

use super::{ChainAccess, node::Node, rpc, within};
use crate::ChainError;
use alloy::{
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{B256, Bytes, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use futures::future::{BoxFuture, join_all};
use protocol_spec::{Address, Amount};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A defence that no block takes within this time offers more.
const RAISE_AFTER: Duration = Duration::from_secs(60);
/// A defence offers at most so many times what the endpoint says is enough now.
const RAISE_MAX: u128 = 8;

mod erc20 {
    #![allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]
    alloy::sol! {
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 amount) external returns (bool);
    }
}

/// Wei per gas.
#[derive(Clone, Copy, Default)]
struct Fees {
    max: u128,
    tip: u128,
}

impl Fees {
    /// An eighth more, as mempools want of what replaces another, but never less than `now`.
    fn raised(self, now: Self) -> Self {
        let more = |fee: u128| fee.saturating_add(fee >> 3).saturating_add(1);
        let most = now.max.saturating_mul(RAISE_MAX);
        let max = more(self.max).min(most).max(now.max);
        Self {
            max,
            tip: more(self.tip).max(now.tip).min(max),
        }
    }
}

/// A call to be sent.
#[derive(Clone)]
struct Call {
    to: Address,
    data: Vec<u8>,
    value: U256,
}

/// A signed transaction.
struct Signed {
    raw: Vec<u8>,
    hash: B256,
}

impl ChainAccess {
    pub(super) async fn fund(
        &self,
        token: Address,
        amount: Amount,
        data: Vec<u8>,
    ) -> Result<B256, ChainError> {
        let native = token == Address::ZERO;
        if !native && !amount.is_zero() {
            self.approve(token, U256::from(amount.0)).await?;
        }
        let value = if native { U256::from(amount.0) } else { U256::ZERO };
        let to = self.adjudicator;
        self.send(Call { to, data, value }).await
    }

    async fn approve(&self, token: Address, amount: U256) -> Result<(), ChainError> {
        let owner = self.sender().ok_or(ChainError::NoSender)?;
        let spender = self.adjudicator;
        let query = erc20::allowanceCall { owner, spender }.abi_encode();
        let answer = self.ask(token, query).await?;
        if erc20::allowanceCall::abi_decode_returns(&answer).is_ok_and(|allowed| allowed >= amount) {
            return Ok(());
        }
        let data = erc20::approveCall { spender, amount }.abi_encode();
        let (to, value) = (token, U256::ZERO);
        self.send(Call { to, data, value }).await.map(drop)
    }

    /// A call at the newest block, answered by the first endpoint that does.
    pub(super) async fn ask(&self, to: Address, data: Vec<u8>) -> Result<Bytes, ChainError> {
        let mut failed = ChainError::NotConfigured;
        for node in self.nodes.iter() {
            match node.call(to, data.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Sends a call to the adjudicator and waits until it is mined.
    pub(crate) fn broadcast<'a>(&'a self, data: Vec<u8>) -> BoxFuture<'a, Result<B256, ChainError>> {
        let (to, value) = (self.adjudicator, U256::ZERO);
        Box::pin(self.send(Call { to, data, value }))
    }

    /// As [`Self::broadcast`], offering more as long as no block takes it, for as long as it is of `use_for`. What it finds in
    /// its way after a while it replaces.
    pub(crate) fn defend<'a>(
        &'a self,
        data: Vec<u8>,
        use_for: Option<Duration>,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            let (to, value) = (self.adjudicator, U256::ZERO);
            let call = Call { to, data, value };
            let (mut fees, mut sent) = (Fees::default(), Vec::new());
            let (begun, use_for) = (Instant::now(), use_for.unwrap_or(self.timeout));
            while begun.elapsed() < use_for {
                let signed = self.sign(&call, fees, !sent.is_empty()).await;
                match signed {
                    Ok((signed, offered)) => {
                        fees = offered;
                        let handed = self.hand_over(&signed).await;
                        sent.push(signed.hash);
                        // An earlier one may still be mined, or be why this one is refused.
                        if let (Err(error), 1) = (handed, sent.len()) {
                            return Err(error);
                        }
                    }
                    // It may be that an earlier one is mined by now.
                    Err(error) if sent.is_empty() => return Err(error),
                    Err(error) => tracing::debug!(%error, "a defence cannot be raised now"),
                }
                if let Ok(mined) = timeout(RAISE_AFTER, self.mined(&sent)).await {
                    return mined;
                }
            }
            Err(ChainError::Timeout("the transaction was not mined"))
        })
    }

    async fn send(&self, call: Call) -> Result<B256, ChainError> {
        let (signed, _) = self.sign(&call, Fees::default(), false).await?;
        self.hand_over(&signed).await?;
        timeout(self.timeout, self.mined(&[signed.hash]))
            .await
            .map_err(|_| ChainError::Timeout("the transaction was not mined"))?
    }

    /// Fills in nonce, gas and fees by the first endpoint that can, and signs. `again`: in the place of what waits.
    async fn sign(&self, call: &Call, before: Fees, again: bool) -> Result<(Signed, Fees), ChainError> {
        let key = self.key.as_ref().ok_or(ChainError::NoSender)?;
        let mut failed = ChainError::NotConfigured;
        for node in self.nodes.iter() {
            match self.fill(node, key.address(), call, before, again).await {
                Ok((request, fees)) => return Ok((sign(key, request).await?, fees)),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn fill(
        &self,
        node: &Node,
        from: Address,
        call: &Call,
        before: Fees,
        again: bool,
    ) -> Result<(TransactionRequest, Fees), ChainError> {
        let provider = node.provider().await?;
        let nonces = provider.get_transaction_count(from);
        // Read for every transaction: other programs may use the same key.
        let nonces = if again { nonces } else { nonces.pending() };
        let nonce = within(async { nonces.await }).await?;
        let request = TransactionRequest::default()
            .with_from(from)
            .with_to(call.to)
            .with_input(call.data.clone())
            .with_value(call.value);
        let gas = within(async { provider.estimate_gas(request.clone()).await }).await?;
        let now = within(async { provider.estimate_eip1559_fees().await }).await?;
        let now = Fees {
            max: now.max_fee_per_gas,
            tip: now.max_priority_fee_per_gas,
        };
        let fees = if again { before.raised(now) } else { now };
        let request = request
            .with_nonce(nonce)
            .with_chain_id(self.chain_id)
            // What others do meanwhile may make it a little dearer.
            .with_gas_limit(gas.saturating_add(gas >> 3))
            .with_max_fee_per_gas(fees.max)
            .with_max_priority_fee_per_gas(fees.tip);
        Ok((request, fees))
    }

    /// The same bytes to every endpoint; good when one takes them.
    async fn hand_over(&self, signed: &Signed) -> Result<(), ChainError> {
        let all = self.nodes.iter().map(|node| async {
            let provider = node.provider().await?;
            within(async { provider.send_raw_transaction(&signed.raw).await }).await
        });
        let mut results = join_all(all).await.into_iter();
        match results.any(|result| result.is_ok()) {
            true => Ok(()),
            // Taken perhaps, without an answer: whoever waits sees it.
            false => self.known(signed.hash).await,
        }
    }

    async fn known(&self, hash: B256) -> Result<(), ChainError> {
        let mut failed = ChainError::Rpc("no endpoint took the transaction".to_owned());
        for node in self.nodes.iter() {
            let found = async {
                let provider = node.provider().await?;
                within(async { provider.get_transaction_by_hash(hash).await }).await
            };
            match found.await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Waits until one of `hashes` is mined.
    async fn mined(&self, hashes: &[B256]) -> Result<B256, ChainError> {
        loop {
            for hash in hashes {
                for node in self.nodes.iter() {
                    let receipt = async {
                        let provider = node.provider().await?;
                        within(async { provider.get_transaction_receipt(*hash).await }).await
                    };
                    match receipt.await {
                        Ok(Some(receipt)) if receipt.status() => return Ok(*hash),
                        Ok(Some(_)) => return Err(ChainError::Reverted { tx: hash.to_string() }),
                        Ok(None) => {}
                        // The transaction is sent: a failed look at it says nothing about it.
                        Err(error) => tracing::warn!(%error, %hash, node = node.name, "no receipt"),
                    }
                }
            }
            sleep(self.poll.min(Duration::from_secs(1))).await;
        }
    }
}

async fn sign(key: &PrivateKeySigner, request: TransactionRequest) -> Result<Signed, ChainError> {
    let wallet = EthereumWallet::from(key.clone());
    let envelope = request.build(&wallet).await.map_err(rpc)?;
    Ok(Signed {
        raw: envelope.encoded_2718(),
        hash: *envelope.tx_hash(),
    })
}

#[cfg(test)]
mod tests;
