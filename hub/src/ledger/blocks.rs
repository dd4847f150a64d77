//! A queue in blocks: it grows without moving what is in it, and whole blocks can be shared. Items of most lists are nearly
//! always looked at while they are new, if ever: in a full block they take no more than their bytes do in a row of the store.

use std::{cmp::Ordering, collections::VecDeque, fmt, ops::Range, sync::Arc};

/// Items in one block.
pub(super) const BLOCK_ITEMS: usize = 64;

/// What a queue keeps.
pub(super) trait Item: Clone + fmt::Debug {
    /// What a full block of it is.
    type Block: Block<Self> + fmt::Debug;
}

/// Items in order, which never change: whoever writes them down holds them too.
pub(super) trait Block<T>: Clone {
    fn of(items: impl Iterator<Item = T>) -> Self;

    /// The item at `at`, which then is the place of the next one; `before` is the one before. `None` behind the last.
    fn read(&self, before: Option<&T>, at: &mut usize) -> Option<T>;
}

/// Items as they are.
#[derive(Clone, Debug)]
pub(super) struct Plain<T>(Arc<[T]>);

impl<T: Clone> Block<T> for Plain<T> {
    fn of(items: impl Iterator<Item = T>) -> Self {
        Self(items.collect())
    }

    fn read(&self, _before: Option<&T>, at: &mut usize) -> Option<T> {
        let item = self.0.get(*at)?.clone();
        *at = at.saturating_add(1);
        Some(item)
    }
}

/// Items of a block, from its first on.
#[derive(Debug)]
struct Reader<'a, T: Item> {
    block: &'a T::Block,
    before: Option<T>,
    at: usize,
}

impl<'a, T: Item> Reader<'a, T> {
    fn of(block: &'a T::Block) -> Self {
        Self {
            block,
            before: None,
            at: 0,
        }
    }
}

impl<T: Item> Iterator for Reader<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.block.read(self.before.as_ref(), &mut self.at)?;
        self.before = Some(item.clone());
        Some(item)
    }
}

/// Items in order. A short queue is its tail.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T: Item> {
    /// Of the first full block, if there is one: its first item that is not gone, and the place of the next one in it.
    first: Option<(T, usize)>,
    full: VecDeque<T::Block>,
    /// Items of the first full block that are gone; fewer than it has.
    gone: usize,
    /// Those behind all blocks: never none where there is a full one.
    tail: VecDeque<T>,
}

/// Items of a queue as they were, whatever becomes of it.
#[derive(Debug)]
pub(super) struct Shared<T: Item> {
    blocks: Vec<(T::Block, Range<usize>)>,
    /// Behind these.
    rest: Vec<T>,
}

impl<T: Item> Shared<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = T> {
        let blocks = self.blocks.iter().flat_map(|(block, range)| {
            let items = Reader::<T>::of(block).skip(range.start);
            items.take(range.len())
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
        self.full.len().saturating_mul(BLOCK_ITEMS)
    }

    pub(super) fn len(&self) -> usize {
        let all = self.in_full().saturating_add(self.tail.len());
        all.saturating_sub(self.gone)
    }

    pub(super) fn front(&self) -> Option<&T> {
        let in_block = self.first.as_ref().map(|(item, _)| item);
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
            .checked_div(BLOCK_ITEMS)
            .unwrap_or_default()
            .min(self.full.len());
        let passed = at.saturating_sub(first.saturating_mul(BLOCK_ITEMS));
        let (in_block, in_tail) = match first < self.full.len() {
            true => (passed, 0),
            false => (0, passed),
        };
        let blocks = self.full.range(first..).flat_map(Reader::<T>::of);
        let tail = self.tail.range(in_tail.min(self.tail.len())..);
        blocks.skip(in_block).chain(tail.cloned())
    }

    /// The item for which `order` says that it is the one, in a queue ordered by it.
    pub(super) fn search(&self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        if self
            .tail
            .front()
            .is_none_or(|first| order(first) == Ordering::Greater)
        {
            let begins = |block: &T::Block| Reader::<T>::of(block).next();
            let not_behind = |item: T| order(&item) != Ordering::Greater;
            let blocks = self
                .full
                .partition_point(|block| begins(block).is_some_and(not_behind));
            let at = blocks.checked_sub(1)?;
            let gone = if at == 0 { self.gone } else { 0 };
            let mut kept = Reader::<T>::of(self.full.get(at)?).skip(gone);
            return kept.find(|item| order(item) == Ordering::Equal);
        }
        self.tail.get(self.tail.binary_search_by(order).ok()?).cloned()
    }

    pub(super) fn push(&mut self, item: T) {
        if self.tail.len() >= BLOCK_ITEMS {
            let block = T::Block::of(self.tail.drain(..));
            self.full.push_back(block);
            if self.first.is_none() {
                self.read_first(None, 0);
            }
        }
        self.tail.push_back(item);
    }

    /// Takes the first item away, if there is one. True if there was.
    pub(super) fn pop_front(&mut self) -> bool {
        let Some((gone, next)) = self.first.take() else {
            return self.tail.pop_front().is_some();
        };
        self.gone = self.gone.saturating_add(1);
        self.read_first(Some(&gone), next);
        if self.first.is_none() {
            self.full.pop_front();
            self.gone = 0;
            self.read_first(None, 0);
        }
        true
    }

    fn read_first(&mut self, before: Option<&T>, place: usize) {
        let mut at = place;
        let item = self.full.front().and_then(|block| block.read(before, &mut at));
        self.first = item.map(|item| (item, at));
    }

    /// The items from `at` on, `count` at most.
    pub(super) fn share(&self, at: usize, count: usize) -> Shared<T> {
        let until = at.saturating_add(count).min(self.len());
        let (mut at, until) = (at.saturating_add(self.gone), until.saturating_add(self.gone));
        let full = self.in_full();
        let mut blocks = Vec::with_capacity(count.div_ceil(BLOCK_ITEMS).saturating_add(1));
        while at < until.min(full) {
            let block = at.checked_div(BLOCK_ITEMS).unwrap_or_default();
            let begins = block.saturating_mul(BLOCK_ITEMS);
            let ends = begins.saturating_add(BLOCK_ITEMS).min(until);
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

#[cfg(test)]
mod tests {
    use super::*;

    impl Item for u64 {
        type Block = Plain<Self>;
    }

    #[test]
    fn it_is_a_queue() {
        is_a_queue(|number| number);
        // In bytes.
        is_a_queue(|number| u32::try_from(number).unwrap());
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
