//! The connection: dialing with backoff, logging in, registering and resuming channels, matching answers to calls.

use super::{
    Actor,
    entry::{Entry, QuoteKey},
    issue::may_sign,
    pay::later,
};
use crate::{
    ChannelError, ClientEvent, ConnectError, FaultKind, StoreError,
    link::{Inbound, Link, dial},
    store::rows,
    task::OwnedTask,
};
use protocol_spec::{
    ChannelId, Digest, Register, Seq, SignedVoucher, UnixSeconds,
    message::{
        Bounce, ErrorCode, Message, Notification, RegisterCall, Reply, Request, ResumeCall, RpcError,
        shown_locks,
    },
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// Between attempts to register or resume a channel that the hub refused.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A hub that asks for more time has this much.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
const MESSAGES: usize = 128;

/// Where a channel stands on the present connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Session {
    /// No connection, or not confirmed on chain yet.
    Offline,
    /// Refused; tried again then.
    Retry(Instant),
    /// `register` is under way.
    Registering,
    /// `resume` is under way.
    Resuming,
    /// The same, with a hub that has forgotten what it signed.
    Resyncing,
    /// Vouchers flow.
    Live,
}

/// What an answer belongs to.
pub(super) enum Pending {
    Register(ChannelId),
    Resume(ChannelId),
    Voucher(ChannelId, Seq),
    Quote(ChannelId, QuoteKey),
    Subscribe(ChannelId),
    /// With the deadline of the close that the hub was told of.
    Compare(ChannelId, Option<UnixSeconds>),
    Cooperate(ChannelId, Digest),
    /// News about one of the hub's locks.
    Lock(ChannelId),
    Forward(oneshot::Sender<Result<Reply, RpcError>>),
    Ignore,
}

/// The connection.
pub(super) enum LinkState {
    /// The first meeting with the hub, not looked at yet.
    Fresh(Box<Link>),
    Up(Box<Link>),
    Dialing(OwnedTask<Result<Link, ConnectError>>),
    /// Dialled again then.
    Down(Instant),
}

impl LinkState {
    /// Adds what came in to `messages`; ready when a connection was made or not. Pending while there is none.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        messages: &mut Vec<Inbound>,
    ) -> Poll<Result<Link, ConnectError>> {
        match self {
            Self::Up(link) => {
                if let Poll::Ready(0) = link.input.poll_recv_many(context, messages, MESSAGES) {
                    messages.push(Inbound::Closed("the connection ended".to_owned()));
                }
                Poll::Pending
            }
            Self::Dialing(task) => {
                let failed = |error| Err(ConnectError::Unreachable(format!("dialing: {error}")));
                Pin::new(task)
                    .poll(context)
                    .map(|result| result.unwrap_or_else(failed))
            }
            Self::Fresh(_) | Self::Down(..) => Poll::Pending,
        }
    }
}

/// The hub would adopt what was shown, if it knew the locks in it.
fn lacks_locks(error: &RpcError) -> bool {
    error.data.name == "LocksNotShown"
}

impl Actor {
    /// A logged-in connection: registers every channel that is confirmed.
    pub(super) fn connected(&mut self, link: Link) {
        if !self.hub.says_the_same(&link.hub) {
            self.batch.push(rows::put_hub(&link.hub.info));
        }
        self.hub = link.hub.clone();
        self.unreachable = None;
        if let Some(met) = self.met.take() {
            // Who waited may have given up.
            let _ = met.send(Ok(()));
        }
        self.signer = link.signer.clone();
        self.redial.signer = link.signer.clone();
        let known = link.login.channels.clone();
        self.link = LinkState::Up(Box::new(link));
        self.redials.works();
        self.calls.clear();
        self.emit(ClientEvent::Connected);
        for info in known {
            self.hub_channel(&info);
        }
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for id in ids {
            self.start_session(id);
        }
    }

    pub(super) fn disconnected(&mut self, why: &str) {
        if matches!(self.link, LinkState::Up(_)) {
            self.emit(ClientEvent::Disconnected { why: why.to_owned() });
        }
        self.unreachable = Some(ConnectError::Unreachable(why.to_owned()));
        self.offline();
    }

    pub(super) fn dial_failed(&mut self, error: &ConnectError) {
        tracing::debug!(%error, "dialing failed");
        let away = matches!(error, ConnectError::Unreachable(_));
        let known = self.unreachable.replace(error.clone());
        let news = match away {
            // That the connection is gone was told; at the start nothing was.
            true => known.is_none(),
            false => known.as_ref() != Some(error),
        };
        if news {
            self.emit(ClientEvent::Disconnected {
                why: error.to_string(),
            });
        }
        // One that is away may come while `connect` waits.
        if let Some(met) = self.met.take_if(|_| !away) {
            let _ = met.send(Err(error.clone()));
        }
        self.offline();
    }

    fn offline(&mut self) {
        let options = &self.options;
        let wait = self
            .redials
            .failed(&options.ports, options.reconnect_min, options.reconnect_max);
        self.link = LinkState::Down(later(wait));
        // Dropping the calls tells those who wait for a forwarded answer.
        self.calls.clear();
        for entry in self.entries.values_mut() {
            entry.session = Session::Offline;
            entry.stream_offline();
            entry.cooperation_offline();
        }
        self.fail_releases(|| ChannelError::Offline, |_| true);
    }

    /// Dials when it is time, retries refused channels, and resumes those that missed something as soon as it is of use.
    pub(super) fn retry(&mut self) {
        let now = Instant::now();
        if let LinkState::Down(until) = self.link
            && until <= now
        {
            self.link = LinkState::Dialing(OwnedTask::spawn(dial(self.redial.clone())));
        }
        let due = |entry: &Entry| match entry.session {
            Session::Retry(at) => at <= now,
            _ => entry.missed && may_sign(entry),
        };
        let due = self.entries.iter().filter(|(_, entry)| due(entry));
        let due: Vec<ChannelId> = due.map(|(id, _)| *id).collect();
        for id in due {
            self.start_session(id);
        }
    }

    /// A hub that is there but does not answer is left: everything is registered, resumed and sent again on a new
    /// connection.
    pub(super) fn leave_silent_hub(&mut self) {
        let now = Instant::now();
        let late = |(pending, due): &(Pending, Instant)| *due <= now && self.depends_on(pending);
        if self.calls.values().any(late) {
            return self.disconnected("no answer in time");
        }
        let silent = self.calls.values().filter(|(_, due)| *due <= now);
        let locks = silent.filter_map(|(pending, _)| match pending {
            Pending::Lock(id) => Some(*id),
            _ => None,
        });
        for id in locks.collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.lock_news_at.get_or_insert(now);
            }
        }
        // Who asked has given up: nobody misses the answer.
        self.calls.retain(|_, (_, due)| *due > now);
    }

    /// Calls without whose answer a channel stands still; the others have time limits of their own.
    fn depends_on(&self, pending: &Pending) -> bool {
        match pending {
            Pending::Register(_) | Pending::Resume(_) | Pending::Subscribe(_) => true,
            Pending::Voucher(id, seq) => self
                .entries
                .get(id)
                .is_some_and(|entry| entry.live() && entry.accepted < *seq),
            // Equal payments share one question: without an answer none of them would ever be sent.
            Pending::Quote(id, key) => self
                .entries
                .get(id)
                .is_some_and(|entry| entry.quoting.contains_key(key)),
            _ => false,
        }
    }

    /// Registers a channel on the present connection once it is confirmed.
    pub(super) fn start_session(&mut self, id: ChannelId) {
        let trusting = self.watched.is_none();
        if !matches!(self.link, LinkState::Up(_)) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&id)
            && (entry.confirmed || trusting)
            && entry.resumable()
        {
            entry.session = Session::Registering;
            entry.wants_register = true;
        }
    }

    /// Sends the `register` calls that are due; signing needs a moment, so this is not done where they become due.
    pub(super) async fn send_registers(&mut self) {
        let due: Vec<ChannelId> = self
            .entries
            .iter_mut()
            .filter_map(|(id, entry)| std::mem::take(&mut entry.wants_register).then_some(*id))
            .collect();
        for id in due {
            let Some(config) = self.entries.get(&id).map(|entry| entry.channel.config().clone()) else {
                continue;
            };
            let statement = Register {
                channel_id: id,
                server: self.hub.pin.server.clone(),
            };
            let owner = self
                .owners
                .iter_mut()
                .find(|owner| owner.address() == config.client);
            let owner_signature = match owner {
                Some(owner) => {
                    let digest = statement.digest(&self.hub.domain);
                    let signed = owner.sign(&digest).await;
                    let failed = |error: &_| tracing::warn!(channel = %id, %error, "the owner's signer");
                    signed.inspect_err(failed).ok()
                }
                None => None,
            };
            let call = RegisterCall {
                config,
                owner_signature,
            };
            self.call(Request::Register(call), Pending::Register(id));
        }
    }

    async fn resume(&mut self, id: ChannelId) {
        // The hub may have broken the protocol, or closed the channel, while `register` was under way.
        if !self.entries.get(&id).is_some_and(Entry::resumable) {
            return;
        }
        let sent = match self.own_newest(&id).await {
            Ok(sent) => sent,
            Err(error) => {
                tracing::warn!(channel = %id, %error, "cannot show the newest own voucher");
                return self.refused(&id, &error.to_string());
            }
        };
        self.ask_resume(id, sent, Session::Resuming);
    }

    /// A10: the hub has forgotten its own newest voucher and the one of ours that this acknowledges: both are shown, with
    /// their locks. What was signed since it gets again, with its operations. False when there is nothing more to show.
    fn show_acknowledged(&mut self, id: &ChannelId) -> bool {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.resumable()) else {
            return false;
        };
        let needed = entry.channel.received().ack_seq;
        let sent = entry.acknowledged.clone().filter(|own| own.voucher.seq == needed);
        if entry.session != Session::Resuming || (sent.is_none() && needed > Seq::NONE) {
            return false;
        }
        self.ask_resume(*id, sent, Session::Resyncing);
        true
    }

    /// Asks the hub to go on from `sent`, a voucher of ours, and from its newest one that was accepted.
    fn ask_resume(&mut self, id: ChannelId, sent: Option<SignedVoucher>, session: Session) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.session = session;
        entry.miss();
        let shown = sent.as_ref().map_or(Seq::NONE, |own| own.voucher.seq);
        let (received_locks, sent_locks) = match session {
            Session::Resyncing => shown_locks(&entry.channel.received().locks, &entry.locks_at(shown)),
            _ => (None, None),
        };
        let call = ResumeCall {
            channel_id: id,
            sent,
            received: entry.channel.received_signed(),
            sent_locks,
            received_locks,
        };
        self.call(Request::Resume(Box::new(call)), Pending::Resume(id));
    }

    /// The hub refused something on this channel: registered and resumed again later. Of several refusals at once (the
    /// vouchers under way) only the first one counts.
    pub(super) fn refused(&mut self, id: &ChannelId, why: &str) {
        self.refused_for(id, why, Duration::ZERO);
    }

    /// As [`Self::refused`], by the hub, which may say how long it wants to be left alone.
    fn refused_by(&mut self, id: &ChannelId, error: &RpcError) {
        let asked_ms = error.data.retry_after_ms.unwrap_or_default();
        let asked = Duration::from_millis(asked_ms.into());
        self.refused_for(id, &error.to_string(), asked.min(RETRY_AFTER_MAX));
    }

    /// Not tried again within `least`.
    fn refused_for(&mut self, id: &ChannelId, why: &str, least: Duration) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if matches!(entry.session, Session::Retry(_) | Session::Offline) {
            return;
        }
        let wait = entry.retries.failed(&self.options.ports, RETRY_MIN, RETRY_MAX);
        entry.session = Session::Retry(later(wait.max(least)));
        self.emit(ClientEvent::Refused {
            channel_id: *id,
            why: why.to_owned(),
        });
    }

    pub(super) async fn inbound(&mut self, inbound: Inbound) -> Result<(), StoreError> {
        match inbound {
            Inbound::Closed(why) => self.disconnected(&why),
            Inbound::Message(Message::Notification(notification)) => match *notification {
                Notification::Voucher(frame) => self.hub_frame(frame),
                Notification::Event(event) => self.hub_event(event),
                Notification::Channel(info) => self.hub_channel(&info),
                Notification::Reveal(reveal) => self.lock_revealed(reveal),
                Notification::Consent(consent) => self.lock_consented(&consent),
                Notification::Release(release) => self.release_asked(&release),
                Notification::Challenge(_) => {}
            },
            Inbound::Message(Message::Response { id, result }) => {
                let pending = id
                    .and_then(|id| self.calls.remove(&id))
                    .map(|(pending, _)| pending);
                let result = result.map(|reply| *reply);
                self.answered(pending.unwrap_or(Pending::Ignore), result).await;
            }
            Inbound::Message(Message::Request { .. }) => {}
        }
        Ok(())
    }

    async fn answered(&mut self, pending: Pending, result: Result<Reply, RpcError>) {
        match (pending, result) {
            (Pending::Forward(reply), result) => drop(reply.send(result)),
            (Pending::Register(id), Ok(Reply::Channel(info))) => {
                self.hub_channel(&info);
                self.resume(id).await;
            }
            (Pending::Resume(id), Ok(Reply::Resume(reply))) => self.resumed(id, *reply),
            // It needs no voucher of ours, but the lists.
            (Pending::Resume(id), Err(error)) if lacks_locks(&error) && self.show_acknowledged(&id) => {}
            (Pending::Resume(id), Err(error)) if error.is(ErrorCode::RolledBack) => {
                if self.show_acknowledged(&id) {
                    return;
                }
                self.fault(&id, FaultKind::RolledBack, error.to_string(), None);
            }
            (Pending::Register(id) | Pending::Resume(id), Err(error)) => self.refused_by(&id, &error),
            (Pending::Voucher(id, seq), Ok(Reply::Voucher(reply))) => {
                self.tell_hints(id, &reply.bounced);
                self.voucher_accepted(&id, seq, reply.seq);
            }
            (Pending::Voucher(id, seq), Err(error)) => {
                tracing::warn!(channel = %id, %seq, %error, "the hub refused a voucher");
                self.refused_by(&id, &error);
            }
            (Pending::Register(id) | Pending::Resume(id), Ok(_)) => {
                self.refused(&id, "an answer of another kind");
            }
            (Pending::Quote(id, key), Ok(Reply::Quote(quote))) => self.quoted(id, key, Ok(quote)),
            (Pending::Quote(id, key), Err(error)) => self.quoted(id, key, Err(error)),
            (Pending::Subscribe(id), Ok(_)) => self.subscribed(&id),
            (Pending::Subscribe(id), Err(error)) => self.subscribe_refused(&id, error),
            (Pending::Compare(id, announced), result) => self.compared(&id, announced, result),
            (Pending::Cooperate(id, digest), result) => self.countersigned(&id, digest, result),
            (Pending::Lock(id), Err(error)) => self.lock_news_refused(&id, &error),
            (Pending::Ignore, Err(error)) => tracing::warn!(%error, "the hub reports an error"),
            (_, _) => {}
        }
    }

    /// The hub's word about when it will have refilled a reserve; what bounced is told by its vouchers.
    fn tell_hints(&mut self, channel_id: ChannelId, bounced: &[Bounce]) {
        for bounce in bounced {
            if let Some(ready_at) = bounce.ready_at {
                self.emit(ClientEvent::ReserveComing {
                    channel_id,
                    payment_id: bounce.payment_id,
                    ready_at,
                });
            }
        }
    }

    /// The hub says up to where it has own vouchers. Its word counts no further than what it was asked about.
    fn voucher_accepted(&mut self, id: &ChannelId, asked: Seq, accepted: Seq) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if accepted < asked {
            return self.refused(
                id,
                &format!("it accepted voucher {accepted} when {asked} was sent"),
            );
        }
        entry.accepted = entry.accepted.max(accepted.min(entry.channel.sent().seq));
        entry.retries.succeeded();
        self.redials.succeeded();
    }
}
