//! What the newest voucher of a client would add to what the adjudicator knows of it (R16, R19, R21).

use protocol_spec::{
    Digest, SignedVoucher, abi,
    canary::{Canary, planted},
};

/// What matters of a voucher here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Newest {
    pub(super) seq: u64,
    paid: u128,
    /// The newest voucher of the hub that it acknowledges.
    ack_seq: u64,
    /// What it commits to; zero: no locks.
    pub(super) locks: Digest,
}

/// Where that voucher stands beside the chain's floor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The chain does not know it, or only its seq by an acknowledgement, without its locks.
    Missing,
    /// It pays more than the chain knows, but its seq is not above the stored one: whoever made a restored hub accept another
    /// voucher of an old seq may show the one that the backup did not have. Its locks do not count.
    PaysMore,
    /// The chain has it with its locks, but not the list of them: whoever submitted it left that out. Without, no lock counts
    /// once the window is over, nor keeps the dispute open (R17, R18); the same voucher is taken again with it.
    Unopened,
    /// The chain knows its numbers, but not its acknowledgement, from a withdrawal that both signed: an older voucher of the hub
    /// could be shown, and locks collected that the client gave up in this one (R10, R21).
    Unacknowledged,
    /// The chain has it.
    Stored,
    /// The chain has a newer one.
    Older,
}

impl Newest {
    pub(super) fn of(signed: &SignedVoucher) -> Self {
        Self {
            seq: signed.voucher.seq.0,
            paid: signed.voucher.paid.0,
            ack_seq: signed.voucher.ack_seq.0,
            locks: signed.voucher.locks,
        }
    }

    /// Of a voucher that the client signed.
    pub(super) fn standing(self, state: &abi::ChannelState) -> Standing {
        let stored = state.clientSeq;
        let (locks, kept) = (self.locks, &state.clientLocks);
        let with_locks = self.seq == stored && locks != Digest::ZERO;
        let unopened = with_locks && kept.live && !kept.opened && kept.commitment.0 == locks.0;
        match () {
            () if self.seq > stored || (with_locks && !kept.live) => Standing::Missing,
            () if self.paid > state.clientPaid => Standing::PaysMore,
            () if unopened => Standing::Unopened,
            () if self.seq == stored && self.ack_seq > state.hubSeq && !planted(Canary::TrustNumbers) => {
                Standing::Unacknowledged
            }
            () if self.seq == stored => Standing::Stored,
            () => Standing::Older,
        }
    }
}

impl Standing {
    /// It has to be shown.
    pub(super) fn is_due(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::PaysMore | Self::Unopened | Self::Unacknowledged
        )
    }

    /// It is the stored one, or becomes that when it is shown: locks are counted in no other.
    pub(super) fn counts_locks(self) -> bool {
        matches!(
            self,
            Self::Missing | Self::Unopened | Self::Unacknowledged | Self::Stored
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::quiet_channel, *};

    const LOCKS: Digest = Digest([7; 32]);

    /// Whoever submitted it left the list of its locks out.
    #[test]
    fn r17_a_stored_voucher_is_due_while_its_locks_are_not_opened() {
        let standing = |live, opened, commitment: Digest, locks| {
            let mut state = abi::ChannelState {
                clientSeq: 5,
                clientPaid: 100,
                ..quiet_channel()
            };
            (state.clientLocks.live, state.clientLocks.opened) = (live, opened);
            state.clientLocks.commitment = commitment.0.into();
            let (seq, paid, ack_seq) = (5, 100, 0);
            let newest = Newest {
                seq,
                paid,
                ack_seq,
                locks,
            };
            newest.standing(&state)
        };
        assert_eq!(standing(true, false, LOCKS, LOCKS), Standing::Unopened);
        assert!(Standing::Unopened.is_due() && Standing::Unopened.counts_locks());
        assert_eq!(standing(true, true, LOCKS, LOCKS), Standing::Stored);
        assert_eq!(standing(false, false, LOCKS, LOCKS), Standing::Missing);
        assert_eq!(standing(true, false, LOCKS, Digest::ZERO), Standing::Stored);
        let other = Digest([8; 32]);
        assert_eq!(
            standing(true, false, other, LOCKS),
            Standing::Stored,
            "not its locks"
        );
    }

    #[test]
    fn a_voucher_is_due_when_its_seq_its_locks_or_its_paid_are_news() {
        let standing = |(seq, paid, has_locks), (stored, stored_paid, live)| {
            let mut state = abi::ChannelState {
                clientSeq: stored,
                clientPaid: stored_paid,
                ..quiet_channel()
            };
            state.clientLocks.live = live;
            let ack_seq = 0;
            let newest = Newest {
                seq,
                paid,
                ack_seq,
                locks: if has_locks { LOCKS } else { Digest::ZERO },
            };
            newest.standing(&state)
        };
        let cases = [
            ((5, 100, false), (4, 100, false), Standing::Missing),
            ((5, 100, false), (5, 100, false), Standing::Stored),
            ((5, 100, true), (5, 100, true), Standing::Stored),
            // Known by an acknowledgement only.
            ((5, 100, true), (5, 100, false), Standing::Missing),
            ((5, 100, false), (6, 100, false), Standing::Older),
            ((5, 100, true), (6, 100, false), Standing::Older),
            // Two vouchers of one seq, after a restore.
            ((5, 100, false), (5, 99, false), Standing::PaysMore),
            ((5, 100, true), (5, 99, true), Standing::PaysMore),
            ((5, 100, false), (6, 99, false), Standing::PaysMore),
        ];
        for (newest, stored, expected) in cases {
            assert_eq!(standing(newest, stored), expected, "{newest:?} beside {stored:?}");
        }
    }

    /// The client withdrew, and named its own newest number and none of the hub's.
    #[test]
    fn r21_a_voucher_is_due_when_its_acknowledgement_is_news() {
        for (ack_seq, hub_seq, expected) in [
            (6, 0, Standing::Unacknowledged),
            (6, 5, Standing::Unacknowledged),
            (6, 6, Standing::Stored),
            (6, 7, Standing::Stored),
        ] {
            for has_locks in [false, true] {
                let mut state = abi::ChannelState {
                    clientSeq: 5,
                    clientPaid: 100,
                    hubSeq: hub_seq,
                    ..quiet_channel()
                };
                state.clientLocks.live = has_locks;
                let (seq, paid) = (5, 100);
                let newest = Newest {
                    seq,
                    paid,
                    ack_seq,
                    locks: if has_locks { LOCKS } else { Digest::ZERO },
                };
                assert_eq!(newest.standing(&state), expected, "{ack_seq} beside {hub_seq}");
            }
        }
        assert!(Standing::Unacknowledged.is_due() && Standing::Unacknowledged.counts_locks());
    }
}
