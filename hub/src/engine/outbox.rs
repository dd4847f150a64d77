//! What waits to be written to sessions: whole batches, in order. Bounded for each session by their number and by what they
//! weigh, and for all of them together by what they weigh: nobody who does not read fills the hub's memory (attack B3).

use super::{Mail, SessionId};
use alloy::primitives::map::DefaultHashBuilder;
use dashmap::DashMap;
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// What may wait for one session, bytes: the longest backlog of vouchers is sent at once.
const OWN_MAX: usize = 32 << 20;
/// What may wait for all, bytes. Beyond it those are dropped for whom more than a little waits.
const ALL_MAX: usize = 1 << 30;
const LITTLE: usize = 64 << 10;
/// Receipts of the past are sent while less than this waits for the session.
const PAST_MAX: usize = 1 << 20;

/// The outboxes of all live sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outboxes {
    /// Nobody but the hub chooses the ids: a hash that is quick will do.
    sessions: Arc<DashMap<SessionId, Outbox, DefaultHashBuilder>>,
    all: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Outbox {
    sender: mpsc::Sender<Batch>,
    waiting: Arc<Waiting>,
}

/// What waits, by weight. The one of `all` is every thread's: it is touched as seldom as can be.
#[derive(Debug)]
struct Waiting {
    own: AtomicUsize,
    all: Arc<AtomicUsize>,
}

/// The session's end of its outbox.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Batch>);

/// Messages that go out together.
#[derive(Debug)]
pub struct Batch {
    mails: Vec<Mail>,
    since: Instant,
    weight: usize,
    waiting: Arc<Waiting>,
}

impl Outboxes {
    /// An outbox for `batches` at once at most. When it is full it is removed, and the inbox ends.
    #[must_use]
    pub fn open(&self, session: SessionId, batches: usize) -> Inbox {
        let (sender, receiver) = mpsc::channel(batches);
        let waiting = Arc::new(Waiting {
            own: AtomicUsize::new(0),
            all: Arc::clone(&self.all),
        });
        self.sessions.insert(session, Outbox { sender, waiting });
        Inbox(receiver)
    }

    /// Ends the session's inbox, after what is in it already.
    pub fn remove(&self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Ends all inboxes.
    pub fn clear(&self) {
        self.sessions.clear();
    }

    /// Whether the session has one.
    #[must_use]
    pub fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// No session has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Never waits. A session that does not read loses its outbox, which ends its connection. False: it has none, or has none
    /// any more.
    pub fn send(&self, session: SessionId, mails: Vec<Mail>) -> bool {
        self.send_at(session, mails, Instant::now())
    }

    /// The same; they wait from `since` on.
    pub(super) fn send_at(&self, session: SessionId, mails: Vec<Mail>, since: Instant) -> bool {
        let sent = self.sessions.get(&session).map(|outbox| {
            let weight = mails.iter().map(Mail::weight).fold(0, usize::saturating_add);
            let [own, all] = outbox.waiting.add(weight);
            let batch = Batch {
                mails,
                since,
                weight,
                waiting: Arc::clone(&outbox.waiting),
            };
            let fits = own <= OWN_MAX && (all <= ALL_MAX || own <= LITTLE);
            fits && outbox.sender.try_send(batch).is_ok()
        });
        if sent == Some(false) {
            tracing::warn!(session = session.0, "outbox full: connection dropped");
            self.remove(session);
        }
        sent.unwrap_or(false)
    }

    /// The past leaves half of an outbox to what is live: a reader that is only slow is not dropped for its history.
    pub(super) fn has_room(&self, session: SessionId) -> bool {
        let half = |outbox: &Outbox| {
            outbox.sender.capacity().saturating_mul(2) >= outbox.sender.max_capacity()
                && outbox.waiting.own.load(Ordering::Relaxed) <= PAST_MAX
        };
        self.all.load(Ordering::Relaxed) <= ALL_MAX >> 1
            && self.sessions.get(&session).is_some_and(|outbox| half(&outbox))
    }
}

impl Inbox {
    /// The next batch; none at the end.
    pub async fn recv(&mut self) -> Option<Batch> {
        self.0.recv().await
    }

    /// The same; while there is none, the task is woken when there is one.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.0.poll_recv(cx)
    }

    /// The next batch, if it is there.
    pub fn try_recv(&mut self) -> Option<Batch> {
        self.0.try_recv().ok()
    }

    /// True when the outbox was removed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Waiting {
    /// The sums with it: the session's own, and that of all.
    fn add(&self, weight: usize) -> [usize; 2] {
        [&self.own, self.all.as_ref()]
            .map(|sum| sum.fetch_add(weight, Ordering::Relaxed).wrapping_add(weight))
    }

    fn remove(&self, weight: usize) {
        for sum in [&self.own, self.all.as_ref()] {
            sum.fetch_sub(weight, Ordering::Relaxed);
        }
    }
}

impl Batch {
    /// How long it has waited at this time.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

impl Deref for Batch {
    type Target = [Mail];

    fn deref(&self) -> &[Mail] {
        &self.mails
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.waiting.remove(self.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol_spec::message::{Empty, Message, Reply};

    fn mails(count: usize) -> Vec<Mail> {
        let answer = Message::Response {
            id: Some(1),
            result: Ok(Box::new(Reply::Done(Empty {}))),
        };
        vec![Mail::Message(answer); count]
    }

    #[test]
    fn what_waits_is_weighed_until_it_is_written_or_its_reader_is_gone() {
        let outboxes = Outboxes::default();
        let (first, second) = (SessionId(1), SessionId(2));
        let mut inbox = outboxes.open(first, 8);
        let gone = outboxes.open(second, 8);
        assert!(outboxes.send(first, mails(3)) && outboxes.send(second, mails(2)));
        let each = mails(1)[0].weight();
        let waiting = |outboxes: &Outboxes| outboxes.all.load(Ordering::Relaxed);
        assert_eq!(waiting(&outboxes), 5 * each);
        let batch = inbox.try_recv().unwrap();
        assert_eq!(
            (batch.len(), waiting(&outboxes)),
            (3, 5 * each),
            "not written yet"
        );
        drop(batch);
        assert_eq!(waiting(&outboxes), 2 * each);
        drop(gone);
        assert!(!outboxes.send(second, mails(1)), "nobody reads it");
        assert!(!outboxes.contains(second));
        assert_eq!(waiting(&outboxes), 0);
    }

    #[test]
    fn who_does_not_read_is_dropped_by_number_and_by_weight() {
        let outboxes = Outboxes::default();
        let session = SessionId(1);
        let mut inbox = outboxes.open(session, 4);
        assert!((0..4).all(|_| outboxes.send(session, mails(1))));
        assert!(!outboxes.has_room(session));
        assert!(!outboxes.send(session, mails(1)) && inbox.is_closed());
        assert!(
            (0..4).all(|_| inbox.try_recv().is_some()),
            "what was in it is not lost"
        );

        let mut inbox = outboxes.open(session, 1_000);
        let many = PAST_MAX / mails(1)[0].weight() + 1;
        assert!(outboxes.has_room(session));
        assert!(outboxes.send(session, mails(many)));
        assert!(!outboxes.has_room(session), "live ones still go out");
        let sent = (0..1_000)
            .take_while(|_| outboxes.send(session, mails(many)))
            .count();
        assert!((25..40).contains(&sent), "{sent}");
        assert!(inbox.is_closed());
        while inbox.try_recv().is_some() {}
        drop(inbox);
        assert_eq!(outboxes.all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn when_too_much_waits_for_all_those_go_for_whom_much_waits() {
        let outboxes = Outboxes::default();
        let (much, little) = (SessionId(1), SessionId(2));
        let inboxes = [outboxes.open(much, 8), outboxes.open(little, 8)];
        outboxes.all.store(ALL_MAX, Ordering::Relaxed);
        assert!(outboxes.send(little, mails(1)));
        assert!(!outboxes.has_room(little));
        let more = LITTLE / mails(1)[0].weight() + 1;
        assert!(!outboxes.send(much, mails(more)));
        assert_eq!(inboxes.map(|inbox| inbox.is_closed()), [true, false]);
    }
}
