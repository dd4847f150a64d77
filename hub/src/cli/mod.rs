//! The command line of `hub`: what it takes, what it prints, how it exits.
//!
//! stdout carries data, stderr carries words; [`Failure`] decides every exit code.

pub mod accept_loss;
mod ask;
pub mod backup;
pub mod bench;
pub mod demo;
pub mod deploy;
mod exit;
pub mod init;
pub mod liquidity;
pub mod restore;
pub mod sealed_key;
pub mod serve;
pub mod settle_now;
pub mod vault;

pub use exit::Failure;

use anyhow::anyhow;
use clap::{Parser, Subcommand};
use std::{
    io::{self, Write},
    panic,
    process::{self, ExitCode},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

const EXAMPLES: &str = "\
Start a hub of your own:
  hub init --dir ./myhub               write myhub/hub.toml and its keys
  hub serve --config ./myhub/hub.toml  run it, on its embedded development chain
  hub deploy --rpc-url URL --key REF   put the contract on a chain that has none
  hub vault show                       what the hub holds on chain; also deposit and withdraw
  hub liquidity                        the running hub's reserves, and what it would do about them
  hub settle-now                       send what it has gathered for the chain

Keep it safe:
  hub backup verify DIR                what a backup covers, and whether every byte of it is as it was written
  hub backup seal-key --out FILE       the backup's key, sealed with a passphrase
  hub restore --from DIR               a database from a backup, after the old one was lost
  hub accept-loss --all                after a restore: go on with channels whose clients never come back

See everything at once:
  hub demo                             a chain, a hub, 100 paying clients, a crash, settlement
  hub bench                            how many payments a second this machine takes, each signed and durable

Exit codes: 0 done; 1 failed while running; 2 wrong usage; 3 configuration, key or file refused;
4 the sums of demo or bench do not add up; 5 did not start: chain, database or address refused;
6 a backup is damaged or too old; 7 refused, and nothing was changed; 130 interrupted twice.
Data goes to stdout, words and logs to stderr. RUST_LOG=debug shows more.";

/// Longest wait for blocking work at the end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// The arguments of `hub`.
#[derive(Debug, Parser)]
#[command(name = "hub", version, about = "Channel Hub: netting payment channels, settled on an EVM chain", after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `hub` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an annotated configuration and new keys.
    Init(init::InitArgs),
    /// Run the hub until SIGTERM or SIGINT.
    Serve(serve::ServeArgs),
    /// Put the adjudicator contract on a chain that has none.
    Deploy(deploy::DeployArgs),
    /// Look at the hub's money on chain, pay in, take out.
    Vault(vault::VaultArgs),
    /// Check a backup, or seal its key with a passphrase.
    Backup(backup::BackupArgs),
    /// Make a database of a backup.
    Restore(restore::RestoreArgs),
    /// Go on with channels in doubt, at their loss.
    AcceptLoss(accept_loss::AcceptLossArgs),
    /// Show the running hub's reserves, and what it would do about them now.
    Liquidity(liquidity::LiquidityArgs),
    /// Make the running hub send what it has gathered for the chain.
    SettleNow(settle_now::SettleNowArgs),
    /// Show the whole system at work on this machine.
    Demo(demo::DemoArgs),
    /// Load a hub and measure it.
    Bench(bench::BenchArgs),
}

/// What the binary brings along: it plays the hub's clients, with the SDK, on which this library does not depend.
#[async_trait::async_trait(?Send)]
pub trait Plays: Sync {
    /// Runs `hub demo`.
    async fn demo(&self, args: demo::DemoArgs) -> Result<(), Failure>;
    /// Runs `hub bench`.
    async fn bench(&self, args: bench::BenchArgs) -> Result<(), Failure>;
}

/// Parses the process's arguments and runs them. The whole of `main`.
#[must_use]
pub fn main(plays: &dyn Plays) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come here too; clap knows which stream they belong to.
        Err(error) => {
            let printed = error.print();
            return exit::code_of_usage(error.use_stderr() || printed.is_err());
        }
    };
    let outcome = match runtime() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli, plays));
            // A backup's disk that hangs does not keep the process.
            runtime.shutdown_timeout(SHUTDOWN_MAX);
            outcome
        }
        Err(error) => Err(Failure::Running(error.into())),
    };
    exit::report(outcome)
}

/// Tokio panics when the system gives it no thread, and then waits for ever for those that it got: the process ends instead.
fn runtime() -> io::Result<Runtime> {
    panic::set_hook(Box::new(|panicked| {
        let failure = Failure::Start(anyhow!("{panicked}"));
        words(&format!("hub: {failure}"));
        process::exit(failure.code().into());
    }));
    let runtime = Builder::new_multi_thread().enable_all().build();
    drop(panic::take_hook());
    runtime
}

async fn run(cli: Cli, plays: &dyn Plays) -> Result<(), Failure> {
    match cli.command {
        Command::Init(args) => init::init(&args),
        Command::Serve(args) => serve::serve(args).await,
        Command::Deploy(args) => deploy::deploy(args).await,
        Command::Vault(args) => vault::vault(args).await,
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => restore::restore(args).await,
        Command::AcceptLoss(args) => accept_loss::accept_loss(args).await,
        Command::Liquidity(args) => liquidity::liquidity(args).await,
        Command::SettleNow(args) => settle_now::settle_now(args).await,
        Command::Demo(args) => plays.demo(args).await,
        Command::Bench(args) => plays.bench(args).await,
    }
}

/// Writes data to stdout. Errors: stdout is closed.
fn data(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Running(error.into()))
}

/// Writes words to stderr. A closed stderr is no reason to fail.
fn words(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
