//! Locks that the chain refuses, because their resolvers do, keep back neither the voucher nor the other locks: after the first
//! refusal the voucher goes alone, then the locks on preimages, which no stranger can refuse, then those of one resolver after
//! the other, in halves until those that are refused are left.

use super::step::Step;
use crate::ChainError;
use protocol_spec::{Address, Lock, UnixSeconds};
use std::collections::{BTreeMap, BTreeSet};

/// So many refusals that cost gas find one lock among all of a resolver. What refuses more often rests in between.
const PROMPT_MAX: u32 = 8;

/// What the chain refused of one channel, in this process.
#[derive(Default)]
pub(super) struct Fewer {
    /// Something was refused: nothing goes together with locks of another resolver any more.
    apart: bool,
    groups: BTreeMap<Address, Group>,
    /// Refused alone; tried again when nothing else is left.
    refused: BTreeSet<u64>,
    /// All that is left was refused before.
    again: bool,
}

/// The locks of one resolver; of the zero address those on preimages.
#[derive(Default)]
struct Group {
    /// So many go together at most; `None`: any number.
    at_once: Option<usize>,
    refusals: u32,
}

impl Fewer {
    /// In which order locks go, the first first: those that were refused last, and what was refused less often before the rest.
    pub(super) fn rank(&self, lock: &Lock) -> (bool, u32, Address, UnixSeconds) {
        let waits = self.refused.contains(&lock.id);
        let group = self.groups.get(&lock.resolver).filter(|_| self.apart);
        let refusals = group.map_or(0, |group| group.refusals);
        let resolver = if self.apart { lock.resolver } else { Address::ZERO };
        (waits, refusals, resolver, lock.expiry)
    }

    /// The locks that go now, with the voucher or without one.
    /// Those that expire ahead of `now` first: what has expired counts only if it is marked, and then it has time.
    pub(super) fn of<'a>(
        &mut self,
        voucher: bool,
        locks: impl Iterator<Item = &'a Lock>,
        now: UnixSeconds,
    ) -> BTreeSet<u64> {
        let mut locks: Vec<&Lock> = locks.filter(|lock| !self.refused.contains(&lock.id)).collect();
        if locks.is_empty() && !voucher {
            self.again |= !self.refused.is_empty();
            self.refused.clear();
        }
        if !self.apart {
            return locks.into_iter().map(|lock| lock.id).collect();
        }
        if voucher {
            return BTreeSet::new();
        }
        let kind = |lock: &Lock| (now >= lock.expiry, lock.resolver);
        locks.sort_by_key(|lock| (now >= lock.expiry, self.rank(lock)));
        let Some(first) = locks.first().map(|lock| kind(lock)) else {
            return BTreeSet::new();
        };
        let group = self.groups.get(&first.1);
        let most = group.and_then(|group| group.at_once).unwrap_or(usize::MAX);
        let of_it = locks.into_iter().filter(|lock| kind(lock) == first);
        of_it.take(most).map(|lock| lock.id).collect()
    }

    /// How a step ended, with locks of `resolver`. What failed otherwise than by a refusal says nothing. True when what is tried
    /// next is something else, for the first time.
    pub(super) fn heard(&mut self, step: &Step, resolver: Address, failed: Option<&ChainError>) -> bool {
        let (voucher, locks) = match step {
            Step::Show { voucher, locks, .. } => (*voucher, locks),
            Step::Dispute { locks, .. } => (true, locks),
            Step::Finalize | Step::Claim | Step::Withdraw { .. } => return false,
        };
        if locks.is_empty() {
            return false;
        }
        let costs = match failed {
            None => {
                if let Some(group) = self.groups.get_mut(&resolver).filter(|_| self.apart) {
                    group.at_once = group.at_once.map(|most| most.saturating_mul(2));
                }
                return false;
            }
            Some(ChainError::WouldRevert(_)) => false,
            Some(ChainError::Reverted { .. }) => true,
            Some(_) => return false,
        };
        if !std::mem::replace(&mut self.apart, true) && (voucher || locks.len() > 1) {
            return true;
        }
        let group = self.groups.entry(resolver).or_default();
        group.refusals = group.refusals.saturating_add(1);
        match locks.len() {
            1 => self.refused.extend(locks),
            count => group.at_once = Some(count >> 1),
        }
        !self.again && (!costs || group.refusals <= PROMPT_MAX)
    }

    /// Another dispute or another voucher: what was refused may be taken.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol_spec::{Amount, Digest};
    use std::time::Duration;

    const ONE: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    fn lock(id: u64, resolver: Address) -> Lock {
        Lock {
            id,
            amount: Amount(1),
            expiry: UnixSeconds(9),
            hash: Digest([3; 32]),
            resolver,
        }
    }

    struct Tried {
        /// Attempts, and those of them that the next one did not follow at once.
        attempts: u32,
        rests: u32,
        /// After so many attempts the locks on preimages were there, and all that are taken.
        preimages: u32,
        all: u32,
    }

    /// Shows a voucher with `locks`, of which those that are `bad` are refused, in a transaction if that `costs`.
    fn shown(locks: &[Lock], bad: impl Fn(&Lock) -> bool, costs: bool) -> Tried {
        let (mut fewer, mut voucher) = (Fewer::default(), true);
        let mut left: Vec<&Lock> = locks.iter().collect();
        let mut tried = Tried {
            attempts: 0,
            rests: 0,
            preimages: 0,
            all: 0,
        };
        while voucher || left.iter().any(|lock| !bad(lock)) {
            let chosen = fewer.of(voucher, left.iter().copied(), UnixSeconds(0));
            assert!(voucher || !chosen.is_empty(), "it waits for nothing");
            let now: Vec<&Lock> = left
                .iter()
                .copied()
                .filter(|lock| chosen.contains(&lock.id))
                .collect();
            let refused = now.iter().any(|lock| bad(lock));
            let step = Step::Show {
                voucher,
                locks: chosen.clone(),
                left: Duration::from_secs(9),
            };
            let why = match costs {
                true => ChainError::Reverted { tx: String::new() },
                false => ChainError::WouldRevert(String::new()),
            };
            let resolver = now.first().map_or(Address::ZERO, |lock| lock.resolver);
            let prompt = fewer.heard(&step, resolver, refused.then_some(&why));
            tried.attempts = tried.attempts.saturating_add(1);
            tried.rests = tried.rests.saturating_add(u32::from(refused && !prompt));
            assert!(!voucher || !refused || tried.attempts < 2, "the voucher waits");
            if !refused {
                voucher = false;
                left.retain(|lock| !chosen.contains(&lock.id));
            }
            let without = |lock: &&&Lock| lock.resolver == Address::ZERO;
            if tried.preimages == 0 && !voucher && left.iter().filter(without).count() == 0 {
                tried.preimages = tried.attempts;
            }
            assert!(tried.attempts < 400);
        }
        tried.all = tried.attempts;
        tried
    }

    fn locks(of: &[(u64, Address)]) -> Vec<Lock> {
        let all = of
            .iter()
            .flat_map(|(count, resolver)| (0..*count).map(|_| *resolver));
        all.zip(1..).map(|(resolver, id)| lock(id, resolver)).collect()
    }

    /// However many locks of a resolver are refused: the voucher, what no resolver decides and what another one takes get there
    /// by the fifth attempt, and none of them rests.
    #[test]
    fn what_one_resolver_refuses_keeps_nothing_of_the_others_back() {
        for costs in [false, true] {
            for bad in [1, 2, 100] {
                let locks = locks(&[(bad, ONE), (10, Address::ZERO), (5, OTHER)]);
                let tried = shown(&locks, |lock| lock.resolver == ONE, costs);
                assert_eq!((tried.preimages, tried.rests), (3, 0), "{bad}");
                assert!(tried.all <= 5, "{} of {bad}", tried.all);
            }
        }
        let without = shown(&locks(&[(9, Address::ZERO)]), |_| false, false);
        assert_eq!((without.attempts, without.rests), (1, 0));
    }

    #[test]
    fn of_one_resolver_the_refused_locks_are_found_by_halves() {
        for (count, bad) in [(1_u64, vec![1]), (2, vec![2]), (30, vec![1, 17, 30])] {
            let locks = locks(&[(count, ONE)]);
            for costs in [false, true] {
                let tried = shown(&locks, |lock| bad.contains(&lock.id), costs);
                assert!(tried.attempts < 30, "{} for {count}", tried.attempts);
                assert!(costs || tried.rests == 0);
            }
        }
    }

    #[test]
    fn what_is_refused_for_ever_is_tried_again_with_rests() {
        let (mut fewer, locks) = (Fewer::default(), locks(&[(3, ONE)]));
        let why = ChainError::WouldRevert(String::new());
        let mut prompt = 0;
        for _ in 0..100 {
            let locks = fewer.of(false, locks.iter(), UnixSeconds(0));
            let step = Step::Show {
                voucher: false,
                locks: locks.clone(),
                left: Duration::from_secs(9),
            };
            prompt += u32::from(fewer.heard(&step, ONE, Some(&why)));
        }
        assert!((3..9).contains(&prompt), "{prompt}");
    }
}
