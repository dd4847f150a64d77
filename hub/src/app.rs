//! The daemon put together: store, engine, chain driver, sessions; and taken apart again in order.

use crate::{
    chain::{AlloyChain, Chain, ChainError},
    driver::{ChainStatus, Driver, DriverOptions},
    engine::{self, ControlHandle, EngineOptions, StartError},
    ledger::Policy,
    ops::Shutdown,
    session::{self, Settings},
    store::{Identity, OpenError, RedbStore, ShardId, Store},
};
use alloy::primitives::B256;
use protocol_spec::{Address, Domain, SignerKey, UnixSeconds, message::HubInfo};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::task::JoinHandle;

/// Version of the bytes in the database.
const FORMAT_VERSION: u32 = 1;
/// Longest time between checkpoints, and most records between them.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
const CHECKPOINT_RECORDS: u64 = 20_000;

/// Everything a hub is made of.
pub struct Setup {
    /// Where sessions connect.
    pub listen: SocketAddr,
    /// Directory of the database.
    pub data_dir: PathBuf,
    /// The chain, sending from the hub's own account.
    pub chain: AlloyChain,
    /// The adjudicator on it.
    pub adjudicator: Address,
    /// The voucher key.
    pub signer: SignerKey,
    /// Operator's decisions.
    pub policy: Policy,
    /// Confirmations k.
    pub confirmations: u64,
    /// Pause between looks at the chain.
    pub poll_interval: Duration,
    /// First block to read for a new database; none: the newest confirmed one.
    pub from_block: Option<u64>,
    /// Session limits and allowed names.
    pub sessions: Settings,
}

/// Why the hub did not start. Nothing was signed or sent.
#[derive(Debug, Error)]
pub enum AppError {
    /// The chain could not be asked.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// The chain is there, but not what the configuration says.
    #[error("{0}")]
    Setup(String),
    /// The database was refused.
    #[error("database: {0}")]
    Open(#[from] OpenError),
    /// The engine did not start.
    #[error("engine: {0}")]
    Engine(#[from] StartError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A running hub.
pub struct RunningHub {
    /// Where sessions connect.
    pub address: SocketAddr,
    /// Health of the chain's view.
    pub chain: ChainStatus,
    control: ControlHandle,
    shutdown: Shutdown,
    sessions: JoinHandle<session::Drained>,
    driver: JoinHandle<Result<(), String>>,
    fatal: JoinHandle<Result<(), String>>,
    store: Arc<dyn Store>,
}

/// Starts a hub. It runs until `shutdown`; then await [`RunningHub::finished`].
pub async fn start(setup: Setup, shutdown: Shutdown) -> Result<RunningHub, AppError> {
    let hub = setup
        .chain
        .sender()
        .ok_or_else(|| AppError::Setup("the chain port has no key to send with".to_owned()))?;
    let identity = identity(&setup).await?;
    let domain = Domain::new(identity.chain_id, setup.adjudicator);
    // Opening verifies every page: off the runtime's threads.
    let path = setup.data_dir.join("store");
    let opened = tokio::task::spawn_blocking(move || RedbStore::open(&path, identity)).await;
    let store: Arc<dyn Store> = Arc::new(opened.map_err(|error| AppError::Setup(error.to_string()))??);

    let status = ChainStatus::default();
    let now = {
        let status = status.clone();
        Arc::new(move || wall_clock().max(status.head_timestamp()))
    };
    let info = hub_info(&setup, hub, identity.chain_id);
    let running = engine::start(EngineOptions {
        domain,
        info,
        policy: setup.policy,
        key: setup.signer.clone(),
        store: store.clone(),
        shard: ShardId(0),
        now,
        workers: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        checkpoint_every: CHECKPOINT_EVERY,
        checkpoint_records: CHECKPOINT_RECORDS,
    })
    .await?;

    let options = DriverOptions {
        chain: Arc::new(setup.chain),
        adjudicator: setup.adjudicator,
        hub,
        hub_signer: setup.signer.address(),
        confirmations: setup.confirmations,
        poll_interval: setup.poll_interval,
        resend_after: Duration::from_secs(30),
    };
    let driver = spawn_driver(options, running.control.clone(), setup.from_block, status.clone()).await?;
    let listen = |source| AppError::Listen {
        address: setup.listen,
        source,
    };
    let listener = session::bind(setup.listen).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let sessions = tokio::spawn(session::serve(
        listener,
        running.engine,
        setup.sessions,
        shutdown.clone(),
    ));
    let control = running.control;
    Ok(RunningHub {
        address,
        chain: status,
        control,
        shutdown,
        sessions,
        driver,
        fatal: running.fatal,
        store,
    })
}

impl RunningHub {
    /// Asks the running ledger.
    #[must_use]
    pub fn control(&self) -> &ControlHandle {
        &self.control
    }

    /// Waits for the end: after `shutdown`, everything accepted is made durable and a checkpoint is written.
    /// Errors: the process must exit non-zero at once (a commit failed, the guard refused, a confirmed block vanished).
    pub async fn finished(mut self) -> Result<(), String> {
        let early = tokio::select! {
            ended = &mut self.fatal => Some(flatten(ended)),
            ended = &mut self.driver => Some(flatten(ended)),
            () = self.shutdown.triggered() => None,
        };
        if let Some(result) = early {
            return result.and_then(|()| Err("the engine stopped by itself".to_owned()));
        }
        // Sessions first: their calls still go through. Then the driver, whose handle keeps the ledger alive.
        if let Err(error) = self.sessions.await {
            tracing::warn!(%error, "the session server ended badly");
        }
        self.driver.abort();
        let _ = self.driver.await;
        drop(self.control);
        let result = flatten(self.fatal.await);
        drop(self.store);
        result
    }
}

fn flatten(ended: Result<Result<(), String>, tokio::task::JoinError>) -> Result<(), String> {
    ended.map_err(|error| error.to_string()).and_then(|result| result)
}

async fn spawn_driver(
    options: DriverOptions,
    control: ControlHandle,
    from_block: Option<u64>,
    status: ChainStatus,
) -> Result<JoinHandle<Result<(), String>>, AppError> {
    let snapshot = control
        .snapshot()
        .await
        .ok_or_else(|| AppError::Setup("the engine stopped".to_owned()))?;
    let head = options.chain.head().await?;
    let number = from_block.unwrap_or_else(|| head.number.saturating_sub(options.confirmations));
    let from = options.chain.block(number).await?;
    let from = from.ok_or_else(|| AppError::Setup(format!("block {number} is not on the chain")))?;
    let driver = Driver::new(options, control, snapshot.chain, from, status);
    Ok(tokio::spawn(driver.run()))
}

/// What the database is pinned to. Errors: there is no contract at the adjudicator's address.
async fn identity(setup: &Setup) -> Result<Identity, AppError> {
    let code_hash = setup.chain.code_hash(setup.adjudicator).await?;
    let empty = alloy::primitives::KECCAK256_EMPTY;
    if code_hash == empty || code_hash == B256::ZERO {
        return Err(AppError::Setup(format!(
            "there is no contract at {}",
            setup.adjudicator
        )));
    }
    Ok(Identity {
        format_version: FORMAT_VERSION,
        chain_id: setup.chain.chain_id().await?,
        genesis_hash: setup.chain.genesis_hash().await?.0,
        adjudicator: setup.adjudicator.into_array(),
        code_hash: code_hash.0,
        hub_signer: setup.signer.address().into_array(),
    })
}

fn hub_info(setup: &Setup, hub: Address, chain_id: u64) -> HubInfo {
    HubInfo {
        server: setup.policy.server.clone(),
        chain_id,
        adjudicator: setup.adjudicator,
        hub,
        hub_signer: setup.signer.address(),
        hub_public_key: setup.signer.public().to_compressed().to_vec(),
        tokens: setup.policy.tokens.iter().map(|tariff| tariff.token).collect(),
        challenge_period_s: setup.policy.challenge_period_s,
        confirmations: setup.confirmations,
        now: wall_clock(),
    }
}

/// The own clock.
fn wall_clock() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(since.as_secs())
}
