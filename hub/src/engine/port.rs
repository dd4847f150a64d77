//! What a session sees of the engine: one queue in, one outbox out.

use super::{Outboxes, SessionId};
use protocol_spec::{
    Address, PublicKey,
    message::{HubInfo, Request},
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A client's signer that has logged in, as the protocol and as the signature engine know it.
#[derive(Clone, Copy, Debug)]
pub struct Signer {
    public: PublicKey,
    key: hub_verify::Key,
}

impl Signer {
    /// Of a public key.
    #[must_use]
    pub fn new(public: PublicKey) -> Option<Self> {
        let key = hub_verify::Key::from_sec1(&public.to_uncompressed())?;
        Some(Self { public, key })
    }

    /// The account address of its key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.public.address()
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn key(&self) -> &hub_verify::Key {
        &self.key
    }
}

/// What sessions hand to the engine.
#[allow(
    clippy::large_enum_variant,
    reason = "the small one comes once per connection; keys are larger with debug assertions, so it depends on the profile"
)]
#[derive(Debug)]
pub enum Inbound {
    /// A call of a logged-in session. Answered by exactly one `Message::Response` with the same id in its outbox.
    Call {
        /// From where.
        session: SessionId,
        /// The key of the signer that asks, one of those that logged in there; vouchers are verified against it.
        key: Arc<Signer>,
        /// The request's id.
        id: u64,
        /// Everything but `info` and `ping`, which the session answers itself. `login`: the signer is proven.
        call: Box<Request>,
    },
    /// The connection is gone; the engine detaches its channels.
    Gone {
        /// Which.
        session: SessionId,
    },
}

/// The handle sessions hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Calls, bounded. A full queue is answered with `Busy` by the session.
    pub inbound: mpsc::Sender<Inbound>,
    /// Outboxes of live sessions. The session opens its own before its first call and removes it at the end.
    pub outboxes: Outboxes,
    /// The hub's facts; `now` is filled in per use.
    pub info: Arc<HubInfo>,
}
