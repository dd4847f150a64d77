//! Making the next own voucher: R7-R10. The caller makes it durable, then signs, then sends.

use super::{
    Channel, Clock,
    half::{LockRules, LockStep},
};
use crate::{
    Digest, Domain, Lock, Op, Reject, Voucher,
    canary::{Canary, planted},
    limits,
};

/// The next own voucher, to be signed once the change is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The voucher.
    pub voucher: Voucher,
    /// What is signed.
    pub digest: Digest,
}

/// The next own voucher, of which only the digest is missing: made by [`Channel::draft`].
#[must_use]
pub struct Draft {
    voucher: Voucher,
    locks: Option<Box<LockStep>>,
}

impl Draft {
    /// The voucher.
    #[must_use]
    pub fn voucher(&self) -> &Voucher {
        &self.voucher
    }
}

impl Channel {
    /// R7: the next voucher with `ops`, acknowledging the newest accepted voucher of the other side.
    ///
    /// Errors: as R1-R6 name them, seen from the payer; [`Reject::NothingToSay`] when there is neither an operation
    /// nor anything but an acknowledgement to acknowledge (R1). State is unchanged on an error.
    pub fn issue(&mut self, ops: &[Op], domain: &Domain, clock: Clock) -> Result<Issued, Reject> {
        let draft = self.draft(ops, clock)?;
        let digest = draft.voucher.digest(domain);
        self.issue_draft(draft, digest, clock)
    }

    /// The first half of [`Channel::issue`], for who hashes the vouchers of many channels together. Changes nothing.
    pub fn draft(&self, ops: &[Op], clock: Clock) -> Result<Draft, Reject> {
        self.require_open()?;
        let half = &self.outgoing.half;
        if ops.is_empty() && !self.must_ack() {
            return Err(Reject::NothingToSay);
        }
        if self.has_unacked(limits::UNACKED_MAX) {
            return Err(Reject::TooManyUnacked {
                max: limits::UNACKED_MAX,
            });
        }
        let step = half.step(ops, clock, &Signing(self))?;
        let (locked, commitment) = half.locked_after(&step);
        let voucher = Voucher {
            channel_id: self.id,
            seq: half.seq.next(),
            paid: step.paid,
            ack_seq: self.incoming.seq,
            ack_paid: self.incoming.paid,
            locks: commitment,
            history: step.history,
        };
        voucher.check_range()?;
        self.check_balance(self.me, voucher.ack_paid, voucher.paid, locked)?;
        Ok(Draft {
            voucher,
            locks: step.locks,
        })
    }

    /// The second half. `digest` is that of the draft's voucher, and `clock` the same.
    ///
    /// Errors: [`Reject::SeqNotNewer`] when another voucher was issued since the draft was made.
    pub fn issue_draft(&mut self, draft: Draft, digest: Digest, clock: Clock) -> Result<Issued, Reject> {
        let Draft { voucher, locks } = draft;
        let (seq, last) = (voucher.seq, self.outgoing.half.seq);
        if seq != last.next() {
            return Err(Reject::SeqNotNewer { last, got: seq });
        }
        if let Some(locks) = &locks {
            for lock in &locks.converted {
                self.told.remove(&lock.id);
                // Told and given up by the same payee: it is paid, and there is nothing left to drop.
                if !planted(Canary::KeepConsents) {
                    self.consents_received.remove(&lock.id);
                }
            }
            for lock in &locks.dropped {
                self.told.remove(&lock.id);
                // R10: consented away is dead only once the other side acknowledges this seq; expired (R9) is dead now.
                if self.consents_received.remove(&lock.id) && !self.expired(lock, clock) {
                    self.outgoing.leaving.push((seq, lock.clone()));
                }
            }
        }
        self.outgoing.half.advance(&voucher, digest, locks);
        self.unanswered = false;
        self.outgoing.remember_newest();
        Ok(Issued { voucher, digest })
    }

    /// True when an own voucher must acknowledge what the other side sent: something since the last own voucher
    /// carried operations. Vouchers that change only their acks are never answered (R1, last sentence).
    #[must_use]
    pub fn must_ack(&self) -> bool {
        self.unanswered
    }

    pub(super) fn expired(&self, lock: &Lock, clock: Clock) -> bool {
        let lag_s = if planted(Canary::DropEarly) {
            0
        } else {
            self.delays.lag_s
        };
        clock.chain >= lock.expiry.after(lag_s) && !self.marked.contains(&(self.me, lock.id))
    }
}

/// R8 and R9 as the payer applies them.
struct Signing<'a>(&'a Channel);

impl LockRules for Signing<'_> {
    fn may_drop(&self, lock: &Lock, clock: Clock) -> Result<(), Reject> {
        let refuse = |why| Err(Reject::LockNotDroppable { id: lock.id, why });
        match () {
            () if self.0.consents_received.contains(&lock.id) => Ok(()),
            () if self.0.marked.contains(&(self.0.me, lock.id)) => refuse("it was resolved on chain in time"),
            // R8: the payee would refuse the removal, and rightly so.
            () if self.0.told.contains_key(&lock.id) => refuse("its preimage was told in time; convert it"),
            () if self.0.expired(lock, clock) => Ok(()),
            () => refuse("there is no consent, and expiry + lag has not come"),
        }
    }

    fn may_convert(&self, lock: &Lock, witness: &[u8]) -> Result<(), Reject> {
        let told = self.0.told.get(&lock.id);
        let marked = self.0.marked.contains(&(self.0.me, lock.id));
        let opens = match lock.condition().has_resolver() {
            // What was told had been checked; of a marked lock the adjudicator has checked it.
            true => marked || told.is_some_and(|told| told.as_bytes() == witness),
            // R7: the payee refuses a witness that does not open the lock, however the payer came to it.
            false => lock.condition().opened_by(witness),
        };
        ((told.is_some() || marked) && opens)
            .then_some(())
            .ok_or(Reject::WitnessWrong { id: lock.id })
    }
}
