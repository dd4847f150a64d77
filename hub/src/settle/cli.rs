//! The command line of `settle`: what the words mean. [`super::run`] does the work.

pub use super::{args::*, args_batch::*};
use super::{cooperative, exit::Exit, run};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Leave or defend a payment channel alone, with the hub gone: from an evidence file, a node and a key.
#[derive(Parser, Debug)]
#[command(name = "settle", version, arg_required_else_help = true, after_help = help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON document; amounts are decimal strings in base units.
    #[arg(long, global = true, conflicts_with_all = ["table", "ndjson"])]
    pub json: bool,
    /// Print tables for people (the default).
    #[arg(long, global = true, conflicts_with = "ndjson")]
    pub table: bool,
    /// Print one JSON object per line: progress and events as they happen, then the result.
    #[arg(long, global = true)]
    pub ndjson: bool,
}

impl Cli {
    /// How results are printed.
    #[must_use]
    pub fn format(&self) -> Format {
        match (self.json, self.ndjson) {
            (_, true) => Format::Ndjson,
            (true, false) => Format::Json,
            (false, false) => Format::Table,
        }
    }
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the channel on chain, who gets what, and what to do next. Needs no key.
    Status(ChainArgs),
    /// Who gets what under each course of events, every step with its gas, every deadline. Sends nothing, needs no key.
    Plan(PlanArgs),
    /// Start a dispute, show the evidence and resolve its locks in the same transaction; with --wait, in as many as the locks
    /// need. Pays out after the challenge period.
    Dispute(DisputeArgs),
    /// Show evidence: in the window of a dispute, or as a checkpoint while the channel is open.
    Submit(SubmitArgs),
    /// Count the locks whose witnesses are known, in a running dispute, without showing a voucher.
    Resolve(ResolveArgs),
    /// Pay out a dispute whose time is over. Anybody may.
    Finalize(SendArgs),
    /// Fetch a payout that could not be delivered.
    Claim(ClaimArgs),
    /// Pay out at once by a close that both sides signed.
    #[command(after_help = cooperative::HELP)]
    Close(CooperativeArgs),
    /// Pay one side by a withdrawal that both sides signed; the channel stays open.
    #[command(after_help = cooperative::HELP)]
    Withdraw(CooperativeArgs),
    /// End a running dispute by a message that both sides signed; the channel is open again.
    #[command(after_help = cooperative::HELP)]
    CancelDispute(CooperativeArgs),
    /// Countersign your evidence for a watchtower, which can then defend you with nothing but a key for gas.
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Guard channels for others: answer every dispute with the newest package, finalize when it is time.
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArgs),
    /// The verbs over evidence files or directories of them, with one key or many.
    #[command(after_help = BATCH_HELP)]
    Batch(BatchArgs),
    /// Print the address of a key: a watchtower's, for `export --submitter`. Asks no node.
    #[command(after_help = "  settle address --key-file gas.key")]
    Address(KeyArgs),
    /// Check an evidence file or a receipt offline: every signature, lock, preimage and acknowledgement. Of a witness for a
    /// resolver only the chain can tell.
    Verify(VerifyArgs),
}

const BATCH_HELP: &str = "\
  settle batch dispute  --dir exits --rpc-url URL --keys keys --broadcast --wait
  settle batch resolve  --dir exits --rpc-url URL --keys keys --broadcast --wait
  settle batch finalize --dir exits --rpc-url URL --key-file any.key --broadcast --wait

Where the adjudicator has a call for many (finalize, close, withdraw, and submit of a hub's side) up to 50 channels of one hub
and token share a transaction; it is halved when it would need more than 2^24 gas (EIP-7825) or the node refuses it. The
other verbs send one transaction after the other. A channel that fails does not stop the others: the table says why.
What was sent is in the journal before it leaves (settle.journal in the directory named first): repeat a run that was killed.";

const EXPORT_HELP: &str = "\
The key must be the SIGNER's of your side. The package holds your newest received voucher and its countersignature
(`Accept`), and neither witnesses nor what you sent. Export again after payments: a watchtower shows only what it has.
A submitter cannot resolve locks: the adjudicator takes a witness from the account or signer of your side only. Shown with the
voucher, locks keep the dispute open until they expire: come back before, or run `settle watch` yourself over the evidence file
with your signer's key.

  settle export --evidence alice.json --key-file signer.key --submitter 0x... --out tower/alice.json";

const WATCH_HELP: &str = "\
  settle watch --dir tower --rpc-url URL --key-file gas.key --broadcast --ndjson
  settle watch --dir tower --rpc-url URL --key-file gas.key --broadcast --once     from cron

Packages are made by `settle export` for the address of this key, which the first line tells (and `settle address`). A file may be replaced at any time (write beside it,
then rename): the newer voucher is used, an older or damaged one is reported and left aside. A file that vanishes is
guarded until the end of the process. Nothing is kept but the journal of what was sent; stop and start it as you like.
Each side of a channel is guarded by its own packages, and the two are never compared: the other side cannot displace yours.
It answers by R21: in a dispute the newest voucher is always shown, whoever gains by that, so nobody falls below what
both sides signed. Evidence of the key's own side works like a package, and its locks are resolved, too.

Events (--ndjson): watching, listening, guarding, replaced, kept, bad_file, vanished, open, disputed, cancelled, closed, due, sent, bumped, mined, reverted, lost,
alarm, too_late, cannot, unreachable, stale, looked. `stale`: the newest block is older than --stale-after-s, so a dispute may
be running that the node does not show; with --once exit 6. Against a node that lies, name several: --rpc-url A --rpc-url B
--rpc-url C, of which --agree (2 here) must say the same.";

fn help() -> String {
    format!(
        "{}\nTables and JSON go to stdout, words to stderr.\n\n\
         A complete exit:\n  settle verify   --evidence alice.json\n  \
         settle plan     --evidence alice.json --rpc-url URL\n  \
         settle dispute  --evidence alice.json --rpc-url URL --key-file alice.key --broadcast --wait\n  \
         settle finalize --evidence alice.json --rpc-url URL --key-file alice.key --broadcast --wait\n\n\
         Keys elsewhere: --signer http://127.0.0.1:9000 --signer-address 0x... (web3signer, clef: eth_signTransaction, and\n\
         eth_signTypedData_v4 for `export`). What comes back is compared with what was asked; a signer that changes anything\n\
         is refused.",
        Exit::help()
    )
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Signals, timers and sockets; one thread is enough.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exit = match runtime {
        Ok(runtime) => runtime.block_on(run::run(cli)),
        Err(_) => Exit::Internal,
    };
    ExitCode::from(exit.code())
}
