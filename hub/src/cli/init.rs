//! `hub init`.

use super::{Failure, data, words};
use crate::ops;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Writes DIR/hub.toml (every key explained), DIR/keys/hub_signer.key and DIR/keys/owner.key (mode 0600).
Nothing that exists is overwritten. Back the keys up: without hub_signer.key the hub cannot sign, and
without owner.key nobody can reach the vault.

  hub init                  in the current directory
  hub init --dir /srv/hub   somewhere else

stdout: one `name value` pair per line (config, hub_signer, owner).";

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
        "config {config}\nhub_signer {}\nowner {}",
        made.hub_signer, made.owner
    ))?;
    words(&format!(
        "Wrote a configuration for the embedded chain and two new keys. Next:\n  hub serve --config {config}"
    ));
    Ok(())
}
