//! Durable storage: the journal of group commits and the tables written behind it.
//!
//! * [`Store`] is the port: whole batches, each carrying the shard and its owner's epoch.
//! * A record is durable when [`Store::append`] returns its [`Durable`] token, and not before.
//! * Start = last checkpoint + replay of the journal's tail.
//!
//! One writer per shard; reads never wait for a commit.

mod error;
mod identity;
mod port;

pub use error::{OpenError, StoreError};
pub use identity::Identity;
pub use port::{
    Checkpoint, Durable, Epoch, JournalRecord, Loaded, RECORD_BYTES_MAX, Row, ShardId, Store, Table, Trimmed,
};
