//! A list that grows at its end and is forgotten from its front. In the store it has rows of its own, each full of
//! neighbours and written once. The items behind them, too few for another row, stand in the row of their channel, which is
//! written with each change anyway.

use super::{
    block::Item,
    blocks::{Blocks, Shared},
    compact::put_all,
};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Reject,
    canary::{Canary, planted},
};
use std::{collections::VecDeque, io};

/// By how much a row can be longer than the shortest: a store takes few long ones for less than many short ones.
const LONGER: [usize; 3] = [4, 2, 1];

/// Items with positions from 1 on. Serialized it is only its two ends: the items come back by [`Log::restore`] and
/// [`Log::take_tail`].
#[derive(Clone, Debug)]
pub(super) struct Log<T: Item> {
    items: Blocks<T>,
    /// Position of the first item kept, or of the next one.
    from: u64,
    /// First positions of the rows in the store, in order.
    rows: VecDeque<u64>,
    /// Items below are in these rows, or gone. While the log is restored: its end.
    saved: u64,
}

/// What a checkpoint does with a log's rows, each named by the position of its first item.
pub(super) enum RowChange<T: Item> {
    Put(u64, Shared<T>),
    Delete(u64),
}

/// The items behind all rows.
#[derive(Debug)]
pub(super) struct Tail<T: Item> {
    first: u64,
    items: Shared<T>,
}

impl<T: Item> Tail<T> {
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = self.first.serialize(to);
        put_all(self.items.iter(), to);
    }
}

impl<T: Item> Default for Log<T> {
    fn default() -> Self {
        Self {
            items: Blocks::default(),
            from: 1,
            rows: VecDeque::new(),
            saved: 1,
        }
    }
}

impl<T: Item> Log<T> {
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

    pub(super) fn get(&self, position: u64) -> Option<T> {
        let at = position.checked_sub(self.from)?;
        self.items.get(usize::try_from(at).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.items.iter()
    }

    /// From a position on, with the positions.
    pub(super) fn positions_from(&self, position: u64) -> impl Iterator<Item = (u64, T)> {
        let first = position.max(self.from);
        let passed = usize::try_from(first.saturating_sub(self.from)).unwrap_or(usize::MAX);
        (first..).zip(self.items.iter_from(passed))
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

    /// What makes the rows in the store those of now, each with `row_items` or, where much is new, twice or four times as many;
    /// and what is behind them. The log takes it for done.
    pub(super) fn save(&mut self, row_items: usize, mut change: impl FnMut(RowChange<T>)) -> Tail<T> {
        while let Some(first) = self.rows.front().copied() {
            let end = self.rows.get(1).copied().unwrap_or(self.saved);
            if end > self.from {
                break;
            }
            change(RowChange::Delete(first));
            self.rows.pop_front();
        }
        let mut at = self.saved.max(self.from);
        loop {
            let skip = usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX);
            let new = self.items.len().saturating_sub(skip);
            let mut lengths = LONGER.iter().map(|times| row_items.saturating_mul(*times));
            let Some(length) = lengths.find(|length| *length <= new) else {
                self.saved = at;
                let items = self.items.share(skip, new);
                return Tail { first: at, items };
            };
            change(RowChange::Put(at, self.items.share(skip, length)));
            self.rows.push_back(at);
            at = at.saturating_add(length as u64);
        }
    }

    /// After the last row. Errors: a row is missing, or what [`Tail::put`] wrote.
    pub(super) fn take_tail(&mut self, from: &mut &[u8]) -> io::Result<()> {
        let end = std::mem::replace(&mut self.saved, u64::deserialize(from)?);
        match self.end() == self.saved {
            true => self.take_until(end, from),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The first item stands alone.
    fn take_until(&mut self, end: u64, from: &mut &[u8]) -> io::Result<()> {
        let mut has_before = false;
        while self.end() < end {
            let before = self.back().filter(|_| has_before);
            let item = T::take(before, from)?;
            self.push(item);
            has_before = true;
        }
        match self.end() == end {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// What the serialized form leaves out.
    pub(super) fn put_rest(&self, to: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let saved = match planted(Canary::ForgetUnsaved) {
            false => self.saved,
            true => self.end(),
        };
        let _ = (&self.rows, saved).serialize(to);
        self.items.put(to);
    }

    /// Makes a log of the serialized form what it was.
    pub(super) fn take_rest(&mut self, from: &mut &[u8]) -> io::Result<()> {
        let end = std::mem::replace(&mut self.saved, 0);
        (self.rows, self.saved) = BorshDeserialize::deserialize(from)?;
        let len = usize::try_from(end.saturating_sub(self.from)).unwrap_or(usize::MAX);
        self.items = Blocks::take(len, from)?;
        Ok(())
    }
}

impl<T: Item> BorshSerialize for Log<T> {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        (self.from, self.end()).serialize(writer)
    }
}

impl<T: Item> BorshDeserialize for Log<T> {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let (from, end) = <(u64, u64)>::deserialize_reader(reader)?;
        // There is always a next position.
        if !(from..u64::MAX).contains(&end) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self {
            from,
            saved: end,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::compact::Compact;
    use std::collections::BTreeMap;

    const ROW_ITEMS: usize = 50;
    /// More than a block.
    const LONG: usize = 150;

    impl Item for u32 {
        const BLOCK_ITEMS: usize = 64;
    }

    /// Each says by how much it is above the one before.
    impl Compact for u32 {
        fn put(&self, before: Option<&Self>, to: &mut Vec<u8>) {
            let step = self.wrapping_sub(before.copied().unwrap_or_default());
            step.serialize(to).unwrap();
        }

        fn take(before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self> {
            let step = u32::deserialize(from)?;
            Ok(step.wrapping_add(before.copied().unwrap_or_default()))
        }
    }

    /// What a store has of a log.
    #[derive(Clone, Default)]
    struct Kept {
        rows: BTreeMap<u64, Vec<u32>>,
        /// The log's two ends, and its tail.
        row_of_channel: (Vec<u8>, Vec<u8>),
    }

    impl Kept {
        /// Returns how many items are in new rows.
        fn save(&mut self, log: &mut Log<u32>, row_items: usize) -> usize {
            let mut written = 0;
            let tail = log.save(row_items, |change| match change {
                RowChange::Put(first, items) => {
                    let items: Vec<u32> = items.iter().collect();
                    let lengths = LONGER.map(|times| row_items.saturating_mul(times));
                    assert!(lengths.contains(&items.len()), "{} items", items.len());
                    written = items.len().saturating_add(written);
                    let before = self.rows.insert(first, items);
                    assert!(before.is_none(), "a row is written once");
                }
                RowChange::Delete(first) => {
                    assert!(self.rows.remove(&first).is_some(), "a row is deleted once");
                }
            });
            assert!(tail.items.iter().count() < row_items, "a full row is in the tail");
            let mut bytes = Vec::new();
            tail.put(&mut bytes);
            self.row_of_channel = (borsh::to_vec(log).unwrap(), bytes);
            written
        }

        fn restored(&self) -> Result<Log<u32>, Reject> {
            let (ends, tail) = &self.row_of_channel;
            let mut log: Log<u32> = borsh::from_slice(ends).unwrap();
            for (first, items) in &self.rows {
                log.restore(*first, items.clone())?;
            }
            let mut rest = tail.as_slice();
            log.take_tail(&mut rest).map_err(|_| Reject::RecordCorrupt)?;
            assert!(rest.is_empty());
            Ok(log)
        }
    }

    /// As it is kept at rest.
    fn rested(log: &Log<u32>) -> Log<u32> {
        let mut bytes = borsh::to_vec(log).unwrap();
        log.put_rest(&mut bytes);
        let mut rest = bytes.as_slice();
        let mut again = Log::deserialize(&mut rest).unwrap();
        again.take_rest(&mut rest).unwrap();
        assert!(rest.is_empty());
        again
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
        let (mut log, mut kept) = (Log::default(), Kept::default());
        let mut next = 0_u32;
        let (mut pushed, mut written) = (0_usize, 0_usize);
        for round in 0..2_000 {
            // As if another program went on.
            let row_items = if round % 500 < 250 { ROW_ITEMS } else { LONG };
            match draw(10) {
                0 => written = written.saturating_add(kept.save(&mut log, row_items)),
                // A new store.
                9 if draw(50) == 0 => {
                    log.unsave();
                    kept = Kept::default();
                    pushed = pushed.saturating_add(log.len());
                    written = written.saturating_add(kept.save(&mut log, row_items));
                }
                1 if draw(20) == 0 => (0..log.len()).for_each(|_| log.pop_front()),
                1..=4 => (0..draw(90)).for_each(|_| log.pop_front()),
                _ => {
                    for _ in 0..draw(60) {
                        log.push(next);
                        next = next.wrapping_add(1);
                        pushed = pushed.saturating_add(1);
                    }
                }
            }
            if draw(10) == 0 {
                written = written.saturating_add(kept.save(&mut log, row_items));
                assert_same(&log, &kept.restored().unwrap());
                log = kept.restored().unwrap();
                assert!(log.iter().is_sorted());
                let stored: usize = kept.rows.values().map(Vec::len).sum();
                assert!(
                    stored < log.len().saturating_add(4 * LONG),
                    "rows of the past stay"
                );
            }
            if draw(10) == 0 {
                assert_same(&log, &rested(&log));
                log = rested(&log);
            }
        }
        assert!(written <= pushed && written > 10_000, "{written} of {pushed}");
    }

    #[test]
    fn a_missing_row_is_noticed_wherever_it_is() {
        // With a tail, and without.
        for pushed in [220, 210] {
            let (mut log, mut kept) = (Log::default(), Kept::default());
            for item in 0..pushed {
                log.push(item);
                if item == 20 {
                    (0..10).for_each(|_| log.pop_front());
                }
                // Often enough for rows of the least length.
                kept.save(&mut log, ROW_ITEMS);
            }
            (0..5).for_each(|_| log.pop_front());
            kept.save(&mut log, ROW_ITEMS);
            assert_same(&log, &kept.restored().unwrap());
            assert_eq!(kept.rows.len(), 4);
            for first in kept.rows.keys() {
                let mut fewer = kept.clone();
                fewer.rows.remove(first);
                assert!(fewer.restored().is_err(), "without row {first}");
            }
            let mut new = Kept::default();
            log.unsave();
            new.save(&mut log, ROW_ITEMS);
            assert_same(&log, &new.restored().unwrap());
        }
    }

    #[test]
    fn a_tail_of_another_length_is_noticed() {
        let (mut log, mut kept) = (Log::default(), Kept::default());
        (0..60).for_each(|item| log.push(item));
        kept.save(&mut log, ROW_ITEMS);
        assert_same(&log, &kept.restored().unwrap());
        let (ends, tail) = kept.row_of_channel.clone();
        kept.row_of_channel.1.truncate(tail.len() - 1);
        assert!(kept.restored().is_err(), "it is cut");
        // As if it began elsewhere: the rows end before, or behind.
        for first in [50_u64, 52, 61] {
            kept.row_of_channel.1 = [first.to_le_bytes().as_slice(), &tail[8..]].concat();
            assert!(kept.restored().is_err(), "it begins at {first}");
        }
        // The log ends before its last row does.
        let ends_at = |end: u64| [&ends[..8], &end.to_le_bytes()].concat();
        kept.row_of_channel = (ends_at(30), tail);
        assert!(kept.restored().is_err(), "it ends at 30");
    }
}
