//! The chain as settle talks to it: any alloy provider, every request with a time limit.

use super::{agree::Agreeing, args::NodeArgs, decode, exit::SettleError};
use crate::{app::contracts::adjudicator_on_chain, chain::QuorumOptions, now::Now};
use alloy::{
    eips::BlockId,
    network::TransactionBuilder as _,
    primitives::{Address, Bytes, U256},
    providers::{DynProvider, Provider, RootProvider},
    rpc::{
        client::RpcClient,
        types::{BlockNumberOrTag, TransactionRequest},
    },
    sol_types::SolCall,
    transports::{RpcError, TransportErrorKind},
};
use futures::future::BoxFuture;
use protocol_spec::{Domain, UnixSeconds, abi::IAdjudicator};
use std::{future::IntoFuture, time::Duration};

/// Limit of one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A block: what a consistent set of reads is pinned to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Chain time.
    pub time: UnixSeconds,
    /// Gas of all its transactions at most.
    pub gas_limit: u64,
}

/// Age of the newest block from which on a node is said to be stuck, seconds, unless told otherwise.
pub(super) const STALE_AFTER_S: u64 = 300;

/// A node, by whatever transport, or several that must agree.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) provider: DynProvider,
    stale_after_s: u64,
    now: Now,
}

impl Node {
    /// A node behind any alloy provider, the embedded dev chain's included.
    pub fn new(provider: DynProvider) -> Self {
        Self {
            provider,
            stale_after_s: STALE_AFTER_S,
            now: Now::wall(),
        }
    }

    /// The same by another clock: what is old is judged by it.
    #[must_use]
    pub fn by_clock(mut self, now: Now) -> Self {
        self.now = now;
        self
    }

    /// Every node that was named; some may be down, as long as enough are left to agree.
    ///
    /// # Errors
    /// [`SettleError::Usage`] for a bad URL or number.
    pub(super) fn open<'a>(args: &'a NodeArgs) -> BoxFuture<'a, Result<Self, SettleError>> {
        Box::pin(async move {
            let mut nodes = Vec::new();
            for url in &args.rpc_url {
                nodes.push(Self::connect(url).await?.provider);
            }
            let named = nodes.len();
            let agree = args.agree.unwrap_or(QuorumOptions::majority(named).agree);
            let provider = match nodes.as_slice() {
                [only] if agree == 1 => only.clone(),
                _ => {
                    let transport = Agreeing::new(nodes, agree)?;
                    RootProvider::new(RpcClient::new(transport, false)).erased()
                }
            };
            Ok(Self {
                stale_after_s: args.stale_after_s,
                ..Self::new(provider)
            })
        })
    }

    /// What to say when `head` is older than a node that keeps up would have it. For people.
    pub(super) fn stale(&self, head: Head) -> Option<String> {
        let age = self.now.get().0.saturating_sub(head.time.0);
        (age >= self.stale_after_s).then(|| {
            format!(
                "the newest block {} is {} old: the node is stuck, hides newer blocks, or this machine's clock is wrong; what \
                 is said here may be out of date, and a dispute may be running. Ask other nodes (--rpc-url, several times)",
                head.number,
                super::text::duration(age)
            )
        })
    }

    /// The node at a URL: http, https, ws, wss. It is reached when it is first asked.
    ///
    /// # Errors
    /// [`SettleError::Usage`] for a bad URL.
    pub fn connect<'a>(url: &'a str) -> BoxFuture<'a, Result<Self, SettleError>> {
        Box::pin(async move {
            // The URL may hold an API key: it stays out of the texts.
            let bad =
                || SettleError::Usage("--rpc-url must be a URL of a node: http, https, ws or wss".to_owned());
            let client = node_rpc::client(url, node_rpc::Asks::State).map_err(|_| bad())?;
            Ok(Self::new(RootProvider::new(client).erased()))
        })
    }

    /// Checks that the node is on `domain`'s chain and that its adjudicator is there and hashes in `domain`.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when not, [`SettleError::Unreachable`].
    pub fn check<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<(), SettleError>> {
        Box::pin(async move {
            let got = self.chain_id().await?;
            if got != domain.chain_id {
                return Err(SettleError::Refused(format!(
                    "the node is on chain {got}, the evidence is for chain {}: use a node of that chain",
                    domain.chain_id
                )));
            }
            let code = timed("eth_getCode", async {
                self.provider.get_code_at(domain.adjudicator).await
            })
            .await?;
            let no_adjudicator = |what: &str| {
                SettleError::Refused(format!(
                    "{what} at {} on chain {got}: the adjudicator meant is another one, or the node is not synced",
                    domain.adjudicator
                ))
            };
            if code.is_empty() {
                return Err(no_adjudicator("there is no contract"));
            }
            let separator = self
                .read(
                    domain.adjudicator,
                    &IAdjudicator::domainSeparatorCall {},
                    BlockId::latest(),
                )
                .await;
            match separator {
                Ok(separator) if separator.0 == domain.separator().0 => Ok(()),
                Ok(_) | Err(SettleError::Refused(_) | SettleError::Reverted(_)) => {
                    Err(no_adjudicator("the contract is no Channel Hub adjudicator"))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Checks that the contract is the committed adjudicator, byte for byte. [`Self::check`] believes what it says of itself.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when it is not, [`SettleError::Unreachable`].
    pub fn check_code<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<(), SettleError>> {
        Box::pin(async move {
            let known =
                adjudicator_on_chain(domain).map_err(|error| SettleError::Internal(error.to_string()))?;
            let code = timed("eth_getCode", async {
                self.provider.get_code_at(domain.adjudicator).await
            })
            .await?;
            match code.as_ref() == known.as_slice() {
                true => Ok(()),
                false => Err(SettleError::Refused(format!(
                    "the contract at {} is not the adjudicator that this settle knows, whatever it says of itself; \
                     to trust it all the same, name it by --adjudicator",
                    domain.adjudicator
                ))),
            }
        })
    }

    /// EIP-155 chain id.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn chain_id<'a>(&'a self) -> BoxFuture<'a, Result<u64, SettleError>> {
        Box::pin(async move { timed("eth_chainId", self.provider.get_chain_id()).await })
    }

    /// Native coins of an account, wei.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn coins<'a>(&'a self, account: Address) -> BoxFuture<'a, Result<U256, SettleError>> {
        Box::pin(async move {
            timed("eth_getBalance", async {
                self.provider.get_balance(account).await
            })
            .await
        })
    }

    /// True when there is code at `account`: a contract wallet, perhaps.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn has_code<'a>(&'a self, account: Address) -> BoxFuture<'a, Result<bool, SettleError>> {
        Box::pin(async move {
            let code = timed("eth_getCode", async { self.provider.get_code_at(account).await }).await?;
            Ok(!code.is_empty())
        })
    }

    /// Milliseconds between two blocks, on the average of the last hundred; `None` when there are too few.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn block_time_ms<'a>(&'a self, head: Head) -> BoxFuture<'a, Result<Option<u64>, SettleError>> {
        Box::pin(async move {
            let before = BlockNumberOrTag::Number(head.number.saturating_sub(100));
            let block = timed("eth_getBlockByNumber", async {
                self.provider.get_block_by_number(before).await
            })
            .await?;
            Ok(block.and_then(|block| {
                let span = head
                    .time
                    .0
                    .saturating_sub(block.header.timestamp)
                    .saturating_mul(1000);
                span.checked_div(head.number.saturating_sub(block.header.number))
            }))
        })
    }

    /// The newest block.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub fn head<'a>(&'a self) -> BoxFuture<'a, Result<Head, SettleError>> {
        Box::pin(async move {
            let block = timed("eth_getBlockByNumber", async {
                self.provider.get_block_by_number(BlockNumberOrTag::Latest).await
            })
            .await?
            .ok_or_else(|| SettleError::Unreachable("the node has no block".to_owned()))?;
            Ok(Head {
                number: block.header.number,
                time: UnixSeconds(block.header.timestamp),
                gas_limit: block.header.gas_limit,
            })
        })
    }

    /// Calls a view function at `block`.
    ///
    /// # Errors
    /// [`SettleError::Refused`] when the answer is not that function's, [`SettleError::Reverted`],
    /// [`SettleError::Unreachable`].
    pub async fn read<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        block: BlockId,
    ) -> Result<C::Return, SettleError> {
        let request = TransactionRequest::default()
            .with_to(to)
            .with_input(call.abi_encode());
        let answer = self.call(request, block).await?;
        C::abi_decode_returns(&answer)
            .map_err(|_| SettleError::Refused(format!("{to} does not answer {} as it should", C::SIGNATURE)))
    }

    /// What creation code returns at `block`. Nothing is created.
    ///
    /// # Errors
    /// As [`Node::read`].
    pub(super) fn create<'a>(
        &'a self,
        code: Bytes,
        block: BlockId,
    ) -> BoxFuture<'a, Result<Bytes, SettleError>> {
        self.call(TransactionRequest::default().with_input(code), block)
    }

    pub(super) fn call<'a>(
        &'a self,
        request: TransactionRequest,
        block: BlockId,
    ) -> BoxFuture<'a, Result<Bytes, SettleError>> {
        Box::pin(async move {
            timed("eth_call", async {
                self.provider.call(request).block(block).await
            })
            .await
        })
    }
}

/// Runs a request with a time limit and sorts its failure.
pub(super) async fn timed<T>(
    what: &'static str,
    request: impl IntoFuture<Output = Result<T, RpcError<TransportErrorKind>>>,
) -> Result<T, SettleError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request.into_future()).await {
        Ok(answer) => answer.map_err(|error| classify(what, &error)),
        Err(_) => Err(no_answer(what)),
    }
}

pub(super) fn no_answer(what: &'static str) -> SettleError {
    SettleError::Unreachable(format!(
        "no answer to {what} within {} s; try another node",
        REQUEST_TIMEOUT.as_secs()
    ))
}

pub(super) fn short_of_gas(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of gas", "outofgas", "gas required exceeds"]
        .iter()
        .any(|words| message.contains(words))
}

pub(super) fn classify(what: &'static str, error: &RpcError<TransportErrorKind>) -> SettleError {
    let Some(payload) = error.as_error_resp() else {
        let cause = match error {
            RpcError::Transport(error) => node_rpc::transport_cause(error),
            _ => "its answer makes no sense".to_owned(),
        };
        return SettleError::Unreachable(format!(
            "{what} failed: {cause}; is the node running and the URL right?"
        ));
    };
    let message = decode::plain(&payload.message, 200);
    match payload.as_revert_data() {
        Some(data) => SettleError::Reverted(decode::revert(&data)),
        None if message.contains("revert") => SettleError::Reverted(message),
        None if message.contains("insufficient funds") => SettleError::Refused(format!(
            "the sender cannot pay the gas ({message}); fund it or use another key"
        )),
        None if short_of_gas(&message) => SettleError::Refused(format!(
            "it needs more gas than the node or a block allows ({message})"
        )),
        None => SettleError::Unreachable(format!(
            "the node refused {what}: {message} (code {})",
            payload.code
        )),
    }
}
