//! `settle status`: where the channel is, who gets what, and what to do next.

use super::{
    evidence::CheckedEvidence,
    outlook::{Outcome, better_unshown, last_moment, loses, offer, outcomes},
    text::{self, moment},
    view::{Phase, View},
};
use protocol_spec::{Amount, Side};

/// Everything `settle status` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The chain's view.
    pub view: View,
    /// Who gets what.
    pub outcomes: Vec<Outcome>,
    /// What to do next.
    pub next: String,
    /// What looks incomplete.
    pub warnings: Vec<String>,
}

impl Status {
    /// Works out what follows from `view` and `evidence`.
    #[must_use]
    pub fn new(view: View, evidence: &CheckedEvidence) -> Self {
        let mut warnings = evidence.warnings();
        warnings.extend(deposit_warning(&view, evidence));
        warnings.extend(view.unshown_notes());
        Self {
            outcomes: outcomes(&view, evidence),
            next: next(&view, evidence),
            warnings,
            view,
        }
    }
}

/// The file's deposits are what its owner saw confirmed; fewer on chain means another chain history.
fn deposit_warning(view: &View, evidence: &CheckedEvidence) -> Option<String> {
    let (client, hub) = evidence.raw().deposits;
    if view.phase == Phase::Closed {
        return None; // Paid out: the deposits are gone because they were divided.
    }
    let fewer = view.funds.client_deposit < client || view.funds.hub_deposit < hub;
    fewer.then(|| {
        format!(
            "the file knows deposits of {client} (client) and {hub} (hub), the chain has {} and {}: \
             a reorg took one away, or the file was changed; the chain's count",
            view.funds.client_deposit, view.funds.hub_deposit
        )
    })
}

fn next(view: &View, evidence: &CheckedEvidence) -> String {
    let now = view.head.time;
    match view.phase {
        Phase::None => {
            "this channel was never opened at this adjudicator: wrong evidence, or an unsynced node"
                .to_owned()
        }
        Phase::Open => {
            let (how, why) = match better_unshown(view, evidence) {
                true => (
                    "dispute --without-evidence",
                    " (your evidence would lower what you get: it acknowledges what you paid)",
                ),
                false => ("dispute", ""),
            };
            format!(
                "to leave without the other side: `settle {how} --broadcast`{why}, then wait {}, then `settle finalize`",
                text::duration(evidence.raw().config.challenge_period_s)
            )
        }
        Phase::Disputed {
            window_end, final_at, ..
        } => {
            let offer = offer(view, evidence, false);
            let lowers = loses(view, evidence, &offer);
            let adds = !offer.is_empty() && !lowers;
            match () {
                () if now >= final_at => "it is final: `settle finalize --broadcast`".to_owned(),
                () if adds && now < window_end => format!(
                    "your evidence adds something: `settle submit --broadcast` before {}",
                    moment(last_moment(view, evidence, &offer, window_end), now)
                ),
                () if adds => format!(
                    "locks can still be counted: `settle submit --broadcast` before {}",
                    moment(last_moment(view, evidence, &offer, final_at), now)
                ),
                () if lowers => format!(
                    "nothing to submit, your evidence would lower what you get: wait; `settle finalize --broadcast` at {}",
                    moment(final_at, now)
                ),
                () => format!("wait; `settle finalize --broadcast` at {}", moment(final_at, now)),
            }
        }
        Phase::Closed => closed(view, evidence),
    }
}

fn closed(view: &View, evidence: &CheckedEvidence) -> String {
    let claim = view.claimable > Amount::ZERO;
    let claimable = format!(
        "a payout of {} could not be delivered: `settle claim --token {} --to ADDRESS --broadcast`",
        view.claimable, view.token.address
    );
    match (claim, evidence.side()) {
        (true, _) => claimable,
        (false, Side::Client) => "nothing: the channel is closed and paid out".to_owned(),
        (false, Side::Hub) => format!(
            "nothing: the channel is closed; your share is in the vault, which holds {} in all",
            view.vault
        ),
    }
}
