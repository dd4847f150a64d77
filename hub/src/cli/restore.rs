//! `hub restore`: a database from a backup.

use super::{Failure, backup, data, sealed_key::KeyArgs, words};
use crate::{
    app::first_start,
    backup::{Home, Insistence, Restored, ready},
    now::Now,
    ops::Config,
};
use futures::future::BoxFuture;
use std::path::PathBuf;

const EXAMPLES: &str = "\
  hub restore --from /mnt/backup/hub                   into the data_dir of ./hub.toml, which must have no database
  hub backup verify /mnt/backup/hub                    look first
  hub serve                                            then

Without the key's file, with the one that `hub backup seal-key` has made and its passphrase:
  read -rs PHRASE; export PHRASE
  hub restore --from DIR --sealed-key DIR/key.sealed --passphrase env:PHRASE

Afterwards the hub answers disputes and collects what is due at once, with what the backup holds. It signs nothing in a
channel until its client has come back and shown what it holds; then that channel goes on, by itself. What was signed
after the backup's newest commit is adopted from the clients: log lines `a channel in doubt is released` say how much.
For clients that never come back: `hub accept-loss`.

The old hub must be gone for good: two hubs that go on from one state sign different vouchers with the same numbers.
Therefore it is refused when any backup in the directory was restored before, or when the backup, or what is in the
configured backup.dir, is younger than 5 minutes: a hub may still be writing it. --again insists: you have made sure that
the other hub is gone. Both directories belong to the restored hub from then on; an old one that comes back is refused.

Exit codes: 0 done; 3 configuration or key refused; 6 the backup is damaged (--damaged restores what is before);
7 refused, nothing was changed: there is a database, or another backup key than the sealed one, or the backup is another
hub's, was restored before, or is too young.";

/// Arguments of `hub restore`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RestoreArgs {
    /// The directory of the backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The configuration of the hub.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub key: KeyArgs,
    /// Restore what is before a damage, if need be of an older generation.
    #[arg(long)]
    pub damaged: bool,
    /// Restore what was restored before, or is younger than 5 minutes: the hub that has it is gone for good.
    #[arg(long)]
    pub again: bool,
}

/// Runs it.
pub fn restore(args: RestoreArgs) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move {
        let config = Config::load(&args.config)?;
        let opened = args.key.open(|| Ok(config.backup.key.clone()))?;
        let signer = config.keys.hub_signer.load().map_err(|error| Failure::Key {
            name: "keys.hub_signer",
            error,
        })?;
        let insistence = Insistence {
            damaged: args.damaged,
            again: args.again,
        };
        let (signer, now) = (signer.address(), Now::wall().get());
        let missing = opened.missing_at(&config.backup.key)?;
        let home = match config.backup.dir.clone() {
            None => None,
            Some(dir) => Some(Home {
                dir,
                key: match missing {
                    Some(_) => opened.key.clone(),
                    None => backup::key(&config.backup.key)?,
                },
            }),
        };
        let (from, to, home) = (&args.from, &config.data_dir, home.as_ref());
        let ready = ready(from, &opened.key, home, to, signer, insistence, now);
        let ready = ready.map_err(backup::failure)?;
        // A refused try leaves no key behind, and a restored hub that has no key for its backups does not start.
        if let Some(path) = missing {
            opened.put_back(path)?;
        }
        let restored = ready.restore().await.map_err(backup::failure)?;
        first_start::done(&config.data_dir).map_err(Failure::Running)?;
        let age_s = restored.summary.age_s(now);
        data(&backup::show(&restored.summary, age_s))?;
        tell(&args, &restored);
        Ok(())
    })
}

/// What the operator has to do now.
fn tell(args: &RestoreArgs, restored: &Restored) {
    if !restored.noted {
        words(&format!(
            "{} cannot be written, so it does not say that it was restored: see to it that nobody restores it again",
            args.from.display()
        ));
    }
    if let Some(home) = &restored.not_handed_over {
        words(&format!(
            "{} cannot be written, so it still belongs to the old database: remove {}/owner before `hub serve`",
            home.display(),
            home.display()
        ));
    }
    if restored.times > 1 {
        words(&format!(
            "This hub's state goes back for the {}. time, as far as is known. Find out why: each time costs what the \
                 clients do not bring back.",
            restored.times
        ));
    }
    words(&format!(
        "Restored to {}. All {} open channels are in doubt until their clients come back. Next:\n  hub serve --config {}",
        restored.store.display(),
        restored.summary.open,
        args.config.display()
    ));
}
