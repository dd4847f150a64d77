//! The locks of channels that were in doubt (A10).
//!
//! What a client shows may have locks of which this database has no row: *orphans*. The hub's own are honoured. A client's
//! are never given up, since something that the hub forwarded may rest on them, and are collected when a witness with
//! their condition comes up, whichever channel it comes from and in whatever order the channels come back. Nor is a
//! payer's lock given up while the lock that rests on it was in a channel in doubt: that one may have been paid in the
//! lost part, or in a voucher that its client holds back. Such a lock ends by its expiry.

use super::super::{Commit, Ledger, entry::Entry};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Condition, Lock, Opened, Reject, UnixSeconds, Witness, channel::Clock, limits};

/// What opened a lock of the hub in a channel that was in doubt: orphans that it opens may still be to come.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub(in crate::ledger) struct Kept {
    condition: Condition,
    witness: Witness,
    /// No lock that was added before outlives this chain time.
    until: UnixSeconds,
}

impl Ledger {
    /// After an adoption: rows of locks that left go, orphans are collected if they can be.
    pub(in crate::ledger) fn take_over_locks(
        &mut self,
        index: usize,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        for id in self.entry_mut(index)?.forget_left() {
            self.end_forward(index, id)?;
        }
        self.look_at_locks(index);
        let entry = self.entry_mut(index)?;
        for (id, opened) in entry.kept_for_own() {
            // Too late, and not marked: then it is not the client's any more.
            let _ = entry.channel.told_witness(id, &opened, clock);
        }
        let theirs = self.entry(index)?.collectable(|_| true);
        for (id, condition) in theirs {
            if let Some(opened) = self.kept(condition) {
                self.learn(index, id, &opened, clock, commit);
            }
        }
        Ok(())
    }

    /// Keeps what opened a lock of the hub, and uses it on all orphans that it opens (R23). Only of a channel that was in
    /// doubt: no other has locks that rest on orphans.
    pub(in crate::ledger) fn keep_witness(
        &mut self,
        payee: usize,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let doubted = self.entries.get_mut(payee).filter(|entry| entry.doubted());
        if !doubted.is_some_and(|entry| entry.keep(opened, clock)) {
            return;
        }
        self.keepers.insert(payee);
        self.dirty.insert(payee);
        for payer in self.payers.clone() {
            let opens = |lock: &Lock| opened.opens(lock);
            let orphans = self.entries.get(payer).map(|entry| entry.collectable(opens));
            for (id, _) in orphans.into_iter().flatten() {
                self.learn(payer, id, opened, clock, commit);
            }
        }
    }

    /// The client sends it again: the hub accepted it in the lost part, and may have forwarded it; what it answered did not
    /// arrive. One that outlives what was forwarded then is a new one.
    pub(super) fn may_be_lost(&self, payer: usize, lock: &Lock) -> bool {
        let doubted = self.entries.get(payer).is_some_and(Entry::doubted);
        doubted && lock.expiry <= self.opened_until.after(self.policy.locks.life_max_s)
    }

    /// A client's lock that stays as it is until a witness comes up, or its time is over.
    pub(super) fn take_orphan(&mut self, payer: usize, lock: &Lock, clock: Clock, commit: &mut Commit) {
        if let Some(opened) = self.kept(lock.condition()) {
            self.learn(payer, lock.id, &opened, clock, commit);
        }
    }

    fn kept(&self, condition: Condition) -> Option<Opened> {
        let keepers = self.keepers.iter().filter_map(|index| self.entries.get(*index));
        let mut kept = keepers.filter_map(|entry| entry.kept(condition));
        kept.next()
    }

    /// Puts the channel on the lists of those with locks, or takes it off.
    pub(in crate::ledger) fn look_at_locks(&mut self, index: usize) {
        if let Some(lists) = self.entries.get(index).map(Entry::lock_lists) {
            self.list_locks(index, lists);
        }
    }

    pub(in crate::ledger) fn list_locks(&mut self, index: usize, lists: LockLists) {
        let lists = [(&mut self.locked, lists.owes), (&mut self.payers, lists.is_owed)];
        for (list, is_in) in lists {
            match is_in {
                true => list.insert(index),
                false => list.remove(&index),
            };
        }
    }

    /// A payer's lock has left: so does the row of the hub's, if that has left, too, and waited for this only.
    pub(super) fn forget_resting(&mut self, payee: usize, lock_id: u64) {
        let waits = |entry: &&mut Entry| entry.doubted() && entry.is_dead(lock_id);
        let entry = self.entries.get_mut(payee).filter(waits);
        if entry.is_some_and(|entry| entry.stored.resting.remove(&lock_id).is_some()) {
            self.look_at_locks(payee);
            self.dirty.insert(payee);
        }
    }

    /// The payer's lock that a lock of the hub rests on has not left.
    pub(super) fn has_forward(&self, payee: usize, lock_id: u64) -> bool {
        let rests = || {
            let resting = self.entries.get(payee)?.stored.resting.get(&lock_id)?;
            let forwards = &self.entries.get(resting.payer)?.stored.forwards;
            let forward = forwards.get(&resting.lock_id)?;
            Some((forward.payee, forward.lock_id) == (payee, lock_id))
        };
        rests() == Some(true)
    }
}

/// On which lists of channels with locks a channel is.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct LockLists {
    /// The hub has locks in it.
    pub(in crate::ledger) owes: bool,
    /// The client has locks in it that the hub may collect.
    pub(in crate::ledger) is_owed: bool,
}

impl Entry {
    /// True of a channel that is or was in doubt: of its locks this database may know less than its client.
    pub(in crate::ledger) fn doubted(&self) -> bool {
        self.stored.unsynced || self.was_in_doubt()
    }

    /// Rows say it, and in a channel that was in doubt its vouchers.
    pub(in crate::ledger) fn lock_lists(&self) -> LockLists {
        let (own, theirs) = (self.channel.sent(), self.channel.received());
        LockLists {
            owes: !self.stored.resting.is_empty() || (self.doubted() && !own.locks.is_empty()),
            is_owed: !self.stored.forwards.is_empty() || (self.doubted() && !theirs.locks.is_empty()),
        }
    }

    /// Forgets what it said of client's locks that have left; gives those that were forwarded.
    fn forget_left(&mut self) -> Vec<u64> {
        let locks = &self.channel.received().locks;
        let left = |id: &u64| locks.lock(*id).is_none();
        self.stored.consents.retain(|id, _| !left(id));
        self.stored.forwards.keys().copied().filter(left).collect()
    }

    /// Those of the client's locks, in a channel that was in doubt, that are not given up, and what opens them is not known.
    fn collectable(&self, these: impl Fn(&Lock) -> bool) -> Vec<(u64, Condition)> {
        if !self.doubted() {
            return Vec::new();
        }
        let known = |id: u64| self.channel.known_witnesses().any(|(known, _)| known == id);
        let given = |id: u64| self.channel.consents_given().any(|given| given == id);
        let locks = self.channel.received().locks.iter();
        let open = locks.filter(|lock| these(lock) && !known(lock.id) && !given(lock.id));
        open.map(|lock| (lock.id, lock.condition())).collect()
    }

    fn kept(&self, condition: Condition) -> Option<Opened> {
        let kept = self.stored.kept.iter().find(|kept| kept.condition == condition)?;
        kept.opened()
    }

    pub(super) fn keeps(&self, condition: Condition) -> bool {
        self.kept(condition).is_some()
    }

    /// False when it was kept before.
    fn keep(&mut self, opened: &Opened, clock: Clock) -> bool {
        self.stored.kept.retain(|kept| kept.until > clock.chain);
        if self.keeps(opened.condition()) {
            return false;
        }
        self.stored.kept.push(Kept {
            condition: opened.condition(),
            witness: opened.witness().clone(),
            until: clock.chain.after(limits::LOCK_LIFE_MAX_S),
        });
        true
    }

    /// Locks of the hub that the chain showed to be resolved before they were known here.
    fn kept_for_own(&self) -> Vec<(u64, Opened)> {
        let opened = |lock: &Lock| Some((lock.id, self.kept(lock.condition())?));
        let locks = self.channel.sent().locks.iter();
        locks.filter_map(opened).collect()
    }
}

impl Kept {
    fn opened(&self) -> Option<Opened> {
        let by_hash = Opened::by_hash(self.condition, self.witness.clone());
        by_hash.or_else(|| Opened::vouched(self.condition, self.witness.clone()))
    }
}
