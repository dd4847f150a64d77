//! Making a database of a backup: beside the place where it belongs, and moved there when it is complete.

use super::{BackupError, BackupKey, Summary, directory::Directory, read};
use crate::store::{RedbStore, ShardId, Store};
use protocol_spec::{Address, UnixSeconds};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A hub that lives writes a head with each block of its chain, at least. Younger than this, it may still be there.
const QUIET_S: u64 = 300;

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The database.
    pub store: PathBuf,
    /// What it was made of.
    pub summary: Summary,
    /// False when the backup could not be marked as restored: its directory cannot be written.
    pub noted: bool,
}

/// What the operator insists on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insistence {
    /// On what is before a damage.
    pub damaged: bool,
    /// On restoring again, or what a hub may still be writing: the other database is gone for good.
    pub again: bool,
}

/// Restores the newest backup in `from` to `data_dir`. Every channel is in doubt afterwards (A10).
/// Errors: the backup cannot be used, is another hub's than `signer`'s, was restored before or is written still, or there
/// is a database already.
pub async fn restore(
    from: &Path,
    key: &BackupKey,
    data_dir: &Path,
    signer: Address,
    insistence: Insistence,
    now: UnixSeconds,
) -> Result<Restored, BackupError> {
    let store = data_dir.join("store");
    if !is_vacant(&store)? {
        return Err(BackupError::Occupied(store));
    }
    let mut contents = read(from, key)?;
    let summary = contents.summary;
    if let Some(damage) = summary.damage.clone().filter(|_| !insistence.damaged) {
        return Err(BackupError::damaged(from, damage));
    }
    if !insistence.again {
        is_free(&summary, now)?;
    }
    if contents.identity.hub_signer != signer.into_array() {
        return Err(BackupError::WrongHub {
            expected: signer.to_string(),
            found: Address::from(contents.identity.hub_signer).to_string(),
        });
    }
    contents.ledger.restored();
    let checkpoint = contents.ledger.checkpoint_all();
    fs::create_dir_all(data_dir).map_err(BackupError::io(data_dir))?;
    let building = data_dir.join("store.restoring");
    // Ours, from a restore that was cut off: never opened by a hub.
    match fs::remove_dir_all(&building) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(BackupError::io(&building)(error)),
        _ => {}
    }
    let database = RedbStore::open(&building, contents.identity)?;
    let loaded = database.acquire(ShardId(0)).await?;
    database.checkpoint(ShardId(0), loaded.epoch, checkpoint).await?;
    database.close().await?;
    // Before the database is there: rather a note too many than a backup restored twice.
    let directory = Directory::at(from);
    let note = format!(
        "Restored to {}. See `hub restore --help` before you do it again.\n",
        store.display()
    );
    let noted = directory
        .put(&directory.restored(summary.generation), note.as_bytes())
        .is_ok();
    let move_there = || {
        fs::rename(&building, &store)?;
        fs::File::open(data_dir)?.sync_all()
    };
    move_there().map_err(BackupError::io(&store))?;
    Ok(Restored {
        store,
        summary,
        noted,
    })
}

/// Errors: another hub may go on from this backup.
fn is_free(summary: &Summary, now: UnixSeconds) -> Result<(), BackupError> {
    if let Some(note) = summary.restored_before.clone() {
        return Err(BackupError::RestoredBefore(note));
    }
    match summary.quiet_s(now) {
        age_s if age_s < QUIET_S => Err(BackupError::Young { age_s }),
        _ => Ok(()),
    }
}

fn is_vacant(store: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(store) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(BackupError::io(store)(error)),
    }
}
