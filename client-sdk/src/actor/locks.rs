//! Locked payments. As payer: lock, fold on the witness, let go. As payee: accept what pays an own invoice, hold what a
//! resolver is to release, give up the rest.

use super::{
    Actor,
    entry::{Entry, LockedPayment},
    pay::later,
    session::Pending,
};
use crate::{
    ChannelError, ClientEvent, LockHeld, LockedPaid, LockedReceived, PayError, PaymentState, StoreError,
    store::rows::{self, InvoiceRow, OwnLock, PaymentRow},
};
use protocol_spec::{
    Amount, ChannelId, Condition, Digest, Invoice, Lock, Op, Opened, Payee, Payment, PaymentId, Preimage,
    Reject, ReturnReason, Seq, SignedInvoice, UnixSeconds, Witness,
    channel::{Clock, Phase},
    limits,
    message::{Consent, LockCall, Request, Reveal},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::oneshot;

pub(super) type LockReply = oneshot::Sender<Result<LockedPaid, PayError>>;
pub(super) type AcceptReply = oneshot::Sender<Result<LockedReceived, ChannelError>>;
pub(super) type HeldReply = oneshot::Sender<Result<LockHeld, ChannelError>>;

/// A locked payment to be made. The invoice was verified.
pub(crate) struct LockOrder {
    pub(crate) channel_id: ChannelId,
    pub(crate) invoice: Invoice,
    pub(crate) digest: Digest,
    pub(crate) fee_max: Amount,
    pub(crate) payment_id: Option<PaymentId>,
    pub(crate) life: Duration,
    pub(crate) reply: LockReply,
}

impl LockOrder {
    pub(super) fn cost(&self) -> Amount {
        Amount(self.invoice.amount.0.saturating_add(self.fee_max.0))
    }
}

/// What the hub must be told about its own locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum LockNews {
    Reveal(u64, Witness),
    Consent(u64),
}

impl Actor {
    // ---------------------------------------------------------------- payer

    pub(super) async fn pay_locked(&mut self, order: LockOrder) -> Result<(), StoreError> {
        let cost = order.cost();
        let known = match order.payment_id {
            // A payment that waits is in no row yet.
            Some(id) => self.lock_waits(&id) || self.payment_row(&id).await?.is_some(),
            None => false,
        };
        let checked = match order.payment_id.filter(|_| known) {
            Some(payment_id) => Err(PayError::DuplicateId { payment_id }),
            None => self
                .payable(order.channel_id, order.invoice.amount)
                .and_then(|()| {
                    let entry = self.entries.get(&order.channel_id).ok_or(PayError::NoChannel)?;
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
                self.after_commit(order.reply, Err(error));
            }
        }
        Ok(())
    }

    fn lock_waits(&self, id: &PaymentId) -> bool {
        let mut queues = self.entries.values().flat_map(|entry| &entry.lock_queue);
        queues.any(|order| order.payment_id == Some(*id))
    }

    /// Issues everything that changes own locks: at most one voucher.
    pub(super) fn issue_locks(&mut self, id: &ChannelId, clock: Clock) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if !super::issue::may_sign(entry) || entry.awaits_countersignature() {
            return;
        }
        let mut ops = entry.fold(clock);
        let orders = if entry.holds_payments() {
            Vec::new()
        } else {
            let places = ops.iter().map(Op::places).fold(0, usize::saturating_add);
            let room = limits::OPS_PER_FRAME_MAX.saturating_sub(places);
            let count = room.min(entry.lock_queue.len());
            entry.lock_queue.drain(..count).collect()
        };
        let mut adds = Vec::new();
        for order in orders {
            let id = entry
                .channel
                .sent()
                .newest_lock
                .saturating_add(adds.len() as u64)
                .saturating_add(1);
            let payment_id = order
                .payment_id
                .unwrap_or_else(|| PaymentId(self.options.ports.random()));
            let lock = Lock {
                id,
                amount: order.cost(),
                expiry: clock.chain.max(clock.now).after(order.life.as_secs()),
                hash: order.invoice.hash,
                resolver: order.invoice.resolver,
            };
            ops.push(Op::LockAdd {
                lock: lock.clone(),
                payment_id,
                payee: Payee::Channel(order.invoice.channel_id),
                fee_max: order.fee_max,
                invoice: order.digest,
            });
            adds.push((lock, payment_id, order));
        }
        if ops.is_empty() {
            return;
        }
        match entry.channel.issue(&ops, &self.hub.domain, clock) {
            Ok(issued) => {
                let seq = issued.voucher.seq;
                self.folded(id, seq, &ops);
                for (lock, payment_id, order) in adds {
                    self.locked(id, seq, &lock, payment_id, order);
                }
                self.issued(id, issued, ops, Vec::new());
            }
            Err(reject) => {
                tracing::warn!(channel = %id, %reject, "a voucher with locks cannot be made now");
                for (_, _, order) in adds {
                    self.refuse_lock(order, PayError::Refused(reject.clone()));
                }
            }
        }
    }

    fn refuse_lock(&mut self, order: LockOrder, error: PayError) {
        let cost = order.cost();
        if let Some(entry) = self.entries.get_mut(&order.channel_id) {
            entry.queued = entry.queued.saturating_minus(cost);
        }
        self.spent = self.spent.saturating_minus(cost);
        self.after_commit(order.reply, Err(error));
    }

    fn locked(&mut self, id: &ChannelId, seq: Seq, lock: &Lock, payment_id: PaymentId, order: LockOrder) {
        let row = PaymentRow {
            channel_id: *id,
            payment: Payment {
                payment_id,
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
            let reply = Some(order.reply);
            entry
                .locked
                .insert(lock.id, LockedPayment { row, reply, deadline });
        }
    }

    /// A voucher took own locks out: converted ones wait for its acknowledgement, dropped ones are over.
    fn folded(&mut self, id: &ChannelId, seq: Seq, ops: &[Op]) {
        for op in ops {
            match op {
                Op::LockConvert { id: lock_id, .. } => {
                    let Some(entry) = self.entries.get_mut(id) else {
                        return;
                    };
                    if let Some(locked) = entry.locked.get_mut(lock_id)
                        && let Some(lock) = &mut locked.row.lock
                    {
                        lock.folded_at = Some(seq);
                        self.batch.push(rows::put_payment(&locked.row));
                    }
                }
                Op::LockDrop { id: lock_id } => self.let_go(id, *lock_id, ReturnReason::Expired),
                _ => {}
            }
        }
    }

    /// What opens an own lock is known: it is folded with the next voucher, and the payer has its proof.
    pub(super) fn lock_opened(&mut self, id: &ChannelId, lock_id: u64, opened: &Opened) {
        let clock = self.clock();
        let Some(entry) = self.entries.get_mut(id) else {
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
            self.after_commit(reply, Ok(paid));
        }
    }

    /// The hub gives up an own lock: it is taken out with the next voucher, and the money is back.
    pub(super) fn lock_consented(&mut self, consent: &Consent) {
        let id = consent.channel_id;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.channel.consented(consent.lock_id).is_ok() {
            entry.dirty = true;
            self.bounce_lock(&id, consent.lock_id, consent.reason);
        }
    }

    fn bounce_lock(&mut self, id: &ChannelId, lock_id: u64, reason: ReturnReason) {
        let Some(locked) = self
            .entries
            .get_mut(id)
            .and_then(|entry| entry.locked.get_mut(&lock_id))
        else {
            return;
        };
        if locked.row.bounced.is_some() {
            return;
        }
        let seq = locked.row.seq();
        locked.row.bounced = Some(reason);
        locked.row.state = PaymentState::Bounced { seq, reason };
        self.batch.push(rows::put_payment(&locked.row));
        let payment_id = locked.row.payment.payment_id;
        let cost = super::entry::cost(&locked.row.payment);
        let reply = locked.reply.take();
        self.spent = self.spent.saturating_minus(cost);
        if let Some(reply) = reply {
            self.after_commit(reply, Err(PayError::Bounced { payment_id, reason }));
        }
    }

    fn let_go(&mut self, id: &ChannelId, lock_id: u64, reason: ReturnReason) {
        self.bounce_lock(id, lock_id, reason);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.locked.remove(&lock_id);
        }
    }

    /// A hub voucher acknowledged own vouchers up to `ack`: converted locks are settled, with the fee that was kept.
    pub(super) fn locks_acknowledged(&mut self, id: &ChannelId, ack: Seq) {
        let Some(entry) = self.entries.get_mut(id) else {
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
            if let Some(mut locked) = entry.locked.remove(&lock_id) {
                let seq = locked.row.seq();
                let fee = locked.row.payment.fee_max.saturating_minus(locked.row.returned);
                locked.row.state = PaymentState::Delivered { seq, fee };
                self.batch.push(rows::put_payment(&locked.row));
            }
        }
    }

    // ---------------------------------------------------------------- payee

    /// Makes, stores and signs an invoice.
    pub(super) async fn make_invoice(
        &mut self,
        channel_id: ChannelId,
        amount: Amount,
        life: Duration,
        memo: Digest,
        condition: Option<Condition>,
    ) -> Result<SignedInvoice, ChannelError> {
        let open = self.entries.get(&channel_id).ok_or(ChannelError::NoChannel)?;
        if *open.channel.phase() != Phase::Open {
            let phase = open.channel.phase().name();
            return Err(Reject::ChannelNotOpen { phase }.into());
        }
        if amount.is_zero() {
            return Err(Reject::AmountZero.into());
        }
        let made = condition.is_none().then(|| Preimage(self.options.ports.random()));
        let condition = condition.or_else(|| made.as_ref().map(Condition::preimage));
        let condition = condition.ok_or(ChannelError::UnknownInvoice)?;
        // What pays the one must not pay the other.
        if self.invoices.contains_key(&condition.hash) {
            return Err(ChannelError::HashUsed);
        }
        let invoice = Invoice {
            channel_id,
            amount,
            hash: condition.hash,
            resolver: condition.resolver,
            expires_at: self.clock().now.after(life.as_secs()),
            memo,
        };
        let signature = self.signer.sign(&invoice.digest(&self.hub.domain)).await?;
        let row = InvoiceRow {
            invoice: invoice.clone(),
            preimage: made,
            paid: None,
        };
        self.batch.push(rows::put_invoice(&row));
        self.invoices.insert(invoice.hash, row);
        Ok(SignedInvoice { invoice, signature })
    }

    /// Waits until the invoice is paid.
    pub(super) fn await_invoice(&mut self, hash: Digest, reply: AcceptReply) {
        match self.invoices.get(&hash) {
            None => self.after_commit(reply, Err(ChannelError::UnknownInvoice)),
            Some(row) => match &row.paid {
                Some(paid) => {
                    let paid = paid.clone();
                    self.after_commit(reply, Ok(paid));
                }
                None => self.accepting.entry(hash).or_default().push(reply),
            },
        }
    }

    /// The hub's voucher carries a new lock: it is opened or held if it pays an own invoice, and given up otherwise.
    pub(super) fn lock_offered(
        &mut self,
        id: &ChannelId,
        lock: &Lock,
        payment_id: PaymentId,
        invoice: Digest,
        clock: Clock,
    ) {
        let known = self.invoices.get(&lock.hash).filter(|row| row.paid.is_none());
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let act_s = entry.channel.delays().act_s;
        let twice = entry.holds_another(lock);
        let row = known.filter(|row| !twice && row.invoice.paid_by(id, lock, clock.now, act_s));
        let opened = row.map(|row| {
            row.preimage
                .and_then(|preimage| Opened::by_hash(lock.condition(), preimage.into()))
        });
        entry.dirty = true;
        match opened {
            Some(Some(opened)) if entry.channel.learn_witness(lock.id, &opened, clock).is_ok() => {
                entry.locks_in.insert(lock.id, (payment_id, invoice));
                let told = LockNews::Reveal(lock.id, opened.witness().clone());
                entry.lock_news.push(told);
            }
            Some(None) => {
                entry.locks_in.insert(lock.id, (payment_id, invoice));
                self.lock_held(id, lock, payment_id);
            }
            _ => {
                // Never known, so it cannot be refused.
                let _ = entry.channel.consent(lock.id);
                entry.lock_news.push(LockNews::Consent(lock.id));
            }
        }
    }

    /// The hub folded a lock: the invoice is paid.
    pub(super) fn lock_received(&mut self, id: &ChannelId, seq: Seq, lock: &Lock) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let Some((payment_id, invoice)) = entry.locks_in.remove(&lock.id) else {
            return;
        };
        entry.dirty = true;
        let row = rows::CreditRow {
            seq,
            amount: lock.amount,
            invoice,
            told_at: None,
        };
        // The lock does not name its payer; the receipt will.
        self.put_credit(id, rows::credit_key(id, &payment_id, &Digest::ZERO), row);
        let paid = LockedReceived {
            payment_id,
            channel_id: *id,
            seq,
            amount: lock.amount,
        };
        if let Some(row) = self.invoices.get_mut(&lock.hash) {
            row.paid = Some(paid.clone());
            self.batch.push(rows::put_invoice(row));
        }
        let accepting = self.accepting.remove(&lock.hash).into_iter();
        let waiting = accepting.chain(self.releasing.remove(&lock.hash));
        for reply in waiting.flatten().collect::<Vec<_>>() {
            self.after_commit(reply, Ok(paid.clone()));
        }
    }

    pub(super) fn lock_dropped_by_hub(&mut self, id: &ChannelId, lock_id: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.dirty |= entry.locks_in.remove(&lock_id).is_some();
        }
    }

    /// Everything the hub may have missed, on a connection that has just resumed.
    pub(super) fn tell_locks_again(&mut self, id: &ChannelId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let reveals = entry.channel.known_witnesses();
        let reveals = reveals.map(|(lock_id, witness)| LockNews::Reveal(lock_id, witness.clone()));
        let consents = entry.channel.consents_given().map(LockNews::Consent);
        entry.lock_news = reveals.chain(consents).collect();
    }

    /// Tells the hub what was decided about its locks. Only after the turn's commit.
    pub(super) fn send_lock_news(&mut self) {
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for channel_id in ids {
            let news = match self.entries.get_mut(&channel_id) {
                Some(entry) if entry.live() => std::mem::take(&mut entry.lock_news),
                _ => continue,
            };
            for one in news {
                let request = match one {
                    LockNews::Reveal(lock_id, witness) => Request::Reveal(Reveal {
                        channel_id,
                        lock_id,
                        witness,
                    }),
                    LockNews::Consent(lock_id) => Request::Consent(LockCall { channel_id, lock_id }),
                };
                self.call(request, Pending::Lock(channel_id));
            }
        }
    }

    /// R21: a lock that the hub should have folded long ago must be collected on chain.
    pub(super) fn watch_locks(&mut self) {
        let now = self.clock().now;
        let mut late = Vec::new();
        for (id, entry) in &mut self.entries {
            let act_s = entry.channel.delays().act_s;
            let locks = &entry.channel.received().locks;
            let known = entry.channel.known_witnesses();
            let due: Vec<(u64, UnixSeconds, Digest)> = known
                .filter_map(|(lock_id, _)| locks.lock(lock_id))
                .filter(|lock| lock.expiry <= now.after(act_s))
                .map(|lock| (lock.id, lock.expiry, lock.hash))
                .collect();
            for (lock_id, expiry, hash) in due {
                if entry.alarmed.insert(lock_id) {
                    late.push((*id, lock_id, expiry, hash));
                }
            }
        }
        for (channel_id, lock_id, expiry, hash) in late {
            self.fail_releases(|| ChannelError::LockAtRisk { expiry }, |other| *other == hash);
            self.emit(ClientEvent::LockAtRisk {
                channel_id,
                lock_id,
                expiry,
            });
        }
    }

    /// Gives up waiting; the locks stay as they are.
    pub(super) fn expire_lock_waiters(&mut self) {
        let now = tokio::time::Instant::now();
        let mut late = Vec::new();
        for entry in self.entries.values_mut() {
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
            self.after_commit(reply, Err(PayError::Unknown { payment_id }));
        }
    }
}

impl Entry {
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
