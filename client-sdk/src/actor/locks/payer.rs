//! The payer's side: locks, folds on the witness, lets go.

use crate::{
    LockedPaid, PayError, PaymentState, StoreError,
    actor::{
        Actor, Outcome,
        entry::{self, Entry, LockedPayment},
        issue::{Made, may_sign},
        pay::later,
        sight::Sight,
    },
    store::rows::{self, OwnLock, PaymentRow},
};
use protocol_spec::{
    Amount, ChannelId, Digest, Invoice, Lock, Op, Opened, Payee, Payment, PaymentId, Reject, ReturnReason,
    Seq, Witness,
    canary::{Canary, planted},
    channel::Clock,
    limits,
    message::Consent,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map},
    mem,
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

pub(in crate::actor) type LockReply = oneshot::Sender<Result<LockedPaid, PayError>>;

/// An invoice that nobody need pay any more.
pub(crate) const INVOICE_EXPIRED: PayError = PayError::Invoice("it has expired");

/// A locked payment to be made. The invoice was verified.
pub(crate) struct LockOrder {
    pub(crate) channel_id: ChannelId,
    pub(crate) invoice: Invoice,
    pub(crate) digest: Digest,
    pub(crate) fee_max: Amount,
    pub(crate) payment_id: PaymentId,
    pub(crate) life: Duration,
    /// Not signed later.
    pub(crate) deadline: Instant,
    pub(crate) reply: LockReply,
}

impl LockOrder {
    pub(in crate::actor) fn cost(&self) -> Amount {
        Amount(self.invoice.amount.0.saturating_add(self.fee_max.0))
    }
}

impl Actor {
    pub(in crate::actor) async fn pay_locked(&mut self, order: LockOrder) -> Result<(), StoreError> {
        let (cost, payment_id) = (order.cost(), order.payment_id);
        // A payment that waits is in no row yet.
        let waits = self.entries.values().any(|entry| entry.waits(&payment_id));
        let known = waits || self.payment_row(&payment_id).await?.is_some();
        let checked = match known {
            true => Err(PayError::DuplicateId { payment_id }),
            false => self
                .payable(order.channel_id, order.invoice.amount)
                .and_then(|()| {
                    let entry = self.entries.get(&order.channel_id).ok_or(PayError::NoChannel)?;
                    if entry.locks_ended() {
                        return Err(PayError::Refused(Reject::LocksEnded));
                    }
                    self.seen_well(entry, Sight::Good)?;
                    self.affordable(entry, cost)
                }),
        };
        match (checked, self.entries.get_mut(&order.channel_id)) {
            (Ok(()), Some(entry)) => {
                entry.queued = Amount(entry.queued.0.saturating_add(cost.0));
                entry.lock_queue.push_back(order);
                self.spent = Amount(self.spent.0.saturating_add(cost.0));
            }
            (checked, _) => {
                let error = checked.err().unwrap_or(PayError::NoChannel);
                self.answer_lock(order.reply, Err(error));
            }
        }
        Ok(())
    }

    /// Tells a payer, after the commit.
    pub(in crate::actor) fn answer_lock(&mut self, reply: LockReply, result: Result<LockedPaid, PayError>) {
        self.lock_outcomes.push(Outcome { reply, result });
    }

    /// What waits to be locked is refused where no locks go any more.
    pub(in crate::actor) fn refuse_late_locks(&mut self, id: &ChannelId) {
        let late = self.entries.get_mut(id).filter(|entry| entry.locks_ended());
        for order in late
            .map(|entry| mem::take(&mut entry.lock_queue))
            .into_iter()
            .flatten()
        {
            self.refuse_lock(order, PayError::Refused(Reject::LocksEnded));
        }
    }

    /// Issues everything that changes own locks: at most one voucher.
    pub(in crate::actor) fn issue_locks(&mut self, id: &ChannelId, clock: Clock) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if !may_sign(entry) || entry.awaits_countersignature() {
            return;
        }
        let mut ops = entry.fold(clock);
        let newest = entry.channel.sent().newest_lock;
        let places = ops.iter().map(Op::places).fold(0, usize::saturating_add);
        let room = limits::OPS_PER_FRAME_MAX.saturating_sub(places);
        let mut adds = Vec::new();
        for order in self.next_locks(id, room, clock) {
            let id = newest.saturating_add(adds.len() as u64).saturating_add(1);
            let lock = Lock {
                id,
                amount: order.cost(),
                expiry: clock.chain.max(clock.now).after(order.life.as_secs()),
                hash: order.invoice.hash,
                resolver: order.invoice.resolver,
            };
            ops.push(Op::LockAdd {
                lock: Box::new(lock.clone()),
                payment_id: order.payment_id,
                payee: Payee::Channel(order.invoice.channel_id),
                fee_max: order.fee_max,
                invoice: order.digest,
            });
            adds.push((lock, order));
        }
        let Some(entry) = self.entries.get_mut(id).filter(|_| !ops.is_empty()) else {
            return;
        };
        let left = entry.taken_out(&ops);
        match entry.channel.issue(&ops, &self.hub.domain, clock) {
            Ok(issued) => {
                let seq = issued.voucher.seq;
                self.folded(id, seq, &ops);
                for (lock, order) in adds {
                    self.locked(id, seq, &lock, order);
                }
                let orders = Vec::new();
                self.issued(id, issued, Made { ops, orders, left });
            }
            Err(reject) => {
                tracing::warn!(channel = %id, %reject, "a voucher with locks cannot be made now");
                for (_, order) in adds {
                    self.refuse_lock(order, PayError::Refused(reject.clone()));
                }
            }
        }
    }

    /// The locks of the next voucher, at most `room`. An invoice may have expired while it waited to be paid.
    fn next_locks(&mut self, id: &ChannelId, room: usize, clock: Clock) -> Vec<LockOrder> {
        let may_lock = |entry: &&mut Entry| !entry.holds_payments() && entry.sight == Sight::Good;
        let Some(entry) = self.entries.get_mut(id).filter(may_lock) else {
            return Vec::new();
        };
        let count = room.min(entry.lock_queue.len());
        let (late, next): (Vec<_>, Vec<_>) = entry
            .lock_queue
            .drain(..count)
            .partition(|order| order.invoice.expires_at <= clock.now);
        for order in late {
            self.refuse_lock(order, INVOICE_EXPIRED);
        }
        next
    }

    pub(in crate::actor) fn refuse_lock(&mut self, order: LockOrder, error: PayError) {
        let cost = order.cost();
        if let Some(entry) = self.entries.get_mut(&order.channel_id) {
            entry.queued = entry.queued.saturating_minus(cost);
        }
        self.spent = self.spent.saturating_minus(cost);
        self.answer_lock(order.reply, Err(error));
    }

    fn locked(&mut self, id: &ChannelId, seq: Seq, lock: &Lock, order: LockOrder) {
        let row = PaymentRow {
            channel_id: *id,
            payment: Payment {
                payment_id: order.payment_id,
                payee: Payee::Channel(order.invoice.channel_id),
                amount: order.invoice.amount,
                fee_max: order.fee_max,
                expires_at: lock.expiry,
                invoice: order.digest,
            },
            state: PaymentState::InFlight { seq },
            returned: Amount::ZERO,
            bounced: None,
            lock: Some(OwnLock {
                id: lock.id,
                witness: None,
                folded_at: None,
            }),
        };
        self.batch.push(rows::put_payment(&row));
        if let Some(entry) = self.entries.get_mut(id) {
            entry.queued = entry.queued.saturating_minus(order.cost());
            let deadline = later(self.options.pay_timeout.max(order.life));
            let locked = LockedPayment {
                row,
                reply: Some(order.reply),
                deadline,
                counted: true,
            };
            entry.locked.insert(lock.id, locked);
        }
    }

    /// A voucher took own locks out: converted ones and those that the hub gave up wait for its acknowledgement (R10), expired
    /// ones are over.
    fn folded(&mut self, id: &ChannelId, seq: Seq, ops: &[Op]) {
        for op in ops {
            let (lock_id, converted) = match op {
                Op::LockConvert { id: lock_id, .. } => (lock_id, true),
                Op::LockDrop { id: lock_id } => (lock_id, false),
                _ => continue,
            };
            let Some(entry) = self.entries.get_mut(id) else {
                return;
            };
            let btree_map::Entry::Occupied(mut locked) = entry.locked.entry(*lock_id) else {
                continue;
            };
            let row = &mut locked.get_mut().row;
            if converted {
                // The hub may have given it up before.
                row.bounced = None;
            }
            if converted || entry.channel.is_live(*lock_id) {
                if let Some(lock) = &mut row.lock {
                    lock.folded_at = Some(seq);
                }
                self.batch.push(rows::put_payment(row));
            } else {
                let reason = row.bounced.unwrap_or(ReturnReason::Expired);
                let locked = locked.remove();
                self.lock_bounced(locked, reason);
            }
        }
    }

    /// What opens an own lock is known: it is folded with the next voucher, and the payer has its proof.
    pub(in crate::actor) fn lock_opened(&mut self, id: &ChannelId, lock_id: u64, opened: &Opened) {
        let clock = self.clock();
        // Once closed it changes nothing any more, and what became of the payment was told.
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.closing.is_none()) else {
            return;
        };
        match entry.channel.told_witness(lock_id, opened, clock) {
            Ok(()) => {}
            // It has left the voucher meanwhile.
            Err(Reject::LockUnknown { .. }) => return,
            Err(reject) => {
                return tracing::warn!(channel = %id, %reject, "the hub's witness is refused");
            }
        }
        entry.dirty = true;
        let Some(locked) = entry.locked.get_mut(&lock_id) else {
            return;
        };
        if let Some(lock) = &mut locked.row.lock {
            lock.witness = Some(opened.witness().clone());
        }
        self.batch.push(rows::put_payment(&locked.row));
        let paid = LockedPaid {
            payment_id: locked.row.payment.payment_id,
            channel_id: *id,
            amount: locked.row.payment.amount,
            witness: opened.witness().clone(),
        };
        if let Some(reply) = locked.reply.take() {
            self.answer_lock(reply, Ok(paid));
        }
    }

    /// The hub gives up an own lock: it is taken out with the next voucher, and the money is back once the hub has acknowledged
    /// that. Until then it could still be made to pay: a word is no voucher.
    pub(in crate::actor) fn lock_consented(&mut self, consent: &Consent) {
        let id = consent.channel_id;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.channel.consented(consent.lock_id).is_ok() {
            entry.dirty = true;
            if let Some(locked) = entry.locked.get_mut(&consent.lock_id)
                && locked.row.bounced.is_none()
            {
                locked.row.bounced = Some(consent.reason);
                self.batch.push(rows::put_payment(&locked.row));
            }
            if planted(Canary::TrustConsent)
                && let Some(locked) = entry.locked.remove(&consent.lock_id)
            {
                self.lock_bounced(locked, consent.reason);
            }
        }
    }

    /// A lock is out for good, and nothing can be paid for it any more.
    fn lock_bounced(&mut self, locked: LockedPayment, reason: ReturnReason) {
        let LockedPayment {
            mut row,
            reply,
            counted,
            ..
        } = locked;
        let seq = row.seq();
        row.bounced = Some(reason);
        row.state = PaymentState::Bounced { seq, reason };
        self.batch.push(rows::put_payment(&row));
        if counted {
            self.spent = self.spent.saturating_minus(entry::cost(&row.payment));
        }
        if let Some(reply) = reply {
            let payment_id = row.payment.payment_id;
            self.answer_lock(reply, Err(PayError::Bounced { payment_id, reason }));
        }
    }

    /// A hub voucher acknowledged own vouchers up to `ack`: converted locks are settled, with the fee that was kept, and the
    /// money of those that the hub gave up is back.
    pub(in crate::actor) fn locks_acknowledged(&mut self, id: &ChannelId, ack: Seq) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let done: Vec<u64> = entry
            .locked
            .iter()
            .filter(|(_, locked)| {
                let folded = locked.row.lock.as_ref().and_then(|lock| lock.folded_at);
                folded.is_some_and(|folded| folded <= ack)
            })
            .map(|(lock_id, _)| *lock_id)
            .collect();
        for lock_id in done {
            let Some(mut locked) = self
                .entries
                .get_mut(id)
                .and_then(|entry| entry.locked.remove(&lock_id))
            else {
                continue;
            };
            if let Some(reason) = locked.row.bounced {
                self.lock_bounced(locked, reason);
            } else {
                let seq = locked.row.seq();
                let fee = locked.row.fee();
                locked.row.state = PaymentState::Delivered { seq, fee };
                self.batch.push(rows::put_payment(&locked.row));
            }
        }
    }

    /// A11: the own voucher `newest` was adopted. Own locks that are not in it any more have ended in the lost part: those
    /// whose witness is known were paid, with a fee of which something may have come back; what became of the others nobody
    /// here can prove.
    pub(in crate::actor) fn own_locks_lost(&mut self, id: &ChannelId, newest: Seq) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let live = &entry.channel.sent().locks;
        let ended = entry
            .locked
            .extract_if(.., |lock_id, _| live.lock(*lock_id).is_none());
        for (_, mut locked) in ended.collect::<Vec<_>>() {
            let row = &mut locked.row;
            let known = row.lock.as_ref().is_some_and(|lock| lock.witness.is_some());
            row.state = match known {
                true => PaymentState::Delivered {
                    seq: newest,
                    fee: row.fee(),
                },
                false => PaymentState::Lost,
            };
            self.batch.push(rows::put_payment(row));
            let payment_id = row.payment.payment_id;
            if let Some(reply) = locked.reply.take() {
                self.answer_lock(reply, Err(PayError::Unknown { payment_id }));
            }
        }
    }

    /// Gives up what waited too long: nothing of a queued one is signed; the locks stay as they are.
    pub(in crate::actor) fn expire_lock_waiters(&mut self) {
        let now = Instant::now();
        let (mut late, mut unsent) = (Vec::new(), VecDeque::new());
        for entry in self.entries.values_mut() {
            let (dead, queue) = mem::take(&mut entry.lock_queue)
                .into_iter()
                .partition::<VecDeque<_>, _>(|order| order.deadline <= now);
            entry.lock_queue = queue;
            unsent.extend(dead);
            for locked in entry.locked.values_mut() {
                if locked.deadline <= now
                    && let Some(reply) = locked.reply.take()
                {
                    let payment_id = locked.row.payment.payment_id;
                    late.push((reply, payment_id));
                }
            }
        }
        for (reply, payment_id) in late {
            self.answer_lock(reply, Err(PayError::Unknown { payment_id }));
        }
        for order in unsent {
            let payment_id = order.payment_id;
            self.refuse_lock(order, PayError::NotSent { payment_id });
        }
    }
}

impl Entry {
    /// The own locks that `ops` take out, as they are before.
    fn taken_out(&self, ops: &[Op]) -> Vec<Lock> {
        let ids = ops.iter().filter_map(|op| match op {
            Op::LockConvert { id, .. } | Op::LockDrop { id } => Some(*id),
            _ => None,
        });
        let locks = &self.channel.sent().locks;
        ids.filter_map(|id| locks.lock(id).cloned()).collect()
    }

    /// Operations that take out own locks: told ones are converted, consented and expired ones dropped.
    fn fold(&self, clock: Clock) -> Vec<Op> {
        let convert = |(id, witness): (u64, &Witness)| {
            let witness = witness.as_bytes().to_vec();
            (id, Op::LockConvert { id, witness })
        };
        let converts: BTreeMap<u64, Op> = self.channel.told_witnesses().map(convert).collect();
        let old = self.channel.expired_locks(clock);
        let drops: BTreeSet<u64> = self.channel.consented_locks().chain(old).collect();
        let drops = drops.into_iter().filter(|id| !converts.contains_key(id));
        let drops: Vec<Op> = drops.map(|id| Op::LockDrop { id }).collect();
        let mut places = 0_usize;
        let fits = |op: &Op| {
            places = places.saturating_add(op.places());
            places <= limits::OPS_PER_FRAME_MAX
        };
        converts.into_values().chain(drops).take_while(fits).collect()
    }
}
