//! The command line of `settle`: what the words mean. [`super::run`] does the work.

use super::{exit::Exit, run};
use clap::{Args, Parser, Subcommand};
use protocol_spec::Address;
use std::{path::PathBuf, process::ExitCode};

/// Leave or defend a payment channel alone, with the hub gone: from an evidence file, a node and a key.
#[derive(Parser, Debug)]
#[command(name = "settle", version, arg_required_else_help = true, after_help = help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON instead of tables; amounts are decimal strings in base units.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the channel on chain, who gets what, and what to do next. Needs no key.
    Status(ChainArgs),
    /// Start a dispute and show the evidence in the same transaction. Pays out after the challenge period.
    Dispute(DisputeArgs),
    /// Show evidence: in the window of a dispute, or as a checkpoint while the channel is open.
    Submit(SubmitArgs),
    /// Pay out a dispute whose time is over. Anybody may.
    Finalize(SendArgs),
    /// Fetch a payout that could not be delivered.
    Claim(ClaimArgs),
    /// Check an evidence file or a receipt offline: every signature, lock, preimage and acknowledgement.
    Verify(VerifyArgs),
}

/// Evidence and node.
#[derive(Args, Debug)]
pub struct ChainArgs {
    /// The evidence file of your side of the channel.
    #[arg(long, value_name = "FILE")]
    pub evidence: PathBuf,
    /// A node of the channel's chain: http, https, ws or wss.
    #[arg(long, value_name = "URL", env = "SETTLE_RPC_URL", hide_env_values = true)]
    pub rpc_url: String,
}

/// Evidence, node, key, and whether to send.
#[derive(Args, Debug)]
pub struct SendArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub chain: ChainArgs,
    /// File with the sender's private key: 64 hex digits, mode 0600.
    #[arg(long, value_name = "PATH", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,
    /// Environment variable with the sender's private key.
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
    /// Sender of a dry run without a key; the account of your side when absent.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["key_env", "key_file", "broadcast"])]
    pub from: Option<Address>,
    /// Only here to refuse a key on the command line.
    #[arg(long, alias = "private-key", hide = true)]
    pub key: Option<String>,
    /// Send it. Without this nothing leaves: the call is simulated and priced.
    #[arg(long)]
    pub broadcast: bool,
    /// After sending, wait for this many confirmations (1 when no number is given) and check receipt and event.
    #[arg(long, value_name = "CONFIRMATIONS", num_args = 0..=1, require_equals = true,
        default_missing_value = "1", requires = "broadcast")]
    pub wait: Option<u64>,
}

/// `submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    /// Go on although it would lose money.
    #[arg(long)]
    pub force: bool,
}

/// `dispute`.
#[derive(Args, Debug)]
pub struct DisputeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    /// Go on although it would lose money.
    #[arg(long)]
    pub force: bool,
    /// Start the dispute and show nothing: for a side that only paid, whose evidence only acknowledges that.
    #[arg(long)]
    pub without_evidence: bool,
}

/// `claim`.
#[derive(Args, Debug)]
pub struct ClaimArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    /// The token; zero address for the native coin; the channel's own when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub token: Option<Address>,
    /// Where the money goes.
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// An evidence file; with --receipt, the payee's, whose config names the hub's signer.
    #[arg(long, value_name = "FILE", required_unless_present = "receipt")]
    pub evidence: Option<PathBuf>,
    /// A receipt file.
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// The hub's signer, for a receipt without the payee's evidence.
    #[arg(long, value_name = "ADDRESS", requires = "receipt")]
    pub hub_signer: Option<Address>,
}

fn help() -> String {
    format!(
        "{}\nTables and JSON go to stdout, words to stderr.\n\n\
         A complete exit:\n  settle verify   --evidence alice.json\n  \
         settle status   --evidence alice.json --rpc-url URL\n  \
         settle dispute  --evidence alice.json --rpc-url URL --key-file alice.key --broadcast --wait\n  \
         settle finalize --evidence alice.json --rpc-url URL --key-file alice.key --broadcast --wait",
        Exit::help()
    )
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exit = match runtime {
        Ok(runtime) => runtime.block_on(run::run(cli)),
        Err(_) => Exit::Internal,
    };
    ExitCode::from(exit.code())
}
