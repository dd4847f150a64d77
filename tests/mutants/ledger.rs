//! The ledger alone, for `tests/mutants/run`: what it needs of the hub and no more.

pub mod digests;
pub mod execution;
pub mod ledger;
pub mod liquidity;

/// What the ledger knows of connections, and its way back from a store.
pub mod engine {
    mod restore;
    mod session_id;
    mod start_error;
    #[cfg(test)]
    pub(crate) use restore::restore;
    pub use session_id::SessionId;
    pub use start_error::StartError;
}

/// What a checkpoint is made of, and a store without a disk.
pub mod store {
    mod error;
    mod head;
    mod memory;
    mod port;
    pub use error::StoreError;
    pub use memory::MemoryStore;
    pub use port::{
        Checkpoint, Durable, Epoch, Freeze, Frozen, JournalRecord, Loaded, RECORD_BYTES_MAX, Row, ShardId, Store,
        Table, Trimmed,
    };
    use port::TRIM_STEP_RECORDS;
}
