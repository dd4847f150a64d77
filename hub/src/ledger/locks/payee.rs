//! The payee's side: its witnesses and consents, the hub's locks that grow too old, and what follows for their payers.

use super::super::{
    Commit, Ledger, Origin, Output,
    entry::{Entry, Resting},
    input::Change,
    session::answer,
};
use protocol_spec::{
    Amount, ChannelId, Op, Opened, Reject, ReturnReason,
    canary::{Canary, planted},
    channel::{Clock, Phase},
    limits,
    message::{Empty, LockCall, Reply, RpcError},
};

/// Places in the list of unacknowledged vouchers that are left free when locks are folded: a commit may issue some more.
const FOLD_PLACES: usize = 8;

impl Ledger {
    pub(in crate::ledger) fn consented(
        &mut self,
        origin: Origin,
        call: &LockCall,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let result = self
            .may_speak_of_locks(origin, &call.channel_id)
            .and_then(|index| {
                self.payee_gave_up(index, call.lock_id, clock, commit)
                    .map_err(|reject| RpcError::from(&reject))
            });
        answer(commit, origin, result.map(|()| Reply::Done(Empty {})));
    }

    pub(super) fn may_speak_of_locks(&self, origin: Origin, id: &ChannelId) -> Result<usize, RpcError> {
        let index = self.owned(origin, id)?;
        self.require_synced(index)?;
        self.require_resumed(origin, index)?;
        Ok(index)
    }

    pub(in crate::ledger) fn revealed(
        &mut self,
        payee: usize,
        lock_id: u64,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry(payee)?;
        let told = |(id, witness): (u64, &_)| id == lock_id && witness == opened.witness();
        if entry.converts(lock_id) || entry.channel.told_witnesses().any(told) {
            return Ok(());
        }
        self.convert(payee, lock_id, opened, clock, commit)?;
        let channel = self.entry(payee)?.channel.id();
        commit.changes.push(&Change::Revealed {
            channel,
            lock_id,
            witness: opened.witness().clone(),
        });
        Ok(())
    }

    pub(in crate::ledger) fn convert(
        &mut self,
        payee: usize,
        lock_id: u64,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(payee)?;
        if entry.drops(lock_id) {
            return Err(Reject::LockUnknown { id: lock_id });
        }
        // A lock that was added in this very commit is told to the payee only after it.
        entry.channel.told_witness(lock_id, opened, clock)?;
        self.dirty.insert(payee);
        self.convert_told(payee, clock, commit)?;
        self.use_witness(payee, lock_id, opened, clock, commit)
    }

    /// Whether the hub's locks may leave its voucher now. A payee that acknowledges nothing must not make the hub run out of
    /// numbers: what was told, given up or too old is folded when it has acknowledged. See [`Ledger::catch_up`].
    fn may_fold(&self, payee: usize) -> bool {
        let folds = |entry: &Entry| *entry.channel.phase() == Phase::Open && !entry.is_at_its_end();
        self.entries.get(payee).is_some_and(folds) && !self.uncertain(payee)
    }

    /// R8: what was told in time is converted, in a dispute once that is over.
    pub(in crate::ledger) fn convert_told(
        &mut self,
        payee: usize,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry(payee)?;
        let told = entry
            .channel
            .told_witnesses()
            .filter(|(id, _)| !entry.converts(*id));
        let ops: Vec<_> = told
            .map(|(id, witness)| Op::LockConvert {
                id,
                witness: witness.as_bytes().to_vec(),
            })
            .collect();
        for op in ops {
            if !self.may_fold(payee) {
                break;
            }
            self.gather(payee, op, Amount::ZERO, clock, commit)?;
        }
        Ok(())
    }

    /// R10: the hub's locks that the payee gave up, while nothing could be signed, are dropped.
    pub(in crate::ledger) fn drop_given_up(&mut self, payee: usize, clock: Clock, commit: &mut Commit) {
        let given_up = self.entries.get(payee).map(Entry::consented_away);
        self.drop_locks(payee, given_up.unwrap_or_default(), clock, commit);
    }

    fn drop_locks(&mut self, payee: usize, ids: Vec<u64>, clock: Clock, commit: &mut Commit) {
        for id in ids {
            if !self.may_fold(payee) {
                return;
            }
            // The sum cannot overflow: a drop adds nothing.
            let _ = self.gather(payee, Op::LockDrop { id }, Amount::ZERO, clock, commit);
        }
    }

    /// R23: a witness seen anywhere is used at once on the payer's lock, and on orphans.
    pub(in crate::ledger) fn use_witness(
        &mut self,
        payee: usize,
        lock_id: u64,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let resting = self.entry(payee)?.stored.resting.get(&lock_id);
        let Some((payer, payer_lock)) = resting.map(|resting| (resting.payer, resting.lock_id)) else {
            self.keep_witness(payee, opened, clock, commit);
            return Ok(());
        };
        self.learn(payer, payer_lock, opened, clock, commit);
        self.keep_witness(payee, opened, clock, commit);
        Ok(())
    }

    /// What opens a payer's lock is known: the payer is told.
    pub(super) fn learn(
        &mut self,
        payer: usize,
        lock_id: u64,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.entries.get_mut(payer) else {
            return;
        };
        let learnt = entry.channel.learn_witness(lock_id, opened, clock);
        if learnt.is_err() || !entry.channel.known_witnesses().any(|(id, _)| id == lock_id) {
            return; // Converted already, given up, or over.
        }
        if let Some(session) = entry.session {
            let told = entry.reveal(lock_id, opened.witness().clone());
            commit.outputs.push(Output::Tell(session, Box::new(told)));
        }
        self.dirty.insert(payer);
    }

    /// R9, R11: the payee will never open a lock of the hub. Told twice it is dropped once.
    pub(in crate::ledger) fn payee_gave_up(
        &mut self,
        payee: usize,
        lock_id: u64,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let entry = self.entry_mut(payee)?;
        if entry.drops(lock_id) || entry.channel.consented_locks().any(|id| id == lock_id) {
            return Ok(());
        }
        if entry.converts(lock_id) {
            return Err(Reject::ConsentRefused { id: lock_id });
        }
        entry.channel.consented(lock_id)?;
        let channel = entry.channel.id();
        self.dirty.insert(payee);
        commit.changes.push(&Change::GaveUp { channel, lock_id });
        self.drop_locks(payee, vec![lock_id], clock, commit);
        Ok(())
    }

    /// R9: drops the hub's locks whose time is over.
    pub(in crate::ledger) fn drop_expired(&mut self, clock: Clock, commit: &mut Commit) {
        for index in self.locked.clone() {
            let Some(entry) = self.entries.get(index) else {
                continue;
            };
            let expired = entry.channel.expired_locks(clock);
            let due: Vec<u64> = expired
                .filter(|id| !entry.drops(*id) && !entry.converts(*id))
                .collect();
            self.drop_locks(index, due, clock, commit);
        }
    }

    /// R23: gives up the payers' locks whose forwarded locks are dead by R10; after a restore they end by their expiry.
    pub(in crate::ledger) fn release_dead(
        &mut self,
        payee: usize,
        reason: ReturnReason,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.entries.get(payee) else {
            return;
        };
        let ids: Vec<u64> = entry
            .stored
            .resting
            .keys()
            .copied()
            .filter(|id| entry.is_dead(*id) && !(entry.doubted() && self.has_forward(payee, *id)))
            .collect();
        let Some(entry) = self.entries.get_mut(payee) else {
            return;
        };
        let gone: Vec<Resting> = ids
            .iter()
            .filter_map(|id| entry.stored.resting.remove(id))
            .collect();
        if gone.is_empty() {
            return;
        }
        self.look_at_locks(payee);
        self.dirty.insert(payee);
        for resting in gone {
            self.release(&resting, reason, commit);
        }
    }
}

impl Entry {
    /// The client takes so few of the hub's vouchers that only what it sends itself is answered.
    pub(in crate::ledger) fn is_at_its_end(&self) -> bool {
        self.channel
            .has_unacked(limits::UNACKED_MAX.saturating_sub(FOLD_PLACES))
    }

    /// R10: the client cannot collect the hub's lock any more.
    pub(super) fn is_dead(&self, lock_id: u64) -> bool {
        let closed = *self.channel.phase() == Phase::Closed;
        !self.adds(lock_id) && (closed || !self.channel.is_live(lock_id) || planted(Canary::CancelLive))
    }
}
