//! What a verb is, and what a plan is: a call that makes sense now, with the event that proves it.

use super::{
    evidence::CheckedEvidence,
    exit::SettleError,
    planner::Planner,
    view::{Phase, View},
};
use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolEvent as _,
};
use protocol_spec::{Amount, UnixSeconds, abi::IAdjudicator};

/// What to do on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Start a dispute, and submit and resolve in the same call.
    Dispute,
    /// Show evidence: in a dispute's window, or as a checkpoint while the channel is open.
    Submit,
    /// Count locks of the stored voucher whose witnesses are known (R17), and show no voucher.
    Resolve,
    /// Pay out a dispute that is final.
    Finalize,
    /// Fetch what a failed payout left behind.
    Claim {
        /// Of which token; zero for the native coin.
        token: Address,
        /// Where to.
        to: Address,
    },
}

impl Verb {
    /// The adjudicator's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dispute => "dispute",
            Self::Submit => "submit",
            Self::Resolve => "resolve",
            Self::Finalize => "finalize",
            Self::Claim { .. } => "claim",
        }
    }

    /// What does the rest of a channel's locks when they are more than fit one transaction of this.
    #[must_use]
    pub fn rest(self) -> Option<Self> {
        matches!(self, Self::Dispute | Self::Submit | Self::Resolve).then_some(Self::Resolve)
    }
}

/// Who sends, and what may be overridden.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intent {
    /// The verb.
    pub verb: Verb,
    /// The sender.
    pub sender: Address,
    /// Go on although it would lose money.
    pub force: bool,
    /// `dispute` only: start it and show nothing.
    pub without_evidence: bool,
}

/// The event that proves a transaction did what it was sent for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// First topic.
    pub event: B256,
    /// Second topic: the channel, or the claiming account.
    pub about: B256,
    /// The event's name.
    pub name: &'static str,
}

impl Proof {
    /// The adjudicator's event called `name`, about a channel or an account.
    #[must_use]
    pub fn named(name: &str, about: B256) -> Option<Self> {
        use IAdjudicator as A;
        let known = [
            ("Disputed", A::Disputed::SIGNATURE_HASH),
            ("Submitted", A::Submitted::SIGNATURE_HASH),
            ("Resolved", A::Resolved::SIGNATURE_HASH),
            ("Closed", A::Closed::SIGNATURE_HASH),
            ("Claimed", A::Claimed::SIGNATURE_HASH),
            ("Withdrawn", A::Withdrawn::SIGNATURE_HASH),
            ("DisputeCancelled", A::DisputeCancelled::SIGNATURE_HASH),
        ];
        let found = known.into_iter().find(|(known, _)| *known == name);
        found.map(|(name, event)| Self { event, about, name })
    }
}

/// A call that makes sense now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The word for what it does.
    pub command: &'static str,
    /// The sender.
    pub sender: Address,
    /// The adjudicator.
    pub to: Address,
    /// The call.
    pub calldata: Bytes,
    /// (client, hub) as it stands; for `claim`: nothing.
    pub now: Option<(Amount, Amount)>,
    /// (client, hub) once this is mined, if nobody shows anything else.
    pub after: Option<(Amount, Amount)>,
    /// Locks resolved by it.
    pub unlocks: usize,
    /// Whether locks are left for another transaction after it.
    pub more: bool,
    /// The event expected.
    pub proof: Proof,
    /// Chain time of the block it was planned at.
    pub at: UnixSeconds,
    /// The chain time at which the adjudicator no longer takes it, if there is one.
    pub deadline: Option<UnixSeconds>,
    /// What the sender should know.
    pub notes: Vec<String>,
}

/// Plans `intent`.
///
/// # Errors
/// [`SettleError::Refused`] (no such channel, wrong sender), `NothingToDo`, `WouldLose`, `NotNow`, `TooLate`: with what to do instead.
pub fn plan(view: &View, evidence: &CheckedEvidence, intent: Intent) -> Result<Plan, SettleError> {
    let planner = Planner {
        view,
        evidence,
        intent,
    };
    match (intent.verb, view.phase) {
        (Verb::Claim { token, to }, _) => planner.claim(token, to),
        (_, Phase::None) => Err(SettleError::Refused(format!(
            "channel {} was never opened at this adjudicator: wrong evidence, or the node is not synced",
            evidence.id()
        ))),
        (_, Phase::Closed) => Err(SettleError::NothingToDo(
            "the channel is closed and paid out; see `settle status` for what can be claimed".to_owned(),
        )),
        (Verb::Dispute, _) => planner.dispute(),
        (Verb::Submit, _) => planner.submit(),
        (Verb::Resolve, _) => planner.resolve(),
        (Verb::Finalize, _) => planner.finalize(),
    }
}
