//! Making a database of a backup: beside the place where it belongs, and moved there when it is complete.

use super::{
    BackupError, BackupKey, Summary,
    claim::{Claim, DatabaseId},
    directory::Directory,
    read,
    read::{Contents, written_at},
};
use crate::store::{RedbStore, ShardId, Store};
use protocol_spec::{Address, UnixSeconds};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The database, in the data directory.
const STORE: &str = "store";

/// A hub that lives writes a head each minute, also when it is idle. Younger than this, it may still be there.
const QUIET_S: u64 = 5 * super::task::HEARTBEAT_S;

/// What was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The database.
    pub store: PathBuf,
    /// What it was made of.
    pub summary: Summary,
    /// False when the backup could not be marked as restored: its directory cannot be written.
    pub noted: bool,
    /// Times that this hub was restored or found rolled back, this time included, as far as is known.
    pub times: u64,
    /// The directory to which the restored hub exports, if it could not be handed over to it.
    pub not_handed_over: Option<PathBuf>,
}

/// Where the restored hub will export to.
#[derive(Clone, Debug)]
pub struct Home {
    /// The directory.
    pub dir: PathBuf,
    /// What seals it.
    pub key: BackupKey,
}

/// What the operator insists on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Insistence {
    /// On what is before a damage.
    pub damaged: bool,
    /// On restoring again, or what a hub may still be writing: the other database is gone for good.
    pub again: bool,
}

/// A backup that was read in full, and may be restored. Its directory and the one where the restored hub exports to are locked
/// for as long as this is held.
#[derive(Debug)]
pub struct Ready {
    from: Directory,
    home: Option<PathBuf>,
    data_dir: PathBuf,
    contents: Contents,
    claims: Vec<Claim>,
    database_id: DatabaseId,
}

/// Reads the newest backup in `from`, to be restored to `data_dir` and handed over, with `home`, to the restored database.
/// Nothing is changed yet, but for the locks of `from` and `home`.
/// Errors: the backup cannot be used, is another hub's than `signer`'s, was restored before or it or `home` is written
/// still, or there is a database already.
pub fn ready(
    from: &Path,
    key: &BackupKey,
    home: Option<&Home>,
    data_dir: &Path,
    signer: Address,
    insistence: Insistence,
    now: UnixSeconds,
) -> Result<Ready, BackupError> {
    let store = data_dir.join(STORE);
    if !is_vacant(&store)? {
        return Err(BackupError::Occupied(store));
    }
    let mut contents = read(from, key)?;
    if let Some(damage) = contents.summary.damage.clone().filter(|_| !insistence.damaged) {
        return Err(BackupError::damaged(from, damage));
    }
    if !insistence.again {
        is_free(&contents.summary, home, now)?;
    }
    if contents.identity.hub_signer != signer.into_array() {
        return Err(BackupError::WrongHub {
            expected: signer.to_string(),
            found: Address::from(contents.identity.hub_signer).to_string(),
        });
    }
    let database_id = DatabaseId::random()?;
    let claims = claims(from, key, home, database_id)?;
    let directory = Directory::at(from);
    contents.ledger.restored(directory.restores()?);
    Ok(Ready {
        from: directory,
        home: home.map(|home| home.dir.clone()),
        data_dir: data_dir.to_owned(),
        contents,
        claims,
        database_id,
    })
}

/// [`ready`], then [`Ready::restore`]. Errors: theirs.
pub async fn restore(
    from: &Path,
    key: &BackupKey,
    home: Option<&Home>,
    data_dir: &Path,
    signer: Address,
    insistence: Insistence,
    now: UnixSeconds,
) -> Result<Restored, BackupError> {
    let ready = ready(from, key, home, data_dir, signer, insistence, now)?;
    ready.restore().await
}

impl Ready {
    /// Makes the database. Every channel is in doubt afterwards (A10). Errors: the disk; there is no database then.
    pub async fn restore(mut self) -> Result<Restored, BackupError> {
        let (data_dir, ledger) = (&self.data_dir, &mut self.contents.ledger);
        let store = data_dir.join(STORE);
        let times = ledger.rollbacks();
        let checkpoint = ledger.checkpoint_all();
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(data_dir);
        made.map_err(BackupError::io(data_dir))?;
        self.database_id.write(data_dir)?;
        let building = data_dir.join("store.restoring");
        // Ours, from a restore that was cut off: never opened by a hub.
        match fs::remove_dir_all(&building) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(BackupError::io(&building)(error));
            }
            _ => {}
        }
        let database = RedbStore::open(&building, self.contents.identity)?;
        let loaded = database.acquire(ShardId(0)).await?;
        database.checkpoint(ShardId(0), loaded.epoch, checkpoint).await?;
        database.close().await?;
        // Before the database is there: rather a note too many than a backup restored twice.
        let note = format!(
            "Restored to {}. See `hub restore --help` before you do it again.",
            store.display()
        );
        let summary = self.contents.summary;
        let noted = self.from.note(summary.generation, &note).is_ok();
        let failed = self.claims.iter().filter(|claim| claim.seize().is_err());
        let failed: Vec<PathBuf> = failed.map(|claim| claim.dir().to_owned()).collect();
        let home = self.home.as_deref();
        let not_handed_over = failed
            .into_iter()
            .find(|dir| home.is_some_and(|home| is_same(home, dir)));
        let move_there = || {
            fs::rename(&building, &store)?;
            fs::File::open(data_dir)?.sync_all()
        };
        move_there().map_err(BackupError::io(&store))?;
        Ok(Restored {
            store,
            summary,
            noted,
            times,
            not_handed_over,
        })
    }
}

/// Both directories, locked. Errors: a hub exports to one of them, or it is another hub's.
fn claims(
    from: &Path,
    key: &BackupKey,
    home: Option<&Home>,
    database: DatabaseId,
) -> Result<Vec<Claim>, BackupError> {
    let mut claims = vec![Claim::new(from, key.clone(), database)?];
    if let Some(home) = home.filter(|home| !is_same(&home.dir, from)) {
        claims.push(Claim::new(&home.dir, home.key.clone(), database)?);
    }
    for claim in &mut claims {
        claim.is_same_hub()?;
        match claim.lock() {
            // One that cannot be written is told at the end.
            Err(BackupError::Io { .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(claims)
}

/// Errors: another hub may go on from this backup.
fn is_free(summary: &Summary, home: Option<&Home>, now: UnixSeconds) -> Result<(), BackupError> {
    if let Some(note) = summary.restored_before.clone() {
        return Err(BackupError::RestoredBefore(note));
    }
    // Also when `from` is an older copy of it.
    let at_home = home.and_then(|home| written_at(&home.dir, &home.key));
    let quiet_s = now.0.saturating_sub(at_home.unwrap_or(0));
    match summary.quiet_s(now).min(quiet_s) {
        age_s if age_s < QUIET_S => Err(BackupError::Young { age_s }),
        _ => Ok(()),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn is_vacant(store: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(store) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(BackupError::io(store)(error)),
    }
}
