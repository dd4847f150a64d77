//! Transactions: signed once, handed to every endpoint, so that none of them alone can lose or hide one.

use super::{CALL_MAX, ChainAccess, merge::upper_middle, node::Node, rpc, within};
use crate::ChainError;
use alloy::{
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{B256, Bytes, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
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
/// Different nonces that endpoints may name.
const NONCES_MAX: usize = 4;
/// No block takes a transaction with more (EIP-7825).
const GAS_MAX: u64 = 1 << 24;

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

impl Call {
    fn request(&self, from: Address) -> TransactionRequest {
        TransactionRequest::default()
            .with_from(from)
            .with_to(self.to)
            .with_input(self.data.clone())
            .with_value(self.value)
    }
}

/// What one endpoint says that a call needs.
#[derive(Clone, Copy)]
struct Quote {
    nonce: u64,
    gas: u64,
    fees: Fees,
}

/// What a call is sent with. One endpoint of three that stands still or lies decides nothing of it.
struct Terms {
    nonce: u64,
    /// All that were named, the likeliest first.
    nonces: Vec<u64>,
    gas: u64,
    fees: Fees,
}

impl Terms {
    fn of(quotes: &[Quote]) -> Option<Self> {
        let middle = |part: fn(&Quote) -> u128| upper_middle(quotes.iter().map(part).collect());
        let nonce = upper_middle(quotes.iter().map(|quote| quote.nonce).collect())?;
        let mut nonces = vec![nonce];
        for quote in quotes {
            if !nonces.contains(&quote.nonce) && nonces.len() < NONCES_MAX {
                nonces.push(quote.nonce);
            }
        }
        Some(Self {
            nonce,
            nonces,
            gas: upper_middle(quotes.iter().map(|quote| quote.gas).collect())?,
            fees: Fees {
                max: middle(|quote| quote.fees.max)?,
                tip: middle(|quote| quote.fees.tip)?,
            },
        })
    }
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
        let decode = |answer: &Bytes| erc20::allowanceCall::abi_decode_returns(answer).map_err(rpc);
        let allowed = self.ask(token, query, decode).await;
        if allowed.is_ok_and(|allowed| allowed >= amount) {
            return Ok(());
        }
        let data = erc20::approveCall { spender, amount }.abi_encode();
        let (to, value) = (token, U256::ZERO);
        self.send(Call { to, data, value }).await.map(drop)
    }

    /// A number at the newest block: of what the endpoints say the one in the middle.
    pub(super) async fn ask(
        &self,
        to: Address,
        data: Vec<u8>,
        decode: impl Fn(&Bytes) -> Result<U256, ChainError>,
    ) -> Result<U256, ChainError> {
        let all = self.nodes.iter().map(|node| async {
            let answer = node.call(to, data.clone()).await?;
            decode(&answer)
        });
        let (numbers, failed) = parted(join_all(all).await);
        upper_middle(numbers).ok_or(failed)
    }

    /// Sends a call to the adjudicator and waits until it is mined.
    pub(crate) fn broadcast<'a>(&'a self, data: Vec<u8>) -> BoxFuture<'a, Result<B256, ChainError>> {
        let (to, value) = (self.adjudicator, U256::ZERO);
        Box::pin(self.send(Call { to, data, value }))
    }

    /// As [`Self::broadcast`], offering more as long as no block takes it, for as long as it is of `use_for`. What it finds in
    /// its way after a while it replaces. One endpoint that is wrong about the nonce cannot stop it: the call is signed
    /// for each nonce that is named, and done twice it does no harm. `waits` hears of every attempt that no block took.
    pub(crate) fn defend<'a>(
        &'a self,
        data: Vec<u8>,
        use_for: Option<Duration>,
        waits: impl Fn() + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            let (to, value) = (self.adjudicator, U256::ZERO);
            let call = Call { to, data, value };
            let (mut fees, mut sent) = (Fees::default(), Vec::new());
            let (begun, use_for) = (Instant::now(), use_for.unwrap_or(self.timeout));
            while begun.elapsed() < use_for {
                match self.offer(&call, fees, &mut sent).await {
                    Ok(offered) => fees = offered,
                    // An earlier one may still be mined, or be why this one is refused.
                    Err(error) if sent.is_empty() => return Err(error),
                    Err(error) => tracing::debug!(%error, "a defence cannot be raised now"),
                }
                if let Ok(mined) = timeout(RAISE_AFTER, self.mined(&sent)).await {
                    return mined;
                }
                waits();
            }
            Err(ChainError::Timeout("the transaction was not mined"))
        })
    }

    /// One attempt: the call for each nonce that is named, to every endpoint. Adds what was taken to `sent`.
    async fn offer(&self, call: &Call, before: Fees, sent: &mut Vec<B256>) -> Result<Fees, ChainError> {
        let again = !sent.is_empty();
        let terms = Terms::of(&self.quotes(call, again).await?).ok_or(ChainError::NotConfigured)?;
        let fees = if again {
            before.raised(terms.fees)
        } else {
            terms.fees
        };
        let mut failed = None;
        for nonce in &terms.nonces {
            let signed = self.sign(call, *nonce, terms.gas, fees).await?;
            match self.hand_over(&signed).await {
                Ok(()) => sent.push(signed.hash),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if sent.is_empty() => Err(error),
            _ => Ok(fees),
        }
    }

    async fn send(&self, call: Call) -> Result<B256, ChainError> {
        let terms = Terms::of(&self.quotes(&call, false).await?).ok_or(ChainError::NotConfigured)?;
        let signed = self.sign(&call, terms.nonce, terms.gas, terms.fees).await?;
        self.hand_over(&signed).await?;
        timeout(self.timeout, self.mined(&[signed.hash]))
            .await
            .map_err(|_| ChainError::Timeout("the transaction was not mined"))?
    }

    /// What every endpoint says that the call needs; an error when none can say. `again`: in the place of what waits.
    async fn quotes(&self, call: &Call, again: bool) -> Result<Vec<Quote>, ChainError> {
        let from = self.sender().ok_or(ChainError::NoSender)?;
        let all = self.nodes.iter().map(|node| async move {
            let quote = timeout(CALL_MAX, self.quote(node, from, call, again)).await;
            quote.unwrap_or_else(|_| Err(ChainError::Rpc("no answer in time".to_owned())))
        });
        let (quotes, failed) = parted(join_all(all).await);
        match quotes.is_empty() {
            true => Err(failed),
            false => Ok(quotes),
        }
    }

    async fn quote(&self, node: &Node, from: Address, call: &Call, again: bool) -> Result<Quote, ChainError> {
        let provider = node.provider().await?;
        let nonces = provider.get_transaction_count(from);
        // Read for every transaction: other programs may use the same key.
        let nonces = if again { nonces } else { nonces.pending() };
        let nonce = within(async { nonces.await }).await?;
        let request = call.request(from);
        let gas = within(async { provider.estimate_gas(request).await }).await?;
        let now = within(async { provider.estimate_eip1559_fees().await }).await?;
        let fees = Fees {
            max: now.max_fee_per_gas,
            tip: now.max_priority_fee_per_gas,
        };
        Ok(Quote { nonce, gas, fees })
    }

    async fn sign(&self, call: &Call, nonce: u64, gas: u64, fees: Fees) -> Result<Signed, ChainError> {
        let key = self.key.as_ref().ok_or(ChainError::NoSender)?;
        let request = call
            .request(key.address())
            .with_nonce(nonce)
            .with_chain_id(self.chain_id)
            // What others do meanwhile may make it a little dearer.
            .with_gas_limit(gas.saturating_add(gas >> 3).min(GAS_MAX))
            .with_max_fee_per_gas(fees.max)
            .with_max_priority_fee_per_gas(fees.tip);
        let wallet = EthereumWallet::from(key.clone());
        let envelope = request.build(&wallet).await.map_err(rpc)?;
        Ok(Signed {
            raw: envelope.encoded_2718(),
            hash: *envelope.tx_hash(),
        })
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

    /// Waits until one of `hashes` is mined: until at least half of those who answer show its receipt.
    async fn mined(&self, hashes: &[B256]) -> Result<B256, ChainError> {
        loop {
            for hash in hashes {
                let (mut mined, mut reverted, mut answers) = (0_usize, 0_usize, 0_usize);
                for receipt in join_all(self.nodes.iter().map(|node| receipt(node, *hash))).await {
                    match receipt {
                        Ok(Some(true)) => mined = mined.saturating_add(1),
                        Ok(Some(false)) => reverted = reverted.saturating_add(1),
                        Ok(None) => {}
                        // The transaction is sent: a failed look at it says nothing about it.
                        Err(error) => {
                            tracing::warn!(%error, %hash, "no receipt");
                            continue;
                        }
                    }
                    answers = answers.saturating_add(1);
                }
                let half = |of: usize| of > 0 && of.saturating_mul(2) >= answers;
                if half(mined) {
                    return Ok(*hash);
                }
                if half(reverted) {
                    return Err(ChainError::Reverted { tx: hash.to_string() });
                }
            }
            sleep(self.poll.min(Duration::from_secs(1))).await;
        }
    }
}

/// Whether the transaction succeeded; `None`: it is in no block.
async fn receipt(node: &Node, hash: B256) -> Result<Option<bool>, ChainError> {
    let provider = node.provider().await?;
    let receipt = within(async { provider.get_transaction_receipt(hash).await }).await?;
    Ok(receipt.map(|receipt| receipt.status()))
}

/// The answers, and why the last one that failed did.
fn parted<T>(results: Vec<Result<T, ChainError>>) -> (Vec<T>, ChainError) {
    let mut failed = ChainError::NotConfigured;
    let mut answers = Vec::new();
    for result in results {
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => failed = error,
        }
    }
    (answers, failed)
}

#[cfg(test)]
mod tests;
