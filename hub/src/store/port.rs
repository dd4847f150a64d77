//! The `Store` port and the words it uses.

use async_trait::async_trait;

use super::StoreError;

/// Largest journal record, in bytes: a group commit must be split before it grows past this.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records that one trim step deletes at most; appends wait that long.
pub(in crate::store) const TRIM_STEP_RECORDS: u64 = 1_024;

/// A part of all channels that has one owner. A hub on one machine uses shard 0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// Counts the owners a shard has had. 0 means that nobody has owned it yet.
///
/// [`Store::acquire`] raises it; writes that carry an older epoch are refused, so an owner that was
/// replaced while it slept cannot write any more (attack D1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The byte-keyed tables that checkpoints write. The numbers are on disk: append-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Channel records by channel id, each with what its lists have beside their rows.
    Channels = 1,
    /// Payment ids with what became of them, a full row each, by channel and position of the first.
    Payments = 2,
    /// Receipts, a full row each, by channel and position of the first.
    Events = 3,
    /// Whatever a shard needs to find its place again (cursors, block numbers).
    Meta = 4,
    /// Evidence by channel id.
    Evidence = 5,
    /// Settings changed at run time.
    Settings = 6,
    /// Own vouchers without acknowledgement, a full row each, by channel and position of the first.
    Unacknowledged = 7,
}

impl Table {
    /// All tables, in the order of their numbers.
    pub const ALL: [Table; 7] = [
        Table::Channels,
        Table::Payments,
        Table::Events,
        Table::Meta,
        Table::Evidence,
        Table::Settings,
        Table::Unacknowledged,
    ];

    /// The stable number of the table.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// A row of a table: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// One group commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// Dense: the first record of a shard is 1, each next one is the previous + 1.
    pub number: u64,
    /// The whole batch, at most [`RECORD_BYTES_MAX`] bytes; the store does not look inside.
    pub bytes: Vec<u8>,
}

/// Proof that a record survives a crash. Only a [`Store`] can make one.
///
/// The sealing stage takes it before any signature leaves the process.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nothing may leave the hub without it"]
pub struct Durable {
    shard: ShardId,
    epoch: Epoch,
    number: u64,
}

impl Durable {
    /// For the stores of this module, after the commit returned.
    pub(in crate::store) fn new(shard: ShardId, epoch: Epoch, number: u64) -> Self {
        Self { shard, epoch, number }
    }

    /// Shard of the record.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Epoch of the owner that appended the record.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of the record. Every record with a lower number is durable too.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// Table rows that bring the tables up to a journal record; one atomic commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The tables then contain the effects of records 1..=upto. Not below the previous
    /// checkpoint's `upto`, not above the last durable record.
    pub upto: u64,
    /// Rows to write, in any order; of several rows with one key the last wins.
    pub puts: Vec<(Table, Vec<u8>, Vec<u8>)>,
    /// Keys to delete, before the puts; a key that does not exist is no error.
    pub deletes: Vec<(Table, Vec<u8>)>,
}

/// Where a shard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Last record contained in the tables; 0: no checkpoint yet. Replay starts at `upto + 1`.
    pub upto: u64,
    /// Number of the last durable record; 0: none yet. The next append carries `last + 1`.
    pub last: u64,
    /// The owner's epoch.
    pub epoch: Epoch,
}

/// Result of one trim step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Records deleted by this step.
    pub deleted: u64,
    /// Records below the bound are left: call again, after letting appends through.
    pub more: bool,
}

/// The tables as they were at one checkpoint, whatever is written later. Holding it keeps old pages: not for long.
pub trait Frozen: Send {
    /// Last record contained in the tables.
    fn upto(&self) -> u64;

    /// As [`Store::scan`]. Blocks.
    fn rows(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// A store whose tables can be read at one point in time.
pub trait Freeze: Store {
    /// The tables as they are now. Blocks.
    fn freeze(&self, shard: ShardId) -> Result<Box<dyn Frozen>, StoreError>;
}

/// Durable storage of a hub.
///
/// **Failures.** [`StoreError::CommitFailed`] means that the outcome of a commit is unknown. The process
/// must stop; there is no retry (a second fsync after a failed one proves nothing). From then on every
/// call of the same store is refused with [`StoreError::Poisoned`]. A restart finds out what became durable.
///
/// **Cancel safety.** Dropping the future of a write does not undo the write: it may or may not happen.
/// An owner that drops one must stop, as for `CommitFailed`.
///
/// **Order.** Appends are carried out in the order in which their futures are first polled.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes ownership of a shard: raises its epoch durably and tells where the shard stands.
    ///
    /// When it returns, no write of an earlier owner can happen any more.
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError>;

    /// Tells where a shard stands, without taking it.
    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError>;

    /// Writes one record; returns only when it is durable.
    ///
    /// # Errors
    /// [`StoreError::EpochLost`], [`StoreError::NotDense`], [`StoreError::RecordTooLarge`]: nothing was
    /// written, the store goes on. [`StoreError::CommitFailed`]: stop the process.
    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError>;

    /// Writes one checkpoint, atomically and durably.
    ///
    /// # Errors
    /// [`StoreError::EpochLost`], [`StoreError::CheckpointOutOfRange`]: nothing was written.
    /// [`StoreError::CommitFailed`]: stop the process.
    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError>;

    /// Deletes journal records below `below`, a bounded number per call; see [`Trimmed::more`].
    ///
    /// Appends wait while a step runs.
    ///
    /// # Errors
    /// [`StoreError::TrimBeyondCheckpoint`] unless `below <= upto + 1`; [`StoreError::EpochLost`].
    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError>;

    /// Reads one row.
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads at most `limit` rows in key order, beginning with the first key that is not below `from`.
    ///
    /// To go on, pass the last key with a zero byte appended.
    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Reads records in order, beginning with number `from`: at most `limit`, and fewer when they are large,
    /// but at least one if there is one. An empty answer means the end of the journal.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if record `from` is no longer there; [`StoreError::Corrupt`] if a record is
    /// missing or its checksum does not fit: stop the process.
    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError>;
}
