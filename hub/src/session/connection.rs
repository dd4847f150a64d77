//! One connection: the only owner of its socket, signers and outbox.

use super::{
    bells::{Bells, Ring},
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
use futures::StreamExt;
use protocol_spec::message::Message;
use std::{
    future::poll_fn,
    pin::pin,
    sync::atomic::AtomicU64,
    task::{Context, Poll},
    time::Duration,
};
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
    Ring(Ring),
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
            writer: Writer::new(
                encoding,
                Duration::from_secs(shared.limits.write_deadline_s.into()),
            ),
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
            writer,
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
        outgoing::hang_up(socket, writer, end).await;
    }

    async fn serve(&mut self) -> End {
        let greeting = calls::challenge(self.shared, &mut self.state, Instant::now());
        self.state.replies.push(greeting);
        if let Err(end) = self.write_turn(None, Instant::now()).await {
            return end;
        }
        let shutdown = &self.shared.shutdown;
        let alarm = pin!(sleep_until(self.next_alarm(Instant::now())));
        let stopping = pin!(shutdown.triggered());
        let mut bells = Bells::new(alarm, shutdown, stopping);
        let mut quiet = false;
        loop {
            // Every turn serves input and output both, so the order here starves nobody.
            let happening = poll_fn(|cx| {
                // The turn has just seen that there is no more of either, and this task is woken by both.
                if !std::mem::take(&mut quiet)
                    && let Poll::Ready(happening) = self.poll(cx)
                {
                    return Poll::Ready(happening);
                }
                bells.poll(cx).map(Happening::Ring)
            });
            let happening = happening.await;
            let now = Instant::now();
            let rings = matches!(happening, Happening::Ring(_));
            quiet = match self.turn(happening, now).await {
                Ok(quiet) => quiet,
                Err(end) => return end,
            };
            if self.drain_until.is_some() && self.state.in_flight == 0 {
                return End::Close(CloseCode::Away, "the hub is shutting down");
            }
            if rings {
                bells.set(self.next_alarm(now));
            }
        }
    }

    /// What has come. While nothing has, the task is woken by either.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        match self.socket.poll_next_unpin(cx) {
            Poll::Ready(frame) => Poll::Ready(Happening::Frame(frame)),
            Poll::Pending => self.poll_batch(cx).map(Happening::Batch),
        }
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        match &mut self.state.inbox {
            Some(inbox) => inbox.poll_recv(cx),
            None => Poll::Pending,
        }
    }

    /// One turn: all input that is there (up to a bound), then all output, then one flush. True when there is no more of
    /// either, this task is woken by both, and it was not given up in between.
    async fn turn(&mut self, happening: Happening, now: Instant) -> Result<bool, End> {
        match happening {
            Happening::Frame(frame) => {
                let read = self.read_turn(frame, now).await;
                if let Err(end @ (End::Gone | End::Closed)) = read {
                    return Err(end);
                }
                let written = self.write_turn(None, now).await;
                let more = read?;
                let quiet = written?;
                if more {
                    // What was read ahead takes nothing of the time that the runtime gives a task.
                    tokio::task::yield_now().await;
                }
                Ok(quiet && !more)
            }
            Happening::Batch(Some(batch)) => self.write_turn(Some(batch), now).await,
            Happening::Batch(None) => Err(TOO_SLOW),
            Happening::Ring(Ring::Alarm) => self.on_alarm(now).await.map(|()| false),
            Happening::Ring(Ring::Shutdown) => {
                self.state.draining = true;
                self.drain_until = now.checked_add(limits::DRAIN_DEADLINE);
                Ok(false)
            }
        }
    }

    /// True when there may be more; else this task is woken when more comes.
    async fn read_turn(&mut self, first: Option<Result<Frame, WsError>>, now: Instant) -> Result<bool, End> {
        let mut item = first;
        let mut left = limits::MESSAGES_PER_TURN;
        loop {
            let frame = item.ok_or(End::Gone)?.map_err(|error| End::from(&error))?;
            self.socket.get_mut().inner_mut().message_done();
            self.writer.pong_due |= frame.is_ping();
            self.state.on_frame(self.shared, &frame, now)?;
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(true);
            }
            match look(|cx| self.socket.poll_next_unpin(cx)).await {
                Poll::Ready(next) => item = next,
                Poll::Pending => return Ok(false),
            }
        }
    }

    /// True when there is no more, this task is woken when there is, and nobody was waited for.
    async fn write_turn(&mut self, first: Option<Batch>, mut now: Instant) -> Result<bool, End> {
        let mut judged = Ok(());
        let mut waited = false;
        for message in std::mem::take(&mut self.state.replies) {
            self.shared
                .counters
                .errors
                .increment(u64::from(is_error(&message)));
            if self.feed(&Mail::Message(message)).await? {
                (waited, now) = (true, Instant::now());
            }
        }
        let mut next = match first {
            Some(batch) => Poll::Ready(Some(batch)),
            None => look(|cx| self.poll_batch(cx)).await,
        };
        let mut left = limits::BATCHES_PER_TURN;
        while let Poll::Ready(Some(batch)) = next {
            for mail in &*batch {
                // Its receipts and vouchers keep more in memory than themselves.
                if batch.age(now) > limits::OUTBOX_AGE_MAX {
                    return Err(TOO_SLOW);
                }
                if self.feed(mail).await? {
                    (waited, now) = (true, Instant::now());
                }
                self.state.in_flight = self.state.in_flight.saturating_sub(u32::from(mail.is_answer()));
                if let Mail::Message(message) = mail {
                    self.state.signers.learn(message);
                    judged = judged.and(self.state.judge(message, now));
                }
            }
            left = left.saturating_sub(1);
            next = match left {
                0 => Poll::Ready(None), // there may be more
                _ => look(|cx| self.poll_batch(cx)).await,
            };
        }
        if judged.is_err() {
            // Why it ends.
            for message in std::mem::take(&mut self.state.replies) {
                self.feed(&Mail::Message(message)).await?;
            }
        }
        waited |= self.writer.flush(&mut self.socket).await?;
        judged.map(|()| next.is_pending() && !waited)
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

/// Polls once, in the name of this task: what is not there yet wakes it.
async fn look<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}
