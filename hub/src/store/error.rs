//! What can go wrong, whose fault it is and what to do next.

use std::path::PathBuf;

use super::{Epoch, ShardId};

/// Why a call of a [`Store`](super::Store) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else owns the shard now: stop serving it. Nothing was written.
    #[error("shard {} is owned by epoch {}, this writer has epoch {}: it lost the shard", shard.0, current.0, yours.0)]
    EpochLost {
        /// The shard.
        shard: ShardId,
        /// Epoch of the call.
        yours: Epoch,
        /// Epoch of the owner.
        current: Epoch,
    },
    /// Caller's error: the record does not follow the last one. Nothing was written.
    #[error("journal records are dense: expected number {expected}, got {got}")]
    NotDense {
        /// Last number + 1.
        expected: u64,
        /// Number of the refused record.
        got: u64,
    },
    /// Caller's error: split the batch. Nothing was written.
    #[error("a journal record holds at most {max} bytes, got {got}")]
    RecordTooLarge {
        /// The limit, in bytes.
        max: usize,
        /// Size of the refused record, in bytes.
        got: usize,
    },
    /// Caller's error: a checkpoint may neither go back nor run ahead of the journal. Nothing was written.
    #[error("a checkpoint must be in {min}..={max}, got {got}")]
    CheckpointOutOfRange {
        /// The previous checkpoint.
        min: u64,
        /// The last durable record.
        max: u64,
        /// `upto` of the refused checkpoint.
        got: u64,
    },
    /// Caller's error: records that no checkpoint contains must stay. Nothing was deleted.
    #[error("cannot trim the journal below {below}: the last checkpoint is {upto}")]
    TrimBeyondCheckpoint {
        /// Bound of the refused trim.
        below: u64,
        /// Last record contained in the tables.
        upto: u64,
    },
    /// Caller's error: the record was trimmed; read the tables instead.
    #[error("journal record {got} was trimmed, the first one left is {first}")]
    Trimmed {
        /// First record that is still there.
        first: u64,
        /// The wanted record.
        got: u64,
    },
    /// The outcome of a commit is unknown: stop the process at once, do not retry. A restart recovers.
    #[error("commit failed, the process must stop: {0}")]
    CommitFailed(String),
    /// An earlier commit failed and the process should have stopped already.
    #[error("the store refuses every call after a failed commit: the process must stop")]
    Poisoned,
    /// What was read is not what was written: stop the process, restore from a copy or from the peers.
    #[error("the database is damaged, the process must stop: {0}")]
    Corrupt(String),
    /// The disk refused a read. Nothing was changed; stop the process.
    #[error("reading the database failed: {0}")]
    ReadFailed(String),
}

/// Why a database was not opened. Nothing was created or overwritten.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the database open.
    #[error(
        "{path} is in use by another process: one hub per data directory; stop the other one first (a second \
         hub on the same data would sign twice)"
    )]
    InUse {
        /// The refused file.
        path: PathBuf,
    },
    /// The directory exists but is not a complete database.
    #[error(
        "{path} is not a complete hub database ({what}); refusing to start over it, because an empty database \
         would forget signed vouchers. Restore the whole directory from a copy, or start with another directory"
    )]
    Incomplete {
        /// The directory.
        path: PathBuf,
        /// What is missing or too much.
        what: String,
    },
    /// There is no database and the caller asked for an existing one.
    #[error("there is no hub database at {path}; `hub init` makes a new one, a lost one must be restored")]
    NotFound {
        /// The directory.
        path: PathBuf,
    },
    /// A file cannot be read as a database.
    #[error(
        "{path} is damaged ({what}). Nothing was deleted. Restore the whole directory from a copy, or keep it and \
         rebuild the channels from the newest vouchers of the clients; do not delete it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The database belongs to another chain, contract, key or program.
    #[error(
        "the database at {path} was made for {fact} {found}, this hub is configured for {expected}; fix the \
         configuration or use another data directory"
    )]
    IdentityMismatch {
        /// The directory.
        path: PathBuf,
        /// Which fact differs.
        fact: &'static str,
        /// This process's value.
        expected: String,
        /// The database's value.
        found: String,
    },
    /// The database was written by a newer program.
    #[error(
        "the database at {path} has format version {found}, this program knows versions up to {expected}; use the \
         newer program again"
    )]
    FormatNewer {
        /// The directory.
        path: PathBuf,
        /// Newest version this program knows.
        expected: u32,
        /// The database's version.
        found: u32,
    },
    /// The database was written by an older program and must be migrated first.
    #[error(
        "the database at {path} has format version {found}, this program needs {expected} and has no migration from it"
    )]
    FormatOlder {
        /// The directory.
        path: PathBuf,
        /// Version this program writes.
        expected: u32,
        /// The database's version.
        found: u32,
    },
    /// The disk or the file system refused.
    #[error("{path}: {source}")]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
