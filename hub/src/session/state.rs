//! Everything about a connection but its socket: who it is, what it may still send, what it is owed.

use super::{
    bucket::Bucket,
    calls::{self, Registration},
    codec::Encoding,
    connection::Shared,
    gate::{Admission, Origin},
    limits,
    login::{Challenger, retry_after},
    outgoing::End,
    signers::Signers,
};
use crate::engine::{Inbox, SessionId, Signer};
use protocol_spec::{
    Reject,
    message::{ErrorCode, Message, Reply, RpcError},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message as Frame, protocol::frame::coding::CloseCode};

/// Everything about a connection but its socket.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) id: SessionId,
    pub(crate) origin: Origin,
    pub(crate) encoding: Encoding,
    pub(crate) challenger: Challenger,
    pub(crate) signers: Signers,
    pub(crate) replies: Vec<Message>,
    pub(crate) in_flight: u32,
    pub(crate) draining: bool,
    pub(crate) inbox: Option<Inbox>,
    /// The entry of `inbox` in the engine's table.
    pub(crate) registration: Option<Registration>,
    messages: Bucket,
    controls: Bucket,
    strikes: Bucket,
    /// Logins that fail or repeat, once somebody is logged in.
    pub(crate) vain_logins: Bucket,
    /// The connection ends for its strikes.
    pub(crate) offended: bool,
    /// Counts against `connections_max` until the connection is gone.
    _admission: Admission,
}

impl State {
    pub(crate) fn new(id: SessionId, encoding: Encoding, admission: Admission, now: Instant) -> Self {
        Self {
            id,
            origin: admission.origin(),
            encoding,
            challenger: Challenger::new(),
            signers: Signers::default(),
            replies: Vec::new(),
            in_flight: 0,
            draining: false,
            inbox: None,
            registration: None,
            messages: Bucket::new(
                limits::STRANGER_MESSAGES_PER_S,
                limits::STRANGER_MESSAGES_BURST,
                now,
            ),
            controls: Bucket::new(limits::CONTROL_FRAMES_PER_S, limits::CONTROL_FRAMES_BURST, now),
            strikes: Bucket::new(1, limits::STRIKES_MAX, now),
            // The last one may be spent in debt.
            vain_logins: Bucket::new(1, limits::LOGIN_FAILURES_MAX.saturating_sub(1), now),
            offended: false,
            _admission: admission,
        }
    }

    /// Queues an answer.
    pub(crate) fn answer(&mut self, id: u64, reply: Reply) {
        self.replies.push(Message::Response {
            id: Some(id),
            result: Ok(Box::new(reply)),
        });
    }

    /// Queues an error.
    pub(crate) fn refuse(&mut self, id: Option<u64>, error: RpcError) {
        self.replies.push(Message::Response {
            id,
            result: Err(error),
        });
    }

    /// The connection acts for `key`, too. From the first one on it has the limits of a known client.
    pub(crate) fn log_in(&mut self, shared: &Shared, key: Arc<Signer>, now: Instant) {
        if self.signers.is_empty() {
            self.messages = Bucket::new(shared.limits.messages_per_s, shared.limits.messages_burst, now);
        }
        self.signers.add(key);
    }

    /// Handles one frame.
    pub(crate) fn on_frame(&mut self, shared: &Shared, frame: &Frame, now: Instant) -> Result<(), End> {
        let Some(decoded) = self.encoding.decode(frame) else {
            return match frame {
                Frame::Close(_) => Err(End::Closed),
                _ => self.controls.take(now).or_else(|_| self.strike(1, now)),
            };
        };
        shared.counters.received.increment(1);
        let slot = match frame.is_empty() {
            true => self.controls.take(now),
            false => self.messages.take(now),
        };
        match (slot, decoded) {
            (Ok(()), Ok(message)) => calls::handle(shared, self, message, now),
            (Ok(()), Err((id, error))) => {
                self.refuse(id, error);
                self.strike(1, now)
            }
            (Err(wait), decoded) => {
                metrics::counter!("hub_session_rate_limited_total").increment(1);
                self.strike(1, now)?;
                let id = match decoded {
                    Ok(Message::Request { id, .. }) => Some(id),
                    Ok(_) => None,
                    Err((id, _)) => id,
                };
                self.refuse(id, rate_limited(wait));
                Ok(())
            }
        }
    }

    /// Looks at what the engine answers: a client with the right key and domain never sends a wrong signature.
    pub(crate) fn judge(&mut self, answer: &Message, now: Instant) -> Result<(), End> {
        match answer {
            Message::Response {
                result: Err(error), ..
            } if is_wrong_signature(error) => self.strike(limits::STRIKES_PER_SIGNATURE, now),
            _ => Ok(()),
        }
    }

    fn strike(&mut self, count: u32, now: Instant) -> Result<(), End> {
        for _ in 0..count {
            self.strikes.take(now).map_err(|wait| {
                self.refuse(None, rate_limited(wait));
                self.offended = true;
                End::Close(CloseCode::Policy, "too many messages that are refused")
            })?;
        }
        Ok(())
    }
}

fn is_wrong_signature(error: &RpcError) -> bool {
    error.code == Reject::SignatureInvalid.code()
}

fn rate_limited(wait: Duration) -> RpcError {
    retry_after(RpcError::of(ErrorCode::RateLimited), wait)
}
