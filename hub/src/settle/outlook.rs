//! Who gets what under each course of events, and what of the evidence would change it. Pure.

use super::{
    evidence::{CheckedDirection, CheckedEvidence},
    view::{Phase, View, share},
};
use protocol_spec::{Amount, Lock, Room, SHOW_GAS_MAX, Side, UnixSeconds, settlement::Adjudication};
use std::collections::BTreeSet;

/// What of the evidence a transaction would show, and what the adjudicator would then hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// True when the voucher (or its locks' opening) adds something.
    pub voucher: bool,
    /// Ids of the locks to resolve.
    pub unlocks: BTreeSet<u64>,
    /// True when more locks are left for another transaction.
    pub more: bool,
    /// The adjudicator's memory afterwards.
    pub after: Adjudication,
}

impl Offer {
    /// True when nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.voucher && self.unlocks.is_empty()
    }
}

/// One row of the who-gets-what table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Stable word for JSON.
    pub name: &'static str,
    /// For people.
    pub text: String,
    /// What the client gets.
    pub client: Amount,
    /// What the hub's vault gets.
    pub hub: Amount,
}

impl Outcome {
    fn new(name: &'static str, text: &str, balances: (Amount, Amount)) -> Self {
        Self {
            name,
            text: text.to_owned(),
            client: balances.0,
            hub: balances.1,
        }
    }
}

/// What the evidence adds at `view`. `starting`: in the call that starts the dispute.
#[must_use]
pub fn offer(view: &View, evidence: &CheckedEvidence, starting: bool) -> Offer {
    let payer = evidence.side().other();
    let received = evidence.received();
    let mut after = view.adjudication.clone();
    let voucher = match &received.voucher {
        Some(voucher) if view.takes_vouchers() => {
            after.submit(payer, voucher.voucher(), received.opening.as_ref())
        }
        _ => false,
    };
    let disputed = match view.phase {
        Phase::Disputed { final_at, .. } => view.head.time < final_at,
        Phase::Open => starting,
        Phase::None | Phase::Closed => false,
    };
    // Only the payee itself resolves (R17).
    let (unlocks, more) = match disputed && evidence.accept().is_none() {
        true => unlocks(&mut after, payer, received, view),
        false => (BTreeSet::new(), false),
    };
    Offer {
        voucher,
        unlocks,
        more,
        after,
    }
}

/// What the evidence adds in a running dispute without showing a voucher: locks of the stored one.
#[must_use]
pub fn offer_locks(view: &View, evidence: &CheckedEvidence) -> Offer {
    let payer = evidence.side().other();
    let received = evidence.received();
    let mut after = view.adjudication.clone();
    let (mut known, mut more) = (BTreeSet::new(), false);
    if let Phase::Disputed { final_at, .. } = view.phase
        && view.head.time < final_at
        && evidence.accept().is_none()
    {
        // In the window a resolution brings the opening along.
        if let Some(opening) = received.opening.as_ref().filter(|_| view.takes_vouchers()) {
            after.open_locks(payer, opening);
        }
        (known, more) = unlocks(&mut after, payer, received, view);
    }
    Offer {
        voucher: false,
        unlocks: known,
        more,
        after,
    }
}

/// Counts in `after` what can be counted: known in time and to be shown, or marked before; earliest expiry first.
fn unlocks(
    after: &mut Adjudication,
    payer: Side,
    received: &CheckedDirection,
    view: &View,
) -> (BTreeSet<u64>, bool) {
    let opened = received.opening.is_some_and(|opening| {
        let live = after.direction(payer).live.as_ref();
        live.is_some_and(|live| live.commitment == opening.commitment() && live.max_expiry.is_some())
    });
    let mut locks: Vec<&Lock> = received.locks.iter().filter(|_| opened).collect();
    locks.sort_by_key(|lock| lock.expiry);
    let mut room = Room::of_gas(view.head.gas_limit.saturating_sub(SHOW_GAS_MAX));
    let mut counted = BTreeSet::new();
    for lock in locks {
        let known = received.witnesses.contains_key(&lock.id) && view.shows(lock.id);
        let in_time = known && view.head.time < lock.expiry;
        let leaf = lock.leaf();
        if !after.counts(payer, &leaf, in_time) {
            continue;
        }
        if !room.take(lock) {
            return (counted, true);
        }
        after.resolve(payer, leaf, lock.amount, in_time);
        counted.insert(lock.id);
    }
    (counted, false)
}

/// The who-gets-what table: now, with this evidence, and with what the other side may still show.
#[must_use]
pub fn outcomes(view: &View, evidence: &CheckedEvidence) -> Vec<Outcome> {
    if matches!(view.phase, Phase::None | Phase::Closed) {
        return Vec::new();
    }
    let mut rows = vec![Outcome::new("now", "as it stands on chain now", view.balances())];
    let offer = offer(view, evidence, true);
    rows.push(Outcome::new(
        "with_my_evidence",
        "if my evidence is submitted",
        offer.after.balances(&view.funds),
    ));
    let (Some(sent), true) = (&evidence.sent().voucher, view.takes_vouchers()) else {
        return rows;
    };
    let mine = evidence.side();
    let mut answered = offer.after;
    answered.submit(mine, sent.voucher(), evidence.sent().opening.as_ref());
    rows.push(Outcome::new(
        "answered",
        "and the other side shows the newest voucher I signed",
        answered.balances(&view.funds),
    ));
    let resolved = resolve_all(&mut answered, mine, evidence.sent());
    if resolved {
        rows.push(Outcome::new(
            "answered_with_locks",
            "and it resolves every lock in it",
            answered.balances(&view.funds),
        ));
    }
    rows
}

/// What is left when this side shows nothing and the other side the newest voucher this side signed.
#[must_use]
pub fn unanswered(view: &View, evidence: &CheckedEvidence) -> Option<Outcome> {
    let sent = evidence.sent();
    let voucher = sent.voucher.as_ref().filter(|_| view.takes_vouchers())?;
    let mut after = view.adjudication.clone();
    after.submit(evidence.side(), voucher.voucher(), sent.opening.as_ref());
    Some(Outcome::new(
        "unanswered",
        "if I show nothing and the other side shows the newest voucher I signed",
        after.balances(&view.funds),
    ))
}

fn resolve_all(after: &mut Adjudication, payer: Side, direction: &CheckedDirection) -> bool {
    // Every lock is to be counted, so no short cut at the first.
    let counted = direction
        .locks
        .iter()
        .filter(|lock| after.resolve(payer, lock.leaf(), lock.amount, true));
    counted.count() > 0
}

/// True when this side's account or signer starts a dispute better without the evidence: to show it would lower its share.
#[must_use]
pub(super) fn better_unshown(view: &View, evidence: &CheckedEvidence) -> bool {
    loses(view, evidence, &offer(view, evidence, true))
}

/// Until when `offer` can be shown whole: `until`, or [`first_expiry`].
#[must_use]
pub(super) fn last_moment(
    view: &View,
    evidence: &CheckedEvidence,
    offer: &Offer,
    until: UnixSeconds,
) -> UnixSeconds {
    first_expiry(view, evidence, offer).map_or(until, |first| first.min(until))
}

/// The earliest expiry among the locks that `offer` resolves for the first time: what is marked counts later, too (R17).
#[must_use]
pub(super) fn first_expiry(view: &View, evidence: &CheckedEvidence, offer: &Offer) -> Option<UnixSeconds> {
    let payer = evidence.side().other();
    let first = evidence.received().locks.iter().filter(|lock| {
        let mark = (payer, lock.leaf());
        offer.unlocks.contains(&lock.id) && !view.adjudication.marks.contains_key(&mark)
    });
    first.map(|lock| lock.expiry).min()
}

/// True when showing the evidence makes this side's share smaller and protects it from nothing.
#[must_use]
pub(super) fn loses(view: &View, evidence: &CheckedEvidence, offer: &Offer) -> bool {
    let mine = evidence.side();
    // R21: an acknowledgement that supersedes own locks on chain is worth more than it shows.
    let protects =
        view.adjudication.direction(mine).live.is_some() && offer.after.direction(mine).live.is_none();
    lowers(view, evidence, offer) && evidence.raw().never_locked && !protects
}

/// True when showing the evidence makes this side's share smaller, whatever it is good for.
#[must_use]
pub(super) fn lowers(view: &View, evidence: &CheckedEvidence, offer: &Offer) -> bool {
    let mine = evidence.side();
    share(mine, offer.after.balances(&view.funds)) < share(mine, view.balances())
}
