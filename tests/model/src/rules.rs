//! The rules that can be taken away, one bit each.

use std::{fmt, str::FromStr};

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A rule, or the part of one that is marked (!), which can be removed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Rule { $($(#[$doc])* $name),* }

        impl Rule {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Rules whose removal loses nothing, because others imply what they protect. Of R18 that is so for one party with one
            /// watchtower: by R6 and R21 whoever is there has shown its newest before the window ends. Two who act for one party
            /// can drop each other's counts at the last moment; that is not modelled.
            pub const IMPLIED: &'static [Self] = &[Self::R13Live, Self::R18Act];

            /// What its removal means.
            #[must_use]
            pub fn removed(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

rules! {
    /// R2.
    R2 = "`paid` may be less than the frame's payments make it",
    /// R3, first half.
    R3Older = "an older ack_seq is accepted",
    /// R3, second half.
    R3Exact = "any ack_paid is accepted",
    /// R4.
    R4 = "more than the balance is accepted",
    /// R5, lock ids.
    R5Once = "a lock id may be used again",
    /// R5 (b).
    R5Known = "a lock leaves at its expiry although its witness was known in time or it is marked",
    /// R5 (c).
    R5Consent = "a lock leaves before its expiry without consent",
    /// R6, dispute.
    R6Dispute = "accepts and signs after a dispute was seen",
    /// R6, close.
    R6Close = "accepts and signs after a close was signed",
    /// R8.
    R8 = "converts on a preimage told after the expiry",
    /// R9, age.
    R9Age = "drops a lock before expiry + lag without consent",
    /// R9, marks.
    R9Mark = "drops a marked lock for its age",
    /// R10.
    R10 = "a consent message alone kills a lock",
    /// R12.
    R12 = "a signed withdrawal counts only when mined",
    /// R13, own voucher.
    R13Older = "a withdrawal may name an own voucher older than the last acknowledged one",
    /// R13, the other's voucher.
    R13Theirs = "a withdrawal may name a voucher of the other side that was not accepted",
    /// R13, withdrawing side, vouchers.
    R13Own = "the withdrawing side looks at the voucher that the withdrawal names, and not at those under way or at locks",
    /// R13, withdrawing side, acks.
    R13Ack = "the withdrawing side counts what it was paid for a voucher under way that does not acknowledge it",
    /// R13, withdrawing side, locks.
    R13Live = "the withdrawing side forgets the locks that R10 calls live",
    /// R13, co-signer.
    R13Co = "the co-signer does not look at the withdrawing side's balance",
    /// R14, sums.
    R14Paid = "a withdrawal raises no paid floor",
    /// R14, seqs.
    R14Seq = "a withdrawal raises no seq floor",
    /// R15, contract.
    R15Contract = "a close is not compared with deposits and withdrawals",
    /// R15, silence.
    R15Lapse = "a close is forgotten at its deadline by the own clock",
    /// R15, disputes.
    R15Dispute = "a close is forgotten when a dispute is gone",
    /// R16, payee.
    R16Payee = "a payer may submit its own vouchers",
    /// R16, checkpoints.
    R16Checkpoint = "a checkpoint does not store the locks",
    /// R17, counts.
    R17Drop = "a higher seq keeps what was counted",
    /// R17, payee.
    R17Newest = "the payee resolves before it submits the newest, and counts no more",
    /// R18, expiry.
    R18Expiry = "final before a lock that counts expires",
    /// R18, recount.
    R18Act = "no time after the window to count locks again",
    /// R19.
    R19 = "voucher and acks add up",
    /// R21, locks.
    R21Locks = "shows its newest voucher only when its seq or its sum is news, not for its locks",
    /// R22, accepted.
    R22Accepted = "forwards a lock that was not accepted",
    /// R22, open.
    R22Open = "forwards while it sees the payer's channel disputed or closed",
    /// R22, hash.
    R22Hash = "the forwarded lock has another hash",
    /// R22, amount.
    R22Amount = "the forwarded lock carries the fee, too",
    /// R22, delta.
    R22Delta = "the forwarded lock expires one step less than lag + act before the payer's",
    /// R23, consent.
    R23Consent = "consents although the forwarded lock is alive",
    /// R23, use.
    R23Use = "does not use a preimage seen on chain",
    /// R24, order.
    R24Order = "credits before the payer's voucher is accepted",
    /// R24, one commit.
    R24Durable = "a credit leaves before the payer's voucher is durable",
    /// R26.
    R26 = "an unconfirmed deposit counts",
    /// R27, number.
    R27Number = "a cancel fits any dispute",
    /// R27, evidence.
    R27Keep = "a cancel forgets the evidence",
    /// R27, locks.
    R27Locks = "signs a cancel that may be mined just before a lock expires",
    /// R27, dispute.
    R27Settled = "signs the cancel of a dispute that is not final",
    /// R27, final.
    R27Final = "goes on before the cancel is final",
    /// R28.
    R28 = "countersigns while a marked lock is unconverted",
    /// A10.
    A10 = "signs after a rollback without being told what it had signed",
    /// A10, withdrawals and closes.
    A10Held = "keeps what it is paid while a withdrawal that a rollback lost may still be mined",
    /// A10, locks.
    A10Locks = "adds locks after a rollback, and forwards the other's",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}"))
    }
}

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .iter()
            .find(|rule| rule.to_string().eq_ignore_ascii_case(text));
        found
            .copied()
            .ok_or_else(|| format!("no rule {text}; there are {:?}", Self::ALL))
    }
}

/// The rules in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules(u64);

impl Rules {
    /// All.
    pub const ALL: Self = Self(u64::MAX);

    /// All but one.
    #[must_use]
    pub fn without(rule: Rule) -> Self {
        Self(!(1 << rule as u8))
    }

    /// True when `rule` is in force.
    #[must_use]
    pub fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u8) != 0
    }

    /// True when the contract is the real one.
    #[must_use]
    pub fn contract_is_real(self) -> bool {
        use Rule::{
            R14Paid, R14Seq, R15Contract, R16Checkpoint, R16Payee, R17Drop, R18Act, R18Expiry, R19, R27Keep,
            R27Number,
        };
        [
            R14Paid,
            R14Seq,
            R15Contract,
            R16Checkpoint,
            R16Payee,
            R17Drop,
            R18Act,
            R18Expiry,
            R19,
            R27Keep,
            R27Number,
        ]
        .into_iter()
        .all(|rule| self.has(rule))
    }
}
