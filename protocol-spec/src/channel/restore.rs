//! Coming back from an old backup (A10, A11): adopting only what signatures prove.

use super::{
    Channel,
    half::{Half, IDS_ENDED, nonzero},
};
use crate::{Amount, Digest, Lock, LockSet, Reject, Seq, Side, VerifiedVoucher, Voucher};
use std::collections::BTreeSet;

/// Lists of the locks of vouchers that are shown, in ascending id. `None`: not shown. One is needed when the voucher has
/// other locks than are known, and is believed as far as the voucher commits to it.
#[derive(Clone, Copy, Default, Debug)]
pub struct ShownLocks<'a> {
    /// Of the own voucher.
    pub own: Option<&'a [Lock]>,
    /// Of the other side's.
    pub theirs: Option<&'a [Lock]>,
}

impl Channel {
    /// Adopts an own voucher that is newer than what this party remembers, with the other side's newest voucher.
    ///
    /// `own` must carry this party's signature; nothing at or below its seq is ever signed again. `theirs` must be at
    /// least what `own` acknowledged, and acknowledge no more than `own`. The operations in between are lost to this
    /// party; the sums and the locks are not. No locks are added any more: see [`Channel::is_restored`]. An own lock that
    /// left in between stays live until the other side acknowledges `own` (R10): whether it was paid is not known. The
    /// phase does not matter: refusing here could only lead to signing a seq twice.
    /// Errors: wrong signer or channel; `theirs` older than acknowledged, or at odds with what is known or with `own`;
    /// more than its payer has (R4); [`Reject::LocksNotShown`] when a list is missing or another: the other side shows the
    /// same again with it; [`Reject::LockNotDroppable`] when a lock whose witness is known left without being paid.
    /// State is unchanged on an error.
    pub fn adopt(
        &mut self,
        own: &VerifiedVoucher,
        theirs: Option<&VerifiedVoucher>,
        shown: ShownLocks<'_>,
    ) -> Result<(), Reject> {
        self.check_signer(own, self.me)?;
        let voucher = own.voucher();
        if voucher.seq <= self.outgoing.half.seq {
            return Err(Reject::SeqNotNewer {
                last: self.outgoing.half.seq,
                got: voucher.seq,
            });
        }
        if let Some(theirs) = theirs {
            self.check_signer(theirs, self.me.other())?;
        }
        let newer = theirs.filter(|theirs| theirs.voucher().seq > self.incoming.seq);
        self.check_acknowledged(voucher, newer.map(VerifiedVoucher::voucher))?;
        let own_locks = self.shown_locks(self.me, voucher, shown.own)?;
        if let Some(theirs) = newer {
            let locks = self.shown_locks(self.me.other(), theirs.voucher(), shown.theirs)?;
            self.check_theirs(theirs.voucher(), voucher, locks.total())?;
            self.check_their_locks(theirs.voucher(), voucher, &locks)?;
            self.take_theirs(theirs, locks);
        }
        self.take_own(own, own_locks);
        self.outgoing.acknowledged(self.incoming.ack_seq);
        self.unanswered = self.outgoing.half.ack_seq < self.incoming.seq;
        Ok(())
    }

    /// True after [`Channel::adopt`]. This party may have acknowledged, in an own voucher that the other side did not show,
    /// more of the other's vouchers than it knows: in a dispute that one ends the locks of all of these, so it must not
    /// open any. Nor does it add locks: it does not know which ids it has used (R5).
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.outgoing.half.newest_lock == IDS_ENDED
    }

    /// R4 for an own voucher that this party does not remember. `locks`: see [`ShownLocks::own`]. Errors: it was paid out
    /// of a deposit that this party does not know of yet; until it does, it could not return what the other side pays;
    /// [`Reject::LocksNotShown`].
    pub fn covers(&self, own: &Voucher, locks: Option<&[Lock]>) -> Result<(), Reject> {
        let received = own.ack_paid.max(self.incoming.paid);
        let locked = self.shown_locks(self.me, own, locks)?.total();
        self.check_balance(self.me, received, own.paid, locked)
    }

    /// The locks that a voucher of `payer` commits to: none, those that are known, or those that are shown.
    fn shown_locks(&self, payer: Side, voucher: &Voucher, list: Option<&[Lock]>) -> Result<LockSet, Reject> {
        let known = self.half(payer);
        match voucher.locks {
            Digest::ZERO => return Ok(LockSet::default()),
            locks if locks == known.commitment() => return Ok(known.locks.clone()),
            _ => {}
        }
        let list = list.unwrap_or_default();
        list.iter().try_for_each(|lock| nonzero(lock.amount).map(drop))?;
        let set = LockSet::of(list.iter().cloned(), payer)?;
        let got = set.commitment();
        let expected = voucher.locks;
        (got == expected)
            .then_some(set)
            .ok_or(Reject::LocksNotShown { payer, expected, got })
    }

    fn take_own(&mut self, own: &VerifiedVoucher, locks: LockSet) {
        for lock in gone(&self.outgoing.half.locks, &locks) {
            self.told.remove(&lock.id);
            self.consents_received.remove(&lock.id);
            self.outgoing.leaving.push((own.voucher().seq, lock));
        }
        take(&mut self.outgoing.half, own, locks);
        self.outgoing.half.newest_lock = IDS_ENDED;
        self.outgoing.remember_newest();
    }

    fn take_theirs(&mut self, theirs: &VerifiedVoucher, locks: LockSet) {
        for lock in gone(&self.incoming.locks, &locks) {
            self.known.remove(&lock.id);
            self.consents_given.remove(&lock.id);
        }
        take(&mut self.incoming, theirs, locks);
        self.incoming_signature = Some(theirs.signed().signature.clone());
    }

    /// What `own` acknowledged is known now, with at least the sum that it acknowledged (exactly it at the same seq).
    fn check_acknowledged(&self, own: &Voucher, newer: Option<&Voucher>) -> Result<(), Reject> {
        let (seq, paid) = newer.map_or((self.incoming.seq, self.incoming.paid), |v| (v.seq, v.paid));
        if seq < own.ack_seq {
            return Err(Reject::AckUnknown {
                newest: seq,
                got: own.ack_seq,
            });
        }
        agree((own.ack_seq, own.ack_paid), (seq, paid))
    }

    /// R3 and R4 for the voucher of the other side, as far as they can be checked across lost operations.
    fn check_theirs(&self, theirs: &Voucher, own: &Voucher, locked: Amount) -> Result<(), Reject> {
        if theirs.ack_seq < self.incoming.ack_seq {
            return Err(Reject::AckNotMonotone {
                last: self.incoming.ack_seq,
                got: theirs.ack_seq,
            });
        }
        // It acknowledges an own voucher that is newer still: that one must be shown.
        if theirs.ack_seq > own.seq {
            return Err(Reject::AckUnknown {
                newest: own.seq,
                got: theirs.ack_seq,
            });
        }
        agree((theirs.ack_seq, theirs.ack_paid), (own.seq, own.paid))?;
        if let Ok(expected) = self.outgoing.paid_at(theirs.ack_seq) {
            agree((theirs.ack_seq, theirs.ack_paid), (theirs.ack_seq, expected))?;
        }
        if theirs.paid < self.incoming.paid {
            return Err(Reject::PaidMismatch {
                expected: self.incoming.paid,
                got: theirs.paid,
            });
        }
        // Not what it acknowledged itself: it may have withdrawn what `own` paid it since.
        self.check_balance(self.me.other(), own.paid, theirs.paid, locked)
    }

    /// R5 for the locks of the other side's voucher. What `own` acknowledges this party has accepted once, with its
    /// operations. Of what is newer only this is known: ids are used once, and what this party can resolve leaves by
    /// payment, unless it has consented.
    fn check_their_locks(&self, theirs: &Voucher, own: &Voucher, locks: &LockSet) -> Result<(), Reject> {
        if theirs.seq <= own.ack_seq {
            return Ok(());
        }
        let known = &self.incoming.locks;
        let newest = self.incoming.newest_lock;
        let mut reused = locks.iter().filter(|lock| lock.id <= newest);
        if let Some(lock) = reused.find(|lock| known.lock(lock.id) != Some(*lock)) {
            return Err(Reject::LockIdReused { newest, got: lock.id });
        }
        let risen = theirs.paid.saturating_minus(self.incoming.paid);
        let mut owed = Amount::ZERO;
        for lock in gone(known, locks)
            .into_iter()
            .filter(|lock| self.collects(lock.id))
        {
            owed = owed.plus(lock.amount)?;
            if owed > risen {
                let why = "what opens it is known, and the sum paid has not risen by it";
                return Err(Reject::LockNotDroppable { id: lock.id, why });
            }
        }
        Ok(())
    }

    /// R5 (b), (c): the other side cannot let go of its lock without payment.
    fn collects(&self, id: u64) -> bool {
        let used = self.known.contains_key(&id) || self.marked.contains(&(self.me.other(), id));
        used && !self.consents_given.contains(&id)
    }
}

/// The locks that are in `before` only.
fn gone(before: &LockSet, after: &LockSet) -> Vec<Lock> {
    let after: BTreeSet<u64> = after.iter().map(|lock| lock.id).collect();
    let gone = before.iter().filter(|lock| !after.contains(&lock.id));
    gone.cloned().collect()
}

/// A voucher with all its locks becomes the newest of its direction.
fn take(half: &mut Half, shown: &VerifiedVoucher, locks: LockSet) {
    half.advance(shown.voucher(), shown.digest(), None);
    let newest = locks.iter().map(|lock| lock.id).max();
    half.newest_lock = half.newest_lock.max(newest.unwrap_or_default());
    half.opening = locks.opening().map(Box::new);
    half.locks = locks;
}

/// Sums never fall as seqs grow, and one seq has one sum.
fn agree(ack: (Seq, Amount), known: (Seq, Amount)) -> Result<(), Reject> {
    let fits = if ack.0 == known.0 {
        ack.1 == known.1
    } else {
        ack.1 <= known.1
    };
    fits.then_some(()).ok_or(Reject::AckPaidMismatch {
        expected: known.1,
        got: ack.1,
    })
}
