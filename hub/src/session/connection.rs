//! One connection: the only owner of its socket, signers and outbox.

use super::{
    calls,
    codec::Encoding,
    gate::{Admission, Gate},
    http::Names,
    limits::{self, SessionLimits},
    login::Budget,
    offenders::Offenders,
    outgoing::{self, End, Socket, Writer},
    state::State,
};
use crate::{
    engine::{Batch, Engine, Inbox, Mail, SessionId},
    now::Now,
    ops::Shutdown,
};
use futures::{FutureExt, StreamExt};
use protocol_spec::message::Message;
use std::{pin::pin, sync::atomic::AtomicU64, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message as Frame, protocol::frame::coding::CloseCode,
};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) limits: SessionLimits,
    pub(crate) names: Names,
    pub(crate) gate: Gate,
    pub(crate) budget: Budget,
    pub(crate) offenders: Offenders,
    pub(crate) shutdown: Shutdown,
    pub(crate) next_id: AtomicU64,
    pub(crate) counters: Counters,
    pub(crate) now: Now,
}

/// Counters of the hot path, looked up once.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) received: metrics::Counter,
    pub(crate) sent: metrics::Counter,
    pub(crate) errors: metrics::Counter,
    pub(crate) busy: metrics::Counter,
}

impl Counters {
    /// From the installed recorder.
    pub(crate) fn new() -> Self {
        Self {
            received: metrics::counter!("hub_session_messages_received_total"),
            sent: metrics::counter!("hub_session_messages_sent_total"),
            errors: metrics::counter!("hub_session_errors_sent_total"),
            busy: metrics::counter!("hub_session_busy_total"),
        }
    }
}

enum Happening {
    Frame(Option<Result<Frame, WsError>>),
    Batch(Option<Batch>),
    Alarm,
    Shutdown,
}

/// A connection after its handshake.
pub(crate) struct Connection<'a, S> {
    shared: &'a Shared,
    socket: Socket<S>,
    writer: Writer,
    state: State,
    started: Instant,
    alive: (u64, Instant),
    drain_until: Option<Instant>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Connection<'a, S> {
    /// A connection that has said nothing yet.
    pub(crate) fn new(
        shared: &'a Shared,
        socket: Socket<S>,
        encoding: Encoding,
        admission: Admission,
    ) -> Self {
        let now = Instant::now();
        let number = shared.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            shared,
            socket,
            writer: Writer {
                encoding,
                deadline: Duration::from_secs(shared.limits.write_deadline_s.into()),
            },
            state: State::new(SessionId(number), encoding, admission, now),
            started: now,
            alive: (0, now),
            drain_until: None,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn run(mut self) {
        let session = self.state.id.0;
        let encoding = self.state.encoding.name();
        tracing::debug!(session, encoding, "connected");
        let end = self.serve().await;
        tracing::debug!(session, ?end, "ends");
        let Self {
            shared,
            socket,
            state,
            ..
        } = self;
        if state.offended {
            let now = Instant::now();
            shared.offenders.put_off(state.signers.addresses(), now);
            shared.budget.failed(state.origin, now);
        }
        // Off the engine's table first: nothing is queued for a connection that is hanging up.
        drop(state.registration);
        outgoing::hang_up(socket, end).await;
    }

    async fn serve(&mut self) -> End {
        let greeting = calls::challenge(self.shared, &mut self.state, Instant::now());
        self.state.replies.push(greeting);
        if let Err(end) = self.write_turn(None, Instant::now()).await {
            return end;
        }
        let mut stopping = pin!(self.shared.shutdown.triggered());
        let mut alarm = pin!(sleep_until(self.next_alarm(Instant::now())));
        loop {
            // Every turn serves input and output both, so the order here starves nobody.
            let happening = tokio::select! {
                biased;
                frame = self.socket.next() => Happening::Frame(frame),
                batch = receive(&mut self.state.inbox) => Happening::Batch(batch),
                () = &mut alarm => Happening::Alarm,
                () = &mut stopping, if self.drain_until.is_none() => Happening::Shutdown,
            };
            let now = Instant::now();
            let rings = matches!(happening, Happening::Alarm | Happening::Shutdown);
            if let Err(end) = self.turn(happening, now).await {
                return end;
            }
            if self.drain_until.is_some() && self.state.in_flight == 0 {
                return End::Close(CloseCode::Away, "the hub is shutting down");
            }
            if rings {
                alarm.as_mut().reset(self.next_alarm(now));
            }
        }
    }

    /// One turn: all input that is there (up to a bound), then all output, then one flush.
    async fn turn(&mut self, happening: Happening, now: Instant) -> Result<(), End> {
        match happening {
            Happening::Frame(frame) => {
                let read = self.read_turn(frame, now);
                let written = self.write_turn(None, now).await;
                let more = read?;
                written?;
                if more {
                    // What was read ahead takes nothing of the time that the runtime gives a task.
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Happening::Batch(Some(batch)) => self.write_turn(Some(batch), now).await,
            Happening::Batch(None) => Err(TOO_SLOW),
            Happening::Alarm => self.on_alarm(now).await,
            Happening::Shutdown => {
                self.state.draining = true;
                self.drain_until = now.checked_add(limits::DRAIN_DEADLINE);
                Ok(())
            }
        }
    }

    /// True when there may be more.
    fn read_turn(&mut self, first: Option<Result<Frame, WsError>>, now: Instant) -> Result<bool, End> {
        let mut item = first;
        let mut left = limits::MESSAGES_PER_TURN;
        loop {
            let frame = item.ok_or(End::Gone)?.map_err(|error| End::from(&error))?;
            self.socket.get_mut().inner_mut().message_done();
            self.state.on_frame(self.shared, &frame, now)?;
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(true);
            }
            match self.socket.next().now_or_never() {
                Some(next) => item = next,
                None => return Ok(false),
            }
        }
    }

    async fn write_turn(&mut self, first: Option<Batch>, now: Instant) -> Result<(), End> {
        let mut judged = Ok(());
        for message in std::mem::take(&mut self.state.replies) {
            self.shared
                .counters
                .errors
                .increment(u64::from(is_error(&message)));
            self.feed(&Mail::Message(message)).await?;
        }
        let mut next = first.or_else(|| self.try_receive());
        let mut left = limits::BATCHES_PER_TURN;
        while let Some(batch) = next {
            // In the outbox; then only while it is fed.
            let mut waited = true;
            for mail in &*batch {
                // Its receipts and vouchers keep more in memory than themselves.
                if waited && batch.age() > limits::OUTBOX_AGE_MAX {
                    return Err(TOO_SLOW);
                }
                waited = self.feed(mail).await?;
                self.state.in_flight = self.state.in_flight.saturating_sub(u32::from(mail.is_answer()));
                if let Mail::Message(message) = mail {
                    self.state.signers.learn(message);
                    judged = judged.and(self.state.judge(message, now));
                }
            }
            left = left.saturating_sub(1);
            next = if left == 0 { None } else { self.try_receive() };
        }
        if judged.is_err() {
            // Why it ends.
            for message in std::mem::take(&mut self.state.replies) {
                self.feed(&Mail::Message(message)).await?;
            }
        }
        self.writer.flush(&mut self.socket).await?;
        judged
    }

    /// True when it waited for the reader.
    async fn feed(&mut self, mail: &Mail) -> Result<bool, End> {
        // The engine dropped the outbox of a slow reader: what is left in it is not worth the wait.
        if self.state.inbox.as_ref().is_some_and(Inbox::is_closed) {
            return Err(TOO_SLOW);
        }
        self.shared.counters.sent.increment(1);
        self.writer.feed(&mut self.socket, mail).await
    }

    fn try_receive(&mut self) -> Option<Batch> {
        self.state.inbox.as_mut()?.try_recv()
    }

    async fn on_alarm(&mut self, now: Instant) -> Result<(), End> {
        if self.drain_until.is_some_and(|until| now >= until) {
            return Err(End::Close(CloseCode::Away, "the hub is shutting down"));
        }
        if self.state.signers.is_empty()
            && now.saturating_duration_since(self.started) >= limits::LOGIN_DEADLINE
        {
            return Err(End::Close(CloseCode::Policy, "no login in time"));
        }
        let received = self.socket.get_ref().inner().received();
        let silent = now.saturating_duration_since(self.alive.1);
        if received != self.alive.0 {
            self.alive = (received, now);
            return Ok(());
        }
        if silent >= Duration::from_secs(self.shared.limits.idle_timeout_s.into()) {
            return Err(End::Close(CloseCode::Policy, "nothing heard for too long"));
        }
        self.writer.ping(&mut self.socket).await
    }

    fn next_alarm(&self, now: Instant) -> Instant {
        let period = Duration::from_secs(self.shared.limits.ping_after_s.into());
        let login = match self.state.signers.is_empty() {
            true => limits::LOGIN_DEADLINE.saturating_sub(now.saturating_duration_since(self.started)),
            false => Duration::MAX,
        };
        let drain = match self.drain_until {
            Some(until) => until.saturating_duration_since(now),
            None => Duration::MAX,
        };
        let wait = period.min(login).min(drain);
        now.checked_add(wait).unwrap_or(now)
    }
}

const TOO_SLOW: End = End::Close(CloseCode::Again, "too slow to read");

fn is_error(message: &Message) -> bool {
    matches!(message, Message::Response { result: Err(_), .. })
}

async fn receive(inbox: &mut Option<Inbox>) -> Option<Batch> {
    match inbox {
        Some(inbox) => inbox.recv().await,
        None => std::future::pending().await,
    }
}
