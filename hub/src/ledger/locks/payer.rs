//! The payer's side: a new lock is forwarded or given up, a converted one is settled, a dropped one forgotten.

use super::super::{
    Commit, Ledger, Output,
    entry::{Forward, Resting},
    payments::Outcome,
};
use protocol_spec::{
    Amount, Credit, Digest, Lock, Op, Payee, PaymentId, Reject, ReturnReason, Seq, Witness, channel::Clock,
    limits,
};

/// A payer's new lock with what its operation says of the payment.
pub(in crate::ledger) struct NewLock<'a> {
    pub(in crate::ledger) lock: &'a Lock,
    pub(in crate::ledger) payment_id: PaymentId,
    payee: Payee,
    fee_max: Amount,
    invoice: Digest,
}

impl<'a> NewLock<'a> {
    pub(in crate::ledger) fn of(op: &'a Op) -> Option<Self> {
        match op {
            Op::LockAdd {
                lock,
                payment_id,
                payee,
                fee_max,
                invoice,
            } => Some(Self {
                lock,
                payment_id: *payment_id,
                payee: *payee,
                fee_max: *fee_max,
                invoice: *invoice,
            }),
            _ => None,
        }
    }
}

/// A lock that can be forwarded.
struct Way {
    payee: usize,
    fee: Amount,
    lock: Lock,
}

impl Ledger {
    /// Ids of the frame's new locks whose payees are not connected: journaled, because a replay has no connections.
    pub(in crate::ledger) fn offline_locks(&self, payer: usize, ops: &[Op]) -> Vec<u64> {
        let Some(token) = self.entries.get(payer).map(|entry| entry.channel.config().token) else {
            return Vec::new();
        };
        let offline = |new: &NewLock| {
            let payee = self
                .find(token, new.payee)
                .and_then(|index| self.entries.get(index));
            payee.is_some_and(|entry| entry.session.is_none())
        };
        let new = ops.iter().filter_map(NewLock::of).filter(offline);
        new.map(|new| new.lock.id).collect()
    }

    /// Forwards an accepted lock, or gives it up; `Some(reason)` when it was given up. After a restore one that may have
    /// been forwarded before is neither: see [`super::takeover`].
    pub(in crate::ledger) fn take_lock(
        &mut self,
        payer: usize,
        seq: Seq,
        new: &NewLock<'_>,
        offline: &[u64],
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Option<ReturnReason>, Reject> {
        let known =
            self.knows_payment(payer, new.payment_id) || self.entry(payer)?.locks_payment(new.payment_id);
        // A frame may convert a lock that it adds: then it is money, not a promise, and comes back as money.
        let live = self
            .entry(payer)?
            .channel
            .received()
            .locks
            .lock(new.lock.id)
            .is_some();
        let way = match () {
            () if known => Err(ReturnReason::DuplicateId),
            () if !live => Err(ReturnReason::Unavailable),
            () => self.way(payer, new, offline, clock),
        };
        match way {
            Ok(way) => {
                self.forward(payer, seq, new, way, clock, commit)?;
                Ok(None)
            }
            Err(ReturnReason::LocksEnded) if live && self.may_be_lost(payer, new.lock) => {
                self.take_orphan(payer, new.lock, clock, commit);
                Ok(None)
            }
            Err(reason) => {
                // Refused where the chain has marked the id, which only a restored hub can have forgotten: the lock stays where it
                // is, and nothing is forwarded for it.
                if live && self.give_up(payer, new.lock.id, reason, commit).is_err() {
                    return Ok(None);
                }
                if !known {
                    let outcome = Outcome::bounced(seq, reason, clock.now);
                    self.remember(payer, new.payment_id, outcome);
                }
                if !live {
                    self.give_back(payer, new.payment_id, new.lock.amount, reason, clock, commit)?;
                }
                Ok(Some(reason))
            }
        }
    }

    /// R22: where the lock goes on to, or why it does not.
    fn way(
        &self,
        payer: usize,
        new: &NewLock<'_>,
        offline: &[u64],
        clock: Clock,
    ) -> Result<Way, ReturnReason> {
        let from = self.entries.get(payer).ok_or(ReturnReason::Unavailable)?;
        if from.was_in_doubt() {
            return Err(ReturnReason::LocksEnded);
        }
        let policy = &self.policy.locks;
        let amount = new.lock.amount.minus(new.fee_max);
        let amount = amount
            .ok()
            .filter(|amount| !amount.is_zero())
            .ok_or(ReturnReason::FeeTooLow)?;
        let token = from.channel.config().token;
        if amount < policy.amount_min(token) {
            return Err(ReturnReason::LockTooSmall);
        }
        let condition = new.lock.condition();
        if condition.has_resolver() && !policy.resolvers.contains(&condition.resolver) {
            return Err(ReturnReason::ResolverRefused);
        }
        if new.lock.expiry > clock.now.after(policy.life_max_s) {
            return Err(ReturnReason::ExpiryTooFar);
        }
        let expiry = protocol_spec::UnixSeconds(new.lock.expiry.0.saturating_sub(policy.delta_s));
        // The payee needs the time of a transaction, should the hub not answer it.
        if expiry <= clock.now.after(self.policy.delays.act_s) {
            return Err(ReturnReason::LockTooShort);
        }
        let (payee, fee) = self.price(payer, token, new.payee, amount, clock.now)?;
        self.require_seen(payee, clock)?;
        self.require_seen_within_lag(clock)?;
        if fee > new.fee_max {
            return Err(ReturnReason::FeeTooLow);
        }
        if offline.contains(&new.lock.id) {
            return Err(ReturnReason::PayeeOffline);
        }
        if !self.can_remember(payer, clock.now) {
            return Err(ReturnReason::Unavailable);
        }
        let to = self.entries.get(payee).ok_or(ReturnReason::UnknownPayee)?;
        if to.was_in_doubt() {
            return Err(ReturnReason::LocksEnded);
        }
        let value_max = self
            .policy
            .tariff(token)
            .map_or(Amount::ZERO, |tariff| tariff.locked_max);
        let weight = condition.weight();
        let full = from.forwarded_weight().saturating_add(weight) > u64::from(policy.per_client_max)
            || self.forwarded.saturating_add(weight) > u64::from(policy.total_max)
            || from.channel.received().locks.total() > value_max
            || to.locks_to_be() >= limits::LOCKS_FROM_HUB_MAX;
        if full {
            return Err(ReturnReason::LocksFull);
        }
        let lock = Lock {
            id: to.next_lock(),
            amount,
            expiry,
            hash: new.lock.hash,
            resolver: new.lock.resolver,
        };
        Ok(Way { payee, fee, lock })
    }

    fn forward(
        &mut self,
        payer: usize,
        seq: Seq,
        new: &NewLock<'_>,
        way: Way,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let from = self.entry(payer)?.channel.id();
        let to = self.entry(way.payee)?.channel.id();
        let (lock_id, amount) = (way.lock.id, way.lock.amount);
        let weight = way.lock.condition().weight();
        let op = Op::LockAdd {
            lock: Box::new(way.lock),
            payment_id: new.payment_id,
            payee: Payee::Channel(to),
            fee_max: Amount::ZERO,
            invoice: new.invoice,
        };
        self.gather(way.payee, op, amount, clock, commit)?;
        let resting = Resting {
            payer,
            lock_id: new.lock.id,
            payment_id: new.payment_id,
            payer_tag: Credit::payer_of(&from, &new.payment_id),
            invoice: new.invoice,
            amount,
        };
        self.entry_mut(way.payee)?.stored.resting.insert(lock_id, resting);
        let forward = Forward {
            payee: way.payee,
            lock_id,
            payment_id: new.payment_id,
            seq,
            fee: way.fee,
            fee_max: new.fee_max,
            expiry: new.lock.expiry,
            weight,
        };
        self.entry_mut(payer)?
            .stored
            .forwards
            .insert(new.lock.id, forward);
        self.forwarded = self.forwarded.saturating_add(weight);
        self.payers.insert(payer);
        self.locked.insert(way.payee);
        Ok(())
    }

    /// R11: consents to the removal of a client's lock and tells the client why.
    fn give_up(
        &mut self,
        payer: usize,
        lock_id: u64,
        reason: ReturnReason,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(payer)?;
        entry.channel.consent(lock_id)?;
        entry.stored.consents.insert(lock_id, reason);
        if let Some(session) = entry.session {
            let told = entry.consent(lock_id, reason);
            commit.outputs.push(Output::Tell(session, Box::new(told)));
        }
        self.dirty.insert(payer);
        Ok(())
    }

    /// The payer folded a lock into `paid`: the fee that was granted too much goes back.
    pub(in crate::ledger) fn lock_converted(
        &mut self,
        payer: usize,
        lock_id: u64,
        witness: &[u8],
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let Some(forward) = self.end_forward(payer, lock_id)? else {
            return Ok(());
        };
        let outcome = Outcome {
            seq: forward.seq,
            bounced: None,
            at: clock.now,
            expires_at: forward.expiry,
        };
        self.remember(payer, forward.payment_id, outcome);
        let change = forward.fee_max.minus(forward.fee)?;
        self.give_back(
            payer,
            forward.payment_id,
            change,
            ReturnReason::Change,
            clock,
            commit,
        )?;
        // A payer that converts before the payee asked for it has paid: the payee gets its money.
        // What the witness is worth to a resolver matters no more: the hub has been paid against it.
        let (payee, id) = (forward.payee, forward.lock_id);
        let witness = Witness::new(witness.to_vec());
        if let Ok(opened) = witness.and_then(|witness| self.believed(payee, id, witness))
            && self.entry(payee)?.stored.resting.contains_key(&id)
        {
            // Too late or gone: then the hub's lock is dead already, and the payer gave its money away knowingly.
            let _ = self.convert(payee, id, &opened, clock, commit);
        }
        Ok(())
    }

    /// The payer took a lock out without payment (R5 b, c).
    pub(in crate::ledger) fn lock_dropped(&mut self, payer: usize, lock_id: u64) -> Result<(), Reject> {
        self.end_forward(payer, lock_id)?;
        self.entry_mut(payer)?.stored.consents.remove(&lock_id);
        Ok(())
    }

    pub(super) fn end_forward(&mut self, payer: usize, lock_id: u64) -> Result<Option<Forward>, Reject> {
        let entry = self.entry_mut(payer)?;
        let before = entry.forwarded_weight();
        let forward = entry.stored.forwards.remove(&lock_id);
        if let Some(forward) = &forward {
            let gone = before.saturating_sub(entry.forwarded_weight());
            self.forwarded = self.forwarded.saturating_sub(gone);
            self.forget_resting(forward.payee, forward.lock_id);
        }
        self.look_at_locks(payer);
        Ok(forward)
    }

    pub(super) fn release(&mut self, resting: &Resting, reason: ReturnReason, commit: &mut Commit) {
        let payer = resting.payer;
        // Refused when what opens it is known: then the payer's lock is the hub's to convert.
        if self.give_up(payer, resting.lock_id, reason, commit).is_err() {
            return;
        }
        if let Ok(Some(forward)) = self.end_forward(payer, resting.lock_id) {
            let at = self.chain.timestamp;
            let outcome = Outcome::bounced(forward.seq, reason, at);
            self.remember(payer, forward.payment_id, outcome);
        }
    }
}
