//! One lock that the chain refuses, because its resolver does, keeps back neither the voucher nor the other locks: after a
//! refusal the voucher goes alone, then the locks in halves, until those that are refused are left.

use super::step::Step;
use crate::ChainError;
use std::collections::BTreeSet;

/// What the chain refused of one channel, in this process.
#[derive(Default)]
pub(super) struct Fewer {
    /// So many locks go together at most, and none with a voucher; `None` before the first refusal.
    at_once: Option<usize>,
    /// Refused alone; tried again when nothing else is left.
    refused: BTreeSet<u64>,
}

impl Fewer {
    /// The locks that go now, with the voucher or without one.
    pub(super) fn of(&mut self, voucher: bool, mut locks: BTreeSet<u64>) -> BTreeSet<u64> {
        locks.retain(|id| !self.refused.contains(id));
        if locks.is_empty() && !voucher {
            self.refused.clear();
        }
        match self.at_once {
            Some(_) if voucher => BTreeSet::new(),
            Some(most) => locks.into_iter().take(most).collect(),
            None => locks,
        }
    }

    /// Whether the lock waits for those that the chain takes.
    pub(super) fn waits(&self, id: u64) -> bool {
        self.refused.contains(&id)
    }

    /// How a step ended. What failed otherwise than by a refusal says nothing.
    pub(super) fn heard(&mut self, step: &Step, failed: Option<&ChainError>) {
        match failed {
            None => self.told(step, true),
            Some(ChainError::WouldRevert(_) | ChainError::Reverted { .. }) => self.told(step, false),
            Some(_) => {}
        }
    }

    fn told(&mut self, step: &Step, taken: bool) {
        let (voucher, locks) = match step {
            Step::Show { voucher, locks, .. } => (*voucher, locks),
            Step::Dispute { locks, .. } => (true, locks),
            Step::Finalize | Step::Claim | Step::Withdraw { .. } => return,
        };
        match (taken, locks.len()) {
            (_, 0) => {}
            (true, _) => self.at_once = self.at_once.map(|most| most.saturating_mul(2)),
            (false, count) if voucher => self.at_once = Some(count),
            (false, 1) => self.refused.extend(locks),
            (false, count) => self.at_once = Some(count >> 1),
        }
    }

    /// Another dispute or another voucher: what was refused may be taken.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// However many locks there are and whichever are refused, the voucher gets there at the second attempt, every other lock
    /// before long, and a refused one is tried again in the end.
    #[test]
    fn a_lock_that_is_refused_keeps_nothing_back() {
        for (count, bad) in [
            (1_u64, vec![1]),
            (2, vec![2]),
            (150, vec![1, 77, 150]),
            (9, vec![]),
        ] {
            let (mut fewer, mut voucher) = (Fewer::default(), true);
            let mut left: BTreeSet<u64> = (1..=count).collect();
            let mut attempts = 0_u32;
            while voucher || left.iter().any(|id| !bad.contains(id)) {
                let open: BTreeSet<u64> = left.iter().copied().filter(|id| !fewer.waits(*id)).collect();
                let locks = fewer.of(voucher, open);
                assert!(voucher || !locks.is_empty(), "it waits for nothing");
                let taken = !locks.iter().any(|id| bad.contains(id));
                let left_s = Duration::from_secs(9);
                let step = Step::Show {
                    voucher,
                    locks: locks.clone(),
                    left: left_s,
                };
                fewer.told(&step, taken);
                attempts = attempts.saturating_add(1);
                assert!(!voucher || taken || attempts < 2, "the voucher waits");
                if taken {
                    voucher = false;
                    left.retain(|id| !locks.contains(id));
                }
                assert!(attempts < 60, "{count} locks, {bad:?} refused");
            }
            let tried: BTreeSet<u64> = bad.iter().copied().collect();
            let mut again = false;
            for _ in 0..20 {
                let locks = fewer.of(false, left.clone());
                again |= !locks.is_empty() && locks.is_subset(&tried);
                fewer.told(
                    &Step::Show {
                        voucher: false,
                        locks,
                        left: Duration::from_secs(9),
                    },
                    false,
                );
            }
            assert_eq!(again, !bad.is_empty(), "it may be taken later");
        }
    }
}
