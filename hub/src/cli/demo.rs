//! `hub demo`: arguments. The binary runs it.

use super::Failure;
use crate::ops::SecretRef;
use std::path::PathBuf;

const EXAMPLES: &str = "\
  hub demo                                   100 clients, 5 merchants, 20 seconds, embedded chain
  hub demo --clients 10 --seconds 5          a short one
  hub demo --rpc-url http://127.0.0.1:8545 --funding-key env:FUNDING_KEY
                                             on a real node, paid for by that key
  hub demo --dir ./demo --keep               keep databases, keys and evidence to look at

The hub is killed and restarted on the way, one client disputes, everybody is settled on chain, and the closing
table is computed from balances on chain and the clients' own ledgers. Exit code 4 if it does not add up.";

/// Arguments of `hub demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Paying clients.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Merchants that are paid.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub merchants: u32,
    /// How long payments flow.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// A node instead of the embedded chain.
    #[arg(long, value_name = "URL", requires = "funding_key")]
    pub rpc_url: Option<String>,
    /// Where the key is that pays on that node: file:PATH or env:NAME.
    #[arg(long, value_name = "REF", requires = "rpc_url")]
    pub funding_key: Option<String>,
    /// Where to work; a temporary directory without it.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave the directory behind.
    #[arg(long)]
    pub keep: bool,
}

impl DemoArgs {
    /// The reference to the funding key. Parsed here and not by clap, which would repeat a wrong value: perhaps a key.
    pub fn funding_key(&self) -> Result<Option<SecretRef>, Failure> {
        let parse = |text: &String| text.parse();
        let parsed = self.funding_key.as_ref().map(parse).transpose();
        parsed.map_err(|error| Failure::Key {
            name: "funding_key",
            error,
        })
    }
}
