//! What the chain shows of locks.

use super::super::{Commit, Defence, Ledger, entry::Entry, input::Change};
use protocol_spec::{
    ChannelId, Lock, Preimage, Side, UnixSeconds,
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
        entry.channel.mark(payer, lock_id);
        self.dirty.insert(index);
        if payer == Side::Hub
            && let Ok(preimage) = <[u8; 32]>::try_from(witness).map(Preimage)
        {
            // Unknown lock: nothing rests on it.
            let _ = entry.channel.told_preimage(lock_id, preimage, clock);
            let _ = self.use_preimage(index, lock_id, preimage, clock, commit);
        }
    }

    /// R23, before the block is confirmed. Told again, or not opening the lock, it changes nothing and is not journaled.
    pub(in crate::ledger) fn preimage_seen(
        &mut self,
        channel: &ChannelId,
        lock_id: u64,
        preimage: Preimage,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(payee) = self.index(channel) else { return };
        let payer = self.entries.get(payee).and_then(|entry| {
            let resting = entry.stored.resting.get(&lock_id)?;
            Some((resting.payer, resting.lock_id))
        });
        let Some((payer, payer_lock)) = payer else { return };
        if self.knows_preimage(payer, payer_lock) {
            return;
        }
        // A lock that left the payer's voucher has been settled: nothing to use it on.
        let _ = self.use_preimage(payee, lock_id, preimage, clock, commit);
        if self.knows_preimage(payer, payer_lock) {
            commit.changes.push(Change::PreimageSeen {
                channel: *channel,
                lock_id,
                preimage,
            });
        }
    }

    fn knows_preimage(&self, payer: usize, lock_id: u64) -> bool {
        let mut known = self
            .entries
            .get(payer)
            .into_iter()
            .flat_map(|entry| entry.channel.known_preimages());
        known.any(|(id, _)| id == lock_id)
    }

    /// R21: channels with a lock whose preimage is known, that the client has not converted, and that expires soon.
    #[must_use]
    pub fn overdue(&self, now: UnixSeconds) -> Vec<Defence> {
        let now = self.clock(now).now;
        // A10: what may be old is no reason to start a dispute.
        let payers = self.payers.difference(&self.unsynced);
        let payers = payers.filter_map(|index| self.entries.get(*index));
        let due = payers.filter(|entry| {
            let act_s = entry.channel.delays().act_s;
            let locks = &entry.channel.received().locks;
            let mut known = entry.channel.known_preimages();
            let due = |lock: &Lock| lock.expiry > now && lock.expiry <= now.after(act_s);
            let late = |id: u64| locks.lock(id).is_some_and(due);
            *entry.channel.phase() == Phase::Open && known.any(|(id, _)| late(id))
        });
        due.map(Entry::defence).collect()
    }
}
