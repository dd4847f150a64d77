//! Backups: everything the hub needs to defend its channels, kept encrypted in a directory of the operator's choice.
//!
//! * A *generation* is the tables at one checkpoint, then the journal's records after it, in segments that are chained
//!   and sealed one by one. `format` has the bytes, `key` the cipher, `directory` the files, `writer` a generation.
//! * `claim` keeps a second hub out of the directory.
//! * [`Tap`] stands before the store and notes what is durable; the task (`task`) reads it back from the store, beside
//!   the payment path, and falls behind visibly.
//! * [`read`] checks the newest generation and rebuilds the ledger, [`verify`] checks all; [`restore`] makes a database of it, in which every channel is
//!   in doubt (A10).

mod claim;
mod directory;
mod error;
mod format;
mod key;
mod part;
mod read;
mod restore;
mod sealed_key;
mod tap;
mod task;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use claim::DatabaseId;
pub use error::BackupError;
pub use key::BackupKey;
pub use read::{Contents, Summary, TokenWorth, read};
pub use restore::{Home, Insistence, Ready, Restored, ready, restore};
pub use sealed_key::{GuessCost, SealedKeyError, open_key, seal_key};
pub use tap::Tap;
pub use task::{Backup, Job};
pub use verify::{Verified, verify};

use std::{path::PathBuf, time::Duration};

/// Where and how often.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// The directory; made if it is not there. Belongs to the backups of one hub.
    pub dir: PathBuf,
    /// What seals it.
    pub key: BackupKey,
    /// Longest time between exports.
    pub interval: Duration,
    /// Commits after which an export does not wait for the interval.
    pub every_commits: u64,
    /// Complete generations kept, at least 1.
    pub keep: usize,
}
