//! What can be wrong with a backup, and what to do next.

use crate::store::{OpenError, StoreError};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why a backup was not written, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no complete generation.
    #[error("{0} holds no complete backup; is it the right directory, and is it mounted?")]
    Empty(PathBuf),
    /// It was sealed with another key.
    #[error(
        "{path} was sealed with key {found}, this is key {expected}; give the key of that hub (backup.key)"
    )]
    WrongKey {
        /// Which file.
        path: PathBuf,
        /// The id of the key at hand, hex.
        expected: String,
        /// The id of the key that is needed, hex.
        found: String,
    },
    /// A file is not what was written, is missing, or is another backup's.
    #[error(
        "{path}: {what}; take another copy of the backup, or restore what is before the damage (--damaged)"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What it holds cannot be replayed.
    #[error(
        "the backup does not follow from itself ({0}): it is of another version of the program, or the program is at fault"
    )]
    Replay(protocol_spec::Reject),
    /// It was restored before: two hubs that go on from one state sign two vouchers with one number.
    #[error(
        "a backup in this directory was restored before ({0}). Two hubs from one backup would sign different vouchers with \
         the same numbers. If that database is gone for good, say --again"
    )]
    RestoredBefore(PathBuf),
    /// It is so young that the hub that writes it may be alive.
    #[error(
        "this backup was written {age_s} s ago: a hub may still be writing it, and two hubs that go on from one state sign \
         different vouchers with the same numbers. If that hub is gone for good (process stopped, machine off, disk \
         detached), say --again"
    )]
    Young {
        /// Its age, seconds.
        age_s: u64,
    },
    /// It belongs to another database.
    #[error(
        "{0} belongs to another hub's database, or another hub has taken it over: two hubs in one directory lose each \
         other's backups, and two that go on from one state sign different vouchers with the same numbers. Give this hub \
         a directory of its own. `hub restore` takes a directory over; if the other hub is gone for good and this \
         database is the right one, remove {0}/owner"
    )]
    Taken(PathBuf),
    /// A process that lives exports to it.
    #[error(
        "{0} is in use: another process on this machine exports to it; stop that hub, or give this one a directory of its own"
    )]
    InUse(PathBuf),
    /// What was there is gone.
    #[error(
        "{0} has lost what says whose it is: it was emptied, or another disk is mounted there; a whole backup is begun anew"
    )]
    Emptied(PathBuf),
    /// A database stands where the restored one would go.
    #[error("{0} is not empty: a restore never goes over a database; move it away first, and keep it")]
    Occupied(PathBuf),
    /// The backup is another hub's.
    #[error("the backup is of the hub with signer {found}, the configuration has {expected}")]
    WrongHub {
        /// Of the configuration.
        expected: String,
        /// Of the backup.
        found: String,
    },
    /// The cipher failed, or the system gave no randomness.
    #[error("the cipher failed: {0}")]
    Cipher(&'static str),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The journal lacks what is durable.
    #[error("the journal ends at record {record}, but {durable} is durable")]
    Short {
        /// Newest record that can be read.
        record: u64,
        /// Newest that is durable.
        durable: u64,
    },
    /// A task was cut off.
    #[error("a task ended by itself: {0}")]
    Task(String),
}

impl BackupError {
    /// True when the directory is another's; what else is wrong with it may be mended while the hub runs.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Taken(_) | Self::InUse(_) | Self::WrongKey { .. })
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            what: what.into(),
        }
    }
}
