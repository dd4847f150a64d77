//! What is to be done for a channel on chain: it follows from what the endpoints show and from the store.

use super::{fewer::Fewer, rest::Rests};
use crate::{
    ChainError,
    actor::{Retries, cooperate::WITHDRAW_LIFE_S, entry::Entry},
    chain::{Facts, Shown},
};
use alloy::sol_types::SolCall;
use protocol_spec::{
    Address, Amount, DirectionEvidence, Lock, Room, SHOW_GAS_MAX, Seq, Side, Signature, UnixSeconds,
    abi::IAdjudicator,
    calls,
    canary::{Canary, planted},
    channel::Phase,
    limits,
};
use std::{cmp::Ordering, collections::BTreeSet, time::Duration};
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
        if self.must_dispute(seen) {
            // Of a dispute that is over, or was taken away.
            self.defence.resolved.2.clear();
            let (_, locks) = self.unshown(&Shown::default(), seen.now);
            let left = self.first_expiry(&locks).0.saturating_sub(seen.now.0);
            let left = Duration::from_secs(left);
            let locks = self.fewer(true, &locks);
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
                let until = self.first_expiry(&unresolved);
                (false, unresolved, until)
            };
            if missing || !unresolved.is_empty() {
                voucher |= missing;
                locks.extend(unresolved);
                // The longest: whoever gives up early begins at the market's fees again.
                left_s = left_s.max(until.0.saturating_sub(now.0));
            }
        }
        let locks = self.fewer(voucher, &locks);
        if !locks.is_empty() {
            // With one that has expired none of it is taken, the voucher neither: then it is tried without.
            left_s = left_s.min(self.first_expiry(&locks).0.saturating_sub(now.0));
        }
        if (voucher || !locks.is_empty()) && !planted(Canary::ShowNothing) {
            let left = Duration::from_secs(left_s);
            return Some(Step::Show { voucher, locks, left });
        }
        (over >= seen.needed).then_some(Step::Finalize)
    }

    /// The withdrawal that both sides have signed, if no block has it: at once, or when the hub has let a third of its life pass.
    pub(super) fn unmined_withdrawal(&self, seen: &Sighting<'_>, at_once: bool) -> Option<Step> {
        let message = self.channel.pending_withdraw()?;
        let own = message.side == Side::Client && self.countersigned.is_some();
        let (deadline, now) = (message.deadline, seen.latest);
        let patience = if at_once { 0 } else { WITHDRAW_LIFE_S / 3 };
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
        due && self
            .openable(seen.now)
            .any(|lock| lock.expiry <= seen.latest.after(act_s))
    }

    /// Locks of the hub whose witnesses are known and that the chain still resolves.
    fn openable(&self, now: UnixSeconds) -> impl Iterator<Item = &Lock> {
        let locks = &self.channel.received().locks;
        let known = self.channel.known_witnesses();
        let known = known.filter_map(|(id, _)| locks.lock(id));
        known.filter(move |lock| now < lock.expiry && !planted(Canary::ForgetWitnesses))
    }

    fn first_expiry(&self, locks: &BTreeSet<u64>) -> UnixSeconds {
        let all = &self.channel.received().locks;
        let expiries = locks.iter().filter_map(|id| Some(all.lock(*id)?.expiry));
        expiries.min().unwrap_or_default()
    }

    fn fewer(&mut self, voucher: bool, locks: &BTreeSet<u64>) -> BTreeSet<u64> {
        let all = &self.channel.received().locks;
        let locks = locks.iter().filter_map(|id| all.lock(*id));
        self.defence.fewer.of(voucher, locks)
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
        let without_locks = newest.seq == shown.seq && newest.opening.is_some() && !shown.live;
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
        let known: BTreeSet<u64> = self.openable(now).map(|lock| lock.id).collect();
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
        let mut known: Vec<&Lock> = self.openable(now).collect();
        known.sort_by_key(|lock| self.defence.fewer.rank(lock));
        let sum = known
            .iter()
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
        let stored = shown.live && shown.seq == self.channel.received().seq;
        match self.unshown(shown, now) {
            (false, locks) if stored => locks,
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

    /// The newest voucher, with the witnesses of these locks.
    fn evidence_of(&self, locks: &BTreeSet<u64>) -> DirectionEvidence {
        let mut received = DirectionEvidence::received_by(&self.channel);
        let chosen = |id: &str| id.parse().is_ok_and(|id| locks.contains(&id));
        received.witnesses.retain(|(id, _)| chosen(id));
        received
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test may fail by panicking"
    )]

    use super::*;
    use crate::actor::samples::{NOW, credit_of, lock_of, with_first_voucher};
    use protocol_spec::{Condition, Op, Opened, Preimage, channel::Clock};

    /// Seen by endpoints of which `open` show no dispute.
    fn seen(disputes: &[Facts], open: usize, now: UnixSeconds) -> Sighting<'_> {
        let needed = (disputes.len() + open) / 2 + 1;
        let number = disputes.first().map(|facts| facts.dispute_no);
        Sighting {
            disputes,
            open,
            needed,
            shared: number.filter(|_| disputes.len() >= needed),
            withdrawn: Amount::ZERO,
            now,
            latest: now,
        }
    }

    fn step_of(entry: &mut Entry, disputes: &[Facts], now: UnixSeconds) -> Option<Step> {
        entry.step(&seen(disputes, 0, now))
    }

    /// In a dispute in which voucher `seq` with `paid` was shown of the hub, with its locks.
    fn facts(seq: u64, paid: u128) -> Facts {
        let shown = Shown {
            seq: Seq(seq),
            paid: Amount(paid),
            live: true,
            window_end: NOW.after(1000),
            ..Shown::default()
        };
        Facts {
            disputed: true,
            shown,
            ..Facts::default()
        }
    }

    /// A restored hub may have signed two vouchers of one seq: the one that pays less does not keep back the other.
    #[test]
    fn r21_a_voucher_is_shown_when_it_pays_more_whatever_its_seq() {
        for ops in [vec![credit_of(100)], vec![credit_of(100), lock_of(5)]] {
            let mut entry = with_first_voucher(&ops);
            let mut shows = |seq, paid| match step_of(&mut entry, &[facts(seq, paid)], NOW) {
                Some(Step::Show { voucher, locks, .. }) => {
                    assert!(locks.is_empty(), "no witness is known");
                    voucher
                }
                Some(step) => panic!("{step:?}"),
                None => false,
            };
            for seq in [0, 1, 2] {
                assert!(shows(seq, 99), "seq {seq}");
            }
            assert!(!shows(1, 100), "it is there");
            assert!(!shows(2, 100), "a newer one is there");
            // Without locks of either side a newer seq alone changes nothing.
            assert_eq!(shows(0, 100), ops.len() > 1);
            let mut acknowledged = facts(1, 100);
            acknowledged.shown.live = false;
            let step = step_of(&mut entry, &[acknowledged], NOW);
            let shown = matches!(step, Some(Step::Show { voucher: true, .. }));
            assert_eq!(
                shown,
                ops.len() > 1,
                "our own voucher acknowledges it, without its locks"
            );
            assert_eq!(
                step_of(&mut entry, &[facts(1, 99)], NOW.after(1000)),
                Some(Step::Finalize)
            );
        }
    }

    /// One endpoint that says the voucher is there, or that the window is over, keeps nothing back.
    #[test]
    fn r21_what_one_endpoint_does_not_show_is_shown_whatever_the_others_say() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        let (honest, satisfied) = (facts(0, 0), facts(9, 1_000_000));
        let mut over = facts(0, 0);
        over.shown.window_end = NOW;
        for disputes in [
            vec![honest, satisfied],
            vec![satisfied, honest, over],
            vec![over, honest],
        ] {
            let step = step_of(&mut entry, &disputes, NOW);
            assert!(matches!(step, Some(Step::Show { voucher: true, .. })), "{step:?}");
        }
        assert_eq!(
            step_of(&mut entry, &[satisfied, over], NOW),
            None,
            "half is not most"
        );
        assert_eq!(step_of(&mut entry, &[over], NOW), Some(Step::Finalize));
        assert_eq!(step_of(&mut entry, &[], NOW), None);
    }

    /// One that shows the window over, on a channel that is open, had the account emptied by what it named for gas.
    #[test]
    fn only_as_many_as_must_agree_have_a_dispute_finalized() {
        let mut entry = with_first_voucher(&[credit_of(100)]);
        let mut over = facts(9, 100);
        over.shown.window_end = NOW;
        assert_eq!(entry.step(&seen(&[over], 2, NOW)), None);
        assert_eq!(entry.step(&seen(&[over], 1, NOW)), None, "of two");
        let two = [over, over];
        assert_eq!(entry.step(&seen(&two, 1, NOW)), Some(Step::Finalize));
    }

    /// Without the word of as many as must agree nothing is taken for done for good.
    #[test]
    fn locks_resolved_in_a_dispute_that_one_invented_are_resolved_in_the_real_one() {
        let mut entry = with_open_lock();
        let mut number = facts(1, 100);
        let resolves = |entry: &mut Entry, disputes: &[Facts], open| {
            let step = entry.step(&seen(disputes, open, NOW));
            matches!(step, Some(Step::Show { locks, .. }) if locks.contains(&1))
        };
        for fake in 1..20 {
            number.dispute_no = Seq(fake);
            assert!(resolves(&mut entry, &[number], 2));
            entry.defence.resolved.2.insert(1);
        }
        number.dispute_no = Seq(1);
        assert!(resolves(&mut entry, &[number, number], 1));
        entry.defence.resolved.2.insert(1);
        let mut counted = number;
        counted.shown.counted = Amount(5);
        assert!(!resolves(&mut entry, &[number, counted], 1), "it is done");
    }

    const ACT_S: u64 = protocol_spec::limits::ACT_DEFAULT_S;

    /// A lock that expires an hour from [`NOW`], which this client can open.
    fn with_open_lock() -> Entry {
        let preimage = Preimage([3; 32]);
        let condition = Condition::preimage(&preimage);
        let mut op = lock_of(5);
        if let Op::LockAdd { lock, .. } = &mut op {
            lock.hash = condition.hash;
        }
        let mut entry = with_first_voucher(&[credit_of(100), op]);
        let opened = Opened::by_hash(condition, preimage.into()).unwrap();
        let clock = Clock { now: NOW, chain: NOW };
        entry.channel.learn_witness(1, &opened, clock).unwrap();
        entry
    }

    /// The whole transaction fails when one of its locks has expired: it must not be waited for any longer.
    #[test]
    fn r21_what_is_shown_with_a_lock_is_tried_no_longer_than_the_lock_lives() {
        let mut entry = with_open_lock();
        let mut dispute = facts(0, 0);
        dispute.shown.live = false;
        let mut left = |window_s, now: UnixSeconds| {
            dispute.shown.window_end = NOW.after(window_s);
            match step_of(&mut entry, &[dispute], now) {
                Some(Step::Show {
                    voucher: true,
                    locks,
                    left,
                }) => (locks.len(), left.as_secs()),
                step => panic!("{step:?}"),
            }
        };
        assert_eq!(left(1000, NOW), (1, 1000));
        assert_eq!(left(5000, NOW), (1, 3600));
        assert_eq!(left(5000, NOW.after(3600)), (0, 1400), "then without it");
    }

    /// What a resolver takes may come after the window, and a client may be away until then.
    #[test]
    fn r17_locks_of_the_stored_voucher_are_resolved_after_the_window_until_they_expire() {
        let over = |seq, paid| {
            let mut over = facts(seq, paid);
            over.shown.window_end = NOW;
            over
        };
        let mut entry = with_open_lock();
        let shows = Step::Show {
            voucher: false,
            locks: BTreeSet::from([1]),
            left: Duration::from_secs(3600),
        };
        assert_eq!(step_of(&mut entry, &[over(1, 100)], NOW), Some(shows));
        // Another voucher is stored, or this one without its locks: too late for those.
        let mut without = over(1, 100);
        without.shown.live = false;
        for other in [over(0, 0), over(2, 100), over(1, 60), without] {
            assert_eq!(
                step_of(&mut entry, &[other], NOW),
                Some(Step::Finalize),
                "{other:?}"
            );
        }
        let expired = NOW.after(3600);
        assert_eq!(
            step_of(&mut entry, &[over(1, 100)], expired),
            Some(Step::Finalize)
        );
        let mut counted = over(1, 100);
        counted.shown.counted = Amount(5);
        assert_eq!(
            step_of(&mut entry, &[counted], NOW),
            Some(Step::Finalize),
            "it is done"
        );
    }

    #[test]
    fn r21_a_voucher_known_by_an_acknowledgement_is_shown_and_its_locks_in_one_transaction() {
        let (stored, mut acknowledged) = (facts(1, 100), facts(1, 100));
        acknowledged.shown.live = false;
        let less = |live| {
            let mut less = facts(1, 60);
            less.shown.live = live;
            less
        };
        let both = (true, BTreeSet::from([1]));
        let cases = [
            (vec![acknowledged], both.clone()),
            (vec![less(false)], both.clone()),
            (vec![stored, acknowledged], both),
            // Another voucher of this seq is stored: its locks are not ours to resolve.
            (vec![less(true)], (true, BTreeSet::new())),
        ];
        for (disputes, shows) in cases {
            let mut entry = with_open_lock();
            match step_of(&mut entry, &disputes, NOW) {
                Some(Step::Show { voucher, locks, .. }) => assert_eq!((voucher, locks), shows),
                step => panic!("{step:?}"),
            }
        }
    }

    #[test]
    fn r21_a_dispute_begins_by_expiry_less_act_and_not_after_the_expiry() {
        let mut entry = with_open_lock();
        let due = NOW.after(3600 - ACT_S);
        let before = UnixSeconds(due.0 - 1);
        assert_eq!(entry.step(&seen(&[], 1, before)), None);
        let left = Duration::from_secs(ACT_S);
        let locks = BTreeSet::from([1]);
        assert_eq!(
            entry.step(&seen(&[], 1, due)),
            Some(Step::Dispute { locks, left })
        );
        assert_eq!(
            entry.step(&seen(&[], 1, NOW.after(3600))),
            None,
            "it is worth nothing"
        );
        // By the own clock when that is ahead of the chain.
        let sighting = Sighting {
            latest: due,
            ..seen(&[], 1, NOW)
        };
        assert!(matches!(entry.step(&sighting), Some(Step::Dispute { .. })));
        // A lock that nobody here can open is no reason.
        let mut entry = with_first_voucher(&[lock_of(5)]);
        assert_eq!(entry.step(&seen(&[], 1, due)), None);
        // Nor is one that was given up.
        assert!(with_open_lock().channel.consent(1).is_err(), "R11");
    }

    /// Whether there is a dispute most say; where they are divided both are tried in turn.
    #[test]
    fn r21_one_endpoint_of_three_that_lies_neither_hides_nor_invents_the_dispute_to_be_started() {
        let due = NOW.after(3600 - ACT_S);
        let dispute = |step: Option<Step>| match step {
            Some(Step::Dispute { .. }) => true,
            Some(Step::Show { .. }) => false,
            step => panic!("{step:?}"),
        };
        let mut entry = with_open_lock();
        let mut shown = facts(0, 0);
        shown.shown.window_end = due.after(1000);
        assert!(dispute(entry.step(&seen(&[shown], 2, due))), "one invents it");
        assert!(
            !dispute(entry.step(&seen(&[shown, shown], 1, due))),
            "one hides it"
        );
        assert!(dispute(entry.step(&seen(&[shown], 1, due))));
        entry.defence.disputed_last = true;
        assert!(!dispute(entry.step(&seen(&[shown], 1, due))));
        assert_eq!(entry.step(&seen(&[], 0, due)), None, "nobody shows the channel");
    }
}
