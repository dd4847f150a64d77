//! Which channels a commit changed: to get a voucher, to be written with the next checkpoint, and to be looked at for
//! their reserves.

use std::collections::BTreeSet;

/// Makes `set` say whether `index` is in it.
pub(super) fn keep(set: &mut BTreeSet<usize>, index: usize, wanted: bool) {
    if wanted {
        set.insert(index);
    } else {
        set.remove(&index);
    }
}

/// Of how many channels something is true: a mark for each, since there may be very many.
#[derive(Debug, Default)]
pub(super) struct Tally {
    marks: Vec<bool>,
    count: usize,
}

impl Tally {
    /// Makes the mark of `index` say whether it is `wanted`.
    pub(super) fn keep(&mut self, index: usize, wanted: bool) {
        if index >= self.marks.len() {
            self.marks.resize(index.saturating_add(1), false);
        }
        let Some(mark) = self.marks.get_mut(index) else {
            return;
        };
        self.count = match (std::mem::replace(mark, wanted), wanted) {
            (false, true) => self.count.saturating_add(1),
            (true, false) => self.count.saturating_sub(1),
            _ => self.count,
        };
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// Indices of channels, given back in order and each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Indices(Vec<usize>);

impl Indices {
    pub(super) fn insert(&mut self, index: usize) {
        self.0.push(index);
    }

    pub(super) fn take(&mut self) -> Vec<usize> {
        let mut indices = std::mem::take(&mut self.0);
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

/// A set for many insertions of few indices: a mark per channel keeps the list short.
#[derive(Debug, Default)]
struct Marked {
    indices: Indices,
    marks: Vec<bool>,
}

impl Marked {
    fn insert(&mut self, index: usize) {
        if index >= self.marks.len() {
            self.marks.resize(index.saturating_add(1), false);
        }
        if let Some(mark) = self.marks.get_mut(index)
            && !std::mem::replace(mark, true)
        {
            self.indices.insert(index);
        }
    }

    fn take(&mut self) -> Vec<usize> {
        let indices = self.indices.take();
        for index in &indices {
            if let Some(mark) = self.marks.get_mut(*index) {
                *mark = false;
            }
        }
        indices
    }

    fn contains(&self, index: usize) -> bool {
        self.marks.get(index).is_some_and(|mark| *mark)
    }
}

/// Changed channels.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Since the last checkpoint.
    unsaved: Marked,
    /// Between the last checkpoint and the one before.
    saved: Marked,
    /// Since their reserves were looked at last.
    unseen: Marked,
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
    pub(super) fn take_unsaved(&mut self) -> Vec<usize> {
        let unsaved = self.unsaved.take();
        drop(self.saved.take());
        unsaved.iter().for_each(|index| self.saved.insert(*index));
        unsaved
    }

    /// Since the last checkpoint but one.
    pub(super) fn is_recent(&self, index: usize) -> bool {
        self.unsaved.contains(index) || self.saved.contains(index)
    }

    /// For a look at the reserves.
    pub(super) fn take_unseen(&mut self) -> Vec<usize> {
        self.unseen.take()
    }
}
