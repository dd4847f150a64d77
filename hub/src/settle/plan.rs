//! Decides whether a verb makes sense now, and builds its call. Pure: what the chain says comes in as a [`View`].

use super::{
    evidence::CheckedEvidence,
    exit::SettleError,
    outlook::{Offer, loses, offer},
    text::moment,
    view::{Phase, View, share},
};
use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::{SolCall as _, SolEvent as _},
};
use protocol_spec::{
    Amount, Preimage, UnixSeconds,
    abi::{IAdjudicator, Resolution, Submission},
    calls,
};

/// What to do on chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Start a dispute, and submit and resolve in the same call.
    Dispute,
    /// Show evidence: in a dispute's window, or as a checkpoint while the channel is open.
    Submit,
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
            Self::Finalize => "finalize",
            Self::Claim { .. } => "claim",
        }
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

/// A call that makes sense now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The verb.
    pub verb: Verb,
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
    /// The event expected.
    pub proof: Proof,
    /// What the sender should know.
    pub notes: Vec<String>,
}

/// Plans `intent`.
///
/// # Errors
/// [`SettleError::Refused`] (no such channel, wrong sender), `NothingToDo`, `WouldLose`, `NotNow`: with what to do instead.
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
        (Verb::Finalize, _) => planner.finalize(),
    }
}

struct Planner<'a> {
    view: &'a View,
    evidence: &'a CheckedEvidence,
    intent: Intent,
}

impl Planner<'_> {
    fn dispute(&self) -> Result<Plan, SettleError> {
        self.require_role()?;
        if let Phase::Disputed { no, window_end, .. } = self.view.phase {
            return Err(SettleError::NothingToDo(format!(
                "dispute {no} is running, vouchers are taken until {}; use `settle submit`",
                moment(window_end, self.view.head.time)
            )));
        }
        let offer = self.dispute_offer();
        self.require_gain(&offer)?;
        let (submissions, resolutions) = self.arguments(&offer);
        let call = IAdjudicator::disputeCall {
            config: self.evidence.raw().config.to_abi(),
            submissions,
            resolutions,
        };
        let mut plan = self.plan(
            call.abi_encode(),
            Some(&offer),
            IAdjudicator::Disputed::SIGNATURE_HASH,
            "Disputed",
        );
        plan.notes.push(format!(
            "the window is {}; keep `settle status` running now and then: the other side may answer",
            super::text::duration(self.evidence.raw().config.challenge_period_s)
        ));
        Ok(plan)
    }

    fn dispute_offer(&self) -> Offer {
        let bare = Offer {
            voucher: false,
            unlocks: Default::default(),
            more: false,
            after: self.view.adjudication.clone(),
        };
        match self.intent.without_evidence {
            true => bare,
            false => offer(self.view, self.evidence, true),
        }
    }

    /// A dispute must leave this side no poorer than before, and with something.
    fn require_gain(&self, offer: &Offer) -> Result<(), SettleError> {
        let side = self.evidence.side();
        let (now, after) = (
            share(side, self.view.balances()),
            share(side, offer.after.balances(&self.view.funds)),
        );
        let payer = side.other();
        let newest = self
            .evidence
            .received()
            .voucher
            .as_ref()
            .map_or(0, |v| v.voucher().seq.0);
        let known = self.view.adjudication.direction(payer).seq;
        let refuse = |text: String| Err(SettleError::WouldLose(format!("{text} (--force overrides)")));
        match () {
            () if self.intent.force => Ok(()),
            () if loses(self.view, self.evidence, offer) => refuse(format!(
                "you get {now} as it stands and {after} if this evidence is shown, because it acknowledges what you paid; \
                 `dispute --without-evidence` leaves it to the other side to show that"
            )),
            () if newest < known && !self.intent.without_evidence => refuse(format!(
                "the chain knows voucher {known} of the other side, this file's newest is {newest}: it adds nothing; \
                 look for a newer file, or leave with `dispute --without-evidence`"
            )),
            () if after.is_zero() => {
                refuse("you get nothing either way: the dispute would only cost gas".to_owned())
            }
            () => Ok(()),
        }
    }

    fn submit(&self) -> Result<Plan, SettleError> {
        self.require_role()?;
        let offer = offer(self.view, self.evidence, false);
        if offer.is_empty() {
            return Err(self.nothing_to_submit());
        }
        if loses(self.view, self.evidence, &offer) && !self.intent.force {
            let side = self.evidence.side();
            return Err(SettleError::WouldLose(format!(
                "you get {} as it stands and {} if this is shown, because it acknowledges what you paid (--force overrides)",
                share(side, self.view.balances()),
                share(side, offer.after.balances(&self.view.funds))
            )));
        }
        let (submissions, resolutions) = self.arguments(&offer);
        let (event, name) = match submissions.is_empty() {
            true => (IAdjudicator::Resolved::SIGNATURE_HASH, "Resolved"),
            false => (IAdjudicator::Submitted::SIGNATURE_HASH, "Submitted"),
        };
        let call = IAdjudicator::submitCall {
            config: self.evidence.raw().config.to_abi(),
            submissions,
            resolutions,
        };
        let mut plan = self.plan(call.abi_encode(), Some(&offer), event, name);
        if self.view.phase == Phase::Open {
            plan.notes
                .push("the channel is open: this is a checkpoint, it stays open".to_owned());
        }
        if offer.more {
            plan.notes
                .push("more locks remain: run `settle submit` again afterwards".to_owned());
        }
        Ok(plan)
    }

    fn nothing_to_submit(&self) -> SettleError {
        let now = self.view.head.time;
        match self.view.phase {
            Phase::Disputed {
                window_end, final_at, ..
            } if now >= window_end => SettleError::NotNow(format!(
                "the deadline has passed: vouchers were taken until {}; final at {}",
                moment(window_end, now),
                moment(final_at, now)
            )),
            _ => SettleError::NothingToDo("the chain knows everything in this evidence already".to_owned()),
        }
    }

    fn finalize(&self) -> Result<Plan, SettleError> {
        let now = self.view.head.time;
        match self.view.phase {
            Phase::Disputed { final_at, .. } if now < final_at => Err(SettleError::NotNow(format!(
                "too early: final at {}, chain time is {now}",
                moment(final_at, now)
            ))),
            Phase::Disputed { .. } => {
                let call = calls::finalize(&self.evidence.raw().config).abi_encode();
                Ok(self.plan(call, None, IAdjudicator::Closed::SIGNATURE_HASH, "Closed"))
            }
            _ => Err(SettleError::NothingToDo(
                "there is no dispute to finalize; `settle dispute` starts one".to_owned(),
            )),
        }
    }

    fn claim(&self, token: Address, to: Address) -> Result<Plan, SettleError> {
        if to == Address::ZERO {
            return Err(SettleError::Usage("--to must not be zero".to_owned()));
        }
        if [self.evidence.raw().adjudicator, token].contains(&to) {
            return Err(SettleError::Usage(format!(
                "--to {to} is the adjudicator or the token; money sent there is gone"
            )));
        }
        let call = IAdjudicator::claimCall { token, to }.abi_encode();
        let mut plan = self.plan(call, None, IAdjudicator::Claimed::SIGNATURE_HASH, "Claimed");
        plan.proof.about = self.intent.sender.into_word();
        (plan.now, plan.after) = (None, None);
        Ok(plan)
    }

    fn require_role(&self) -> Result<(), SettleError> {
        if self.evidence.may_submit(self.intent.sender) {
            return Ok(());
        }
        let (config, side) = (&self.evidence.raw().config, self.evidence.side());
        Err(SettleError::Refused(format!(
            "the sender {} is neither account {} nor signer {} of the {}'s side: wrong key",
            self.intent.sender,
            config.account(side),
            config.signer(side),
            super::text::side(side)
        )))
    }

    fn arguments(&self, offer: &Offer) -> (Vec<Submission>, Vec<Resolution>) {
        let payer = self.evidence.side().other();
        let received = self.evidence.received();
        let submission = received
            .voucher
            .iter()
            .filter(|_| offer.voucher)
            .map(|voucher| calls::submission(payer, voucher.signed(), received.opening.as_ref()));
        // Of a marked lock the adjudicator reads no witness.
        let witness = |id: u64| {
            let known = received.preimages.get(&id).copied().unwrap_or(Preimage::ZERO);
            offer.unlocks.contains(&id).then_some(known)
        };
        let resolution = received
            .opening
            .iter()
            .filter_map(|opening| calls::resolution(payer, opening, &received.locks, witness));
        (submission.collect(), resolution.collect())
    }

    fn plan(&self, calldata: Vec<u8>, offer: Option<&Offer>, event: B256, name: &'static str) -> Plan {
        let now = self.view.balances();
        Plan {
            verb: self.intent.verb,
            sender: self.intent.sender,
            to: self.evidence.raw().adjudicator,
            calldata: calldata.into(),
            now: Some(now),
            after: Some(offer.map_or(now, |offer| offer.after.balances(&self.view.funds))),
            unlocks: offer.map_or(0, |offer| offer.unlocks.len()),
            proof: Proof {
                event,
                about: B256::from(self.evidence.id().0),
                name,
            },
            notes: self.notes(offer),
        }
    }

    fn notes(&self, offer: Option<&Offer>) -> Vec<String> {
        let received = self.evidence.received();
        let missed = received
            .locks
            .iter()
            .filter(|lock| self.expired(lock.expiry) && received.preimages.contains_key(&lock.id));
        let missed = missed.count();
        let late = (offer.is_some() && missed > 0).then(|| {
            format!("{missed} locks with a known preimage have expired and count only if marked in time")
        });
        self.evidence.warnings().into_iter().chain(late).collect()
    }

    fn expired(&self, expiry: UnixSeconds) -> bool {
        self.view.head.time >= expiry
    }
}
