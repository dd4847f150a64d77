//! `hub serve`: arguments, and the assembly of everything around an engine.

use super::{Failure, data, words};
use crate::{
    backup::BackupOptions,
    driver::Operator,
    engine::Engine,
    ops::{self, Config, Readiness, SecretRef, Shutdown, desk::Desk},
    session::{self, Settings},
};
use anyhow::Context;
use futures::future::BoxFuture;
use protocol_spec::SignerKey;
use std::path::PathBuf;
use tokio::net::TcpListener;

const EXAMPLES: &str = "\
  hub serve                                  with ./hub.toml
  hub serve --config /srv/hub/hub.toml
  hub serve --check                          check configuration, keys, nodes and the database, then exit (codes below)
  HUB_LOG__FILTER=debug hub serve            any key can be set from the environment

SIGTERM or SIGINT drains: no new connections, calls under way are answered, everything durable, exit within 5 s.
The embedded chain's rpc, adjudicator, token and funded account are in the log line that begins with EMBEDDED CHAIN.
A second signal exits at once. --check exits with 0 (good), 3 (configuration or key refused) or 5 (chain, adjudicator or
database refused), and prints `name value` lines: chain_id, database (good, new, in_use, embedded), hub_signer, owner.
Health: http://127.0.0.1:9945/readyz, metrics: /metrics (see [ops]).";

/// Arguments of `hub serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// The configuration `hub init` wrote.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    /// Only check configuration, keys, nodes, and that the database is this hub's; serve nothing, change nothing.
    #[arg(long)]
    pub check: bool,
}

/// A configuration that passed, with its keys.
#[derive(Debug)]
pub struct Prepared {
    /// Checked.
    pub config: Config,
    /// Signs vouchers and receipts.
    pub hub_signer: SignerKey,
    /// Owns the vault, pays for gas.
    pub owner: SignerKey,
    /// Where the backups go, if they go anywhere.
    pub backup: Option<BackupOptions>,
}

/// An engine that runs.
pub struct Started {
    /// What sessions talk to.
    pub engine: Engine,
    /// What the operator's door asks.
    pub operator: Operator,
    /// Awaited after the last session is gone: make everything durable and stop.
    pub finish: BoxFuture<'static, anyhow::Result<()>>,
}

/// Reads configuration and keys.
pub fn prepare(args: &ServeArgs) -> Result<Prepared, Failure> {
    let config = Config::load(&args.config)?;
    let load = |name: &'static str, key: &SecretRef| key.load().map_err(|error| Failure::Key { name, error });
    let hub_signer = load("keys.hub_signer", &config.keys.hub_signer)?;
    let owner = load("keys.owner", &config.keys.owner)?;
    let backup = super::backup::options(&config)?;
    Ok(Prepared {
        config,
        hub_signer,
        owner,
        backup,
    })
}

/// Runs `hub serve`.
pub fn serve(args: ServeArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let prepared = prepare(&args)?;
        if args.check {
            return check(prepared).await;
        }
        serve_with(prepared, crate::app::serve::start_engine).await
    })
}

/// `--check`: everything that a start needs, and then no start.
async fn check(prepared: Prepared) -> Result<(), Failure> {
    ops::logging::start(&prepared.config.log.filter)?;
    words("configuration and keys are good");
    let (signer, owner) = (prepared.hub_signer.address(), prepared.owner.address());
    let checked = crate::app::serve::check(prepared).await.map_err(Failure::Start)?;
    match (checked.chain_id, checked.database) {
        (None, _) => words("the embedded chain needs no node, and has a new database at every start"),
        (Some(_), "in_use") => words("nodes are good; a hub runs on the database, so that was not read"),
        (Some(_), database) => words(&format!("nodes are good, the database is {database}")),
    }
    let chain = checked
        .chain_id
        .map_or(String::new(), |id| format!("chain_id {id}\n"));
    data(&format!(
        "{chain}database {}\nhub_signer {signer}\nowner {owner}",
        checked.database
    ))
}

/// Everything around an engine: logs, metrics, signals, both doors, drain. `start` gets the prepared configuration,
/// the table of readiness (condition `engine` is fulfilled when it returns) and the switch.
pub async fn serve_with<F>(
    prepared: Prepared,
    start: impl FnOnce(Prepared, Readiness, Shutdown) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = anyhow::Result<Started>>,
{
    ops::logging::start(&prepared.config.log.filter)?;
    let shutdown = Shutdown::new();
    let work = assemble(prepared, start, shutdown.clone());
    tokio::select! {
        outcome = work => outcome,
        signals = ops::watch_signals(shutdown) => match signals {
            Ok(()) => Err(Failure::Interrupted),
            Err(error) => Err(Failure::Running(error.into())),
        },
    }
}

async fn assemble<F>(
    prepared: Prepared,
    start: impl FnOnce(Prepared, Readiness, Shutdown) -> F,
    shutdown: Shutdown,
) -> Result<(), Failure>
where
    F: Future<Output = anyhow::Result<Started>>,
{
    let metrics = ops::door::install_metrics()
        .context("metrics")
        .map_err(Failure::Start)?;
    let readiness = Readiness::waiting_for(&["engine", "sessions"]);
    let config = prepared.config.clone();
    let address = config.ops.listen;
    let door = TcpListener::bind(address)
        .await
        .with_context(|| format!("ops.listen: {address}"))
        .map_err(Failure::Start)?;
    // Both doors are taken before the engine starts: an address in use must not cost a replay.
    let address = config.server.listen;
    let listener = session::bind(address)
        .with_context(|| format!("server.listen: {address}"))
        .map_err(Failure::Start)?;
    // The operator's door outlives the drain.
    let (door_closes, desk) = (Shutdown::new(), Desk::default());
    let door = tokio::spawn(ops::door::serve(
        door,
        metrics,
        readiness.clone(),
        desk.clone(),
        door_closes.clone(),
    ));
    let served = async {
        let started = start(prepared, readiness.clone(), shutdown.clone()).await;
        let started = started.map_err(Failure::Start)?;
        // Now its database is locked: no other hub's token is replaced.
        desk.open(started.operator.clone(), &config.data_dir)
            .with_context(|| format!("{}", ops::desk::token_file(&config.data_dir).display()))
            .map_err(Failure::Start)?;
        readiness.fulfil("engine");
        let served = serve_engine(&config, listener, started, readiness, shutdown).await;
        served.map_err(Failure::Running)
    };
    let outcome = served.await;
    door_closes.trigger();
    let door = door.await.context("the operator's door");
    door.and_then(|door| Ok(door?)).map_err(Failure::Running)?;
    outcome
}

/// Serves sessions for an engine until `shutdown`; then drains them and lets the engine finish.
pub fn serve_engine<'a>(
    config: &'a Config,
    listener: TcpListener,
    started: Started,
    readiness: Readiness,
    shutdown: Shutdown,
) -> BoxFuture<'a, anyhow::Result<()>> {
    Box::pin(async move {
        let settings = Settings {
            allowed_hosts: config.server.allowed_hosts.clone(),
            allowed_origins: config.server.allowed_origins.clone(),
            limits: ops::files::fit(config.limits),
            ..Settings::default()
        };
        let address = listener.local_addr()?;
        tracing::info!(%address, server = config.server.name, "serving");
        readiness.fulfil("sessions");
        let red = {
            let (readiness, shutdown) = (readiness.clone(), shutdown.clone());
            async move {
                shutdown.triggered().await;
                readiness.fail("sessions", "draining");
            }
        };
        let sessions = session::serve_tcp(listener, started.engine, settings, shutdown);
        let (drained, ()) = futures::join!(sessions, red);
        tracing::info!(cut_off = drained.cut_off, "sessions are gone");
        started.finish.await.context("the engine did not finish")
    })
}
