//! The ledger alone, for `tests/mutants/run`: what it needs of the hub and no more.

pub mod digests;
pub mod ledger;
pub mod liquidity;

/// What the ledger knows of connections.
pub mod engine {
    mod session_id;
    pub use session_id::SessionId;
}

/// What a checkpoint is made of.
pub mod store {
    mod error;
    mod port;
    pub use error::StoreError;
    pub use port::{Checkpoint, Epoch, Row, ShardId, Table};
}
