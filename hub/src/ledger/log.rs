//! A list that grows at its end and is forgotten from its front. In the store it has rows of its own, each with some
//! neighbours: a checkpoint writes what was added, and never what is there already.

use super::blocks::{Blocks, Shared};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Reject,
    canary::{Canary, planted},
};
use std::{collections::VecDeque, io};

/// Items with positions from 1 on. Serialized it is only its two ends: the items come back by [`Log::restore`].
#[derive(Clone, Debug)]
pub(super) struct Log<T> {
    items: Blocks<T>,
    /// Position of the first item kept, or of the next one.
    from: u64,
    /// First positions of the rows in the store, in order.
    rows: VecDeque<u64>,
    /// Items below are in these rows, or gone.
    saved: u64,
}

/// What a checkpoint does with a log's rows, each named by the position of its first item.
pub(super) enum RowChange<T> {
    Put(u64, Shared<T>),
    Delete(u64),
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self {
            items: Blocks::default(),
            from: 1,
            rows: VecDeque::new(),
            saved: 1,
        }
    }
}

impl<T> Log<T> {
    /// Position of the first item kept; of the next one, if there is none.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// Position of the next item.
    pub(super) fn end(&self) -> u64 {
        self.from.saturating_add(self.items.len() as u64)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.items.back()
    }

    pub(super) fn get(&self, position: u64) -> Option<&T> {
        let at = position.checked_sub(self.from)?;
        self.items.get(usize::try_from(at).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// For lookups by order.
    pub(super) fn items(&self) -> &Blocks<T> {
        &self.items
    }

    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
    }

    pub(super) fn pop_front(&mut self) {
        if self.items.pop_front() {
            self.from = self.from.saturating_add(1);
        }
    }

    /// The store is a new one, and has nothing of it.
    pub(super) fn unsave(&mut self) {
        self.rows.clear();
        self.saved = self.from;
    }

    /// Takes a row back in; rows come in order. Errors: it does not follow the one before.
    pub(super) fn restore(&mut self, first: u64, items: Vec<T>) -> Result<(), Reject> {
        let follows = match self.rows.is_empty() {
            true => first <= self.from,
            false => first == self.end(),
        };
        let gone = usize::try_from(self.from.saturating_sub(first)).unwrap_or(usize::MAX);
        let kept = items.len().saturating_sub(gone);
        if !follows || kept == 0 {
            return Err(Reject::RecordCorrupt);
        }
        self.rows.push_back(first);
        let skip = items.len().saturating_sub(kept);
        items
            .into_iter()
            .skip(skip)
            .for_each(|item| self.items.push(item));
        Ok(())
    }

    /// After the last row. Errors: one is missing.
    pub(super) fn require_whole(&self) -> Result<(), Reject> {
        match self.end() == self.saved {
            true => Ok(()),
            false => Err(Reject::RecordCorrupt),
        }
    }
}

impl<T: Clone> Log<T> {
    /// What makes the rows in the store those of now, with `row_items` in a row at most. The log takes it for done.
    pub(super) fn save(&mut self, row_items: usize, mut change: impl FnMut(RowChange<T>)) {
        while let Some(first) = self.rows.front().copied() {
            let end = self.rows.get(1).copied().unwrap_or(self.saved);
            if end > self.from {
                break;
            }
            change(RowChange::Delete(first));
            self.rows.pop_front();
        }
        let mut at = self.saved.max(self.from);
        while at < self.end() {
            let skip = usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX);
            let items = self.items.share(skip, row_items);
            let end = at.saturating_add(items.len() as u64);
            change(RowChange::Put(at, items));
            self.rows.push_back(at);
            at = end;
        }
        self.saved = at;
    }
}

impl<T: BorshSerialize> Log<T> {
    /// What the serialized form leaves out.
    pub(super) fn put_rest(&self, to: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let saved = match planted(Canary::ForgetSaved) {
            false => self.saved,
            true => Self::default().saved,
        };
        let _ = (&self.rows, saved).serialize(to);
        for item in self.iter() {
            let _ = item.serialize(to);
        }
    }
}

impl<T: BorshDeserialize> Log<T> {
    /// Makes a log of the serialized form what it was.
    pub(super) fn take_rest(&mut self, from: &mut &[u8]) -> io::Result<()> {
        let end = std::mem::replace(&mut self.saved, 0);
        (self.rows, self.saved) = BorshDeserialize::deserialize(from)?;
        while self.end() < end {
            self.push(T::deserialize(from)?);
        }
        Ok(())
    }
}

impl<T> BorshSerialize for Log<T> {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        (self.from, self.end()).serialize(writer)
    }
}

impl<T> BorshDeserialize for Log<T> {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let (from, saved) = <(u64, u64)>::deserialize_reader(reader)?;
        Ok(Self {
            from,
            saved,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const ROW_ITEMS: usize = 50;

    type Rows = BTreeMap<u64, Vec<u32>>;

    fn save(log: &mut Log<u32>, rows: &mut Rows) -> usize {
        let mut written = 0;
        log.save(ROW_ITEMS, |change| match change {
            RowChange::Put(first, items) => {
                let items: Vec<u32> = items.iter().copied().collect();
                assert!(!items.is_empty() && items.len() <= ROW_ITEMS);
                written = items.len().saturating_add(written);
                assert!(rows.insert(first, items).is_none(), "a row is written once");
            }
            RowChange::Delete(first) => assert!(rows.remove(&first).is_some(), "a row is deleted once"),
        });
        written
    }

    fn restored(log: &Log<u32>, rows: &Rows) -> Result<Log<u32>, Reject> {
        let mut again: Log<u32> = borsh::from_slice(&borsh::to_vec(log).unwrap()).unwrap();
        for (first, items) in rows {
            again.restore(*first, items.clone())?;
        }
        again.require_whole().map(|()| again)
    }

    fn assert_same(log: &Log<u32>, again: &Log<u32>) {
        assert!(log.iter().eq(again.iter()));
        assert_eq!((log.from(), log.end()), (again.from(), again.end()));
        assert_eq!((&log.rows, log.saved), (&again.rows, again.saved));
    }

    #[test]
    fn any_mix_of_changes_comes_back_and_nothing_is_written_twice() {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).checked_rem(below).unwrap()
        };
        let (mut log, mut rows) = (Log::default(), Rows::new());
        let (mut pushed, mut written) = (0_usize, 0_usize);
        for _ in 0..2_000 {
            match draw(10) {
                0 => written = written.saturating_add(save(&mut log, &mut rows)),
                1 if draw(20) == 0 => (0..log.len()).for_each(|_| log.pop_front()),
                1..=4 => (0..draw(90)).for_each(|_| log.pop_front()),
                _ => {
                    for _ in 0..draw(60) {
                        log.push(u32::try_from(pushed).unwrap());
                        pushed = pushed.saturating_add(1);
                    }
                }
            }
            if draw(10) == 0 {
                written = written.saturating_add(save(&mut log, &mut rows));
                log = restored(&log, &rows).unwrap();
                assert!(log.iter().is_sorted());
                let again = restored(&log, &rows).unwrap();
                assert_same(&log, &again);
                let stored: usize = rows.values().map(Vec::len).sum();
                assert!(
                    stored < log.len().saturating_add(ROW_ITEMS),
                    "rows of the past stay"
                );
            }
        }
        assert!(written <= pushed && written > 10_000, "{written} of {pushed}");
    }

    #[test]
    fn a_missing_row_is_noticed_wherever_it_is() {
        let (mut log, mut rows) = (Log::default(), Rows::new());
        (0..200).for_each(|item| log.push(item));
        (0..10).for_each(|_| log.pop_front());
        save(&mut log, &mut rows);
        (0..5).for_each(|_| log.pop_front());
        assert_same(&log, &restored(&log, &rows).unwrap());
        assert!(rows.len() > 2);
        for first in rows.keys() {
            let mut fewer = rows.clone();
            fewer.remove(first);
            assert!(restored(&log, &fewer).is_err(), "without row {first}");
        }
        let mut new = Rows::new();
        log.unsave();
        save(&mut log, &mut new);
        assert_same(&log, &restored(&log, &new).unwrap());
    }
}
