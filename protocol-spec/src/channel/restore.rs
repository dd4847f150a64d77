//! Coming back from an old backup (A10, A11): adopting only what signatures prove.

use super::Channel;
use crate::{Digest, Reject, Side, VerifiedVoucher};

impl Channel {
    /// Adopts an own voucher that is newer than what this party remembers, with the other side's newest voucher.
    ///
    /// `own` must carry this party's signature; nothing at or below its seq is ever signed again. `theirs` must be at
    /// least what `own` acknowledged. The operations in between are lost to this party; the sums are not.
    /// Errors: wrong signer or channel; `theirs` older than acknowledged; locks involved, whose list is unknown
    /// (then only a close is possible). State is unchanged on an error.
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
        let known = newer.map_or(self.incoming.seq, |shown| shown.voucher().seq);
        if known < voucher.ack_seq {
            return Err(Reject::AckUnknown {
                newest: known,
                got: voucher.ack_seq,
            });
        }
        if let Some(shown) = newer {
            self.incoming
                .advance(shown.voucher().clone(), shown.digest(), None);
            self.incoming_signed = Some(shown.signed().clone());
        }
        self.outgoing.half.advance(voucher.clone(), own.digest(), None);
        self.outgoing.sent.push_back((voucher.seq, voucher.paid));
        self.outgoing.acknowledged(self.incoming.ack_seq);
        Ok(())
    }

    fn check_shown(&self, shown: &VerifiedVoucher, payer: Side) -> Result<(), Reject> {
        match () {
            () if shown.voucher().channel_id != self.id => Err(Reject::WrongChannel),
            () if shown.signer() != self.config.signer(payer) => Err(Reject::WrongSigner),
            () if shown.voucher().locks != Digest::ZERO || !self.half(payer).locks.is_empty() => {
                Err(Reject::CloseBlocked(
                    "the vouchers carry locks whose list is lost; close the channel instead",
                ))
            }
            () => Ok(()),
        }
    }
}
