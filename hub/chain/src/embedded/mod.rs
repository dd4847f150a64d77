//! A development chain in this process: revm, blocks, a mempool, time travel, snapshots and reorgs.
//!
//! The same chain is reached three ways: by methods, by an alloy `Provider` without a socket
//! ([`EmbeddedChain::provider`]), and by JSON-RPC over HTTP on loopback ([`EmbeddedChain::serve`]).
//!
//! Differences from a real node, all deliberate: the header's `stateRoot` is a hash chain over executed
//! transactions and no Merkle root; `pending` state is the newest state (only nonces and the list of
//! transactions look into the mempool); no blobs, no state overrides, no subscriptions, no system calls.

mod block;
mod config;
mod deploy;
mod evm;
mod failure;
mod header;
mod http;
mod mine;
mod node;
mod persist;
mod pool;
mod rpc;
mod state;
mod time;
mod transport;
mod tx;

pub use config::{
    BASE_FEE_MIN_WEI, BLOCK_GAS_LIMIT, CHAIN_ID_DEFAULT, Clock, DEV_ACCOUNTS, DEV_BALANCE_WEI, DevAccount,
    EmbeddedConfig, TX_GAS_LIMIT_MAX,
};
pub use failure::RpcFailure;
pub use http::ServedChain;
pub use persist::PersistError;
pub use transport::EmbeddedTransport;

use alloy::primitives::{Address, B256, U256};
use alloy::providers::{DynProvider, Provider as _, RootProvider};
use alloy::rpc::client::RpcClient;
use futures::future::BoxFuture;
use node::Node;
use serde_json::value::RawValue;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A handle to one embedded chain; clones share it.
#[derive(Clone, Debug)]
pub struct EmbeddedChain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: Mutex<Node>,
    /// Mines at an interval, when that was asked for.
    ticker: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Ok(Some(ticker)) = self.ticker.get_mut().map(Option::take) {
            ticker.abort();
        }
    }
}

impl EmbeddedChain {
    /// A new chain with only a genesis block.
    #[must_use]
    pub fn new(config: EmbeddedConfig) -> Self {
        Self::from_node(Node::new(config))
    }

    /// A chain from a file written by [`Self::save`]. Interval mining goes on if it was on and a tokio runtime is there.
    ///
    /// # Errors
    /// [`PersistError`] when the file cannot be read, is damaged, or holds another chain id; the file is left alone.
    pub fn load(config: EmbeddedConfig, path: &Path) -> Result<Self, PersistError> {
        let chain = Self::from_node(persist::load(config, path)?);
        if let Err(failure) = chain.restart_ticker() {
            tracing::warn!(%failure, "interval mining was not resumed");
        }
        Ok(chain)
    }

    /// Writes the whole chain (not the snapshots) to `path`: first beside it, synced, then moved into place.
    ///
    /// # Errors
    /// [`PersistError::Io`]; an older file at `path` is then still whole.
    pub fn save(&self, path: &Path) -> Result<(), PersistError> {
        match self.lock() {
            Ok(node) => persist::save(&node, path),
            Err(failure) => {
                let source = std::io::Error::other(failure.to_string());
                Err(PersistError::Io {
                    path: path.to_owned(),
                    source,
                })
            }
        }
    }

    fn from_node(node: Node) -> Self {
        Self(Arc::new(Shared {
            node: Mutex::new(node),
            ticker: Mutex::new(None),
        }))
    }

    /// Answers one JSON-RPC request.
    ///
    /// # Errors
    /// [`RpcFailure`], as the JSON-RPC error object would say it.
    pub fn request(&self, method: &str, params: Option<&RawValue>) -> Result<Box<RawValue>, RpcFailure> {
        let answer = rpc::dispatch(&mut *self.lock()?, method, params)?;
        if matches!(method, "evm_setIntervalMining" | "evm_setAutomine") {
            self.restart_ticker()?;
        }
        Ok(answer)
    }

    /// A transport for alloy's `RpcClient` or `ProviderBuilder`.
    #[must_use]
    pub fn transport(&self) -> EmbeddedTransport {
        EmbeddedTransport::new(self.clone())
    }

    /// An alloy JSON-RPC client on this chain.
    #[must_use]
    pub fn rpc_client(&self) -> RpcClient {
        RpcClient::new(self.transport(), true).with_poll_interval(Duration::from_millis(5))
    }

    /// An alloy provider on this chain, without fillers or a wallet.
    #[must_use]
    pub fn provider(&self) -> DynProvider {
        RootProvider::new(self.rpc_client()).erased()
    }

    /// Opens an HTTP door; port 0 takes a free one. Close it by [`ServedChain::stop`] or by dropping it.
    ///
    /// # Errors
    /// When `address` is not loopback or cannot be bound.
    pub fn serve<'a>(&'a self, address: SocketAddr) -> BoxFuture<'a, std::io::Result<ServedChain>> {
        Box::pin(async move { http::serve(self.clone(), address).await })
    }

    /// EIP-155 chain id.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn chain_id(&self) -> Result<u64, RpcFailure> {
        Ok(self.lock()?.config.chain_id)
    }

    /// Hash of block 0.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn genesis_hash(&self) -> Result<B256, RpcFailure> {
        let node = self.lock()?;
        node.block(0)
            .map(|block| block.hash)
            .ok_or_else(|| RpcFailure::internal("no genesis block"))
    }

    /// Number of the newest block.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn height(&self) -> Result<u64, RpcFailure> {
        Ok(self.lock()?.height())
    }

    /// Adds `wei` to a balance, without a transaction.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn fund(&self, address: Address, wei: U256) -> Result<(), RpcFailure> {
        self.lock()?
            .change_head(address, |head| head.balance = head.balance.saturating_add(wei));
        Ok(())
    }

    /// Mines `count` blocks.
    ///
    /// # Errors
    /// When `count` is above 100,000.
    pub fn mine(&self, count: u64) -> Result<(), RpcFailure> {
        self.lock()?.mine_many(count, 0)
    }

    /// Moves the time of the next blocks ahead.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn increase_time(&self, by_s: u64) -> Result<(), RpcFailure> {
        self.lock()?.core.travel.increase(by_s);
        Ok(())
    }

    /// Turns automine (a block per accepted transaction) on or off; interval mining ends either way.
    ///
    /// # Errors
    /// Only if an earlier call panicked.
    pub fn set_automine(&self, automine: bool) -> Result<(), RpcFailure> {
        self.lock()?.mining = node::Mining {
            automine,
            interval_s: None,
        };
        self.restart_ticker()
    }

    /// Replaces the newest `depth` blocks by empty ones; their transactions and the mempool are lost.
    ///
    /// # Errors
    /// When there are not that many blocks.
    pub fn reorg(&self, depth: u64) -> Result<(), RpcFailure> {
        self.lock()?.reorg(depth, &[])
    }

    fn lock(&self) -> Result<MutexGuard<'_, Node>, RpcFailure> {
        self.0
            .node
            .lock()
            .map_err(|_| RpcFailure::internal("the embedded chain panicked earlier: its state is lost"))
    }

    fn restart_ticker(&self) -> Result<(), RpcFailure> {
        let interval_s = self.lock()?.mining.interval_s;
        let mut ticker = self.0.ticker.lock().map_err(RpcFailure::internal)?;
        if let Some(old) = ticker.take() {
            old.abort();
        }
        if let Some(seconds) = interval_s {
            let runtime = tokio::runtime::Handle::try_current()
                .map_err(|_| RpcFailure::server("interval mining needs a tokio runtime"))?;
            let chain = Arc::downgrade(&self.0);
            *ticker = Some(runtime.spawn(tick(chain, Duration::from_secs(seconds))));
        }
        Ok(())
    }
}

/// Mines a block per period until the chain is dropped or the task aborted.
async fn tick(chain: Weak<Shared>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = chain.upgrade() else { return };
        if let Err(failure) = EmbeddedChain(shared).mine(1) {
            tracing::error!(%failure, "interval mining stopped");
            return;
        }
    }
}
