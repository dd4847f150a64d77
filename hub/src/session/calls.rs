//! What a session does with one request: answers it, refuses it, or hands it to the engine.

use super::{connection::Shared, limits, outgoing::End, state::State};
use crate::engine::{Inbound, SessionId};
use dashmap::DashMap;
use protocol_spec::{
    PublicKey,
    message::{
        Challenge, Empty, ErrorCode, HubInfo, LoginCall, Message, Notification, Reply, Request, RpcError,
    },
};
use std::sync::Arc;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// An entry in the engine's table of outboxes. Dropping it removes the entry and tells the engine.
#[derive(Debug)]
pub(crate) struct Registration {
    id: SessionId,
    inbound: mpsc::Sender<Inbound>,
    outboxes: Arc<DashMap<SessionId, crate::engine::Outbox>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.outboxes.remove(&self.id);
        let gone = Inbound::Gone { session: self.id };
        let Err(TrySendError::Full(gone)) = self.inbound.try_send(gone) else {
            return;
        };
        // The queue is full right now; without a runtime the process is at its end and nobody listens.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let inbound = self.inbound.clone();
            runtime.spawn(async move {
                let sent = tokio::time::timeout(limits::GONE_DEADLINE, inbound.send(gone)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    tracing::warn!("the engine was not told that a connection is gone");
                }
            });
        }
    }
}

/// The challenge that opens a connection and follows every failed login.
pub(crate) fn challenge(shared: &Shared, state: &mut State, now: Instant) -> Message {
    let nonce = state.challenger.challenge(now);
    let hub = hub_info(shared);
    Message::Notification(Box::new(Notification::Challenge(Challenge { nonce, hub })))
}

/// Handles one message; answers go to `state.replies`. Errors: the connection must end.
pub(crate) fn handle(shared: &Shared, state: &mut State, message: Message, now: Instant) -> Result<(), End> {
    let Message::Request { id, call } = message else {
        let error = RpcError::because(ErrorCode::InvalidRequest, "clients send requests only");
        state.refuse(None, error);
        return Ok(());
    };
    if state.draining {
        state.refuse(Some(id), RpcError::of(ErrorCode::ShuttingDown));
        return Ok(());
    }
    match (*call, state.key) {
        (Request::Ping(Empty {}), _) => state.answer(id, Reply::Done(Empty {})),
        (Request::Info(Empty {}), _) => state.answer(id, Reply::Info(hub_info(shared))),
        (Request::Login(call), None) => return login(shared, state, id, call, now),
        (Request::Login(_), Some(_)) => {
            let error = RpcError::because(ErrorCode::InvalidRequest, "this connection is logged in already");
            state.refuse(Some(id), error);
        }
        (_, None) => state.refuse(Some(id), RpcError::of(ErrorCode::NotLoggedIn)),
        (call, Some(key)) => {
            forward(shared, state, id, key, call)?;
        }
    }
    Ok(())
}

fn hub_info(shared: &Shared) -> HubInfo {
    HubInfo {
        now: shared.now.get(),
        ..(*shared.engine.info).clone()
    }
}

fn login(shared: &Shared, state: &mut State, id: u64, call: LoginCall, now: Instant) -> Result<(), End> {
    if let Err(busy) = shared.budget.admit(state.origin, now) {
        metrics::counter!("hub_logins_total", "outcome" => "turned_away").increment(1);
        state.refuse(Some(id), busy);
        return Ok(());
    }
    let checked = state
        .challenger
        .check(&shared.engine.info, state.encoding.name(), &call, now);
    match checked {
        Ok(key) => {
            register(shared, state);
            // The engine knows the signer's channels, so the call goes on to it.
            if forward(shared, state, id, key, Request::Login(call))? {
                metrics::counter!("hub_logins_total", "outcome" => "accepted").increment(1);
                state.log_in(shared, key, now);
                return Ok(());
            }
        }
        Err(error) => {
            metrics::counter!("hub_logins_total", "outcome" => "failed").increment(1);
            shared.budget.failed(state.origin, now);
            state.refuse(Some(id), error);
        }
    }
    if state.challenger.spent() {
        return Err(End::Close(CloseCode::Policy, "too many failed logins"));
    }
    let challenge = challenge(shared, state, now);
    state.replies.push(challenge);
    Ok(())
}

fn register(shared: &Shared, state: &mut State) {
    if state.registration.is_some() {
        return;
    }
    let (sender, receiver) = mpsc::channel(limits::OUTBOX_BATCHES);
    // The only sender is in the table: when the engine drops it there, the receiver sees the end.
    shared.engine.outboxes.insert(state.id, sender);
    state.outbox = Some(receiver);
    state.registration = Some(Registration {
        id: state.id,
        inbound: shared.engine.inbound.clone(),
        outboxes: Arc::clone(&shared.engine.outboxes),
    });
}

/// Hands a call to the engine without waiting. False: refused as busy.
fn forward(shared: &Shared, state: &mut State, id: u64, key: PublicKey, call: Request) -> Result<bool, End> {
    let busy = RpcError::of(ErrorCode::Busy).retry_after_ms(limits::BUSY_RETRY_AFTER_MS);
    if state.in_flight >= limits::CALLS_IN_FLIGHT_MAX {
        let got = state.in_flight.saturating_add(1);
        state.refuse(Some(id), busy.with(limits::CALLS_IN_FLIGHT_MAX, got));
        return Ok(false);
    }
    let session = state.id;
    match shared.engine.inbound.try_send(Inbound::Call {
        session,
        key,
        id,
        call,
    }) {
        Ok(()) => {
            state.in_flight = state.in_flight.saturating_add(1);
            Ok(true)
        }
        Err(TrySendError::Full(_)) => {
            shared.counters.busy.increment(1);
            state.refuse(Some(id), busy);
            Ok(false)
        }
        Err(TrySendError::Closed(_)) => {
            state.refuse(Some(id), RpcError::of(ErrorCode::Internal));
            Err(End::Close(CloseCode::Error, "the engine has stopped"))
        }
    }
}
