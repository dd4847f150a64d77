//! `hub init`.

use super::{Failure, data, words};
use crate::ops;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Writes DIR/hub.toml (every key explained) and DIR/keys/hub_signer.key, owner.key and backup.key (mode 0600).
Nothing that exists is overwritten. Keep copies of the keys elsewhere: without hub_signer.key the hub cannot
sign, without owner.key nobody can reach the vault, without backup.key no backup can be read.

  hub init                  in the current directory
  hub init --dir /srv/hub   somewhere else

The configuration is for the embedded development chain, until you set chain.rpc_url. `hub serve` prints where that chain is,
on stderr, in the line that begins with EMBEDDED CHAIN: rpc, adjudicator, token (anybody may mint it) and funded_account.

stdout: one `name value` pair per line (config, backup_key, hub_signer, owner).";

/// Arguments of `hub init`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// Where to write; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// Runs it. Errors: something is there already, or cannot be written.
pub fn init(args: &InitArgs) -> Result<(), Failure> {
    let made = ops::init(&args.dir)?;
    let config = made.config.display();
    data(&format!(
        "config {config}\nbackup_key {}\nhub_signer {}\nowner {}",
        made.backup_key.display(),
        made.hub_signer,
        made.owner
    ))?;
    words(&format!(
        "Wrote a configuration for the embedded chain and three new keys. Next:\n  hub serve --config {config}\n\
         It prints where its chain is: look for EMBEDDED CHAIN on stderr (rpc, adjudicator, token, funded_account)."
    ));
    Ok(())
}
