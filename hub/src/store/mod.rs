//! Durable storage: the journal of group commits and the tables written behind it.
//!
//! * [`Store`] is the port: whole batches, each carrying the shard and its owner's epoch.
//! * A record is durable when [`Store::append`] returns its [`Durable`] token, and not before.
//! * Start = last checkpoint + replay of the journal's tail.
//!
//! One writer per shard; reads never wait for a commit.

mod error;
mod head;
mod identity;
mod memory;
mod port;
mod redb_store;
mod row;
pub mod sim;

#[cfg(test)]
mod tests;

pub use error::{OpenError, StoreError};
pub use identity::Identity;
pub use memory::MemoryStore;
pub(in crate::store) use port::TRIM_STEP_RECORDS;
pub use port::{
    Checkpoint, Durable, Epoch, Freeze, Frozen, JournalRecord, Loaded, RECORD_BYTES_MAX, Row, ShardId, Store,
    Table, Trimmed,
};
pub use redb_store::RedbStore;
