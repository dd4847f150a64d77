//! Locks of transactions that reverted although every resolver said yes when it was asked: without them the voucher and the
//! other locks go first, then they go one by one.

use super::{again::Shown, folder::Ward};
use crate::settle::evidence::CheckedEvidence;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
struct Suspects {
    /// They were in a transaction that reverted.
    together: BTreeSet<u64>,
    /// Of them those that were alone in one. Not shown again by this process: it would cost gas at every look.
    alone: BTreeSet<u64>,
}

/// By side of a channel.
#[derive(Debug, Default)]
pub(super) struct Reverted(BTreeMap<Ward, Suspects>);

impl Reverted {
    /// What shows `shown` of `evidence` was mined and reverted.
    pub(super) fn add(&mut self, ward: Ward, evidence: &CheckedEvidence, shown: &Shown) {
        let locks = evidence.received().locks.iter();
        let resolved =
            locks.filter(|lock| lock.condition().has_resolver() && shown.unlocks().contains(&lock.id));
        let resolved: BTreeSet<u64> = resolved.map(|lock| lock.id).collect();
        if resolved.is_empty() {
            return;
        }
        let suspects = self.0.entry(ward).or_default();
        if shown.is_one_lock() {
            suspects.alone.extend(&resolved);
        }
        suspects.together.extend(resolved);
    }

    /// What is left out at first.
    pub(super) fn all(&self, ward: Ward) -> BTreeSet<u64> {
        let suspects = self.0.get(&ward);
        suspects
            .map(|suspects| suspects.together.clone())
            .unwrap_or_default()
    }

    /// The next that goes alone, when nothing else is to be shown, of those that are due.
    pub(super) fn next(&self, ward: Ward, is_due: impl Fn(u64) -> bool) -> Option<u64> {
        let suspects = self.0.get(&ward)?;
        let untried = suspects.together.difference(&suspects.alone);
        untried.copied().find(|id| is_due(*id))
    }
}
