//! Coming back from an old backup (A10, A11): adopting only what signatures prove.

use super::{Channel, half::IDS_ENDED};
use crate::{Amount, Digest, Reject, Seq, Side, VerifiedVoucher, Voucher};

impl Channel {
    /// Adopts an own voucher that is newer than what this party remembers, with the other side's newest voucher.
    ///
    /// `own` must carry this party's signature; nothing at or below its seq is ever signed again. `theirs` must be at
    /// least what `own` acknowledged, and acknowledge no more than `own`. The operations in between are lost to this
    /// party; the sums are not. There are no more locks: see [`Channel::is_restored`]. The phase does not matter: refusing
    /// here could only lead to signing a seq twice.
    /// Errors: wrong signer or channel; `theirs` older than acknowledged, or at odds with what is known or with `own`;
    /// more than its payer has (R4); locks involved, whose list is unknown (then only a close is possible).
    /// State is unchanged on an error.
    pub fn adopt(&mut self, own: &VerifiedVoucher, theirs: Option<&VerifiedVoucher>) -> Result<(), Reject> {
        self.check_shown(own, self.me)?;
        let voucher = own.voucher();
        if voucher.seq <= self.outgoing.half.seq {
            return Err(Reject::SeqNotNewer {
                last: self.outgoing.half.seq,
                got: voucher.seq,
            });
        }
        if let Some(theirs) = theirs {
            self.check_shown(theirs, self.me.other())?;
        }
        let newer = theirs.filter(|shown| shown.voucher().seq > self.incoming.seq);
        self.check_acknowledged(voucher, newer.map(VerifiedVoucher::voucher))?;
        if let Some(shown) = newer {
            self.check_theirs(shown.voucher(), voucher)?;
            self.incoming.advance(shown.voucher(), shown.digest(), None);
            self.incoming_signature = Some(shown.signed().signature.clone());
        }
        self.outgoing.half.advance(voucher, own.digest(), None);
        self.outgoing.half.newest_lock = IDS_ENDED;
        self.outgoing.remember_newest();
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

    /// R4 for an own voucher that this party does not remember. Errors: it was paid out of a deposit that this party does
    /// not know of yet; until it does, it could not return what the other side pays.
    pub fn covers(&self, own: &Voucher) -> Result<(), Reject> {
        let received = own.ack_paid.max(self.incoming.paid);
        self.check_balance(self.me, received, own.paid, Amount::ZERO)
    }

    fn check_shown(&self, shown: &VerifiedVoucher, payer: Side) -> Result<(), Reject> {
        self.check_signer(shown, payer)?;
        if shown.voucher().locks != Digest::ZERO || !self.half(payer).locks.is_empty() {
            return Err(Reject::CloseBlocked(
                "the vouchers carry locks whose list is lost; close the channel instead",
            ));
        }
        Ok(())
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
    fn check_theirs(&self, theirs: &Voucher, own: &Voucher) -> Result<(), Reject> {
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
        self.check_balance(self.me.other(), own.paid, theirs.paid, Amount::ZERO)
    }
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
