//! The options of `settle batch`.

use super::args::{NodeArgs, TxArgs};
use clap::{Args, Subcommand};
use protocol_spec::Address;
use std::path::PathBuf;

/// `batch`.
#[derive(Args, Debug)]
pub struct BatchArgs {
    /// What to do with every channel.
    #[command(subcommand)]
    pub verb: BatchVerb,
}

/// The verbs that `batch` knows.
#[derive(Subcommand, Debug)]
pub enum BatchVerb {
    /// Who gets what in every channel, and in all.
    Plan(BatchPlanArgs),
    /// Start a dispute in every open channel.
    Dispute(BatchDisputeArgs),
    /// Show what the evidence adds, in every channel.
    Submit(BatchSendArgs),
    /// Count the locks whose witnesses are known, in every running dispute; with --wait until none is left.
    Resolve(BatchSendArgs),
    /// Pay out every dispute that is final, many in one transaction.
    Finalize(BatchSendArgs),
    /// Pay out at once what both sides signed, many in one transaction.
    #[command(after_help = MESSAGES_HELP)]
    Close(BatchMessageArgs),
    /// Pay one side by withdrawals that both sides signed, many in one transaction.
    #[command(after_help = MESSAGES_HELP)]
    Withdraw(BatchMessageArgs),
    /// End disputes by messages that both sides signed.
    #[command(after_help = MESSAGES_HELP)]
    CancelDispute(BatchMessageArgs),
    /// Fetch every payout that could not be delivered: once for each account and token.
    Claim(BatchClaimArgs),
}

const MESSAGES_HELP: &str = "\
Messages and evidence are matched by channel, whatever the files are called. In a directory messages for other commands are
left aside. `settle close --help` has the form of a message.";

/// `batch plan`.
#[derive(Args, Debug)]
pub struct BatchPlanArgs {
    /// An evidence file, or a directory with them: every *.json in it. May be given several times.
    #[arg(
        long = "dir",
        visible_alias = "evidence",
        value_name = "PATH",
        required = true
    )]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub node: NodeArgs,
}

/// `batch dispute`.
#[derive(Args, Debug)]
pub struct BatchDisputeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: BatchSendArgs,
    /// Start the disputes and show nothing: for channels in which you only paid, whose evidence only acknowledges that.
    #[arg(long)]
    pub without_evidence: bool,
}

/// `batch close`, `withdraw`, `cancel-dispute`.
#[derive(Args, Debug)]
pub struct BatchMessageArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: BatchSendArgs,
    /// A file with a message of both sides, or a directory with them (every *.json), which must not be that of the evidence.
    /// May be given several times.
    #[arg(long, value_name = "PATH", required = true)]
    pub messages: Vec<PathBuf>,
}

/// `batch claim`.
#[derive(Args, Debug)]
pub struct BatchClaimArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: BatchSendArgs,
    /// The token; zero address for the native coin; each channel's own when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub token: Option<Address>,
    /// Where the money goes.
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
}

/// `batch dispute`, `submit`, `resolve`, `finalize`, and what the other commands share with them.
#[derive(Args, Debug)]
pub struct BatchSendArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub plan: BatchPlanArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub tx: TxArgs,
    /// More keys: a key file, or a directory with them (every *.key). May be given several times. What only the payee may do
    /// goes with the key of the evidence's account or signer, and which evidence has none is told; what anybody may do goes
    /// with the first that can.
    #[arg(long, value_name = "PATH", conflicts_with = "from")]
    pub keys: Vec<PathBuf>,
    /// Go on although it would lose money.
    #[arg(long)]
    pub force: bool,
}
