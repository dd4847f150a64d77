//! WebSocket sessions: from an accepted socket to calls in the engine's queue, and from an outbox back to the socket.
//!
//! One task per connection owns the socket, its signers and the receiving end of its outbox. What a stranger can
//! make the hub spend is bounded before it is spent: pending handshakes and connections by [`gate`](self), bytes by the
//! metered stream, messages by token buckets, memory by the limits in [`limits`].
//!
//! ```text
//! accept --> gate --> HTTP head (5 s in all) --> connection task --try_send--> engine.inbound
//!                                                  ^     login, info, ping answered here
//!                                                  +---- outbox (bounded batches) <---- engine
//! ```

mod bells;
mod bucket;
mod calls;
mod codec;
mod connection;
mod gate;
mod http;
pub mod limits;
mod listener;
mod login;
mod metered;
mod offenders;
mod outgoing;
mod read_ahead;
mod server;
mod signers;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use gate::Origin;
pub use limits::SessionLimits;
pub use listener::Listener;
pub use login::login_digest;
pub use read_ahead::ReadAhead;
pub use server::{Drained, Settings, bind, serve, serve_tcp};
