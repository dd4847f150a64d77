//! `settle plan`: every step that is possible from here, with its gas, and every deadline. Reads the chain, sends nothing.

use super::{
    Intent, Settle, SettleError, Verb,
    outlook::{Outcome, better_unshown, first_expiry, last_moment, loses, offer, offer_locks, unanswered},
    send::Cost,
    status::Status,
    view::{Phase, View},
};
use futures::future::BoxFuture;
use protocol_spec::{Address, Amount, Side, UnixSeconds};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gas of `finalize` where it cannot be simulated yet: more than measured (GAS.md: dispute and finalize together are 123,000
/// to 147,000, of which the payout to a new holder is the larger part).
pub(super) const FINALIZE_GAS: u64 = 90_000;

/// A clock that differs by this from the chain's is pointed out.
const CLOCK_SKEW_S: u64 = 120;

/// What a step costs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Price {
    /// By simulation on the newest block.
    Simulated(Cost),
    /// It cannot be simulated yet: gas from experience.
    About(u64),
    /// Not ours to send.
    None,
    /// It would not make sense now, and why.
    Refused(SettleError),
}

/// A step on the way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// The command, or `wait`.
    pub name: &'static str,
    /// What it does.
    pub text: String,
    /// Possible from this chain time on.
    pub from: UnixSeconds,
    /// And before this one, if it ends.
    pub until: Option<UnixSeconds>,
    /// What it costs.
    pub price: Price,
}

/// Everything `settle plan` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forecast {
    /// As `settle status`.
    pub status: Status,
    /// Who gets what: the status's rows, and what happens when this side stays silent.
    pub outcomes: Vec<Outcome>,
    /// The way out, in order.
    pub steps: Vec<Step>,
    /// Milliseconds between blocks, if known.
    pub block_time_ms: Option<u64>,
    /// Chain time less this machine's, when they differ by more than two minutes.
    pub clock_ahead_s: Option<i64>,
}

/// Works it out. `sender`: who would send; the account of the evidence's side when absent.
///
/// # Errors
/// [`SettleError::Unreachable`] and [`SettleError::Refused`] as for `status`.
pub fn forecast<'a>(
    settle: &'a Settle,
    sender: Option<Address>,
) -> BoxFuture<'a, Result<Forecast, SettleError>> {
    Box::pin(async move {
        let status = settle.status().await?;
        let evidence = settle.evidence();
        let named = evidence.accept().map(|signed| signed.accept.submitter);
        let account = evidence.raw().config.account(evidence.side());
        let planner = Stepper {
            settle,
            view: &status.view,
            sender: sender.or(named).unwrap_or(account),
        };
        let steps = planner.steps().await?;
        let mut outcomes = status.outcomes.clone();
        if let Some(row) = unanswered(&status.view, evidence) {
            outcomes.insert(outcomes.len().min(1), row);
        }
        Ok(Forecast {
            block_time_ms: settle.node().block_time_ms(status.view.head).await?,
            clock_ahead_s: skew(status.view.head.time),
            outcomes,
            steps,
            status,
        })
    })
}

fn skew(chain: UnixSeconds) -> Option<i64> {
    let own = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let ahead = i64::try_from(chain.0)
        .ok()?
        .checked_sub(i64::try_from(own).ok()?)?;
    (ahead.unsigned_abs() > CLOCK_SKEW_S).then_some(ahead)
}

struct Stepper<'a> {
    settle: &'a Settle,
    view: &'a View,
    sender: Address,
}

impl Stepper<'_> {
    async fn steps(&self) -> Result<Vec<Step>, SettleError> {
        match self.view.phase {
            Phase::None => Ok(Vec::new()),
            Phase::Open => self.open().await,
            Phase::Disputed {
                window_end, final_at, ..
            } => self.disputed(window_end, final_at).await,
            Phase::Closed => self.closed().await,
        }
    }

    async fn open(&self) -> Result<Vec<Step>, SettleError> {
        let (now, evidence) = (self.view.head.time, self.settle.evidence());
        let period = evidence.raw().config.challenge_period_s;
        let window_end = now.after(period);
        let unshown = better_unshown(self.view, evidence);
        let (text, after, until) = match unshown {
            true => (
                "start a dispute and show nothing (`dispute --without-evidence`): the evidence would lower what you get",
                self.view.adjudication.clone(),
                None,
            ),
            false => {
                let offer = offer(self.view, evidence, true);
                let until = first_expiry(self.view, evidence, &offer);
                ("start a dispute and show the evidence", offer.after, until)
            }
        };
        let dispute = Step {
            name: "dispute",
            text: text.to_owned(),
            from: now,
            until,
            price: self.price_of(Verb::Dispute, unshown).await?,
        };
        let answer = Step {
            name: "wait",
            text: "the other side may show its evidence; show newer evidence of yours with `submit`"
                .to_owned(),
            from: now,
            until: Some(window_end),
            price: Price::None,
        };
        Ok(vec![
            dispute,
            answer,
            finalize(after.final_at(window_end, period)),
        ])
    }

    async fn disputed(
        &self,
        window_end: UnixSeconds,
        final_at: UnixSeconds,
    ) -> Result<Vec<Step>, SettleError> {
        let now = self.view.head.time;
        let mut steps = Vec::new();
        let evidence = self.settle.evidence();
        let offer = offer(self.view, evidence, false);
        if now < window_end && loses(self.view, evidence, &offer) {
            steps.push(Step {
                name: "wait",
                text: "show nothing: the evidence would lower what you get".to_owned(),
                from: now,
                until: Some(window_end),
                price: Price::None,
            });
        } else if now < window_end {
            steps.push(Step {
                name: "submit",
                text: "show the evidence, and resolve locks with known witnesses".to_owned(),
                from: now,
                until: Some(last_moment(self.view, evidence, &offer, window_end)),
                price: self.price(Verb::Submit).await?,
            });
        } else if now < final_at {
            let offer = offer_locks(self.view, evidence);
            steps.push(Step {
                name: "resolve",
                text: "resolve locks with known witnesses; vouchers are no longer taken".to_owned(),
                from: now,
                until: Some(last_moment(self.view, evidence, &offer, final_at)),
                price: self.price(Verb::Resolve).await?,
            });
        }
        let mut last = finalize(final_at);
        if now >= final_at {
            last.price = self.price(Verb::Finalize).await?;
        }
        steps.push(last);
        Ok(steps)
    }

    async fn closed(&self) -> Result<Vec<Step>, SettleError> {
        let evidence = self.settle.evidence();
        if self.view.claimable == Amount::ZERO || evidence.side() == Side::Hub {
            return Ok(Vec::new());
        }
        let token = evidence.raw().config.token;
        let claim = Verb::Claim {
            token,
            to: self.sender,
        };
        Ok(vec![Step {
            name: "claim",
            text: format!("fetch {} that could not be paid out", self.view.claimable),
            from: self.view.head.time,
            until: None,
            price: self.price(claim).await?,
        }])
    }

    async fn price(&self, verb: Verb) -> Result<Price, SettleError> {
        self.price_of(verb, false).await
    }

    async fn price_of(&self, verb: Verb, without_evidence: bool) -> Result<Price, SettleError> {
        let intent = Intent {
            verb,
            sender: self.sender,
            force: false,
            without_evidence,
        };
        let priced = async {
            let plan = self.settle.plan(intent).await?;
            self.settle.node().simulate(&plan.transaction()).await
        };
        match priced.await {
            Ok(cost) => Ok(Price::Simulated(cost)),
            Err(SettleError::Unreachable(text)) => Err(SettleError::Unreachable(text)),
            Err(error) => Ok(Price::Refused(error)),
        }
    }
}

fn finalize(from: UnixSeconds) -> Step {
    Step {
        name: "finalize",
        text: "pay both sides out; anybody may".to_owned(),
        from,
        until: None,
        price: Price::About(FINALIZE_GAS),
    }
}
