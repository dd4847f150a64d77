//! The client's store: what must survive a crash, written before anything leaves.
//!
//! A [`Store`] is a set of small tables of bytes with atomic, durable batches. [`MemoryStore`] forgets; [`RedbStore`] is a file.

mod create;
mod file;
mod memory;
pub(crate) mod rows;

pub use file::RedbStore;
pub use memory::MemoryStore;
pub use redb::StorageBackend;

use crate::StoreError;
use async_trait::async_trait;

/// The tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// Facts about the store itself and the hub.
    Meta,
    /// Channel records by channel id.
    Channels,
    /// Locks by channel id, payer and lock id (big-endian).
    Locks,
    /// Own frames not acknowledged yet, by channel id and seq (big-endian).
    Frames,
    /// Own payments by payment id.
    Payments,
    /// Credits of accepted hub vouchers by channel id, payment id and payer.
    Credits,
    /// Cursors of received payments by channel id.
    Cursors,
    /// Breaches of the hub with what proves them, by channel id.
    Faults,
    /// Own invoices with their preimages, by hash.
    Invoices,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 9] = [
        Self::Meta,
        Self::Channels,
        Self::Locks,
        Self::Frames,
        Self::Payments,
        Self::Credits,
        Self::Cursors,
        Self::Faults,
        Self::Invoices,
    ];

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Channels => "channels",
            Self::Locks => "locks",
            Self::Frames => "frames",
            Self::Payments => "payments",
            Self::Credits => "credits",
            Self::Cursors => "cursors",
            Self::Faults => "faults",
            Self::Invoices => "invoices",
        }
    }
}

/// One change of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// A key with its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Durable storage of one client. Used by one `Client` at a time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Applies a whole batch or nothing. When this returns `Ok`, it survives a power failure.
    /// After an error the client stops: its memory is ahead of the store.
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError>;

    /// The value at `key`.
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All rows of a table, by ascending key.
    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.as_ref().commit(batch).await
    }
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.as_ref().get(table, key).await
    }
    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.as_ref().scan(table).await
    }
}
