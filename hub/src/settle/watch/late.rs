//! What a window that is over has cost: what the newest voucher of the evidence would have added.

use crate::settle::{evidence::CheckedEvidence, view::View};
use protocol_spec::Amount;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    Voucher { known: u64, held: u64 },
    Paid { known: Amount, held: Amount },
    Locks { held: u64 },
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Voucher { known, held } => {
                write!(
                    f,
                    "the window ended with voucher {known} on chain, this one is {held}"
                )
            }
            Self::Paid { known, held } => {
                write!(
                    f,
                    "the window ended with {known} paid on chain, this voucher says {held}"
                )
            }
            Self::Locks { held } => {
                write!(
                    f,
                    "the window ended without the locks of voucher {held} on chain: they pay nothing"
                )
            }
        }
    }
}

/// `None` when the chain knows of this direction what the voucher says. What the voucher acknowledges is not asked for: that
/// is the other side's.
pub(super) fn missed(view: &View, evidence: &CheckedEvidence) -> Option<Missed> {
    let payer = evidence.side().other();
    let received = evidence.received();
    let voucher = received.voucher.as_ref()?.voucher();
    let known = view.adjudication.direction(payer);
    if known.seq < voucher.seq.0 {
        return Some(Missed::Voucher {
            known: known.seq,
            held: voucher.seq.0,
        });
    }
    if known.paid < voucher.paid {
        return Some(Missed::Paid {
            known: known.paid,
            held: voucher.paid,
        });
    }
    let mut shown = view.adjudication.clone();
    shown.submit(payer, voucher, received.opening.as_ref());
    (shown.direction(payer).live != known.live).then_some(Missed::Locks { held: voucher.seq.0 })
}
