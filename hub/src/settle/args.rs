//! The options of `settle`, in groups that the commands share.

use super::{hd_path::HdPath, node::STALE_AFTER_S, text::gwei};
use clap::{Args, ValueEnum};
use protocol_spec::{Address, UnixSeconds};
use std::path::PathBuf;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One indented JSON document.
    Json,
    /// One JSON object per line: progress and events as they happen, then the result.
    Ndjson,
}

/// A node, or several.
#[derive(Args, Debug, Clone)]
pub struct NodeArgs {
    /// A node of the channel's chain: http, https, ws or wss. Give it several times (or separate by commas): one node alone
    /// can hide a dispute. What is read then counts only when --agree of them say the same, and transactions go to all.
    #[arg(
        long,
        value_name = "URL",
        env = "SETTLE_RPC_URL",
        hide_env_values = true,
        required = true,
        value_delimiter = ','
    )]
    pub rpc_url: Vec<String>,
    /// How many nodes must give the same answer; more than half of them when absent. With 2 of 3, one may lie or be down.
    #[arg(long, value_name = "N")]
    pub agree: Option<usize>,
    /// From this age of the newest block on, by this machine's clock, the nodes are said to be stuck: what they show is
    /// not what the chain is now.
    #[arg(long, value_name = "SECONDS", default_value_t = STALE_AFTER_S)]
    pub stale_after_s: u64,
}

/// Evidence and node.
#[derive(Args, Debug)]
pub struct ChainArgs {
    /// The evidence file of your side of the channel, or a watchtower's package.
    #[arg(long, value_name = "FILE")]
    pub evidence: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub node: NodeArgs,
}

/// The sender's key.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// File with the private key: 64 hex digits, mode 0600.
    #[arg(long, value_name = "PATH", conflicts_with = "key_env")]
    pub key_file: Option<PathBuf>,
    /// Environment variable with the private key.
    #[arg(long, value_name = "NAME")]
    pub key_env: Option<String>,
    /// Who signs instead of a key: the URL of a remote signer (as web3signer, clef, anvil). What comes
    /// back is compared with what was asked, field by field.
    #[arg(long, value_name = "SIGNER", group = "elsewhere", conflicts_with_all = ["key_file", "key_env"])]
    pub signer: Option<String>,
    /// A Ledger device signs, with its Ethereum app open: by the number of an account as Ledger's own wallet counts them
    /// (0 when none is given: m/44'/60'/0'/0/0), or by a whole path. Only in a build with `--features ledger`.
    #[arg(long, value_name = "ACCOUNT|PATH", group = "elsewhere", num_args = 0..=1, default_missing_value = "0",
        conflicts_with_all = ["key_file", "key_env"])]
    pub ledger: Option<HdPath>,
    /// Which of the signer's addresses; not needed when it has one only. With --ledger: what its address must be.
    #[arg(long, value_name = "ADDRESS", requires = "elsewhere")]
    pub signer_address: Option<Address>,
    /// How long a person may take to confirm at the signer.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub signer_timeout: u64,
    /// Only here to refuse a key on the command line.
    #[arg(long, alias = "private-key", hide = true)]
    pub key: Option<String>,
}

/// What a transaction may cost, instead of the node's estimates.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct FeeArgs {
    /// Most gwei per gas; twice the base fee and the tip when absent, both as the node in the middle names them.
    #[arg(long, value_name = "GWEI", value_parser = gwei)]
    pub max_fee_gwei: Option<u128>,
    /// Tip in it, gwei per gas.
    #[arg(long, value_name = "GWEI", value_parser = gwei)]
    pub priority_fee_gwei: Option<u128>,
}

/// Key, whether to send, and how.
#[derive(Args, Debug)]
pub struct TxArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub key: KeyArgs,
    /// Sender of a dry run without a key; the account of your side when absent.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["key_env", "key_file", "signer", "ledger", "broadcast"])]
    pub from: Option<Address>,
    /// Send it. Without this nothing leaves: the call is simulated and priced.
    #[arg(long)]
    pub broadcast: bool,
    /// After sending, wait for this many confirmations (1 when no number is given) and check receipt and event. Locks that do
    /// not fit one transaction then follow in others, each sent when the one before is in a block.
    #[arg(long, value_name = "CONFIRMATIONS", num_args = 0..=1, require_equals = true,
        default_missing_value = "1", requires = "broadcast")]
    pub wait: Option<u64>,
    /// Where transactions are written down before they are sent, so that a killed run goes on with the same one;
    /// beside the evidence when absent: NAME.journal.
    #[arg(long, value_name = "PATH")]
    pub journal: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub fees: FeeArgs,
}

/// Evidence, node, key, and whether to send.
#[derive(Args, Debug)]
pub struct SendArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub chain: ChainArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub tx: TxArgs,
    /// The sender's nonce: that of a transaction that is stuck replaces it.
    #[arg(long, value_name = "N")]
    pub nonce: Option<u64>,
    /// Gas limit; the estimate and a quarter when absent.
    #[arg(long, value_name = "GAS")]
    pub gas_limit: Option<u64>,
}

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub chain: ChainArgs,
    /// Who would send; the account of your side when absent.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<Address>,
}

/// What is not shown.
#[derive(Args, Debug)]
pub struct LocksArgs {
    /// Do not resolve these locks, by their numbers in the evidence. A resolver can say yes when it is asked and no in a
    /// transaction, and one such lock makes the whole call revert, with the voucher and every other lock in it.
    #[arg(long, value_name = "ID[,ID]", value_delimiter = ',')]
    pub leave_out_locks: Vec<u64>,
}

/// `resolve`.
#[derive(Args, Debug)]
pub struct ResolveArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub locks: LocksArgs,
}

/// `submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub locks: LocksArgs,
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
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub locks: LocksArgs,
    /// Go on although it would lose money.
    #[arg(long)]
    pub force: bool,
    /// Start the dispute and show nothing: for a side that only paid, whose evidence only acknowledges that.
    #[arg(long)]
    pub without_evidence: bool,
}

/// `close`, `withdraw`, `cancel-dispute`.
#[derive(Args, Debug)]
pub struct CooperativeArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub send: SendArgs,
    /// The message with its signatures, see below.
    #[arg(long, value_name = "FILE")]
    pub message: PathBuf,
    /// Go on although it would lose money.
    #[arg(long)]
    pub force: bool,
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
    /// An evidence file or a package; with --receipt, the payee's evidence, whose config names the hub's signer.
    #[arg(long, value_name = "FILE", required_unless_present = "receipt")]
    pub evidence: Option<PathBuf>,
    /// A receipt file.
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// The hub's signer, for a receipt without the payee's evidence.
    #[arg(long, value_name = "ADDRESS", requires = "receipt")]
    pub hub_signer: Option<Address>,
}

/// `export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The evidence file of your side of the channel.
    #[arg(long, value_name = "FILE")]
    pub evidence: PathBuf,
    /// Needed when the voucher has locks: whether one is marked on chain (R28).
    #[arg(long, value_name = "URL", env = "SETTLE_RPC_URL", hide_env_values = true)]
    pub rpc_url: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub key: KeyArgs,
    /// The watchtower's account: only it can use the package.
    #[arg(long, value_name = "ADDRESS")]
    pub submitter: Address,
    /// Permit the watchtower to start a dispute, too.
    #[arg(long)]
    pub may_dispute: bool,
    /// The last chain time at which the package counts; no end when absent.
    #[arg(long, value_name = "UNIX_SECONDS")]
    pub deadline: Option<UnixSeconds>,
    /// Where to write it; stdout when absent. Replaced at one stroke, so a watchtower never reads half of it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The directory with packages (and, for locks, evidence of the key's own side): every *.json in it.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub node: NodeArgs,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub key: KeyArgs,
    /// Send what is due. Without this it only says what it would do.
    #[arg(long)]
    pub broadcast: bool,
    /// One look, then wait for what was sent, then end: for cron.
    #[arg(long)]
    pub once: bool,
    /// Guard only channels of this adjudicator, which is believed; may be given several times. When absent, all whose
    /// code is, byte for byte, that of the adjudicator that this settle knows: any other could make up disputes, and the
    /// key would pay for the answers.
    #[arg(long, value_name = "ADDRESS")]
    pub adjudicator: Vec<Address>,
    /// Take packages by POST /packages, too. There is no login: what is taken is countersigned by its side's signer for
    /// this key, of a channel that is open or disputed at an adjudicator that is believed (see --adjudicator), and newer
    /// than what is held of that side. Anybody who opens a channel has it guarded at the expense of this key, up to
    /// --max-gas-per-channel. Of more than 64 connections at once one ends, of the address that has most. Loopback, or
    /// behind a proxy with TLS.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "once")]
    pub listen: Option<std::net::SocketAddr>,
    /// Seconds between two looks. Far below the shortest challenge period.
    #[arg(long, value_name = "SECONDS", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Where transactions are written down before they are sent; DIR/settle.journal when absent.
    #[arg(long, value_name = "PATH")]
    pub journal: Option<PathBuf>,
    /// Most gas, by the limits of the transactions, that showing one side's packages of one channel may take in all, as the
    /// journal has it; more is told (`cannot`) and not sent. Of the key's own channels there is no limit.
    #[arg(long, value_name = "GAS", default_value_t = 1_500_000)]
    pub max_gas_per_channel: u64,
    /// Most gwei per gas that a transaction may ever cost. One that is stuck is replaced with higher fees up to here; when
    /// absent, up to 8 times what the node in the middle asks for then (of two nodes the cheaper).
    #[arg(long, value_name = "GWEI", value_parser = gwei)]
    pub max_fee_gwei: Option<u128>,
    /// A transaction that is in no block after so many seconds is replaced with higher fees, under the same nonce.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub bump_after: u64,
}
