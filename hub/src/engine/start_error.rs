//! Why an engine does not start.

use crate::store::StoreError;
use protocol_spec::Reject;
use thiserror::Error;

/// Why the engine did not start. Nothing was signed.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database is damaged or another program's.
    #[error("the database cannot be replayed ({0}): restore a backup, or re-sync from the clients")]
    Replay(#[from] Reject),
    /// The operating system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
