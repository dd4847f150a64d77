//! The daemon put together: store, engine, chain driver; and taken apart again in order.

pub mod contracts;
pub mod dev;
pub mod first_start;
mod ports;
pub mod serve;
mod watch_chain;

pub use ports::Ports;
use ports::{Opened, Refused};

use crate::{
    backup::{Backup, BackupError},
    chain::{Chain, ChainError},
    driver::{Ask, Budget, ChainStatus, Checker, Driver, DriverOptions, Management, Operator},
    engine::{self, ControlHandle, Engine, EngineChoice, EngineOptions, Signatures, StartError},
    execution::Execution,
    ledger::Policy,
    now::Now,
    store::{Identity, OpenError, ShardId, Store},
};
use alloy::primitives::B256;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol_spec::{Address, Domain, SignerKey, message::HubInfo};
use std::{sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinHandle},
};

/// Version of the bytes in the database.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Longest time between checkpoints, and most records between them.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
const CHECKPOINT_RECORDS: u64 = 20_000;

/// Everything a hub is made of.
pub struct Setup {
    /// Time, threads and disk.
    pub ports: Ports,
    /// The chain, sending from the hub's own account.
    pub chain: Arc<dyn Chain>,
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
    /// What gas may cost.
    pub budget: Budget,
    /// When reserves are moved, and when what can wait is settled.
    pub management: Management,
    /// First block to read for a new database; none: the newest confirmed one.
    pub from_block: Option<u64>,
    /// How clients' signatures are verified.
    pub signatures: Signatures,
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
    /// The backup's directory was refused.
    #[error("backup: {0}")]
    Backup(BackupError),
    /// The engine did not start.
    #[error("engine: {0}")]
    Engine(#[from] StartError),
}

/// A running hub without its session server.
pub struct RunningHub {
    /// What sessions talk to.
    pub engine: Engine,
    /// Health of the chain's view.
    pub chain: ChainStatus,
    /// Asks the running ledger.
    pub control: ControlHandle,
    /// Asks the running driver.
    pub operator: Operator,
    /// Set once the process must exit: a commit failed or the guard refused.
    pub failed: watch::Receiver<Option<String>>,
    driver: AbortHandle,
    supervisor: JoinHandle<Result<(), String>>,
    store: Arc<dyn Store>,
    backup: Option<Backup>,
}

impl From<Refused> for AppError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Open(error) => Self::Open(error),
            Refused::Backup(error) => Self::Backup(error),
        }
    }
}

/// Starts a hub: restores, replays, then follows the chain. Serve sessions with its engine; end with [`RunningHub::finish`].
pub fn start(setup: Setup) -> BoxFuture<'static, Result<RunningHub, AppError>> {
    Box::pin(async move {
        let hub = sender(&setup)?;
        let identity = identity(&setup).await?;
        let status = ChainStatus::default();
        // A restored database asks for the time at once: what was opened before it is in doubt (A10).
        status.saw(setup.chain.head().await?);
        let info = hub_info(&setup, hub, identity.chain_id);
        let (own, execution) = (setup.ports.now.clone(), setup.ports.execution);
        let now = {
            let status = status.clone();
            Now::new(move || own.get().max(status.head_timestamp()))
        };
        let rows = setup.ports.rows;
        let Opened { store, backup } = open(setup.ports, identity).await?;
        let delays = setup.policy.delays;
        let running = engine::start(EngineOptions {
            domain: Domain::new(identity.chain_id, setup.adjudicator),
            info,
            policy: setup.policy,
            key: setup.signer.clone(),
            store: store.clone(),
            shard: ShardId(0),
            now: now.clone(),
            execution,
            workers: workers(execution, setup.signatures.engine),
            signatures: setup.signatures,
            checkpoint_every: CHECKPOINT_EVERY,
            checkpoint_records: CHECKPOINT_RECORDS,
            rows,
        })
        .await?;
        let options = DriverOptions {
            chain: setup.chain.clone(),
            adjudicator: setup.adjudicator,
            domain: Domain::new(identity.chain_id, setup.adjudicator),
            hub,
            hub_signer: setup.signer.address(),
            confirmations: setup.confirmations,
            poll_interval: setup.poll_interval,
            resend_after: Duration::from_secs(30),
            delays,
            budget: setup.budget,
            management: setup.management,
        };
        let checker = Checker {
            chain: setup.chain,
            confirmations: setup.confirmations,
            control: running.control.downgrade(),
        };
        // It ends with the engine.
        let checker = tokio::spawn(checker.run(running.checks));
        let (operator, asks) = Operator::new();
        let control = running.control.clone();
        let driver = spawn_driver(options, control, setup.from_block, status.clone(), asks).await?;
        let (sender, failed) = watch::channel(None);
        let abort = driver.abort_handle();
        let tasks = [("chain driver", driver), ("resolver checker", checker)];
        let supervisor = tokio::spawn(supervise(running.fatal, tasks.into(), sender));
        let (engine, control) = (running.engine, running.control);
        let backup = backup.map(|job| job.spawn(hub, now));
        Ok(RunningHub {
            engine,
            chain: status,
            control,
            operator,
            failed,
            driver: abort,
            supervisor,
            store,
            backup,
        })
    })
}

fn sender(setup: &Setup) -> Result<Address, AppError> {
    let without = || AppError::Setup("the chain port has no key to send with".to_owned());
    setup.chain.sender().ok_or_else(without)
}

/// With tables half of the processors verify more than the others can take in, and larger batches fill more lanes.
fn workers(execution: Execution, engine: EngineChoice) -> usize {
    let processors = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    match execution {
        Execution::Threads if engine.has_tables() => processors().div_ceil(2),
        Execution::Threads => processors(),
        Execution::Inline => 1,
    }
}

/// Opening verifies every page: off the runtime's threads.
async fn open(ports: Ports, identity: Identity) -> Result<Opened, AppError> {
    if ports.execution == Execution::Inline {
        return Ok((ports.open)(identity)?);
    }
    let opened = tokio::task::spawn_blocking(move || (ports.open)(identity)).await;
    Ok(opened.map_err(|error| AppError::Setup(error.to_string()))??)
}

/// Watches the engine and the tasks beside it; tells at once when one of them fails.
async fn supervise(
    mut engine: JoinHandle<Result<(), String>>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    failed: watch::Sender<Option<String>>,
) -> Result<(), String> {
    let named = |(name, task): (&'static str, JoinHandle<()>)| task.map(move |ended| (name, ended));
    let mut tasks: FuturesUnordered<_> = tasks.into_iter().map(named).collect();
    loop {
        tokio::select! {
            biased;
            ended = &mut engine => {
                let result = flatten(ended);
                failed.send_replace(Some(result.clone().err().unwrap_or_else(|| "the engine has stopped".to_owned())));
                return result;
            }
            Some((name, ended)) = tasks.next() => {
                // Cancelled by `finish`, or the engine ends in a moment. After a panic nobody would answer disputes, or
                // the payees of locks with a resolver.
                if let Err(error) = ended && error.is_panic() {
                    failed.send_replace(Some(format!("the {name}: {error}")));
                }
            }
        }
    }
}

impl RunningHub {
    /// Ends it, after the session server has returned: everything accepted is made durable and a checkpoint is written.
    /// Errors: a commit failed; the process must exit non-zero.
    pub async fn finish(self) -> Result<(), String> {
        // The handles of driver, sessions and control keep the ledger alive: it ends when the last one is gone.
        self.driver.abort();
        drop((self.engine, self.control));
        let result = flatten(self.supervisor.await);
        if let Some(backup) = self.backup {
            backup.finish().await;
        }
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
    asks: mpsc::Receiver<Ask>,
) -> Result<JoinHandle<()>, AppError> {
    let snapshot = control
        .snapshot()
        .await
        .ok_or_else(|| AppError::Setup("the engine stopped".to_owned()))?;
    let head = options.chain.head().await?;
    let number = from_block.unwrap_or_else(|| head.number.saturating_sub(options.confirmations));
    let from = options.chain.block(number).await?;
    let from = from.ok_or_else(|| AppError::Setup(format!("block {number} is not on the chain")))?;
    let driver = Driver::new(options, control, snapshot.chain, from, status, asks);
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
        now: setup.ports.now.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside a driver that goes on and a task that ended by itself.
    #[tokio::test]
    async fn a_panic_of_any_task_is_told_at_once_and_a_task_that_ends_is_not() {
        let (failed, mut told) = watch::channel(None);
        let engine = tokio::spawn(std::future::pending::<Result<(), String>>());
        let tasks = [
            ("chain driver", tokio::spawn(std::future::pending::<()>())),
            ("done", tokio::spawn(async {})),
            ("resolver checker", tokio::spawn(async { panic!("a bad answer") })),
        ];
        let supervisor = tokio::spawn(supervise(engine, tasks.into(), failed));
        let reason = told.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(
            reason.starts_with("the resolver checker: ") && reason.contains("panic"),
            "{reason}"
        );
        supervisor.abort();
    }
}
