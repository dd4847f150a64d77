//! The ledger alone, for `tests/mutants/run`: what it needs of the hub and no more.

pub mod digests;
pub mod execution;
pub mod ledger;
pub mod liquidity;

/// What the ledger knows of connections, and its way back from a store.
pub mod engine {
    mod restore;
    mod session_id;
    #[cfg(test)]
    pub(crate) use restore::restore;
    pub use session_id::SessionId;

    /// The part of the real one that a restore needs.
    #[derive(Debug, thiserror::Error)]
    pub enum StartError {
        #[error(transparent)]
        Store(#[from] crate::store::StoreError),
        #[error(transparent)]
        Replay(#[from] protocol_spec::Reject),
        #[error(transparent)]
        Thread(#[from] std::io::Error),
    }
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
    const TRIM_STEP_RECORDS: u64 = 1_024;
}
