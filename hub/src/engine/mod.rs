//! The payment path: verify -> ledger -> journal -> seal -> outboxes. One way, every arrow a bounded queue.
//!
//! * [`verify`]: signatures of calls, on worker threads; the calls of one session stay in order.
//! * ledger: one thread owns all channel state; a commit takes whatever has gathered.
//! * journal: one record per commit; the next commit is applied while the last one is written.
//! * seal: signs only what the store proved durable, and fills the outboxes.

mod control;
mod journal;
mod mail;
mod outbox;
mod port;
mod restore;
mod run;
mod seal;
mod session_id;
mod signatures;
mod start;
mod start_error;
mod threads;
mod verify;

pub use control::{Control, Snapshot};
pub use mail::{Leaf, Mail};
pub use outbox::{Batch, Inbox, Outboxes};
pub use port::{Engine, Inbound, Signer};
pub(crate) use restore::restore;
pub use session_id::SessionId;
pub use signatures::{EngineChoice, Signatures};
pub use start::{ControlHandle, EngineOptions, Running, WeakControl, start};
pub use start_error::StartError;
