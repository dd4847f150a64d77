//! Locks of transactions that reverted although every resolver said yes when it was asked: without them the voucher and the
//! other locks go first, then they go one by one.

use super::{again::Shown, folder::Ward};
use crate::settle::{evidence::CheckedEvidence, outlook::Offer, view::View};
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

    /// What is to be shown now: `offered` without what reverted, or one lock of that when nothing else is left. `view` leaves
    /// out the rest.
    pub(super) fn offer(&self, ward: Ward, view: &mut View, offered: impl Fn(&View) -> Offer) -> Offer {
        let Some(suspects) = self.0.get(&ward) else {
            return offered(view);
        };
        let due = offered(view).unlocks;
        view.left_out.clone_from(&suspects.together);
        let without = offered(view);
        let untried = suspects.together.difference(&suspects.alone);
        match untried.copied().find(|id| due.contains(id)) {
            Some(one) if without.is_empty() => {
                view.left_out.remove(&one);
                offered(view)
            }
            _ => without,
        }
    }
}
