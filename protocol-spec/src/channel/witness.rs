//! Witnesses, consents and marks: R8, R11 and the chain's part of R5 and R9.

use super::{Channel, Clock};
use crate::{
    Lock, Opened, Reject, Side, Witness,
    canary::{Canary, planted},
};

impl Channel {
    /// R8: the other side tells what opens an own lock. It must be told before the expiry by `now`.
    /// Errors: unknown lock, a witness of another condition, too late.
    pub fn told_witness(&mut self, id: u64, opened: &Opened, clock: Clock) -> Result<(), Reject> {
        let lock = self.lock(self.me, id)?;
        if !opened.opens(lock) {
            return Err(Reject::WitnessWrong { id });
        }
        let marked = self.marked.contains(&(self.me, id));
        if clock.now >= lock.expiry && !marked {
            return Err(Reject::PreimageTooLate {
                expiry: lock.expiry,
                now: clock.now,
            });
        }
        self.told.insert(id, opened.witness().clone());
        Ok(())
    }

    /// This party learns what opens a lock of the other side. From then on it does not accept its removal,
    /// provided that chain time is before the expiry and it has not consented to the removal (R11).
    /// Errors: unknown lock, a witness of another condition.
    pub fn learn_witness(&mut self, id: u64, opened: &Opened, clock: Clock) -> Result<(), Reject> {
        let lock = self.lock(self.me.other(), id)?;
        if !opened.opens(lock) {
            return Err(Reject::WitnessWrong { id });
        }
        // R11: what was consented away is never used, whatever is learnt later.
        if clock.chain < lock.expiry && !self.consents_given.contains(&id) {
            self.known.insert(id, opened.witness().clone());
        }
        Ok(())
    }

    /// R11: this party gives up a lock of the other side for good. Errors: unknown lock; its witness is known.
    pub fn consent(&mut self, id: u64) -> Result<(), Reject> {
        self.lock(self.me.other(), id)?;
        if self.known.contains_key(&id) || self.marked.contains(&(self.me.other(), id)) {
            return Err(Reject::ConsentRefused { id });
        }
        self.consents_given.insert(id);
        Ok(())
    }

    /// The other side consents to the removal of an own lock. Errors: unknown lock.
    pub fn consented(&mut self, id: u64) -> Result<(), Reject> {
        self.lock(self.me, id)?;
        self.consents_received.insert(id);
        Ok(())
    }

    /// R17: the chain shows that the lock with `id` of `payer` was resolved in time.
    pub fn mark(&mut self, payer: Side, id: u64) {
        self.marked.insert((payer, id));
    }

    /// Witnesses told in time for own locks that are not converted yet, by lock id (R8).
    pub fn told_witnesses(&self) -> impl Iterator<Item = (u64, &Witness)> {
        self.told.iter().map(|(id, witness)| (*id, witness))
    }

    /// R9: own locks that may be dropped for their age: expiry + lag has come, and they are neither marked nor told in time.
    pub fn expired_locks(&self, clock: Clock) -> impl Iterator<Item = u64> {
        let locks = self.outgoing.half.locks.iter();
        let expired =
            locks.filter(move |lock| self.expired(lock, clock) && !self.told.contains_key(&lock.id));
        expired.map(|lock| lock.id)
    }

    /// R10: true while an own lock is part of the newest own voucher, or was consented away in a voucher that the other
    /// side has not acknowledged.
    #[must_use]
    pub fn is_live(&self, id: u64) -> bool {
        let leaving = |(_, lock): &(crate::Seq, Lock)| lock.id == id;
        self.outgoing.half.locks.lock(id).is_some() || self.outgoing.leaving.iter().any(leaving)
    }

    /// Own locks that the other side has consented to let go and that are still in the newest own voucher.
    pub fn consented_locks(&self) -> impl Iterator<Item = u64> {
        let here = |id: &u64| self.outgoing.half.locks.lock(*id).is_some() || planted(Canary::KeepConsents);
        self.consents_received.iter().copied().filter(here)
    }

    /// Locks of the other side whose removal this party consented to and that are still in its newest voucher.
    pub fn consents_given(&self) -> impl Iterator<Item = u64> {
        self.consents_given.iter().copied()
    }

    /// R17: true when the chain shows that the lock with `id` of `payer` was resolved in time.
    #[must_use]
    pub fn is_marked(&self, payer: Side, id: u64) -> bool {
        self.marked.contains(&(payer, id))
    }

    /// Witnesses of the other side's locks that this party can use, by lock id.
    pub fn known_witnesses(&self) -> impl Iterator<Item = (u64, &Witness)> {
        self.known.iter().map(|(id, witness)| (*id, witness))
    }

    fn lock(&self, payer: Side, id: u64) -> Result<&Lock, Reject> {
        self.half(payer).locks.lock(id).ok_or(Reject::LockUnknown { id })
    }

    /// True when a lock of either direction is live, leaving or marked but not converted.
    pub(super) fn has_locks(&self) -> bool {
        let marked = self
            .marked
            .iter()
            .any(|(payer, id)| self.half(*payer).locks.lock(*id).is_some());
        !self.outgoing.half.locks.is_empty()
            || !self.incoming.locks.is_empty()
            || !self.outgoing.leaving.is_empty()
            || marked
    }
}
