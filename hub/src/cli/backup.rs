//! `hub backup`: what a backup covers, whether it is whole, and its key sealed with a passphrase.

use super::{
    Failure, data,
    sealed_key::{self, KeyArgs, SealKeyArgs},
    words,
};
use crate::{
    backup::{self, BackupError, BackupKey, BackupOptions, Summary, Verified},
    now::Now,
    ops::{Config, SecretRef},
    settle::table,
};
use protocol_spec::UnixSeconds;
use std::{path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
  hub backup verify /mnt/backup/hub                      with the key that ./hub.toml names
  hub backup verify DIR --key file:/safe/backup.key      without a configuration
  hub backup verify DIR --sealed-key DIR/key.sealed --passphrase env:PHRASE
  hub backup verify DIR --max-age-s 60 --json            for a monitor

Reads every file of every complete generation that is kept, checks its place in the chain, and replays it; each that is
damaged is named. The table is of the newest; of the next older one, if nothing can be made of it.
An older copy of a whole directory is a whole backup: what tells it apart is its age.

Exit codes: 0 whole; 3 the key is refused; 6 damaged, cut short, mixed, or older than --max-age-s;
7 nothing of it can be used: no complete generation, or another key.";

/// Arguments of `hub backup`.
#[derive(Clone, Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct BackupArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BackupCommand,
}

/// What can be done with a backup.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum BackupCommand {
    /// Check every segment and say what it covers.
    Verify(VerifyArgs),
    /// Seal the backup's key with a passphrase: a file that may lie beside the backups.
    SealKey(SealKeyArgs),
}

/// `verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The directory of the backup.
    pub dir: PathBuf,
    /// The configuration that names the key.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "the flattened options have their own")]
    pub key: KeyArgs,
    /// Fail when the newest commit in it was exported longer ago.
    #[arg(long, value_name = "SECONDS")]
    pub max_age_s: Option<u64>,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Where the configuration wants its backups. Errors: the key is refused.
pub fn options(config: &Config) -> Result<Option<BackupOptions>, Failure> {
    let it = &config.backup;
    let Some(dir) = it.dir.clone() else {
        return Ok(None);
    };
    Ok(Some(BackupOptions {
        dir,
        key: key(&it.key)?,
        interval: Duration::from_millis(it.interval_ms),
        every_commits: it.every_commits,
        keep: it.keep,
    }))
}

/// The key. Errors: it cannot be had.
pub(super) fn key(reference: &SecretRef) -> Result<BackupKey, Failure> {
    let name = "backup.key";
    let bytes = reference
        .load_bytes()
        .map_err(|error| Failure::Key { name, error })?;
    BackupKey::new(bytes).map_err(|error| Failure::Running(error.into()))
}

/// Runs it.
pub fn backup(args: &BackupArgs) -> Result<(), Failure> {
    match &args.command {
        BackupCommand::Verify(args) => verify(args),
        BackupCommand::SealKey(args) => sealed_key::seal(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let opened = args.key.open(|| Ok(Config::load(&args.config)?.backup.key))?;
    let verified = backup::verify(&args.dir, &opened.key).map_err(failure)?;
    let contents = &verified.contents;
    let age_s = contents.summary.age_s(Now::wall().get());
    if args.json {
        data(&json(&verified, age_s))?;
    } else {
        data(&show(&contents.summary, age_s))?;
    }
    for number in &contents.summary.incomplete {
        words(&format!(
            "generation {number} was never completed and is passed over"
        ));
    }
    for fault in &verified.damaged {
        words(&format!("damaged: {fault}"));
    }
    if let Some(damage) = &contents.summary.damage {
        return Err(Failure::BadBackup(format!(
            "{damage}; what is above is before the damage"
        )));
    }
    if let Some(first) = verified.damaged.first() {
        return Err(Failure::BadBackup(format!(
            "{first}; what is above is whole, the damage is in an older generation"
        )));
    }
    match args.max_age_s {
        Some(max) if age_s > max => Err(Failure::BadBackup(format!(
            "the backup is {age_s} s old, at most {max} s"
        ))),
        _ => Ok(()),
    }
}

/// The exit code of a backup's error.
pub(super) fn failure(error: BackupError) -> Failure {
    match error {
        BackupError::Damaged { .. } => Failure::BadBackup(error.to_string()),
        BackupError::Cipher(_) | BackupError::Task(_) | BackupError::Store(_) => {
            Failure::Running(error.into())
        }
        _ => Failure::Refused(error.into()),
    }
}

fn json(verified: &Verified, age_s: u64) -> String {
    let contents = &verified.contents;
    let identity = &contents.identity;
    let mut object = serde_json::json!({
        "chain_id": identity.chain_id,
        "adjudicator": protocol_spec::Address::from(identity.adjudicator),
        "hub_signer": protocol_spec::Address::from(identity.hub_signer),
        "age_s": age_s,
        "damaged_files": verified.damaged,
    });
    if let (Some(object), Ok(serde_json::Value::Object(summary))) =
        (object.as_object_mut(), serde_json::to_value(&contents.summary))
    {
        object.extend(summary);
    }
    object.to_string()
}

/// The summary as a table.
pub(super) fn show(summary: &Summary, age_s: u64) -> String {
    let mut rows = vec![
        ("generation", summary.generation.to_string()),
        (
            "segments",
            format!("{} ({} bytes)", summary.segments, summary.bytes),
        ),
        ("newest commit", summary.newest_commit.to_string()),
        (
            "exported at",
            format!("{} ({age_s} s ago)", UnixSeconds(summary.at)),
        ),
        (
            "channels",
            format!("{} ({} open)", summary.channels, summary.open),
        ),
    ];
    for worth in &summary.tokens {
        let sums = format!("clients {}, hub {}", worth.clients, worth.hub);
        rows.push(("worth", format!("{}: {sums}", worth.token)));
    }
    if let Some(note) = &summary.restored_before {
        rows.push(("restored before", note.display().to_string()));
    }
    let mut table = table(&[]);
    table.add_rows(rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    table.to_string()
}
