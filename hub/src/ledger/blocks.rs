//! A queue in blocks: it grows without moving what is in it, and whole blocks can be shared. Most lists are looked at while they
//! are new, if ever: in a full block an item takes hardly more than its bytes in a row of the store.

use super::{
    block::{Block, Item},
    compact::{put_all, put_number, take_number},
};
use std::{cmp::Ordering, collections::VecDeque, io, ops::Range};

/// What has become a quarter full gives memory back, unless it has room for no more than this.
const ROOM_KEPT: usize = 64;

/// Items in order. A short queue is its tail.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T: Item> {
    /// Of the first full block, if there is one: its first item that is not gone, and the place of the next one in it.
    first: Option<Box<(T, usize)>>,
    full: VecDeque<Block<T>>,
    /// Items of the first full block that are gone; fewer than it has.
    gone: usize,
    /// Those behind all blocks: never none where there is a full one.
    tail: VecDeque<T>,
}

/// Items of a queue as they were, whatever becomes of it.
#[derive(Debug)]
pub(super) struct Shared<T: Item> {
    blocks: Vec<(Block<T>, Range<usize>)>,
    /// Behind these.
    rest: Vec<T>,
}

impl<T: Item> Shared<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        let blocks = self.blocks.iter().flat_map(|(block, range)| {
            let passed = block.iter().skip(range.start);
            passed.take(range.len())
        });
        blocks.chain(self.rest.iter().cloned())
    }
}

impl<T: Item> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            first: None,
            full: VecDeque::new(),
            gone: 0,
            tail: VecDeque::new(),
        }
    }
}

impl<T: Item> Blocks<T> {
    /// Items in full blocks, gone ones included.
    fn in_full(&self) -> usize {
        self.full.len().saturating_mul(T::BLOCK_ITEMS)
    }

    pub(super) fn len(&self) -> usize {
        let all = self.in_full().saturating_add(self.tail.len());
        all.saturating_sub(self.gone)
    }

    pub(super) fn front(&self) -> Option<&T> {
        let in_block = self.first.as_deref().map(|(item, _)| item);
        in_block.or_else(|| self.tail.front())
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.tail.back()
    }

    pub(super) fn get(&self, at: usize) -> Option<T> {
        self.iter_from(at).next()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        self.iter_from(0)
    }

    /// All but the first `at`.
    pub(super) fn iter_from(&self, at: usize) -> impl Iterator<Item = T> {
        let at = at.saturating_add(self.gone);
        let first = at
            .checked_div(T::BLOCK_ITEMS)
            .unwrap_or_default()
            .min(self.full.len());
        let passed = at.saturating_sub(first.saturating_mul(T::BLOCK_ITEMS));
        let (in_block, in_tail) = match first < self.full.len() {
            true => (passed, 0),
            false => (0, passed),
        };
        let blocks = self.full.range(first..).flat_map(Block::iter);
        let tail = self.tail.range(in_tail.min(self.tail.len())..);
        blocks.skip(in_block).chain(tail.cloned())
    }

    /// The item for which `order` says that it is the one, in a queue ordered by it.
    pub(super) fn search(&self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            let item = self.get(middle)?;
            match order(&item) {
                Ordering::Equal => return Some(item),
                Ordering::Less => from = middle.saturating_add(1),
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    pub(super) fn push(&mut self, item: T) {
        if self.tail.len() >= T::BLOCK_ITEMS {
            let block = Block::of(self.tail.drain(..));
            self.full.push_back(block);
            if self.first.is_none() {
                self.begin();
            }
        }
        self.tail.push_back(item);
    }

    /// Takes the first item away, if there is one. True if there was.
    pub(super) fn pop_front(&mut self) -> bool {
        let Some((item, next)) = self.first.as_deref_mut() else {
            let is_gone = self.tail.pop_front().is_some();
            fit(&mut self.tail);
            return is_gone;
        };
        self.gone = self.gone.saturating_add(1);
        match self.full.front().and_then(|block| block.read(Some(item), next)) {
            Some(after) => *item = after,
            None => {
                self.full.pop_front();
                fit(&mut self.full);
                self.gone = 0;
                self.begin();
            }
        }
        true
    }

    /// None of the first full block is gone.
    fn begin(&mut self) {
        let mut next = 0;
        let item = self.full.front().and_then(|block| block.read(None, &mut next));
        self.first = item.map(|item| Box::new((item, next)));
    }

    /// All items, full blocks as they are.
    pub(super) fn put(&self, to: &mut Vec<u8>) {
        put_number(self.gone as u128, to);
        put_number(self.full.len() as u128, to);
        self.full.iter().for_each(|block| block.put(to));
        put_all(self.tail.iter().cloned(), to);
    }

    /// A queue of `len` items. Errors: `from` does not begin with what [`Blocks::put`] wrote of such a one.
    pub(super) fn take(len: usize, from: &mut &[u8]) -> io::Result<Self> {
        let corrupt = || io::Error::from(io::ErrorKind::InvalidData);
        let mut number = || usize::try_from(take_number(from)?).map_err(|_| corrupt());
        let (gone, full) = (number()?, number()?);
        let mut queue = Self::default();
        for _ in 0..full {
            queue.full.push_back(Block::take(from)?);
        }
        let in_tail = len
            .saturating_add(gone)
            .checked_sub(queue.in_full())
            .ok_or_else(corrupt)?;
        let is_right = match full {
            0 => gone == 0,
            _ => gone < T::BLOCK_ITEMS && in_tail > 0,
        };
        if !is_right || in_tail > T::BLOCK_ITEMS {
            return Err(corrupt());
        }
        for _ in 0..in_tail {
            let item = T::take(queue.tail.back(), from)?;
            queue.tail.push_back(item);
        }
        queue.begin();
        for _ in 0..gone {
            queue.pop_front();
        }
        Ok(queue)
    }

    /// The items from `at` on, `count` at most.
    pub(super) fn share(&self, at: usize, count: usize) -> Shared<T> {
        let until = at.saturating_add(count).min(self.len());
        let (mut at, until) = (at.saturating_add(self.gone), until.saturating_add(self.gone));
        let full = self.in_full();
        let mut blocks = Vec::with_capacity(count.div_ceil(T::BLOCK_ITEMS).saturating_add(1));
        while at < until.min(full) {
            let block = at.checked_div(T::BLOCK_ITEMS).unwrap_or_default();
            let begins = block.saturating_mul(T::BLOCK_ITEMS);
            let ends = begins.saturating_add(T::BLOCK_ITEMS).min(until);
            if let Some(block) = self.full.get(block) {
                let range = at.saturating_sub(begins)..ends.saturating_sub(begins);
                blocks.push((block.clone(), range));
            }
            at = ends;
        }
        let rest = match at < until {
            true => {
                let range = at.saturating_sub(full)..until.saturating_sub(full);
                self.tail.range(range).cloned().collect()
            }
            false => Vec::new(),
        };
        Shared { blocks, rest }
    }
}

fn fit<T>(queue: &mut VecDeque<T>) {
    let (kept, room) = (queue.len(), queue.capacity());
    if room > ROOM_KEPT && kept < room >> 2 {
        queue.shrink_to(kept.saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::compact::Compact;
    use borsh::{BorshDeserialize, BorshSerialize};

    impl Compact for u64 {
        fn put(&self, _before: Option<&Self>, to: &mut Vec<u8>) {
            self.serialize(to).unwrap();
        }

        fn take(_before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self> {
            Self::deserialize(from)
        }
    }

    impl Item for u64 {
        const BLOCK_ITEMS: usize = usize::MAX;
    }

    #[test]
    fn it_is_a_queue() {
        is_a_queue(|number| u32::try_from(number).unwrap());
        // Without blocks.
        is_a_queue(|number| number);
    }

    /// Behind full blocks there is always something, and never more than a block.
    #[test]
    fn a_length_that_does_not_fit_the_blocks_is_refused() {
        const BLOCK: usize = <u32 as Item>::BLOCK_ITEMS;
        const GONE: usize = 2;
        const TAIL: usize = 3;
        let mut blocks = Blocks::default();
        for item in 0..BLOCK + TAIL {
            blocks.push(u32::try_from(item).unwrap());
        }
        (0..GONE).for_each(|_| assert!(blocks.pop_front()));
        let mut bytes = Vec::new();
        blocks.put(&mut bytes);
        for len in 0..BLOCK * 3 {
            let taken = Blocks::<u32>::take(len, &mut bytes.as_slice());
            let behind = (len + GONE).checked_sub(BLOCK);
            let fits = behind.is_some_and(|behind| (1..=TAIL).contains(&behind));
            assert_eq!(taken.is_ok(), fits, "{len}");
        }
    }

    /// What a plain queue does, whatever the order of pushes and pops.
    fn is_a_queue<T: Item + Ord + Copy>(item: fn(u64) -> T) {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).checked_rem(below).unwrap()
        };
        let (mut blocks, mut plain) = (Blocks::default(), VecDeque::new());
        let (mut next, mut longest) = (0_u64, 0);
        let mut shared = Vec::new();
        for _ in 0..3_000 {
            match draw(20) {
                0 if draw(10) == 0 => {
                    (0..blocks.len()).for_each(|_| assert!(blocks.pop_front()));
                    plain.clear();
                }
                0..=8 => {
                    (0..draw(120)).for_each(|_| assert_eq!(blocks.pop_front(), plain.pop_front().is_some()));
                }
                _ => (0..draw(100)).for_each(|_| {
                    // Even numbers: odd ones are not found.
                    blocks.push(item(next));
                    plain.push_back(item(next));
                    next = next.wrapping_add(2);
                }),
            }
            longest = plain.len().max(longest);
            assert_eq!((blocks.len(), blocks.front()), (plain.len(), plain.front()));
            assert_eq!(blocks.back(), plain.back());
            let all = || plain.iter().copied();
            assert!(blocks.iter().eq(all()));
            let at = usize::try_from(draw(1_000)).unwrap();
            assert_eq!(blocks.get(at), plain.get(at).copied());
            assert!(blocks.iter_from(at).eq(all().skip(at)));
            let count = usize::try_from(draw(300)).unwrap();
            let some = blocks.share(at, count);
            assert_eq!(some.iter().count(), plain.len().saturating_sub(at).min(count));
            assert!(some.iter().eq(all().skip(at).take(count)));
            // The queue goes on; what was shared stays.
            shared.push((some, all().skip(at).take(count).collect::<Vec<_>>()));
            if draw(20) == 0 {
                let mut bytes = Vec::new();
                blocks.put(&mut bytes);
                for len in 0..bytes.len() {
                    assert!(
                        Blocks::<T>::take(plain.len(), &mut &bytes[..len]).is_err(),
                        "{len}"
                    );
                }
                bytes.push(7);
                let mut rest = bytes.as_slice();
                blocks = Blocks::take(plain.len(), &mut rest).unwrap();
                assert_eq!(rest, [7]);
            }
            let behind = plain.len().saturating_sub(at) as u64;
            let number = next.wrapping_sub(behind.saturating_mul(2));
            let wanted = plain.get(at).copied();
            assert_eq!(wanted, wanted.map(|_| item(number)));
            assert_eq!(blocks.search(|other| other.cmp(&item(number))), wanted);
            let odd = item(number.wrapping_add(1));
            assert_eq!(blocks.search(|other| other.cmp(&odd)), None);
        }
        assert!(longest > 1_000, "{longest}");
        assert!(
            shared
                .iter()
                .all(|(some, was)| some.iter().eq(was.iter().copied()))
        );
    }
}
