//! What is to be done for a channel on chain: it follows from what the endpoints show and from the store.

use super::{fewer::Fewer, rest::Rests};
use crate::{
    ChainError,
    actor::{Retries, cooperate::WITHDRAW_LIFE_S, entry::Entry},
    chain::{Facts, Shown},
};
use alloy::sol_types::SolCall;
use protocol_spec::{
    Address, Amount, DirectionEvidence, Lock, Room, SHOW_GAS_MAX, Seq, Side, Signature, UnixSeconds, Witness,
    abi::IAdjudicator,
    calls,
    canary::{Canary, planted},
    channel::Phase,
    limits,
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// What the newest blocks of the endpoints show of a channel.
pub(super) struct Sighting<'a> {
    /// What each endpoint that shows a dispute says of it.
    pub(super) disputes: &'a [Facts],
    /// How many endpoints show the channel open.
    pub(super) open: usize,
    /// How many endpoints must agree.
    pub(super) needed: usize,
    /// The number of the dispute that so many show.
    pub(super) shared: Option<Seq>,
    /// Locks of the hub that any endpoint shows to have been resolved in time.
    pub(super) marked: &'a BTreeSet<u64>,
    /// Withdrawn by this client at the newest block.
    pub(super) withdrawn: Amount,
    /// Time of the newest block.
    pub(super) now: UnixSeconds,
    /// The later of that and the own clock.
    pub(super) latest: UnixSeconds,
}

/// What is to be done for a disputed channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Dispute with the newest voucher and resolve these locks with it, before the first of them expires.
    Dispute {
        locks: BTreeSet<u64>,
        left: Duration,
    },
    /// Show the voucher unless the chain has it, and resolve these locks, before the window ends; after it locks only, before the
    /// first of them expires.
    Show {
        voucher: bool,
        locks: BTreeSet<u64>,
        left: Duration,
    },
    Finalize,
    /// Fetch what the payout could not push.
    Claim,
    /// Hand in the withdrawal that both sides have signed, before its deadline.
    Withdraw {
        left: Duration,
    },
}

impl Step {
    /// It waits for every other step.
    pub(super) fn gives_way(&self) -> bool {
        matches!(self, Self::Withdraw { .. })
    }
}

/// How far a channel's defence is, in this process.
#[derive(Default)]
pub(in crate::actor) struct Progress {
    pub(super) next: Option<Instant>,
    pub(super) retries: Retries,
    /// Locks resolved in the dispute and the voucher of these numbers.
    pub(super) resolved: (Seq, Seq, BTreeSet<u64>),
    /// Locks that any endpoint showed, at the last look, to have been resolved in time.
    pub(super) marked: BTreeSet<u64>,
    pub(super) rests: Rests,
    pub(super) fewer: Fewer,
    /// Failures to finalize in a row.
    pub(super) not_finalized: u32,
    /// Nothing is left to be claimed.
    pub(super) claimed: bool,
    /// The last step was one that believed those who show no dispute.
    pub(super) disputed_last: bool,
    /// The failure that was told last.
    pub(super) told: Option<String>,
}

impl Entry {
    /// What this client should do now, as far as the endpoints' newest blocks say. One that says something is missing in a
    /// dispute is believed: showing it again costs gas, and not showing it everything.
    pub(super) fn step(&mut self, seen: &Sighting<'_>) -> Option<Step> {
        if *self.channel.phase() == Phase::Closed {
            let due = self.ever_disputed == Some(true) && !self.defence.claimed;
            return due.then_some(Step::Claim);
        }
        self.defence.marked.clone_from(seen.marked);
        if self.must_dispute(seen) {
            // Of a dispute that is over, or was taken away.
            self.defence.resolved.2.clear();
            let (_, locks) = self.unshown(&Shown::default(), seen.now);
            let left = self.first_expiry(&locks, seen.now).0.saturating_sub(seen.now.0);
            let left = Duration::from_secs(left);
            let locks = self.fewer(true, &locks, seen.now);
            return Some(Step::Dispute { locks, left });
        }
        let (disputes, now) = (seen.disputes, seen.now);
        self.forget_resolved(disputes, seen.shared, now);
        let (mut voucher, mut locks) = (false, BTreeSet::new());
        let (mut left_s, mut over) = (0, 0_usize);
        for facts in disputes {
            let (missing, unresolved, until) = if now < facts.shown.window_end {
                let (missing, unresolved) = self.unshown(&facts.shown, now);
                (missing, unresolved, facts.shown.window_end)
            } else {
                over = over.saturating_add(1);
                let unresolved = self.unresolved(&facts.shown, now);
                let until = self.first_expiry(&unresolved, now);
                (false, unresolved, until.min(self.final_at(&facts.shown)))
            };
            if missing || !unresolved.is_empty() {
                voucher |= missing;
                locks.extend(unresolved);
                // The longest: whoever gives up early begins at the market's fees again.
                left_s = left_s.max(until.0.saturating_sub(now.0));
            }
        }
        let locks = self.fewer(voucher, &locks, now);
        if !locks.is_empty() {
            // With one that has expired none of it is taken, the voucher neither: then it is tried without.
            left_s = left_s.min(self.first_expiry(&locks, now).0.saturating_sub(now.0));
        }
        if (voucher || !locks.is_empty()) && !planted(Canary::ShowNothing) {
            let left = Duration::from_secs(left_s);
            return Some(Step::Show { voucher, locks, left });
        }
        (over >= seen.needed).then_some(Step::Finalize)
    }

    /// The withdrawal that both sides have signed, if no block has it: at once, also when the hub said that it does not send
    /// it, or when the hub has let a third of its life pass.
    pub(super) fn unmined_withdrawal(&self, seen: &Sighting<'_>, at_once: bool) -> Option<Step> {
        let message = self.channel.pending_withdraw()?;
        let own = message.side == Side::Client && self.countersigned.is_some();
        let (deadline, now) = (message.deadline, seen.latest);
        let patience = if at_once || self.hub_leaves_it {
            0
        } else {
            WITHDRAW_LIFE_S / 3
        };
        let due = now < deadline && deadline <= now.after(WITHDRAW_LIFE_S.saturating_sub(patience));
        let wanted = own && due && seen.open > 0 && seen.withdrawn < message.total;
        let left = Duration::from_secs(deadline.0.saturating_sub(now.0));
        wanted.then_some(Step::Withdraw { left })
    }

    /// R21: a dispute is started by expiry - act when a known witness has not been converted. Whether there is one already is
    /// for most of the endpoints to say; when they are divided each is believed in turn, because what is done in vain costs
    /// gas, and what is not done the lock.
    fn must_dispute(&self, seen: &Sighting<'_>) -> bool {
        let due = match seen.open.cmp(&seen.disputes.len()) {
            _ if seen.shared.is_some() => false,
            Ordering::Greater => true,
            Ordering::Equal => seen.open > 0 && !self.defence.disputed_last,
            Ordering::Less => false,
        };
        let act_s = self.channel.delays().act_s;
        // One whose mark is final counts in any later dispute, whenever that is (R17). What is shown to be marked by one endpoint
        // alone starts none: in vain a dispute costs a channel.
        let marked = |lock: &&Lock| self.channel.is_marked(Side::Hub, lock.id);
        let openable = |lock: &&Lock| seen.now < lock.expiry && !marked(lock);
        due && self
            .opened()
            .filter(openable)
            .any(|lock| lock.expiry <= seen.latest.after(act_s))
    }

    /// Locks of the hub whose witnesses are known.
    fn opened(&self) -> impl Iterator<Item = &Lock> {
        let known: BTreeSet<u64> = self.channel.known_witnesses().map(|(id, _)| id).collect();
        let locks = self.channel.received().locks.iter();
        locks.filter(move |lock| known.contains(&lock.id) && !planted(Canary::ForgetWitnesses))
    }

    /// Locks of the hub that are this client's if the chain still takes them: their witnesses are known, or they were resolved
    /// on chain.
    fn claimed(&self) -> impl Iterator<Item = &Lock> {
        let opened: BTreeSet<u64> = self.opened().map(|lock| lock.id).collect();
        let given_up: BTreeSet<u64> = self.channel.consents_given().collect();
        let locks = self.channel.received().locks.iter();
        locks.filter(move |lock| {
            opened.contains(&lock.id) || (self.is_marked(lock.id) && !given_up.contains(&lock.id))
        })
    }

    /// Those of them that the chain takes: before their expiry, and for ever once they are marked, then without a witness (R17).
    /// Showing a newer voucher takes their count away, whatever they were counted in before.
    fn countable(&self, now: UnixSeconds) -> impl Iterator<Item = &Lock> {
        let claimed = self.claimed();
        claimed.filter(move |lock| now < lock.expiry || self.is_marked(lock.id))
    }

    /// One endpoint that says so is believed: shown in vain a lock costs next to nothing, and one that is not shown is lost.
    fn is_marked(&self, id: u64) -> bool {
        self.channel.is_marked(Side::Hub, id) || self.defence.marked.contains(&id)
    }

    /// The first of these locks to expire; those that have expired are marked, and have time.
    fn first_expiry(&self, locks: &BTreeSet<u64>, now: UnixSeconds) -> UnixSeconds {
        let all = &self.channel.received().locks;
        let expiries = locks.iter().filter_map(|id| Some(all.lock(*id)?.expiry));
        let ahead = expiries.filter(|expiry| now < *expiry);
        ahead.min().unwrap_or(UnixSeconds(u64::MAX))
    }

    /// R18, when the newest voucher is stored and opened: until then its locks are counted.
    fn final_at(&self, shown: &Shown) -> UnixSeconds {
        let again = shown.window_end.after(self.channel.config().challenge_period_s);
        let opening = self.channel.received().opening.as_deref();
        opening.map_or(again, |opening| again.max(opening.max_expiry))
    }

    fn fewer(&mut self, voucher: bool, locks: &BTreeSet<u64>, now: UnixSeconds) -> BTreeSet<u64> {
        let all = &self.channel.received().locks;
        let locks = locks.iter().filter_map(|id| all.lock(*id));
        self.defence.fewer.of(voucher, locks, now)
    }

    /// How a step ended. True when what is tried next is something else, for the first time.
    pub(super) fn heard(&mut self, step: &Step, failed: Option<&ChainError>) -> bool {
        let (Step::Show { locks, .. } | Step::Dispute { locks, .. }) = step else {
            return false;
        };
        let all = &self.channel.received().locks;
        let first = locks.iter().find_map(|id| all.lock(*id));
        let resolver = first.map_or(Address::ZERO, |lock| lock.resolver);
        self.defence.fewer.heard(step, resolver, failed)
    }

    /// Whether the newest voucher adds something to what was shown.
    fn adds(&self, shown: &Shown) -> bool {
        let newest = self.channel.received();
        // Its acks end own locks, which an older voucher of ours would show again.
        let locks = newest.newest_lock > 0 || self.channel.sent().newest_lock > 0;
        // The hub can show our own voucher alone: it acknowledges this one, and the chain knows its numbers without its locks.
        // Or somebody shows it for us and keeps back what its locks are: after the window nobody could resolve them any more.
        let without_locks = newest.seq == shown.seq && newest.opening.is_some() && !shown.opened;
        // `paid` goes by maximum, whatever the seq: a hub that was restored may have signed two vouchers of one seq.
        newest.paid > shown.paid || (newest.seq > shown.seq && locks) || without_locks
    }

    /// What was resolved counts in one dispute and one voucher, and not when nobody shows it any more. Which dispute it is as
    /// many must say as must agree. While fewer do, what was resolved is resolved again after the rest of it.
    fn forget_resolved(&mut self, disputes: &[Facts], shared: Option<Seq>, now: UnixSeconds) {
        if disputes.is_empty() {
            return;
        }
        let gone = disputes
            .iter()
            .all(|facts| facts.shown.counted.is_zero() && !self.adds(&facts.shown));
        let newest = self.channel.received().seq;
        let known: BTreeSet<u64> = self.countable(now).map(|lock| lock.id).collect();
        let (of_dispute, of_voucher, resolved) = &mut self.defence.resolved;
        let forget = match shared {
            Some(number) => number > *of_dispute || newest != *of_voucher || gone,
            None => known.is_subset(resolved),
        };
        if forget {
            if shared.is_some_and(|number| number > *of_dispute) || newest != *of_voucher {
                self.defence.fewer.forget();
            }
            (*of_dispute, *of_voucher) = (shared.unwrap_or_default().max(*of_dispute), newest);
            resolved.clear();
        }
    }

    /// Whether the newest voucher adds something, and the locks to be resolved next.
    fn unshown(&self, shown: &Shown, now: UnixSeconds) -> (bool, BTreeSet<u64>) {
        let newest = self.channel.received();
        let voucher = self.adds(shown);
        if newest.seq < shown.seq || (newest.seq == shown.seq && newest.paid > shown.paid && shown.live) {
            // Locks are counted in the stored voucher only, and that one is another.
            return (voucher, BTreeSet::new());
        }
        let mut known: Vec<&Lock> = self.countable(now).collect();
        // Marked ones have time.
        known.sort_by_key(|lock| (now >= lock.expiry, self.defence.fewer.rank(lock)));
        // Those that have expired may be what is counted.
        let sum = self
            .claimed()
            .fold(0_u128, |sum, lock| sum.saturating_add(lock.amount.0));
        if !voucher && shown.counted >= Amount(sum) {
            return (false, BTreeSet::new());
        }
        let (mut room, resolved) = (Room::default(), &self.defence.resolved.2);
        let left = known.into_iter().filter(|lock| !resolved.contains(&lock.id));
        let chosen = left.take_while(|lock| room.take(lock)).map(|lock| lock.id);
        (voucher, chosen.collect())
    }

    /// After the window: the locks to be resolved next. No voucher is taken any more, but locks of the one that is stored are
    /// counted until the dispute is final, which is not before the last of them expires (R17, R18).
    fn unresolved(&self, shown: &Shown, now: UnixSeconds) -> BTreeSet<u64> {
        let stored = shown.opened && shown.seq == self.channel.received().seq;
        match self.unshown(shown, now) {
            (false, locks) if stored && now < self.final_at(shown) => locks,
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn calldata(&self, step: &Step) -> Vec<u8> {
        let config = self.channel.config();
        match step {
            Step::Dispute { locks, .. } => {
                calls::dispute(config, Side::Hub, &self.evidence_of(locks)).abi_encode()
            }
            Step::Show { voucher, locks, .. } => {
                let received = self.evidence_of(locks);
                let (submissions, resolutions) = calls::evidence(Side::Hub, &received);
                let call = IAdjudicator::submitCall {
                    config: config.to_abi(),
                    submissions: if *voucher { submissions } else { Vec::new() },
                    resolutions,
                };
                call.abi_encode()
            }
            Step::Finalize => calls::finalize(config).abi_encode(),
            Step::Claim => {
                let (token, to) = (config.token, config.client);
                IAdjudicator::claimCall { token, to }.abi_encode()
            }
            Step::Withdraw { .. } => {
                let signed = self.channel.pending_withdraw().zip(self.countersigned);
                let call = |(message, (own, hub)): (_, (Signature, Signature))| {
                    calls::withdraw(config, message, &own.0, &hub.0)
                };
                signed.map(|signed| call(signed).abi_encode()).unwrap_or_default()
            }
        }
    }

    /// What a step that shows evidence needs at most.
    pub(super) fn gas_most(&self, step: &Step) -> u64 {
        let (Step::Show { locks, .. } | Step::Dispute { locks, .. }) = step else {
            return u64::MAX;
        };
        let all = &self.channel.received().locks;
        let weights = locks
            .iter()
            .filter_map(|id| Some(all.lock(*id)?.condition().weight()));
        let weight = weights.fold(0, u64::saturating_add);
        SHOW_GAS_MAX.saturating_add(limits::LOCK_GAS_MAX.saturating_mul(weight))
    }

    /// The newest voucher, with the witnesses of these locks. A marked lock whose witness is not known here needs none.
    fn evidence_of(&self, locks: &BTreeSet<u64>) -> DirectionEvidence {
        let mut received = DirectionEvidence::received_by(&self.channel);
        let known: BTreeMap<u64, Witness> = received
            .witnesses
            .iter()
            .filter_map(|(id, witness)| Some((id.parse().ok()?, witness.clone())))
            .collect();
        let witness = |id: &u64| known.get(id).cloned().unwrap_or_default();
        let chosen = locks.iter().map(|id| (id.to_string(), witness(id)));
        received.witnesses = chosen.collect();
        received
    }
}

#[cfg(test)]
mod tests;
