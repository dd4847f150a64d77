//! Transactions: signed once, handed to every endpoint, so that none of them alone can lose or hide one.

use super::{
    CALL_MAX, ChainAccess,
    fees::Fees,
    merge::{lower_middle, upper_middle},
    node::Node,
    rpc, said, unread, within,
};
use crate::ChainError;
use alloy::{
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{B256, Bytes, U256},
    providers::{DynProvider, Provider, utils::Eip1559Estimator},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
};
use futures::future::{BoxFuture, join_all, join3};
use protocol_spec::{Address, Amount};
use std::{sync::PoisonError, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// A defence that no block takes within this time offers more.
const RAISE_AFTER: Duration = Duration::from_secs(60);
/// So often a defence that no endpoint takes offers more while one of them names more.
const REFUSED_MAX: u32 = 16;
/// A receipt is asked for again at once: an endpoint that hangs holds nobody up.
const RECEIPT_MAX: Duration = Duration::from_secs(5);
/// Transactions whose receipts are asked for at once.
const RECEIPTS_AT_ONCE: usize = 32;
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

/// Whether a call is worth what it costs also when endpoints are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// A defence: not sending it costs more. When as many endpoints say that it works as that it does not, it is sent. It needs
    /// no more gas than that, whatever they name: the account must hold what the limit costs.
    Defence { gas_most: u64 },
    /// Everything else: more must say that it works than that it does not, and at least half of all must answer.
    CanWait,
}

/// What one endpoint says of a call.
enum Estimate {
    Gas(u64),
    /// It does nothing at the newest block, or needs more gas than a block has, and why.
    Reverts(String),
    Failed(ChainError),
}

type Answer = (Result<u64, ChainError>, Result<Fees, ChainError>, Estimate);

/// What all endpoints say that a call needs, each part by all that answered it.
#[derive(Default)]
struct Quotes {
    nonces: Vec<u64>,
    fees: Vec<Fees>,
    gas: Vec<u64>,
    reverts: Vec<String>,
    /// Why the last one that failed did.
    failed: Option<ChainError>,
}

/// What a call is sent with, but for its fees. One endpoint of three that stands still or lies decides nothing of it.
#[derive(PartialEq, Eq, Debug)]
struct Terms {
    /// All that were named, the likeliest first.
    nonces: Vec<u64>,
    gas: u64,
}

impl Quotes {
    fn of(endpoints: impl IntoIterator<Item = Answer>) -> Self {
        let mut quotes = Self::default();
        for (nonce, fees, estimate) in endpoints {
            match nonce {
                Ok(nonce) => quotes.nonces.push(nonce),
                Err(error) => quotes.failed = Some(error),
            }
            match fees {
                Ok(fees) => quotes.fees.push(fees),
                Err(error) => quotes.failed = Some(error),
            }
            match estimate {
                Estimate::Gas(gas) => quotes.gas.push(gas),
                Estimate::Failed(error) => quotes.failed = Some(error),
                Estimate::Reverts(why) => quotes.reverts.push(why),
            }
        }
        quotes
    }

    /// An error when the call is not to be sent.
    fn terms(&self, endpoints: usize, urgency: Urgency) -> Result<Terms, ChainError> {
        let (urgent, gas_most) = match urgency {
            Urgency::Defence { gas_most } => (true, gas_most),
            Urgency::CanWait => (false, GAS_MAX),
        };
        let (works, fails) = (self.gas.len(), self.reverts.len());
        let half = |count: usize| urgent || count.saturating_mul(2) >= endpoints;
        let enough = half(self.nonces.len()) && half(self.fees.len()) && half(works.saturating_add(fails));
        let wanted = works > fails || (urgent && works == fails);
        let nonce = upper_middle(self.nonces.clone());
        let gas = upper_middle(self.gas.clone()).map(|gas| gas.min(gas_most));
        match (nonce, gas) {
            (Some(nonce), Some(gas)) if enough && wanted => {
                let mut nonces = vec![nonce];
                for other in &self.nonces {
                    if !nonces.contains(other) && nonces.len() < NONCES_MAX {
                        nonces.push(*other);
                    }
                }
                Ok(Terms { nonces, gas })
            }
            _ => Err(match self.reverts.last() {
                Some(why) if !wanted => ChainError::WouldRevert(why.clone()),
                _ => self.failed.clone().unwrap_or(ChainError::NotConfigured),
            }),
        }
    }
}

/// One attempt at a defence.
struct Offered {
    fees: Fees,
    /// An endpoint names more than twice that.
    more_named: bool,
    /// Why no endpoint has ever taken it.
    refused: Option<ChainError>,
}

/// A signed transaction.
pub(crate) struct Signed {
    raw: Vec<u8>,
    hash: B256,
}

impl ChainAccess {
    /// A signed call that takes `amount` from the sender, once the token's `approve` is mined. Nothing of the call is sent.
    pub(super) async fn funding(
        &self,
        token: Address,
        amount: Amount,
        data: Vec<u8>,
    ) -> Result<Signed, ChainError> {
        let native = token == Address::ZERO;
        if !native && !amount.is_zero() {
            self.approve(token, U256::from(amount.0)).await?;
        }
        let value = if native { U256::from(amount.0) } else { U256::ZERO };
        let to = self.adjudicator;
        self.prepare(&Call { to, data, value }).await
    }

    async fn approve(&self, token: Address, amount: U256) -> Result<(), ChainError> {
        let owner = self.sender().ok_or(ChainError::NoSender)?;
        let spender = self.adjudicator;
        let query = erc20::allowanceCall { owner, spender }.abi_encode();
        let decode = |answer: &Bytes| erc20::allowanceCall::abi_decode_returns(answer).map_err(unread);
        // Unknown is as if there were none.
        let allowed = self.ask(token, query, decode).await.unwrap_or_default();
        if allowed >= amount {
            return Ok(());
        }
        match self.allow(token, amount).await {
            // Some tokens, USDT for one, change an allowance only by way of zero.
            Err(ChainError::WouldRevert(_)) if !allowed.is_zero() => {
                self.allow(token, U256::ZERO).await?;
                self.allow(token, amount).await
            }
            done => done,
        }
    }

    async fn allow(&self, token: Address, amount: U256) -> Result<(), ChainError> {
        let spender = self.adjudicator;
        let data = erc20::approveCall { spender, amount }.abi_encode();
        let (to, value) = (token, U256::ZERO);
        self.send(Call { to, data, value }).await.map(drop)
    }

    /// A number at the newest block: of what the endpoints say the one in the middle, of two the lower.
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
        lower_middle(numbers).ok_or(failed)
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
        urgency: Urgency,
        waits: impl Fn() + Send + Sync + 'a,
    ) -> BoxFuture<'a, Result<B256, ChainError>> {
        Box::pin(async move {
            let (to, value) = (self.adjudicator, U256::ZERO);
            let call = Call { to, data, value };
            let (mut fees, mut sent, mut attempts) = (None, Vec::new(), 0_u32);
            let (begun, use_for) = (Instant::now(), use_for.unwrap_or(self.timeout));
            while begun.elapsed() < use_for {
                match self.offer(&call, (fees, attempts), urgency, &mut sent).await {
                    Ok(Offered {
                        fees: now, refused, ..
                    }) if refused.is_none() => fees = Some(now),
                    // Of two one may have named too little. What nobody takes costs nothing.
                    Ok(offered) if offered.more_named && attempts < REFUSED_MAX => {
                        fees = Some(offered.fees);
                        attempts = attempts.saturating_add(1);
                        sleep(self.poll).await;
                        continue;
                    }
                    Ok(offered) => return Err(offered.refused.unwrap_or(ChainError::NotConfigured)),
                    // An earlier one may still be mined, or be why this one is refused.
                    Err(error) if sent.is_empty() => return Err(error),
                    Err(error) => tracing::debug!(%error, "a defence cannot be raised now"),
                }
                if let Ok(mined) = timeout(RAISE_AFTER, self.mined(&sent)).await {
                    return mined;
                }
                attempts = attempts.saturating_add(1);
                waits();
            }
            Err(ChainError::Timeout("the transaction was not mined"))
        })
    }

    /// One attempt: the call for each nonce that is named, to every endpoint. Adds what was taken to `sent`. `before`: what was
    /// offered last, and how often in vain.
    async fn offer(
        &self,
        call: &Call,
        before: (Option<Fees>, u32),
        urgency: Urgency,
        sent: &mut Vec<B256>,
    ) -> Result<Offered, ChainError> {
        let (terms, fees, more_named) = self.terms(call, before, urgency, !sent.is_empty()).await?;
        let mut failed = None;
        for nonce in &terms.nonces {
            let signed = self.sign(call, *nonce, terms.gas, fees).await?;
            match self.hand_over(&signed).await {
                Ok(()) => sent.push(signed.hash),
                Err(error) => failed = Some(error),
            }
        }
        Ok(Offered {
            fees,
            more_named,
            refused: failed.filter(|_| sent.is_empty()),
        })
    }

    async fn send(&self, call: Call) -> Result<B256, ChainError> {
        let signed = self.prepare(&call).await?;
        self.broadcast_signed(&signed).await
    }

    async fn prepare(&self, call: &Call) -> Result<Signed, ChainError> {
        let (terms, fees, _) = self.terms(call, (None, 0), Urgency::CanWait, false).await?;
        let nonce = terms.nonces.first().copied().ok_or(ChainError::NotConfigured)?;
        self.sign(call, nonce, terms.gas, fees).await
    }

    /// Sends what was signed, and waits until it is mined.
    pub(super) async fn broadcast_signed(&self, signed: &Signed) -> Result<B256, ChainError> {
        self.hand_over(signed).await?;
        timeout(self.timeout, self.mined(&[signed.hash]))
            .await
            .map_err(|_| ChainError::Timeout("the transaction was not mined"))?
    }

    /// What the call is sent with now, and whether somebody names more than twice that; an error when it is not sent. `again`: in
    /// the place of what waits.
    async fn terms(
        &self,
        call: &Call,
        (before, attempts): (Option<Fees>, u32),
        urgency: Urgency,
        again: bool,
    ) -> Result<(Terms, Fees, bool), ChainError> {
        let from = self.sender().ok_or(ChainError::NoSender)?;
        let asked = self.nodes.iter().map(|node| quote(node, from, call, again));
        let quotes = Quotes::of(join_all(asked).await);
        let terms = quotes.terms(self.nodes.len(), urgency)?;
        let market = {
            let mut market = self.market.lock().unwrap_or_else(PoisonError::into_inner);
            market.told(&quotes.fees, self.nodes.len());
            *market
        };
        match market.offer(&quotes.fees, before, attempts) {
            Some(fees) => {
                let more_named = quotes.fees.iter().any(|named| named.max >> 1 > fees.max);
                Ok((terms, fees, more_named))
            }
            None => Err(quotes.failed.unwrap_or(ChainError::NotConfigured)),
        }
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
        let results = join_all(all).await;
        if results.iter().any(Result::is_ok) {
            return Ok(());
        }
        // Taken perhaps, without an answer: whoever waits sees it.
        let known = self.known(signed.hash).await;
        let too_large = results.iter().filter_map(|result| match result {
            Err(ChainError::Rpc(said)) if is_too_much_gas(said) => Some(said),
            _ => None,
        });
        let too_large: Vec<&String> = too_large.collect();
        match too_large.first() {
            Some(said) if known.is_err() && too_large.len().saturating_mul(2) >= results.len() => {
                Err(ChainError::WouldRevert((*said).clone()))
            }
            _ => known,
        }
    }

    async fn known(&self, hash: B256) -> Result<(), ChainError> {
        let all = self.nodes.iter().map(|node| async move {
            let provider = node.provider().await?;
            within(async { provider.get_transaction_by_hash(hash).await }).await
        });
        let (found, failed) = parted(join_all(all).await);
        match found.iter().any(Option::is_some) {
            true => Ok(()),
            false if found.is_empty() => Err(failed),
            false => Err(ChainError::Rpc("no endpoint took the transaction".to_owned())),
        }
    }

    /// Waits until one of `hashes` is mined: until at least half of those who answer show its receipt.
    async fn mined(&self, hashes: &[B256]) -> Result<B256, ChainError> {
        loop {
            // The newest first; of those of an older offer one may be mined all the same.
            for hashes in hashes.rchunks(RECEIPTS_AT_ONCE) {
                let fates = join_all(hashes.iter().map(|hash| self.fate(*hash))).await;
                let known = hashes.iter().zip(&fates);
                if let Some((hash, _)) = known.clone().find(|(_, fate)| **fate == Some(true)) {
                    return Ok(*hash);
                }
                if let Some((hash, _)) = known.clone().find(|(_, fate)| **fate == Some(false)) {
                    return Err(ChainError::Reverted { tx: hash.to_string() });
                }
            }
            sleep(self.poll.min(Duration::from_secs(1))).await;
        }
    }

    /// Whether a transaction succeeded, as at least half of those say who answer.
    async fn fate(&self, hash: B256) -> Option<bool> {
        let asked = self
            .nodes
            .iter()
            .map(|node| timeout(RECEIPT_MAX, receipt(node, hash)));
        let answers = join_all(asked).await.into_iter().filter_map(|answer| {
            let answer = answer.unwrap_or_else(|_| Err(ChainError::Rpc("no answer in time".to_owned())));
            // The transaction is sent: a failed look at it says nothing about it.
            let told = answer.inspect_err(|error| tracing::debug!(%error, %hash, "no receipt"));
            told.ok()
        });
        let answers: Vec<Option<bool>> = answers.collect();
        let half = |fate: bool| {
            let of = answers.iter().filter(|answer| **answer == Some(fate)).count();
            of > 0 && of.saturating_mul(2) >= answers.len()
        };
        [true, false].into_iter().find(|fate| half(*fate))
    }
}

/// What one endpoint says that the call needs. Each part apart: one that does not estimate names nonce and fees all the same.
async fn quote(node: &Node, from: Address, call: &Call, again: bool) -> Answer {
    let Ok(connected) = timeout(CALL_MAX, node.provider()).await else {
        let late = || ChainError::Rpc("no answer in time".to_owned());
        return (Err(late()), Err(late()), Estimate::Failed(late()));
    };
    let provider = match connected {
        Ok(provider) => provider,
        Err(error) => return (Err(error.clone()), Err(error.clone()), Estimate::Failed(error)),
    };
    let nonce = async {
        let nonces = provider.get_transaction_count(from);
        // Read for every transaction: other programs may use the same key.
        let nonces = if again { nonces } else { nonces.pending() };
        within(async { nonces.await }).await
    };
    let fees = async {
        let estimator = Eip1559Estimator::new(node_rpc::market_fees);
        let now = within(async { provider.estimate_eip1559_fees_with(estimator).await }).await?;
        Ok(Fees {
            max: now.max_fee_per_gas,
            tip: now.max_priority_fee_per_gas,
        })
    };
    join3(nonce, fees, estimate(provider, call.request(from))).await
}

async fn estimate(provider: &DynProvider, request: TransactionRequest) -> Estimate {
    match timeout(CALL_MAX, provider.estimate_gas(request)).await {
        Ok(Ok(gas)) => Estimate::Gas(gas),
        Ok(Err(error)) => {
            let payload = error.as_error_resp();
            let reverts = payload.is_some_and(|payload| {
                payload.code == 3
                    || payload.message.contains("revert")
                    || payload.as_revert_data().is_some()
                    || is_too_much_gas(&payload.message)
            });
            match reverts {
                true => Estimate::Reverts(said(node_rpc::words(&error))),
                false => Estimate::Failed(rpc(node_rpc::words(&error))),
            }
        }
        Err(_) => Estimate::Failed(ChainError::Rpc("no answer in time".to_owned())),
    }
}

/// A block has less gas than the transaction needs, or may ask for: something smaller may do.
fn is_too_much_gas(said: &str) -> bool {
    let said = said.to_lowercase();
    let words = ["out of gas", "gas required exceeds", "gas limit", "gas_limit"];
    words.iter().any(|words| said.contains(words))
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
