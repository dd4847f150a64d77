//! Every reason for which a peer's message is refused: the peer's fault, our state unchanged.

use crate::{Amount, Digest, Seq, Side, UnixSeconds};
use thiserror::Error;

macro_rules! rejects {
    ($($(#[$meta:meta])* $name:ident $(($($tuple:ty),*))? $({$($(#[$fmeta:meta])* $field:ident: $type:ty),* $(,)?})? = $code:literal, $text:literal;)*) => {
        /// A refusal. `code` and `name` are stable on the wire; codes are append-only.
        #[derive(Clone, PartialEq, Eq, Debug, Error)]
        pub enum Reject {
            $($(#[$meta])* #[error($text)] $name $(($($tuple),*))? $({$($(#[$fmeta])* $field: $type),*})?),*
        }

        impl Reject {
            /// Stable number, 2000 to 2999.
            #[must_use]
            pub fn code(&self) -> i32 {
                match self { $(Self::$name { .. } => $code),* }
            }

            /// Stable name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => stringify!($name)),* }
            }

            /// The whole registry: code, name, text. SPEC.md prints it.
            pub const REGISTRY: &[(i32, &str, &str)] = &[$(($code, stringify!($name), $text)),*];
        }
    };
}

rejects! {
    /// A sum or difference leaves its range.
    AmountOverflow = 2001, "an amount leaves the range 0 to 2^88-1";
    /// The channel's facts cannot be opened on chain.
    ConfigInvalid(&'static str) = 2002, "config invalid: {0}";
    /// Bytes that can never be a signature.
    SignatureMalformed(&'static str) = 2003, "signature malformed: {0}";
    /// A well-formed signature by somebody else or over something else.
    SignatureInvalid = 2004, "the signature is not the expected signer's over this content";
    /// A batch signature where only a direct one counts.
    BatchNotAllowed = 2005, "a batch signature counts only for the hub's signer";
    /// More Merkle siblings than allowed.
    ProofTooDeep { /// Allowed.
        max: usize, /// Received.
        got: usize } = 2006, "proof has {got} nodes, at most {max} are allowed";
    /// The voucher belongs to another channel.
    WrongChannel = 2007, "the voucher is for another channel";
    /// The voucher was signed by another key than the payer's signer.
    WrongSigner = 2008, "the voucher was signed by another key than the payer's signer";

    /// R1: not newer than the last.
    SeqNotNewer { /// Last accepted.
        last: Seq, /// Received.
        got: Seq } = 2101, "R1: seq {got} is not newer than {last}";
    /// R1: jump too far.
    SeqJumpTooFar { /// Largest allowed.
        max: Seq, /// Received.
        got: Seq } = 2102, "R1: seq {got} jumps beyond {max}";
    /// R1: a jump over lock operations.
    SeqJumpWithLocks = 2103, "R1: a jump must not contain lock operations";
    /// R1: same seq, other content. The first one stays; this one is kept as evidence.
    SeqConflict { /// The seq.
        seq: Seq, /// Digest accepted first.
        first: Digest } = 2104, "R1: seq {seq} was accepted with digest {first}; this is another one";
    /// R1: outside the adjudicator's range.
    SeqOutOfRange { /// Largest.
        max: u64, /// Received.
        got: Seq } = 2105, "R1: seq {got} is outside 1 to {max}";
    /// R2: `paid` is not what the operations add up to.
    PaidMismatch { /// By the operations.
        expected: Amount, /// In the voucher.
        got: Amount } = 2111, "R2: paid is {got}, the operations make it {expected}";
    /// The history does not follow from the operations.
    HistoryMismatch { /// By the operations.
        expected: Digest, /// In the voucher.
        got: Digest } = 2112, "history is {got}, the operations make it {expected}";
    /// An operation of the other direction.
    OpNotAllowed = 2113, "this operation cannot be made by this side";
    /// A payment, credit or lock of nothing.
    AmountZero = 2114, "the amount of a payment must not be zero";
    /// Too many operations in one frame.
    OpsTooMany { /// Allowed.
        max: usize, /// Received.
        got: usize } = 2115, "{got} operations in one frame, at most {max}";
    /// R3: acks go backwards.
    AckNotMonotone { /// Last ack.
        last: Seq, /// Received.
        got: Seq } = 2121, "R3: ack_seq {got} is older than {last}";
    /// R3: an ack of a voucher we do not know; show our signed voucher.
    AckUnknown { /// Newest we know to have signed.
        newest: Seq, /// Received.
        got: Seq } = 2122, "R3: ack_seq {got} is unknown, newest signed is {newest}; resume with the signed voucher";
    /// R3: the ack's `paid` is not that voucher's.
    AckPaidMismatch { /// That voucher's.
        expected: Amount, /// Received.
        got: Amount } = 2123, "R3: ack_paid is {got}, that voucher's paid is {expected}";
    /// R4: more than the payer has.
    BalanceExceeded { /// deposit - withdrawn + ack_paid.
        available: Amount, /// paid + locked.
        needed: Amount } = 2131, "R4: {needed} paid and locked, {available} available";
    /// R5: the commitment is not that of the locks.
    LocksMismatch { /// By the operations.
        expected: Digest, /// In the voucher.
        got: Digest } = 2141, "R5: locks is {got}, the operations make it {expected}";
    /// R5: a lock id is not above all earlier ones.
    LockIdReused { /// Newest used.
        newest: u64, /// Received.
        got: u64 } = 2142, "R5: lock id {got} is not above {newest}";
    /// R5: expiry outside chain time to chain time + MAX_LOCK.
    LockExpiryOutOfRange { /// Exclusive lower bound.
        after: UnixSeconds, /// Inclusive upper bound.
        until: UnixSeconds, /// Received.
        got: UnixSeconds } = 2143, "R5: expiry {got} is not in ({after}, {until}]";
    /// No such lock.
    LockUnknown { /// Its id.
        id: u64 } = 2144, "R5: lock {id} is unknown";
    /// R5: dropped before its expiry and without consent, or although its preimage was known in time, or marked on chain.
    LockNotDroppable { /// Its id.
        id: u64, /// Why.
        why: &'static str } = 2145, "R5: lock {id} cannot be dropped: {why}";
    /// The witness does not meet the condition.
    WitnessWrong { /// The lock's id.
        id: u64 } = 2146, "the witness does not open lock {id}";
    /// R8: told at or after the expiry.
    PreimageTooLate { /// The lock's expiry.
        expiry: UnixSeconds, /// `now`.
        now: UnixSeconds } = 2147, "R8: told at {now}, the lock expired at {expiry}";
    /// More locks than the channel takes.
    LocksTooMany { /// Allowed.
        max: usize } = 2148, "at most {max} locks in one direction";
    /// A witness longer than any resolver may ask for.
    WitnessTooLong { /// Allowed, bytes.
        max: usize, /// Received, bytes.
        got: usize } = 2149, "a witness of {got} bytes, at most {max}";
    /// R6: no vouchers in this phase.
    ChannelNotOpen { /// The phase.
        phase: &'static str } = 2151, "R6: the channel is {phase}";
    /// Too many own vouchers wait for an acknowledgement.
    TooManyUnacked { /// Allowed.
        max: usize } = 2152, "{max} vouchers wait for an acknowledgement";
    /// Nothing to say: an acknowledgement is never answered by another.
    NothingToSay = 2153, "R1: no operation and nothing new to acknowledge";
    /// R13/R14: a withdrawal's facts are not ours.
    WithdrawMismatch { /// Which.
        field: &'static str, /// Ours.
        expected: Amount, /// Received.
        got: Amount } = 2161, "R13: {field} is {got}, expected {expected}";
    /// R13: a withdrawal larger than the withdrawing side can spare.
    WithdrawExceeds { /// Who withdraws.
        side: Side, /// Largest total.
        available: Amount, /// Asked for.
        got: Amount } = 2162, "R13: {side:?} can withdraw {available} in total, asked {got}";
    /// R15: a close's facts are not ours.
    CloseMismatch { /// Which.
        field: &'static str, /// Ours.
        expected: Amount, /// Received.
        got: Amount } = 2163, "R15: {field} is {got}, expected {expected}";
    /// R15: locks are live or marked, or a withdrawal is pending.
    CloseBlocked(&'static str) = 2164, "R15: close refused: {0}";
    /// A deadline outside now to now + 1 day.
    DeadlineOutOfRange { /// Exclusive lower bound.
        after: UnixSeconds, /// Inclusive upper bound.
        until: UnixSeconds, /// Received.
        got: UnixSeconds } = 2165, "deadline {got} is not in ({after}, {until}]";
    /// Several withdrawals at once.
    WithdrawPending = 2166, "a withdrawal is pending until it is final or its deadline has passed";
    /// R13: a withdrawal names a voucher of this side that is older than the one that the other side acknowledged last. The
    /// fault of whoever made the message; one made from the newest vouchers of both sides is taken.
    WithdrawStale { /// Whose voucher.
        payer: Side, /// The oldest that may be named: the other side has acknowledged it.
        acknowledged: Seq, /// Named.
        got: Seq } = 2167, "R13: the withdrawal names voucher {got} of the {payer:?}, and {acknowledged} is acknowledged already; make it again from the newest vouchers of both sides";
    /// R11: consent refused because the preimage may be used.
    ConsentRefused { /// The lock's id.
        id: u64 } = 2171, "R11: lock {id} cannot be consented away: what opens it is known";
    /// R27: another dispute.
    DisputeNoMismatch { /// Ours.
        expected: Seq, /// Received.
        got: Seq } = 2172, "R27: dispute {got}, the channel is in dispute {expected}";
    /// R27: a reorg may still take the dispute away.
    DisputeNotFinal { /// Its number.
        dispute_no: Seq } = 2173, "R27: dispute {dispute_no} is not final yet; ask again when it is";
    /// A10, A11: a part of what this side did in the channel was lost, so it neither adds nor opens locks there.
    LocksEnded = 2174, "the channel came back from an old backup and carries no new locks; pay directly, or close it and open another";
    /// A10, A11: a voucher that is to be adopted has locks that are not known here, and their list is missing or another.
    /// The fault of whoever shows the voucher; the same again with the right list is taken.
    LocksNotShown { /// Whose voucher.
        payer: Side, /// In the voucher.
        expected: Digest, /// By the list; zero: there was none.
        got: Digest } = 2175, "the {payer:?}'s voucher has locks that are not known here: it commits to {expected}, the list that was shown makes it {got}; show all of them with it, in ascending id";
    /// A stored record cannot be read. An operating error: restore from a backup or the peer.
    RecordCorrupt = 2901, "the stored channel record cannot be read";
}

impl Reject {
    /// `data` of the wire error: what was expected and what was received, as text.
    #[must_use]
    pub fn expected_got(&self) -> Option<(String, String)> {
        let pair = |expected: &dyn std::fmt::Display, got: &dyn std::fmt::Display| {
            Some((expected.to_string(), got.to_string()))
        };
        match self {
            Self::ProofTooDeep { max, got }
            | Self::OpsTooMany { max, got }
            | Self::WitnessTooLong { max, got } => pair(max, got),
            Self::SeqNotNewer { last, got } | Self::AckNotMonotone { last, got } => pair(last, got),
            Self::SeqJumpTooFar { max, got } => pair(max, got),
            Self::SeqOutOfRange { max, got } => pair(max, got),
            Self::PaidMismatch { expected, got }
            | Self::AckPaidMismatch { expected, got }
            | Self::WithdrawMismatch { expected, got, .. }
            | Self::CloseMismatch { expected, got, .. } => pair(expected, got),
            Self::HistoryMismatch { expected, got }
            | Self::LocksMismatch { expected, got }
            | Self::LocksNotShown { expected, got, .. } => pair(expected, got),
            Self::AckUnknown { newest, got } => pair(newest, got),
            Self::BalanceExceeded { available, needed } => pair(available, needed),
            Self::LockIdReused { newest, got } => pair(newest, got),
            Self::LockExpiryOutOfRange { until, got, .. } | Self::DeadlineOutOfRange { until, got, .. } => {
                pair(until, got)
            }
            Self::PreimageTooLate { expiry, now } => pair(expiry, now),
            Self::WithdrawExceeds { available, got, .. } => pair(available, got),
            Self::WithdrawStale {
                acknowledged, got, ..
            } => pair(acknowledged, got),
            Self::ChannelNotOpen { phase } => pair(&"open", phase),
            Self::DisputeNoMismatch { expected, got } => pair(expected, got),
            _ => None,
        }
    }
}
