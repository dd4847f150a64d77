//! One channel with everything the SDK keeps beside it.

use super::{
    Outcome, PayReply, ReleaseOrder,
    cooperate::Cooperation,
    defence::Progress,
    locks::{LockNews, LockOrder, LockReply, LocksIn},
    retries::Retries,
    session::Session,
    sight::Sight,
    stream::StreamState,
};
use crate::{
    ChannelError, FaultKind, HubFault, LockedPaid, Paid, PayError,
    store::rows::{Closing, CreditRow, LockRow, PaymentRow},
};
use protocol_spec::{
    Address, Amount, Channel, ChannelId, Digest, Lock, LockSet, Op, Payee, Payment, PaymentId, Seq, Side,
    Signature, SignedVoucher, UnixSeconds, Voucher, VoucherSignature,
    channel::{LockKey, Phase},
    message::Frame,
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
};
use tokio::time::Instant;

/// Credits of the newest frames kept in memory for the receipts that follow them.
const CREDITS_MAX: usize = 16_384;

/// What a quote is asked for. Ordered, so that nothing depends on a map's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct QuoteKey {
    pub(super) payee: Payee,
    pub(super) amount: Amount,
}

impl QuoteKey {
    fn rank(&self) -> (Option<ChannelId>, Option<Address>, Amount) {
        match self.payee {
            Payee::Channel(id) => (Some(id), None, self.amount),
            Payee::Account(account) => (None, Some(account), self.amount),
        }
    }
}

impl Ord for QuoteKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for QuoteKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A payment that waits to be signed.
pub(super) struct Order {
    pub(super) payment: Payment,
    pub(super) replies: Vec<PayReply>,
    pub(super) deadline: Instant,
}

impl Order {
    /// Amount and fee granted.
    pub(super) fn cost(&self) -> Amount {
        cost(&self.payment)
    }
}

/// Amount and fee granted; saturates where the protocol refuses anyway.
pub(super) fn cost(payment: &Payment) -> Amount {
    Amount(payment.amount.0.saturating_add(payment.fee_max.0))
}

/// A signed payment whose acknowledgement is still to come.
pub(super) struct OpenPayment {
    pub(super) row: PaymentRow,
    pub(super) replies: Vec<PayReply>,
    pub(super) deadline: Instant,
    /// Signed since `connect`: in what the limit of all payments counts.
    pub(super) counted: bool,
}

/// An own lock with its payment.
pub(super) struct LockedPayment {
    pub(super) row: PaymentRow,
    pub(super) reply: Option<LockReply>,
    pub(super) deadline: Instant,
    /// As of an [`OpenPayment`].
    pub(super) counted: bool,
}

/// An own frame that no hub voucher acknowledged yet.
pub(super) struct OwnFrame {
    pub(super) voucher: Voucher,
    pub(super) ops: Vec<Op>,
    /// Own locks that it took out.
    pub(super) left: Vec<Lock>,
    pub(super) signature: Option<Signature>,
    /// Sent on the present connection, or known to be with the hub.
    pub(super) sent: bool,
}

impl OwnFrame {
    pub(super) fn signed(&self) -> Option<SignedVoucher> {
        let signature = VoucherSignature::Direct(self.signature?);
        Some(SignedVoucher {
            voucher: self.voucher.clone(),
            signature,
        })
    }
}

/// One channel.
pub(super) struct Entry {
    pub(super) channel: Channel,
    pub(super) fault: Option<HubFault>,
    /// The hub said that it takes no new locks here.
    pub(super) hub_ended_locks: bool,
    pub(super) credits_lost_until: Seq,
    /// Seen open on chain with enough confirmations.
    pub(super) confirmed: bool,
    pub(super) session: Session,
    /// How it was closed on chain; `None` while it is not.
    pub(super) closing: Option<Closing>,
    /// What that gave back of what was spent.
    pub(super) back_by_close: Amount,
    /// It was seen closed in this process: what it was before is known.
    pub(super) saw_close: bool,
    /// Newest block in which a dispute was seen; after a restart the first block looked at, to be safe.
    pub(super) disputed_at: Option<u64>,
    /// Refusals of `register`, `resume` or vouchers in a row.
    pub(super) retries: Retries,
    pub(super) queue: VecDeque<Order>,
    /// Sum of the queue's costs.
    pub(super) queued: Amount,
    /// Payments that wait for the hub's quote.
    pub(super) quoting: BTreeMap<QuoteKey, Vec<Order>>,
    /// Fees the hub quoted, each binding until its time.
    pub(super) quotes: BTreeMap<QuoteKey, (Amount, UnixSeconds)>,
    pub(super) frames: VecDeque<OwnFrame>,
    pub(super) open: BTreeMap<PaymentId, OpenPayment>,
    /// Locked payments that wait to be signed.
    pub(super) lock_queue: VecDeque<LockOrder>,
    /// Own locks, by id, until the hub has acknowledged the voucher that converted or dropped them, or they were too old.
    pub(super) locked: BTreeMap<u64, LockedPayment>,
    /// Payments and invoices of the hub's locks that pay own invoices, opened already or held until they are released.
    pub(super) locks_in: LocksIn,
    /// The rows of locks as they are in the store.
    pub(super) stored_locks: BTreeMap<LockKey, LockRow>,
    /// What the hub must be told about its locks.
    pub(super) lock_news: VecDeque<LockNews>,
    /// Releases that wait until the chain has been read.
    pub(super) release_queue: Vec<ReleaseOrder>,
    /// The hub could not take the news: when to tell again.
    pub(super) lock_news_at: Option<Instant>,
    /// Locks whose owner was warned.
    pub(super) alarmed: BTreeSet<u64>,
    /// Sum of the open payments' costs.
    pub(super) in_flight: Amount,
    /// Newest own voucher that the hub said it accepted.
    pub(super) accepted: Seq,
    pub(super) ack_due: Option<Instant>,
    pub(super) own_newest: Option<SignedVoucher>,
    /// Newest own voucher that an accepted voucher of the hub acknowledges: a hub that forgot it is shown it (A10).
    pub(super) acknowledged: Option<SignedVoucher>,
    /// Hub frames that wait for a newer view of the chain (R4), since when.
    pub(super) held: VecDeque<Frame>,
    pub(super) held_since: Option<Instant>,
    /// The first of them that the chain does not cover yet, and why it waits until that is told.
    pub(super) held_first: Option<Seq>,
    pub(super) held_why: Option<String>,
    /// Frames were dropped, or are asked for again: none that comes fits until the hub has answered a `resume`.
    pub(super) missed: bool,
    /// Endpoints disagree whether it is closed.
    pub(super) doubted: bool,
    /// What the view of the chain is good for, and what was told of it last.
    pub(super) sight: Sight,
    pub(super) sight_told: Sight,
    pub(super) cooperation: Option<Cooperation>,
    /// The hub is to be told that the close it was told of will not come.
    pub(super) close_called_off: bool,
    /// A close was signed before a restart, and is not mined yet.
    pub(super) close_left_open: bool,
    /// A withdrawal was signed before a restart, and the hub's signature is not here.
    pub(super) withdrawal_left_open: bool,
    /// Both signatures of the pending withdrawal: own, hub's.
    pub(super) countersigned: Option<(Signature, Signature)>,
    /// The hub said that it does not send it: it moves too little. After a restart it gets its time all the same.
    pub(super) hub_leaves_it: bool,
    /// The hub was paid for its reserve: no release is agreed to before.
    pub(super) keep_capacity_until: UnixSeconds,
    /// The newest release that was signed: the hub's sum with it, and until when it can be mined.
    pub(super) agreed_release: Option<(Amount, UnixSeconds)>,
    pub(super) stream: Option<StreamState>,
    pub(super) credits: HashMap<Vec<u8>, CreditRow>,
    pub(super) dirty: bool,
    pub(super) evidence_due: bool,
    /// The watchtowers do not have the newest voucher.
    pub(super) package_due: bool,
    /// Not ordered before.
    pub(super) package_next: Option<Instant>,
    /// As the chain (or the hub, when it is trusted) says; `None` until it was asked.
    pub(super) ever_disputed: Option<bool>,
    /// Of the answer to a dispute.
    pub(super) defence: Progress,
    pub(super) wants_register: bool,
}

impl Entry {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            fault: None,
            hub_ended_locks: false,
            credits_lost_until: Seq::NONE,
            confirmed: false,
            session: Session::Offline,
            closing: None,
            back_by_close: Amount::ZERO,
            saw_close: false,
            disputed_at: None,
            retries: Retries::default(),
            queue: VecDeque::new(),
            queued: Amount::ZERO,
            quoting: BTreeMap::new(),
            quotes: BTreeMap::new(),
            frames: VecDeque::new(),
            open: BTreeMap::new(),
            lock_queue: VecDeque::new(),
            release_queue: Vec::new(),
            locked: BTreeMap::new(),
            locks_in: LocksIn::default(),
            stored_locks: BTreeMap::new(),
            lock_news: VecDeque::new(),
            lock_news_at: None,
            alarmed: BTreeSet::new(),
            in_flight: Amount::ZERO,
            accepted: Seq::NONE,
            ack_due: None,
            own_newest: None,
            acknowledged: None,
            held: VecDeque::new(),
            held_since: None,
            held_first: None,
            held_why: None,
            missed: false,
            doubted: false,
            sight: Sight::Stale,
            sight_told: Sight::Good,
            cooperation: None,
            close_called_off: false,
            close_left_open: false,
            withdrawal_left_open: false,
            countersigned: None,
            hub_leaves_it: false,
            keep_capacity_until: UnixSeconds::default(),
            agreed_release: None,
            stream: None,
            credits: HashMap::new(),
            dirty: false,
            evidence_due: false,
            package_due: false,
            package_next: None,
            ever_disputed: None,
            defence: Progress::default(),
            wants_register: false,
        }
    }

    pub(super) fn live(&self) -> bool {
        self.session == Session::Live
    }

    /// No new locks either way: this side or the hub's came back from an old backup.
    pub(super) fn locks_ended(&self) -> bool {
        self.hub_ended_locks || self.channel.is_restored()
    }

    /// A frozen channel is left alone, but a hub that was rolled back may show that it has re-synced.
    pub(super) fn resumable(&self) -> bool {
        let fault = self.fault.as_ref();
        *self.channel.phase() != Phase::Closed
            && fault.is_none_or(|fault| fault.kind == FaultKind::RolledBack)
    }

    /// Everything after the newest voucher that was accepted comes with the answer to the next `resume`, perhaps in one frame:
    /// a voucher that is accepted by itself meanwhile would make that a wrong sum.
    pub(super) fn miss(&mut self) {
        self.held.clear();
        self.held_since = None;
        self.held_first = None;
        self.held_why = None;
        self.missed = true;
    }

    /// Why nobody need wait for the invoice on `hash`: the channel is frozen. What opens its lock may be known, though: then the
    /// money is still collected on chain.
    pub(super) fn frozen_for(&self, hash: &Digest) -> Option<ChannelError> {
        let locks = &self.channel.received().locks;
        let mut known = self.channel.known_witnesses();
        let opened = known.any(|(id, _)| locks.lock(id).is_some_and(|lock| lock.hash == *hash));
        let fault = self.fault.clone().filter(|_| !opened);
        fault.map(ChannelError::Frozen)
    }

    /// The own locks as the own voucher `seq` has them, which is the newest or followed by frames that are kept.
    pub(super) fn locks_at(&self, seq: Seq) -> LockSet {
        let newest = self.channel.sent().locks.iter();
        let mut locks: BTreeMap<u64, Lock> = newest.map(|lock| (lock.id, lock.clone())).collect();
        let later = self.frames.iter().rev();
        for frame in later.take_while(|frame| frame.voucher.seq > seq) {
            for op in &frame.ops {
                if let Op::LockAdd { lock, .. } = op {
                    locks.remove(&lock.id);
                }
            }
            locks.extend(frame.left.iter().map(|lock| (lock.id, lock.clone())));
        }
        LockSet::of(locks.into_values(), Side::Client).unwrap_or_default()
    }

    /// True while the payment waits to be signed.
    pub(super) fn waits(&self, id: &PaymentId) -> bool {
        let direct = self.quoting.values().flatten().chain(&self.queue);
        let locked = self.lock_queue.iter().map(|order| order.payment_id);
        let mut ids = direct.map(|order| order.payment.payment_id).chain(locked);
        ids.any(|waiting| waiting == *id)
    }

    /// Confirmed deposit plus everything received: what percent limits refer to.
    pub(super) fn gross(&self) -> Amount {
        let deposit = self.channel.funds().client_deposit.0;
        Amount(deposit.saturating_add(self.channel.received().paid.0))
    }

    /// What a further payment may cost.
    pub(super) fn available(&self) -> Amount {
        self.channel.spendable().saturating_minus(self.queued)
    }

    /// Nothing waits to be signed, sent or acknowledged; on a frozen or closed channel nothing comes of waiting.
    pub(super) fn idle(&self) -> bool {
        if self.fault.is_some() || *self.channel.phase() == Phase::Closed {
            return true;
        }
        self.queue.is_empty()
            && self.lock_queue.is_empty()
            && self.lock_news.is_empty()
            && self.quoting.is_empty()
            && self.open.is_empty()
            && self.frames.iter().all(|frame| frame.sent)
            && (!self.channel.must_ack() || !self.live() || self.sight == Sight::Stale)
    }

    /// Called after a commit only: from then on they are read from the store.
    pub(super) fn forget_credits(&mut self) {
        if self.credits.len() > CREDITS_MAX {
            self.credits.clear();
        }
    }

    /// Ends the payments that wait to be signed.
    pub(super) fn fail_waiting(&mut self, why: impl Fn() -> PayError, outcomes: &mut Vec<Outcome<Paid>>) {
        let quoting = std::mem::take(&mut self.quoting).into_values().flatten();
        let queue = std::mem::take(&mut self.queue);
        self.queued = Amount::ZERO;
        for order in quoting.chain(queue) {
            for reply in order.replies {
                outcomes.push(Outcome {
                    reply,
                    result: Err(why()),
                });
            }
        }
    }

    /// Ends the wait for payments that are signed: what becomes of them is unknown; of a locked one the chain may still show a
    /// witness.
    pub(super) fn fail_signed(
        &mut self,
        outcomes: &mut Vec<Outcome<Paid>>,
        lock_outcomes: &mut Vec<Outcome<LockedPaid>>,
    ) {
        for (payment_id, open) in &mut self.open {
            for reply in open.replies.drain(..) {
                outcomes.push(Outcome {
                    reply,
                    result: Err(PayError::Unknown {
                        payment_id: *payment_id,
                    }),
                });
            }
        }
        for locked in self.locked.values_mut() {
            let payment_id = locked.row.payment.payment_id;
            lock_outcomes.extend(locked.reply.take().map(|reply| Outcome {
                reply,
                result: Err(PayError::Unknown { payment_id }),
            }));
        }
    }
}

/// The payments among operations.
pub(super) fn payments(ops: &[Op]) -> impl Iterator<Item = &Payment> {
    ops.iter().filter_map(|op| match op {
        Op::Pay(payment) => Some(payment),
        _ => None,
    })
}

impl OpenPayment {
    pub(super) fn new(row: PaymentRow, order: Order) -> Self {
        Self {
            row,
            replies: order.replies,
            deadline: order.deadline,
            counted: true,
        }
    }
}
