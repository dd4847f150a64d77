//! Channels as the tests look at them: all hot.

use crate::ledger::{entry::Entry, slots::Slots};
use std::ops::{Index, IndexMut};

impl Slots {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl Index<usize> for Slots {
    type Output = Entry;

    fn index(&self, index: usize) -> &Entry {
        self.get(index).unwrap()
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, index: usize) -> &mut Entry {
        self.get_mut(index).unwrap()
    }
}

impl Slots {
    /// The queue has each hot one once, and each of these knows its oldest row.
    pub(super) fn check(&self) {
        let mut queued: Vec<usize> = self.queue();
        queued.sort_unstable();
        let hot: Vec<usize> = (0..self.len())
            .filter(|index| self.get_hot(*index).is_some())
            .collect();
        assert_eq!(queued, hot);
        let knows = |entry: &Entry| entry.oldest_row == entry.first_row();
        assert!(self.each_hot().all(knows));
    }
}
