//! From a URL, or an embedded chain, to an [`AlloyChain`].

use super::client::AlloyChain;
use super::embedded::EmbeddedChain;
use super::error::ChainError;
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::signers::local::PrivateKeySigner;
use futures::future::BoxFuture;
use std::time::Duration;

/// How to talk to a node.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Key that sends; `None` for a port that only reads. One process per key.
    pub signer: Option<PrivateKeySigner>,
    /// Chain id to insist on; `None` takes what the node says.
    pub chain_id: Option<u64>,
    /// Limit of one request.
    pub request_timeout: Duration,
    /// Limit of one [`super::Chain::wait`].
    pub wait_timeout: Duration,
    /// Pause between two looks at a transaction.
    pub poll_interval: Duration,
    /// Most wei per gas that a transaction without given fees may offer.
    pub max_fee_per_gas: Option<u128>,
    /// Blocks that do not take a transaction after which [`super::Chain::tend`] raises its fees; at least 1.
    pub stuck_after_blocks: u64,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            signer: None,
            chain_id: None,
            request_timeout: Duration::from_secs(10),
            wait_timeout: Duration::from_secs(300),
            poll_interval: Duration::from_millis(500),
            max_fee_per_gas: None,
            stuck_after_blocks: 3,
        }
    }
}

impl AlloyChain {
    /// Connects to a node by URL (http, https, ws, wss) and checks its chain id. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a bad URL or the wrong chain, retryable errors if the node is not there.
    pub fn connect<'a>(url: &'a str, options: ChainOptions) -> BoxFuture<'a, Result<Self, ChainError>> {
        Box::pin(async move {
            let provider = RootProvider::new(client(url)?);
            Self::with_provider(provider, options).await
        })
    }

    /// A port on an embedded chain, without a socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ChainError::Config`] for the wrong chain id.
    pub fn embedded<'a>(
        chain: &'a EmbeddedChain,
        options: ChainOptions,
    ) -> BoxFuture<'a, Result<Self, ChainError>> {
        Box::pin(async move {
            let poll_interval = options.poll_interval.min(Duration::from_millis(5));
            Self::with_provider(
                RootProvider::new(chain.rpc_client()),
                ChainOptions {
                    poll_interval,
                    ..options
                },
            )
            .await
        })
    }

    /// A port on any alloy provider. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ChainError::Config`] for the wrong chain id, retryable errors if the node is not there.
    pub fn with_provider(
        provider: RootProvider,
        options: ChainOptions,
    ) -> BoxFuture<'static, Result<Self, ChainError>> {
        Box::pin(async move {
            let timeout = options.request_timeout;
            let got = tokio::time::timeout(timeout, provider.get_chain_id()).await;
            let got = got
                .map_err(|_| ChainError::Timeout {
                    what: "eth_chainId",
                    after: timeout,
                })?
                .map_err(|error| ChainError::classify("eth_chainId", error))?;
            match options.chain_id {
                Some(expected) if expected != got => Err(ChainError::Config(format!(
                    "the node is on chain {got}, expected {expected}"
                ))),
                _ => Ok(Self::start(provider, got, options)),
            }
        })
    }
}

/// Reads a URL. It may hold an API key: it stays out of the errors.
fn client(url: &str) -> Result<RpcClient, ChainError> {
    node_rpc::client(url, node_rpc::Asks::Logs).map_err(bad)
}

/// [`client`]'s check alone.
pub(super) fn check(url: &str) -> Result<(), ChainError> {
    node_rpc::check(url).map_err(bad)
}

fn bad(error: node_rpc::BadUrl) -> ChainError {
    ChainError::Config(format!("the chain URL is {error}"))
}
