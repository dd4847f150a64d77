//! Which channels a commit changed: to be written with the next checkpoint, and to be looked at for their reserves.

use std::collections::BTreeSet;

/// Indices of channels.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Since the last checkpoint.
    unsaved: BTreeSet<usize>,
    /// Since their reserves were looked at last.
    unseen: BTreeSet<usize>,
}

impl Touched {
    /// Changed in some way.
    pub(super) fn insert(&mut self, index: usize) {
        self.unsaved.insert(index);
        self.unseen.insert(index);
    }

    /// Nothing of it changed, but what its reserve is measured by.
    pub(super) fn look_at(&mut self, index: usize) {
        self.unseen.insert(index);
    }

    /// All of `count` channels, as for a new database.
    pub(super) fn all(&mut self, count: usize) {
        (0..count).for_each(|index| self.insert(index));
    }

    /// For a checkpoint.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.unsaved)
    }

    /// For a look at the reserves.
    pub(super) fn take_unseen(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.unseen)
    }
}
