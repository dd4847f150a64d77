//! A node by name, how to reach it, and how it is doing.

use super::super::client::AlloyChain;
use super::super::connect::{ChainOptions, check};
use super::super::error::ChainError;
use super::ballot::Brief;
use crate::Chain as _;
use alloy::primitives::B256;
use alloy::providers::RootProvider;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) type Connector =
    Arc<dyn Fn(ChainOptions) -> BoxFuture<'static, Result<AlloyChain, ChainError>> + Send + Sync>;

/// A node by name, and how to reach it.
#[derive(Clone)]
pub struct Endpoint {
    pub(super) name: String,
    /// What tells two endpoints apart; may hold an API key.
    pub(super) address: Option<String>,
    pub(super) connect: Connector,
}

impl Endpoint {
    /// The node behind a URL (http, https, ws, wss). It is named after its place in the configuration (from 1) and
    /// its host, because the URL may hold an API key.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a bad URL.
    pub fn url(place: usize, url: &str) -> Result<Self, ChainError> {
        check(url)?;
        let url = url.to_owned();
        let address = Some(url.clone());
        let name = format!("rpc {place} ({})", host(&url));
        let connect: Connector = Arc::new(move |options| {
            let url = url.clone();
            Box::pin(async move { AlloyChain::connect(&url, options).await })
        });
        Ok(Self {
            name,
            address,
            connect,
        })
    }

    /// A node behind any alloy provider.
    #[must_use]
    pub fn provider(name: impl Into<String>, provider: RootProvider) -> Self {
        Self {
            name: name.into(),
            address: None,
            connect: Arc::new(move |options| AlloyChain::with_provider(provider.clone(), options)),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

/// Host and port of a URL, without user, path and query.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

/// How one endpoint is doing, for metrics and the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its name, without a URL.
    pub name: String,
    /// True while it is asked; false while it rests after a failure.
    pub up: bool,
    /// When it is asked again; `None` while it is up.
    pub rests_until: Option<Instant>,
    /// True if it was on another chain when it was last reached.
    pub wrong_chain: bool,
    /// Why it failed the last time, even if it has recovered; `None` if it never did.
    pub last_error: Option<String>,
    /// The highest block it has told of; `None` before the first.
    pub head: Option<u64>,
    /// How often it failed or was sent to rest.
    pub failures: u64,
    /// How often its answer was contradicted by enough others.
    pub outvoted: u64,
}

/// The chain that all endpoints must be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) chain_id: u64,
    pub(super) genesis: B256,
}

impl Identity {
    /// The chain that a node is on, as it says now.
    pub(super) async fn of(port: &AlloyChain) -> Result<Self, ChainError> {
        Ok(Self {
            chain_id: port.chain_id().await?,
            genesis: port.genesis_hash().await?,
        })
    }
}

impl Brief for Identity {
    fn brief(&self) -> String {
        format!("chain {} with genesis {}", self.chain_id, self.genesis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_a_host_and_no_secret() {
        for (url, expected) in [
            ("https://mainnet.example.org/v3/0123key", "mainnet.example.org"),
            ("wss://user:secret@node.example:8546?key=1", "node.example:8546"),
            ("http://127.0.0.1:8545", "127.0.0.1:8545"),
            ("http://[::1]:8545/x", "[::1]:8545"),
            ("https://node.example?key=a@b", "node.example"),
        ] {
            assert_eq!(host(url), expected, "{url}");
        }
        let endpoint = Endpoint::url(2, "https://u:p@node.example/key").unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(\"rpc 2 (node.example)\")");
        assert!(matches!(
            Endpoint::url(1, "node.example"),
            Err(ChainError::Config(_))
        ));
    }
}
