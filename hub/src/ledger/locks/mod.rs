//! Locked payments (R22, R23): a payer's lock becomes a lock of the hub in the payee's channel, or is given up at once.
//!
//! The hub is never out of money in between: its own lock expires `delta` earlier, a witness told by the payee is
//! used on the payer's lock in the same commit, and the payer's lock is given up only once the hub's is dead (R10).

mod ask;
mod chain;
mod payee;
mod payer;
mod takeover;

pub(super) use ask::Asked;
pub use ask::SEEN_AND_TOLD_MAX as CHECKS_MAX;
pub(super) use payer::NewLock;
pub(super) use takeover::{Kept, LockLists};

use super::{Commit, Ledger, Output, entry::Entry};
use protocol_spec::{
    Lock, Op, PaymentId, ReturnReason, Witness,
    channel::Phase,
    message::{Consent, Notification, Reveal},
};

impl Ledger {
    /// What a client must be told again after a resume: witnesses and consents that its vouchers do not show yet.
    pub(super) fn tell_locks_again(
        &self,
        index: usize,
        session: crate::engine::SessionId,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let known = entry.channel.known_witnesses();
        let reveals = known.map(|(lock_id, witness)| entry.reveal(lock_id, witness.clone()));
        let given = entry.stored.consents.iter();
        let consents = given.map(|(lock_id, reason)| entry.consent(*lock_id, *reason));
        let told = reveals
            .chain(consents)
            .map(|body| Output::Tell(session, Box::new(body)));
        commit.outputs.extend(told);
    }
}

impl Entry {
    /// Id of the hub's next lock here, the commit under way included.
    fn next_lock(&self) -> u64 {
        // Ids only grow, so the last one added is the newest.
        let pending = self.pending.iter().rev().find_map(|op| match op {
            Op::LockAdd { lock, .. } => Some(lock.id),
            _ => None,
        });
        pending
            .unwrap_or(self.channel.sent().newest_lock)
            .saturating_add(1)
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

    /// What this client's forwarded locks take of the caps (R22): nothing once the channel is paid out.
    pub(super) fn forwarded_weight(&self) -> u64 {
        if *self.channel.phase() == Phase::Closed {
            return 0;
        }
        let weights = self.stored.forwards.values().map(|forward| forward.weight);
        weights.fold(0, u64::saturating_add)
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

    /// The hub's locks that this client gave up and that are still in the hub's voucher.
    pub(super) fn consented_away(&self) -> Vec<u64> {
        let given_up = self.channel.consented_locks();
        given_up
            .filter(|id| !self.drops(*id) && !self.converts(*id))
            .collect()
    }

    /// The client's lock with this payment that was forwarded.
    pub(super) fn locked_payment(&self, id: PaymentId) -> Option<&Lock> {
        let mut forwards = self.stored.forwards.iter();
        let (lock_id, _) = forwards.find(|(_, forward)| forward.payment_id == id)?;
        self.channel.received().locks.lock(*lock_id)
    }

    pub(super) fn locks_payment(&self, id: PaymentId) -> bool {
        let mut forwards = self.stored.forwards.values();
        forwards.any(|forward| forward.payment_id == id)
    }

    /// What tells this client what opens one of its locks.
    fn reveal(&self, lock_id: u64, witness: Witness) -> Notification {
        Notification::Reveal(Reveal {
            channel_id: self.channel.id(),
            lock_id,
            witness,
        })
    }

    /// What tells this client that one of its locks was given up.
    fn consent(&self, lock_id: u64, reason: ReturnReason) -> Notification {
        Notification::Consent(Consent {
            channel_id: self.channel.id(),
            lock_id,
            reason,
        })
    }
}
