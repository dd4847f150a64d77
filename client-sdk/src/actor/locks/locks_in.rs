//! The hub's locks that pay own invoices: opened already, or held until they are released.

use protocol_spec::{Digest, PaymentId};
use std::collections::{BTreeMap, BTreeSet};

/// What a lock of the hub pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::actor) struct Paying {
    pub(in crate::actor) payment_id: PaymentId,
    /// Digest of the own invoice.
    pub(in crate::actor) invoice: Digest,
    /// The lock's hash.
    pub(in crate::actor) hash: Digest,
}

/// By lock id, and found by the hash they are locked to.
#[derive(Default)]
pub(in crate::actor) struct LocksIn {
    by_id: BTreeMap<u64, Paying>,
    by_hash: BTreeMap<Digest, BTreeSet<u64>>,
}

impl LocksIn {
    pub(in crate::actor) fn insert(&mut self, id: u64, paying: Paying) {
        self.remove(id);
        self.by_hash.entry(paying.hash).or_default().insert(id);
        self.by_id.insert(id, paying);
    }

    pub(in crate::actor) fn remove(&mut self, id: u64) -> Option<Paying> {
        let paying = self.by_id.remove(&id)?;
        if let Some(ids) = self.by_hash.get_mut(&paying.hash) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_hash.remove(&paying.hash);
            }
        }
        Some(paying)
    }

    pub(in crate::actor) fn get(&self, id: u64) -> Option<&Paying> {
        self.by_id.get(&id)
    }

    pub(in crate::actor) fn iter(&self) -> impl Iterator<Item = (u64, &Paying)> {
        self.by_id.iter().map(|(id, paying)| (*id, paying))
    }

    /// Those that are locked to `hash`, in ascending id.
    pub(in crate::actor) fn with_hash(&self, hash: &Digest) -> impl Iterator<Item = (u64, &Paying)> {
        let ids = self.by_hash.get(hash).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }
}
