//! What a session does with one request: answers it, refuses it, or hands it to the engine.

use super::{
    connection::Shared,
    limits,
    login::{put_off, too_many},
    outgoing::End,
    state::State,
};
use crate::engine::{Inbound, Outboxes, SessionId, Signer};
use protocol_spec::message::{
    Challenge, Empty, ErrorCode, HubInfo, LoginCall, Message, Notification, Reply, Request, RpcError,
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
    outboxes: Outboxes,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.outboxes.remove(self.id);
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
    match &*call {
        Request::Ping(Empty {}) => state.answer(id, Reply::Done(Empty {})),
        Request::Info(Empty {}) => state.answer(id, Reply::Info(Box::new(hub_info(shared)))),
        Request::Login(login_call) => return login(shared, state, id, login_call.clone(), now),
        other => match state.signers.key_for(other) {
            Ok(key) => {
                forward(shared, state, id, key, call)?;
            }
            Err(error) => state.refuse(Some(id), error),
        },
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
        count_login("turned_away");
        state.refuse(Some(id), busy);
        return Ok(());
    }
    let pause = shared.offenders.wait(&call.signer, now);
    if !pause.is_zero() {
        count_login("turned_away");
        state.refuse(Some(id), put_off(pause));
        return Ok(());
    }
    match state.signers.is_empty() {
        true => first_login(shared, state, id, call, now),
        false => further_login(shared, state, id, call, now),
    }
}

fn first_login(
    shared: &Shared,
    state: &mut State,
    id: u64,
    call: LoginCall,
    now: Instant,
) -> Result<(), End> {
    match check(shared, state, &call, now) {
        Ok(key) => {
            register(shared, state);
            if accept(shared, state, id, key, call, now)? {
                return Ok(());
            }
        }
        Err(error) => state.refuse(Some(id), error),
    }
    if state.challenger.spent() {
        return Err(End::Close(CloseCode::Policy, "too many failed logins"));
    }
    let challenge = challenge(shared, state, now);
    state.replies.push(challenge);
    Ok(())
}

/// Another signer for a connection that has one. A login that fails costs nothing but itself: not what the connection
/// has, and not the challenge, which other logins under way have signed; only an expired one is replaced.
fn further_login(
    shared: &Shared,
    state: &mut State,
    id: u64,
    call: LoginCall,
    now: Instant,
) -> Result<(), End> {
    let pause = state.vain_logins.charge(0, now);
    if !pause.is_zero() {
        count_login("turned_away");
        state.refuse(Some(id), too_many(pause));
        return Ok(());
    }
    if let Some(key) = state.signers.get(&call.signer) {
        // It has proven itself: no curve arithmetic for the same news.
        state.vain_logins.charge(1, now);
        forward(shared, state, id, key, Box::new(Request::Login(call)))?;
        return Ok(());
    }
    if let Err(error) = state.signers.require_room() {
        count_login("turned_away");
        state.refuse(Some(id), error);
        return Ok(());
    }
    if let Err(error) = state.challenger.require_alive(now) {
        count_login("expired");
        state.refuse(Some(id), error);
        let challenge = challenge(shared, state, now);
        state.replies.push(challenge);
        return Ok(());
    }
    match check(shared, state, &call, now) {
        Ok(key) => {
            accept(shared, state, id, key, call, now)?;
        }
        Err(error) => {
            state.vain_logins.charge(1, now);
            state.refuse(Some(id), error);
        }
    }
    Ok(())
}

/// Errors: `LoginFailed`, which is held against the peer's address.
fn check(
    shared: &Shared,
    state: &mut State,
    call: &LoginCall,
    now: Instant,
) -> Result<Arc<Signer>, RpcError> {
    let protocol = state.encoding.name();
    let checked = state
        .challenger
        .check(&shared.engine.info, protocol, call, now)
        .and_then(|key| Signer::new(key).ok_or_else(|| RpcError::of(ErrorCode::Internal)))
        .map(Arc::new);
    if checked.is_err() {
        count_login("failed");
        shared.budget.failed(state.origin, now);
    }
    checked
}

/// The engine knows the signer's channels, so the call goes on to it. False: refused as busy.
fn accept(
    shared: &Shared,
    state: &mut State,
    id: u64,
    key: Arc<Signer>,
    call: LoginCall,
    now: Instant,
) -> Result<bool, End> {
    let accepted = forward(
        shared,
        state,
        id,
        Arc::clone(&key),
        Box::new(Request::Login(call)),
    )?;
    if accepted {
        count_login("accepted");
        state.log_in(shared, key, now);
    }
    Ok(accepted)
}

fn count_login(outcome: &'static str) {
    metrics::counter!("hub_logins_total", "outcome" => outcome).increment(1);
}

fn register(shared: &Shared, state: &mut State) {
    if state.registration.is_some() {
        return;
    }
    state.inbox = Some(shared.engine.outboxes.open(state.id, limits::OUTBOX_BATCHES));
    state.registration = Some(Registration {
        id: state.id,
        inbound: shared.engine.inbound.clone(),
        outboxes: shared.engine.outboxes.clone(),
    });
}

/// Hands a call to the engine without waiting. False: refused as busy.
fn forward(
    shared: &Shared,
    state: &mut State,
    id: u64,
    key: Arc<Signer>,
    call: Box<Request>,
) -> Result<bool, End> {
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
