//! Accepting the other side's voucher: R1-R6. Nothing changes unless every check passes.

use super::{Channel, Clock, half::LockRules};
use crate::{
    Lock, Op, Reject, Seq, Side, VerifiedVoucher, Voucher, VoucherSignature,
    canary::{Canary, planted},
    limits,
};

/// What became of a voucher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is the newest now; its operations count.
    New,
    /// It is the newest already: answer as before, count nothing.
    Duplicate,
}

impl Channel {
    /// R1-R6. `ops` are all operations since the last accepted voucher.
    ///
    /// Errors are the peer's fault and leave everything as it was. After [`Reject::AckUnknown`] ask for the own signed
    /// voucher and [`Channel::adopt`] it; [`Reject::SeqConflict`] is evidence of equivocation: keep both.
    pub fn accept(
        &mut self,
        verified: &VerifiedVoucher,
        ops: &[Op],
        clock: Clock,
    ) -> Result<Accepted, Reject> {
        let voucher = verified.voucher();
        self.check_signer(verified, self.me.other())?;
        if voucher.seq == self.incoming.seq {
            return self.same_seq(verified);
        }
        self.require_open()?;
        self.check_seq(voucher, ops)?;
        self.check_ack(voucher)?;
        let step = self.incoming.step(ops, clock, &Accepting(self))?;
        check_equal(voucher, &step)?;
        let (locked, expected) = self.incoming.locked_after(&step);
        if voucher.locks != expected {
            return Err(Reject::LocksMismatch {
                expected,
                got: voucher.locks,
            });
        }
        self.check_balance(self.me.other(), voucher.ack_paid, voucher.paid, locked)?;
        for lock in step
            .locks
            .iter()
            .flat_map(|locks| locks.converted.iter().chain(&locks.dropped))
        {
            self.known.remove(&lock.id);
            self.consents_given.remove(&lock.id);
        }
        self.incoming.advance(voucher, verified.digest(), step.locks);
        self.unanswered |= !ops.is_empty();
        self.incoming_signature = Some(verified.signed().signature.clone());
        self.outgoing.acknowledged(self.incoming.ack_seq);
        Ok(Accepted::New)
    }

    /// The voucher is of this channel, by the payer's signer, and signed in a way that counts on chain for that side.
    pub(super) fn check_signer(&self, verified: &VerifiedVoucher, payer: Side) -> Result<(), Reject> {
        let batch = matches!(verified.signed().signature, VoucherSignature::Batch { .. });
        match () {
            () if verified.voucher().channel_id != self.id => Err(Reject::WrongChannel),
            () if verified.signer() != self.config.signer(payer) => Err(Reject::WrongSigner),
            () if batch && payer == Side::Client => Err(Reject::BatchNotAllowed),
            () => Ok(()),
        }
    }

    fn same_seq(&self, verified: &VerifiedVoucher) -> Result<Accepted, Reject> {
        if verified.digest() == self.incoming.digest {
            return Ok(Accepted::Duplicate);
        }
        Err(Reject::SeqConflict {
            seq: self.incoming.seq,
            first: self.incoming.digest,
        })
    }

    /// R1: last < seq <= last + 1024; a jump contains no lock operation. That the operations are complete follows from R2 and the history.
    fn check_seq(&self, voucher: &Voucher, ops: &[Op]) -> Result<(), Reject> {
        let last = self.incoming.seq;
        if voucher.seq <= last {
            return Err(Reject::SeqNotNewer {
                last,
                got: voucher.seq,
            });
        }
        let max = Seq(last.0.saturating_add(limits::SEQ_JUMP_MAX));
        if voucher.seq > max && !planted(Canary::SkipJump) {
            return Err(Reject::SeqJumpTooFar {
                max,
                got: voucher.seq,
            });
        }
        if voucher.seq > last.next() && ops.iter().any(Op::is_lock) {
            return Err(Reject::SeqJumpWithLocks);
        }
        Ok(())
    }

    /// R3: acks never go back, and name an own voucher with exactly its `paid`. Of one that was forgotten before an
    /// adoption only its neighbours are known: any sum between theirs is money that is owed anyway.
    fn check_ack(&self, voucher: &Voucher) -> Result<(), Reject> {
        if voucher.ack_seq < self.incoming.ack_seq {
            return Err(Reject::AckNotMonotone {
                last: self.incoming.ack_seq,
                got: voucher.ack_seq,
            });
        }
        let known = self.outgoing.paid_at(voucher.ack_seq).map(|paid| (paid, paid));
        let before = (self.incoming.ack_seq, self.incoming.ack_paid);
        let (least, most) =
            known.or_else(|unknown| self.outgoing.forgotten(voucher.ack_seq, before).ok_or(unknown))?;
        if (voucher.ack_paid < least || voucher.ack_paid > most) && !planted(Canary::SkipAck) {
            return Err(Reject::AckPaidMismatch {
                expected: most,
                got: voucher.ack_paid,
            });
        }
        Ok(())
    }
}

/// R2 and the history: exactly what the operations make.
fn check_equal(voucher: &Voucher, step: &super::half::Step) -> Result<(), Reject> {
    if voucher.paid != step.paid && !planted(Canary::SkipPaid) {
        return Err(Reject::PaidMismatch {
            expected: step.paid,
            got: voucher.paid,
        });
    }
    if voucher.history != step.history {
        return Err(Reject::HistoryMismatch {
            expected: step.history,
            got: voucher.history,
        });
    }
    Ok(())
}

/// R5 as the payee applies it.
struct Accepting<'a>(&'a Channel);

impl LockRules for Accepting<'_> {
    fn may_drop(&self, lock: &Lock, clock: Clock) -> Result<(), Reject> {
        let refuse = |why| Err(Reject::LockNotDroppable { id: lock.id, why });
        let payer = self.0.me.other();
        match () {
            () if self.0.consents_given.contains(&lock.id) => Ok(()),
            () if self.0.marked.contains(&(payer, lock.id)) => refuse("it was resolved on chain in time"),
            () if self.0.known.contains_key(&lock.id) => refuse("its witness was known in time"),
            () if clock.chain < lock.expiry => refuse("it has not expired and there is no consent"),
            () => Ok(()),
        }
    }

    /// The payee gains by a conversion; it only insists on a preimage that opens the hash, for those it forwards to.
    /// Whether a resolver would take the witness is the payer's to judge: it signs its own money away.
    fn may_convert(&self, lock: &Lock, witness: &[u8]) -> Result<(), Reject> {
        let condition = lock.condition();
        (condition.has_resolver() || condition.opened_by(witness))
            .then_some(())
            .ok_or(Reject::WitnessWrong { id: lock.id })
    }
}
