//! The payment path: verify -> ledger -> journal -> seal -> outboxes. One way, every arrow a bounded queue.

mod port;

pub use port::{Engine, Inbound, Outbox, SessionId};
