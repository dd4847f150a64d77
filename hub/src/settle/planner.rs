//! Decides whether a verb makes sense now, and builds its call. Pure: what the chain says comes in as a [`View`].

use super::{
    evidence::CheckedEvidence,
    exit::SettleError,
    outlook::{Offer, last_moment, loses, lowers, offer, offer_locks},
    package::SignedAccept,
    plan::{Intent, Plan, Proof},
    text::moment,
    view::{Phase, View, share},
};
use alloy::{
    primitives::{Address, B256},
    sol_types::SolCall as _,
};
use protocol_spec::{
    Lock,
    abi::{IAdjudicator, Resolution, Submission},
    calls,
};

pub(super) struct Planner<'a> {
    pub(super) view: &'a View,
    pub(super) evidence: &'a CheckedEvidence,
    pub(super) intent: Intent,
}

impl Planner<'_> {
    pub(super) fn dispute(&self) -> Result<Plan, SettleError> {
        self.require_role()?;
        if let Phase::Disputed { no, window_end, .. } = self.view.phase {
            return Err(SettleError::NothingToDo(format!(
                "dispute {no} is running, vouchers are taken until {}; use `settle submit`",
                moment(window_end, self.view.head.time)
            )));
        }
        self.require_permission(true)?;
        let offer = self.dispute_offer();
        self.require_gain(&offer)?;
        let (submissions, resolutions) = self.arguments(&offer, true);
        let call = IAdjudicator::disputeCall {
            config: self.evidence.raw().config.to_abi(),
            submissions,
            resolutions,
        };
        let mut plan = self.plan(call.abi_encode(), Some(&offer), "Disputed")?;
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
            () if after.is_zero() => refuse(self.worthless()),
            () => Ok(()),
        }
    }

    /// Why a dispute would leave this side with nothing, and what may help.
    fn worthless(&self) -> String {
        let shown = offer(self.view, self.evidence, true)
            .after
            .balances(&self.view.funds);
        let shown = share(self.evidence.side(), shown);
        match () {
            () if !shown.is_zero() => format!(
                "without evidence you get nothing, with this file's you get {shown}: leave --without-evidence out"
            ),
            () if self.evidence.received().voucher.is_none() => {
                "nothing in this channel is yours by the chain, and this file holds no voucher of the other side: if you were \
                 paid, another file does (the newest that your app or your backup exported); else the dispute would only cost gas"
                    .to_owned()
            }
            () => "you get nothing either way, by the chain or by this file: look for a newer file; else the dispute would \
                   only cost gas"
                .to_owned(),
        }
    }

    pub(super) fn submit(&self) -> Result<Plan, SettleError> {
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
        self.require_permission(false)?;
        self.show(&offer)
    }

    pub(super) fn resolve(&self) -> Result<Plan, SettleError> {
        self.require_party("only the payee itself resolves locks (R17)")?;
        let now = self.view.head.time;
        match self.view.phase {
            Phase::Disputed { final_at, .. } if now >= final_at => {
                return Err(SettleError::TooLate(format!(
                    "the deadline has passed: locks were counted until {}",
                    moment(final_at, now)
                )));
            }
            Phase::Disputed { .. } => {}
            _ => {
                return Err(SettleError::NothingToDo(
                    "locks are resolved in a running dispute; `settle dispute` starts one and resolves in the same call"
                        .to_owned(),
                ));
            }
        }
        let offer = offer_locks(self.view, self.evidence);
        match offer.unlocks.is_empty() {
            true => Err(self.nothing_to_resolve()),
            false => self.show(&offer),
        }
    }

    fn nothing_to_resolve(&self) -> SettleError {
        let missed = self.missed();
        match () {
            () if !offer(self.view, self.evidence, false).unlocks.is_empty() => SettleError::NothingToDo(
                "the chain does not hold this file's voucher yet; `settle submit` shows it and resolves in the same call"
                    .to_owned(),
            ),
            () if missed > 0 => SettleError::TooLate(format!(
                "the deadline has passed: {missed} locks with a known witness have expired"
            )),
            () => SettleError::NothingToDo(
                "no lock of the stored voucher is left whose witness this file knows".to_owned(),
            ),
        }
    }

    /// `submit` with what `offer` adds: voucher, locks, or both.
    fn show(&self, offer: &Offer) -> Result<Plan, SettleError> {
        let (submissions, resolutions) = self.arguments(offer, false);
        let name = if submissions.is_empty() {
            "Resolved"
        } else {
            "Submitted"
        };
        let call = IAdjudicator::submitCall {
            config: self.evidence.raw().config.to_abi(),
            submissions,
            resolutions,
        };
        let mut plan = self.plan(call.abi_encode(), Some(offer), name)?;
        plan.deadline = match self.view.phase {
            Phase::Disputed { window_end, .. } if offer.voucher => Some(window_end),
            Phase::Disputed { final_at, .. } => Some(final_at),
            _ => None,
        };
        plan.deadline = plan
            .deadline
            .map(|until| last_moment(self.view, self.evidence, offer, until));
        if self.view.phase == Phase::Open {
            plan.notes
                .push("the channel is open: this is a checkpoint, it stays open".to_owned());
        }
        Ok(plan)
    }

    fn nothing_to_submit(&self) -> SettleError {
        let now = self.view.head.time;
        match self.view.phase {
            Phase::Disputed {
                window_end, final_at, ..
            } if now >= window_end => SettleError::TooLate(format!(
                "the deadline has passed: vouchers were taken until {}; final at {}",
                moment(window_end, now),
                moment(final_at, now)
            )),
            _ => SettleError::NothingToDo("the chain knows everything in this evidence already".to_owned()),
        }
    }

    pub(super) fn finalize(&self) -> Result<Plan, SettleError> {
        let now = self.view.head.time;
        match self.view.phase {
            Phase::Disputed { final_at, .. } if now < final_at => Err(SettleError::NotNow(format!(
                "too early: final at {}, chain time is {now}",
                moment(final_at, now)
            ))),
            Phase::Disputed { .. } => {
                let call = calls::finalize(&self.evidence.raw().config).abi_encode();
                self.plan(call, None, "Closed")
            }
            _ => Err(SettleError::NothingToDo(
                "there is no dispute to finalize; `settle dispute` starts one".to_owned(),
            )),
        }
    }

    pub(super) fn claim(&self, token: Address, to: Address) -> Result<Plan, SettleError> {
        if to == Address::ZERO {
            return Err(SettleError::Usage("--to must not be zero".to_owned()));
        }
        if [self.evidence.raw().adjudicator, token].contains(&to) {
            return Err(SettleError::Usage(format!(
                "--to {to} is the adjudicator or the token; money sent there is gone"
            )));
        }
        let call = IAdjudicator::claimCall { token, to }.abi_encode();
        let mut plan = self.plan(call, None, "Claimed")?;
        plan.proof.about = self.intent.sender.into_word();
        (plan.now, plan.after) = (None, None);
        Ok(plan)
    }

    fn require_role(&self) -> Result<(), SettleError> {
        if self.evidence.may_submit(self.intent.sender) {
            return Ok(());
        }
        let (config, side) = (&self.evidence.raw().config, self.evidence.side());
        let named = self.evidence.accept().map_or_else(String::new, |signed| {
            format!(", nor the submitter {} of this package", signed.accept.submitter)
        });
        Err(SettleError::Refused(format!(
            "the sender {} is neither account {} nor signer {} of the {}'s side{named}: wrong key",
            self.intent.sender,
            config.account(side),
            config.signer(side),
            super::text::side(side)
        )))
    }

    fn require_party(&self, why: &str) -> Result<(), SettleError> {
        self.require_role()?;
        match self.evidence.is_party(self.intent.sender) {
            true => Ok(()),
            false => Err(SettleError::Refused(format!(
                "{why}, and {} is only a submitter",
                self.intent.sender
            ))),
        }
    }

    /// R16: what the countersignature permits, when the sender is no party.
    fn require_permission(&self, starting: bool) -> Result<(), SettleError> {
        let Some(SignedAccept { accept, .. }) = self.accept() else {
            return Ok(());
        };
        let now = self.view.head.time;
        if accept.deadline < now {
            return Err(SettleError::TooLate(format!(
                "the deadline has passed: the countersignature counted until {}; ask for a newer package",
                moment(accept.deadline, now)
            )));
        }
        match starting && (!accept.may_dispute || self.intent.without_evidence) {
            false => Ok(()),
            true => Err(SettleError::Refused(
                "this package does not permit to start a dispute (with its voucher): only to answer one"
                    .to_owned(),
            )),
        }
    }

    /// A package's submitter, when it is the sender. A party needs no countersignature.
    fn accept(&self) -> Option<&SignedAccept> {
        let accept = self.evidence.accept();
        accept.filter(|_| !self.evidence.is_party(self.intent.sender))
    }

    fn arguments(&self, offer: &Offer, starting: bool) -> (Vec<Submission>, Vec<Resolution>) {
        let payer = self.evidence.side().other();
        let received = self.evidence.received();
        let accept = self.accept();
        // A submitter starts a dispute by its countersigned voucher, even one that adds nothing.
        let shown = offer.voucher || (starting && accept.is_some());
        let submission = received.voucher.iter().filter(|_| shown).map(|voucher| {
            let mut submission = calls::submission(payer, voucher.signed(), received.opening.as_ref());
            submission.countersignature = accept.map(SignedAccept::to_abi).into_iter().collect();
            submission
        });
        // Of a marked lock the adjudicator reads no witness.
        let witness = |id: u64| {
            let known = received.witnesses.get(&id).cloned().unwrap_or_default();
            offer.unlocks.contains(&id).then_some(known)
        };
        let resolution = received
            .opening
            .iter()
            .filter_map(|opening| calls::resolution(payer, opening, &received.locks, witness));
        (submission.collect(), resolution.collect())
    }

    fn plan(
        &self,
        calldata: Vec<u8>,
        offer: Option<&Offer>,
        event: &'static str,
    ) -> Result<Plan, SettleError> {
        let now = self.view.balances();
        let proof = Proof::named(event, B256::from(self.evidence.id().0));
        Ok(Plan {
            command: self.intent.verb.name(),
            sender: self.intent.sender,
            to: self.evidence.raw().adjudicator,
            calldata: calldata.into(),
            now: Some(now),
            after: Some(offer.map_or(now, |offer| offer.after.balances(&self.view.funds))),
            unlocks: offer.map_or(0, |offer| offer.unlocks.len()),
            more: offer.is_some_and(|offer| offer.more),
            proof: proof.ok_or_else(|| SettleError::Internal(format!("no event is called {event}")))?,
            at: self.view.head.time,
            deadline: None,
            notes: self.notes(offer),
        })
    }

    fn notes(&self, offer: Option<&Offer>) -> Vec<String> {
        let missed = self.missed();
        let late = (offer.is_some() && missed > 0).then(|| {
            format!("{missed} locks with a known witness have expired and count only if marked in time")
        });
        let more = offer.filter(|offer| offer.more).map(|offer| {
            format!(
                "{} locks are resolved by it, more remain: with --wait they follow, else `settle resolve` afterwards",
                offer.unlocks.len()
            )
        });
        let shown = offer.filter(|offer| offer.voucher && !self.intent.force);
        let lowered = shown.filter(|offer| lowers(self.view, self.evidence, offer)).map(|_| {
            "the evidence acknowledges what you paid, which lowers what you get; it is shown because the file does not say that \
             you never made a lock: it ends those that were given up, which the other side could still collect by an older \
             voucher of yours (R21)"
                .to_owned()
        });
        let unshown = self.view.unshown_notes();
        let warnings = self.evidence.warnings().into_iter();
        let all = warnings.chain(late).chain(more).chain(lowered).chain(unshown);
        all.collect()
    }

    /// How many locks with a known witness have expired.
    fn missed(&self) -> usize {
        let received = self.evidence.received();
        let expired = |lock: &&Lock| self.view.head.time >= lock.expiry;
        let known = |lock: &&Lock| received.witnesses.contains_key(&lock.id);
        received.locks.iter().filter(expired).filter(known).count()
    }
}
