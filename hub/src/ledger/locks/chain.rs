//! What the chain shows of locks.

use super::super::{Commit, Defence, Ledger, entry::Entry, input::Change};
use protocol_spec::{
    ChannelId, Condition, Lock, Opened, Side, UnixSeconds, Witness,
    channel::{Clock, Phase},
};

impl Ledger {
    /// R17: a lock was resolved in time on chain.
    pub(in crate::ledger) fn resolved_on_chain(
        &mut self,
        channel: &ChannelId,
        payer: Side,
        lock_id: u64,
        witness: &[u8],
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(index) = self.index(channel) else { return };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        // A mark that is counted again comes without its witness.
        let again = entry.channel.is_marked(payer, lock_id) && witness.is_empty();
        entry.channel.mark(payer, lock_id);
        self.dirty.insert(index);
        if payer == Side::Client || again {
            return;
        }
        // The adjudicator has checked it.
        let witness = Witness::new(witness.to_vec());
        let Ok(witness) = witness else { return };
        let Ok(opened) = self.believed(index, lock_id, witness.clone()) else {
            // Unknown lock: nothing rests on it, unless it was forgotten.
            let preimage = witness.preimage().map(|preimage| Condition::preimage(&preimage));
            if let Some(opened) = preimage.and_then(|condition| Opened::by_hash(condition, witness)) {
                self.keep_witness(index, &opened, clock, commit);
            }
            return;
        };
        if let Some(entry) = self.entries.get_mut(index) {
            let _ = entry.channel.told_witness(lock_id, &opened, clock);
        }
        let _ = self.use_witness(index, lock_id, &opened, clock, commit);
    }

    /// A witness that was seen on chain and opens the lock: used once on the payer's.
    pub(in crate::ledger) fn use_seen(
        &mut self,
        payee: usize,
        lock_id: u64,
        opened: &Opened,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.entries.get(payee) else {
            return;
        };
        let channel = entry.channel.id();
        if self.is_used(payee, lock_id, opened) {
            return;
        }
        // A lock that left the payer's voucher has been settled: nothing to use it on.
        let _ = self.use_witness(payee, lock_id, opened, clock, commit);
        if self.is_used(payee, lock_id, opened) {
            commit.changes.push(&Change::WitnessSeen {
                channel,
                lock_id,
                witness: opened.witness().clone(),
            });
        }
    }

    fn is_used(&self, payee: usize, lock_id: u64, opened: &Opened) -> bool {
        self.entries
            .get(payee)
            .is_some_and(|entry| match entry.stored.resting.get(&lock_id) {
                Some(resting) => self.knows_witness(resting.payer, resting.lock_id),
                None => entry.keeps(opened.condition()),
            })
    }

    fn knows_witness(&self, payer: usize, lock_id: u64) -> bool {
        let mut known = self
            .entries
            .get(payer)
            .into_iter()
            .flat_map(|entry| entry.channel.known_witnesses());
        known.any(|(id, _)| id == lock_id)
    }

    /// R21: channels with a lock whose witness is known, that the client has not converted, and that expires soon.
    #[must_use]
    pub fn overdue(&self, now: UnixSeconds) -> Vec<Defence> {
        let Clock { now, chain } = self.clock(now);
        // A10: what may be old is no reason to start a dispute.
        let payers = self.payers.difference(&self.unsynced);
        let payers = payers.filter_map(|index| self.entries.get(*index));
        let due = payers.filter(|entry| {
            let act_s = entry.channel.delays().act_s;
            let locks = &entry.channel.received().locks;
            let mut known = entry.channel.known_witnesses();
            // The adjudicator's time decides what has expired: an own clock that is ahead must not let it happen.
            let due = |lock: &Lock| lock.expiry > chain && lock.expiry <= now.after(act_s);
            let late = |id: u64| locks.lock(id).is_some_and(due);
            *entry.channel.phase() == Phase::Open && known.any(|(id, _)| late(id))
        });
        due.map(Entry::defence).collect()
    }
}
