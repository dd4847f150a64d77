//! Locked payments (R22, R23): a payer's lock becomes a lock of the hub in the payee's channel, or is given up at once.
//!
//! The hub is never out of money in between: its own lock expires `delta` earlier, a preimage told by the payee is
//! used on the payer's lock in the same commit, and the payer's lock is given up only once the hub's is dead (R10).

use super::{
    Commit, Ledger, Origin, Output,
    entry::{Entry, Forward, Resting},
    input::Change,
    payments::Outcome,
    session::answer,
};
use protocol_spec::{
    Amount, ChannelId, Credit, Digest, Lock, Op, Payee, PaymentId, Preimage, Reject, ReturnReason, Seq,
    channel::{Clock, Phase},
    limits,
    message::{Consent, Empty, ErrorCode, LockCall, Notification, Reply, Reveal, RpcError},
};

/// A payer's new lock with what its operation says of the payment.
pub(super) struct NewLock<'a> {
    pub(super) lock: &'a Lock,
    pub(super) payment_id: PaymentId,
    pub(super) payee: Payee,
    pub(super) fee_max: Amount,
    pub(super) invoice: Digest,
    pub(super) content: Digest,
}

impl<'a> NewLock<'a> {
    pub(super) fn of(op: &'a Op) -> Option<Self> {
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
                content: op.digest(),
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
    pub(super) fn offline_locks(&self, payer: usize, ops: &[Op]) -> Vec<u64> {
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

    /// Forwards an accepted lock, or gives it up; `Some(reason)` when it was given up.
    pub(super) fn take_lock(
        &mut self,
        payer: usize,
        seq: Seq,
        new: &NewLock<'_>,
        offline: &[u64],
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Option<ReturnReason>, Reject> {
        let known = self.payments.outcome(payer, new.payment_id).is_some()
            || self.entry(payer)?.locks_payment(new.payment_id);
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
            Err(reason) => {
                if !known {
                    let outcome = Outcome {
                        content: new.content,
                        seq,
                        bounced: Some(reason),
                        at: clock.now,
                        expires_at: clock.now,
                    };
                    self.remember(payer, new.payment_id, outcome);
                }
                if live {
                    self.give_up(payer, new.lock.id, reason, commit)?;
                } else {
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
        let policy = &self.policy.locks;
        let amount = new.lock.amount.minus(new.fee_max);
        let amount = amount
            .ok()
            .filter(|amount| !amount.is_zero())
            .ok_or(ReturnReason::FeeTooLow)?;
        if new.lock.resolver != protocol_spec::Address::ZERO {
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
        let token = from.channel.config().token;
        let (payee, fee) = self.price(payer, token, new.payee, amount)?;
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
        let value_max = self
            .policy
            .tariff(token)
            .map_or(Amount::ZERO, |tariff| tariff.locked_max);
        let full = from.stored.forwards.len() >= policy.per_client_max as usize
            || self.forwarded >= u64::from(policy.total_max)
            || from.channel.received().locks.total() > value_max
            || to.locks_to_be() >= limits::LOCKS_MAX;
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
        let op = Op::LockAdd {
            lock: way.lock,
            payment_id: new.payment_id,
            payee: Payee::Channel(to),
            fee_max: Amount::ZERO,
            invoice: new.invoice,
        };
        self.gather(way.payee, op, amount, clock, commit)?;
        let resting = Resting {
            payer: payer as u64,
            lock_id: new.lock.id,
            payment_id: new.payment_id,
            payer_tag: Credit::payer_of(&from, &new.payment_id),
            invoice: new.invoice,
            amount,
        };
        self.entry_mut(way.payee)?.stored.resting.insert(lock_id, resting);
        let forward = Forward {
            payee: way.payee as u64,
            lock_id,
            payment_id: new.payment_id,
            content: new.content,
            seq,
            fee: way.fee,
            fee_max: new.fee_max,
            expiry: new.lock.expiry,
        };
        self.entry_mut(payer)?
            .stored
            .forwards
            .insert(new.lock.id, forward);
        self.forwarded = self.forwarded.saturating_add(1);
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
        let consent = Consent {
            channel_id: entry.channel.id(),
            lock_id,
            reason,
        };
        if let Some(session) = entry.session {
            commit
                .outputs
                .push(Output::Tell(session, Box::new(Notification::Consent(consent))));
        }
        self.dirty.insert(payer);
        Ok(())
    }

    /// The payer folded a lock into `paid`: the fee that was granted too much goes back.
    pub(super) fn lock_converted(
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
            content: forward.content,
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
        let payee = usize::try_from(forward.payee).map_err(|_| Reject::WrongChannel)?;
        let preimage = <[u8; 32]>::try_from(witness).map(Preimage);
        if let Ok(preimage) = preimage
            && self.entry(payee)?.stored.resting.contains_key(&forward.lock_id)
        {
            // Too late or gone: then the hub's lock is dead already, and the payer gave its money away knowingly.
            let _ = self.convert(payee, forward.lock_id, preimage, clock, commit);
        }
        Ok(())
    }

    /// The payer took a lock out without payment (R5 b, c).
    pub(super) fn lock_dropped(&mut self, payer: usize, lock_id: u64) -> Result<(), Reject> {
        self.end_forward(payer, lock_id)?;
        self.entry_mut(payer)?.stored.consents.remove(&lock_id);
        Ok(())
    }

    fn end_forward(&mut self, payer: usize, lock_id: u64) -> Result<Option<Forward>, Reject> {
        let forward = self.entry_mut(payer)?.stored.forwards.remove(&lock_id);
        if forward.is_some() {
            self.forwarded = self.forwarded.saturating_sub(1);
        }
        Ok(forward)
    }

    pub(super) fn reveal(&mut self, origin: Origin, call: &Reveal, clock: Clock, commit: &mut Commit) {
        let result = self
            .may_speak_of_locks(origin, &call.channel_id)
            .and_then(|index| {
                self.revealed(index, call.lock_id, call.preimage, clock, commit)
                    .map_err(|reject| RpcError::from(&reject))
            });
        answer(commit, origin, result.map(|()| Reply::Done(Empty {})));
    }

    pub(super) fn consented(&mut self, origin: Origin, call: &LockCall, clock: Clock, commit: &mut Commit) {
        let result = self
            .may_speak_of_locks(origin, &call.channel_id)
            .and_then(|index| {
                self.payee_gave_up(index, call.lock_id, clock, commit)
                    .map_err(|reject| RpcError::from(&reject))
            });
        answer(commit, origin, result.map(|()| Reply::Done(Empty {})));
    }

    fn may_speak_of_locks(&self, origin: Origin, id: &ChannelId) -> Result<usize, RpcError> {
        let index = self.owned(origin, id)?;
        let session = self.entries.get(index).and_then(|entry| entry.session);
        match () {
            () if self.rolled_back => Err(RpcError::of(ErrorCode::RolledBack)),
            () if session != Some(origin.session) => Err(RpcError::of(ErrorCode::NotResumed)),
            () => Ok(index),
        }
    }

    /// R8, R23: the payee told the preimage of a lock of the hub. Told twice it is converted once.
    pub(super) fn revealed(
        &mut self,
        payee: usize,
        lock_id: u64,
        preimage: Preimage,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        if self.entry(payee)?.converts(lock_id) {
            return Ok(());
        }
        self.convert(payee, lock_id, preimage, clock, commit)?;
        let channel = self.entry(payee)?.channel.id();
        commit.changes.push(Change::Revealed {
            channel,
            lock_id,
            preimage,
        });
        Ok(())
    }

    fn convert(
        &mut self,
        payee: usize,
        lock_id: u64,
        preimage: Preimage,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(payee)?;
        if entry.drops(lock_id) {
            return Err(Reject::LockUnknown { id: lock_id });
        }
        // A lock that was added in this very commit is told to the payee only after it.
        entry.channel.told_preimage(lock_id, preimage, clock)?;
        self.dirty.insert(payee);
        self.convert_told(payee, clock, commit)?;
        self.use_preimage(payee, lock_id, preimage, clock, commit)
    }

    /// R8: what was told in time is converted, in a dispute once that is over.
    pub(super) fn convert_told(
        &mut self,
        payee: usize,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry(payee)?;
        if *entry.channel.phase() != Phase::Open || self.rolled_back {
            return Ok(());
        }
        let told = entry
            .channel
            .told_preimages()
            .filter(|(id, _)| !entry.converts(*id));
        let ops: Vec<_> = told
            .map(|(id, preimage)| Op::LockConvert {
                id,
                witness: preimage.0.to_vec(),
            })
            .collect();
        for op in ops {
            self.gather(payee, op, Amount::ZERO, clock, commit)?;
        }
        Ok(())
    }

    /// R23: a preimage seen anywhere is used at once on the payer's lock.
    fn use_preimage(
        &mut self,
        payee: usize,
        lock_id: u64,
        preimage: Preimage,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let resting = self.entry(payee)?.stored.resting.get(&lock_id);
        let Some((payer, payer_lock)) = resting.map(|resting| (resting.payer, resting.lock_id)) else {
            return Ok(());
        };
        let payer = usize::try_from(payer).map_err(|_| Reject::WrongChannel)?;
        let entry = self.entry_mut(payer)?;
        if entry.channel.learn_preimage(payer_lock, preimage, clock).is_err() {
            return Ok(()); // Converted already.
        }
        let reveal = Reveal {
            channel_id: entry.channel.id(),
            lock_id: payer_lock,
            preimage,
        };
        if let Some(session) = entry.session {
            commit
                .outputs
                .push(Output::Tell(session, Box::new(Notification::Reveal(reveal))));
        }
        self.dirty.insert(payer);
        Ok(())
    }

    /// R9, R11: the payee will never use the preimage of a lock of the hub. Told twice it is dropped once.
    pub(super) fn payee_gave_up(
        &mut self,
        payee: usize,
        lock_id: u64,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(payee)?;
        if entry.drops(lock_id) {
            return Ok(());
        }
        if entry.converts(lock_id) {
            return Err(Reject::ConsentRefused { id: lock_id });
        }
        entry.channel.consented(lock_id)?;
        let (channel, open) = (entry.channel.id(), *entry.channel.phase() == Phase::Open);
        self.dirty.insert(payee);
        commit.changes.push(Change::GaveUp { channel, lock_id });
        if open {
            self.gather(payee, Op::LockDrop { id: lock_id }, Amount::ZERO, clock, commit)?;
        }
        Ok(())
    }

    /// R9: drops the hub's locks whose time is over.
    pub(super) fn drop_expired(&mut self, clock: Clock, commit: &mut Commit) {
        for index in self.locked.clone() {
            let Some(entry) = self.entries.get(index) else {
                continue;
            };
            if *entry.channel.phase() != Phase::Open || self.rolled_back {
                continue;
            }
            let expired = entry.channel.expired_locks(clock);
            let due: Vec<u64> = expired
                .filter(|id| !entry.drops(*id) && !entry.converts(*id))
                .collect();
            for id in due {
                // The sum cannot overflow: a drop adds nothing.
                let _ = self.gather(index, Op::LockDrop { id }, Amount::ZERO, clock, commit);
            }
        }
    }

    /// R23: gives up the payers' locks whose forwarded locks are dead by R10.
    pub(super) fn release_dead(&mut self, payee: usize, reason: ReturnReason, commit: &mut Commit) {
        let Some(entry) = self.entries.get_mut(payee) else {
            return;
        };
        let closed = *entry.channel.phase() == Phase::Closed;
        let dead = |id: u64, entry: &Entry| !entry.adds(id) && (closed || !entry.channel.is_live(id));
        let ids: Vec<u64> = entry
            .stored
            .resting
            .keys()
            .copied()
            .filter(|id| dead(*id, entry))
            .collect();
        let gone: Vec<Resting> = ids
            .iter()
            .filter_map(|id| entry.stored.resting.remove(id))
            .collect();
        if gone.is_empty() {
            return;
        }
        if entry.stored.resting.is_empty() {
            self.locked.remove(&payee);
        }
        self.dirty.insert(payee);
        for resting in gone {
            self.release(&resting, reason, commit);
        }
    }

    fn release(&mut self, resting: &Resting, reason: ReturnReason, commit: &mut Commit) {
        let Ok(payer) = usize::try_from(resting.payer) else {
            return;
        };
        // Refused when the preimage is known: then the payer's lock is the hub's to convert.
        if self.give_up(payer, resting.lock_id, reason, commit).is_err() {
            return;
        }
        if let Ok(Some(forward)) = self.end_forward(payer, resting.lock_id) {
            let at = self.chain.timestamp;
            let outcome = Outcome {
                content: forward.content,
                seq: forward.seq,
                bounced: Some(reason),
                at,
                expires_at: at,
            };
            self.remember(payer, forward.payment_id, outcome);
        }
    }

    /// What a client must be told again after a resume: preimages and consents that its vouchers do not show yet.
    pub(super) fn tell_locks_again(
        &self,
        index: usize,
        session: crate::engine::SessionId,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let channel_id = entry.channel.id();
        let reveals = entry.channel.known_preimages().map(|(lock_id, preimage)| {
            Notification::Reveal(Reveal {
                channel_id,
                lock_id,
                preimage: *preimage,
            })
        });
        let consents = entry.stored.consents.iter().map(|(lock_id, reason)| {
            Notification::Consent(Consent {
                channel_id,
                lock_id: *lock_id,
                reason: *reason,
            })
        });
        let told = reveals
            .chain(consents)
            .map(|body| Output::Tell(session, Box::new(body)));
        commit.outputs.extend(told);
    }

    /// R17: a lock was resolved in time on chain.
    pub(super) fn resolved_on_chain(
        &mut self,
        channel: &ChannelId,
        payer: protocol_spec::Side,
        lock_id: u64,
        witness: &[u8],
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(index) = self.index(channel) else { return };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        entry.channel.mark(payer, lock_id);
        self.dirty.insert(index);
        if payer == protocol_spec::Side::Hub
            && let Ok(preimage) = <[u8; 32]>::try_from(witness).map(Preimage)
        {
            // Unknown lock: nothing rests on it.
            let _ = entry.channel.told_preimage(lock_id, preimage, clock);
            let _ = self.use_preimage(index, lock_id, preimage, clock, commit);
        }
    }
}

impl Entry {
    /// Id of the hub's next lock here, the commit under way included.
    fn next_lock(&self) -> u64 {
        let pending = self
            .pending
            .iter()
            .filter_map(|op| NewLock::of(op).map(|new| new.lock.id));
        let newest = pending
            .max()
            .unwrap_or_default()
            .max(self.channel.sent().newest_lock);
        newest.saturating_add(1)
    }

    /// Locks in the hub's next voucher at most.
    fn locks_to_be(&self) -> usize {
        let added = self
            .pending
            .iter()
            .filter(|op| matches!(op, Op::LockAdd { .. }))
            .count();
        self.channel.sent().locks.len().saturating_add(added)
    }

    pub(super) fn adds_locks(&self) -> bool {
        self.pending.iter().any(|op| matches!(op, Op::LockAdd { .. }))
    }

    fn adds(&self, id: u64) -> bool {
        self.pending
            .iter()
            .any(|op| matches!(op, Op::LockAdd { lock, .. } if lock.id == id))
    }

    fn converts(&self, lock_id: u64) -> bool {
        self.pending
            .iter()
            .any(|op| matches!(op, Op::LockConvert { id, .. } if *id == lock_id))
    }

    fn drops(&self, lock_id: u64) -> bool {
        self.pending
            .iter()
            .any(|op| matches!(op, Op::LockDrop { id } if *id == lock_id))
    }

    pub(super) fn locks_payment(&self, id: PaymentId) -> bool {
        self.stored
            .forwards
            .values()
            .any(|forward| forward.payment_id == id)
    }
}
