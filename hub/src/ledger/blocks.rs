//! A queue in blocks: it grows without moving what is in it, and whole blocks can be shared.

use std::{cmp::Ordering, collections::VecDeque, ops::Range, sync::Arc};

/// Items in one block.
pub(super) const BLOCK_ITEMS: usize = 64;

/// Items in order. A short queue is its tail.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T> {
    /// Full blocks, which never change: whoever writes them down holds them too.
    full: VecDeque<Arc<[T]>>,
    /// Items of the first of them that are gone; fewer than it has.
    gone: usize,
    /// Those behind all blocks.
    tail: VecDeque<T>,
}

/// Items of a queue as they were, whatever becomes of it.
#[derive(Debug)]
pub(super) struct Shared<T>(Vec<(Arc<[T]>, Range<usize>)>);

impl<T> Shared<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let pieces = self.0.iter();
        pieces.flat_map(|(items, range)| items.get(range.clone()).unwrap_or_default())
    }
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            full: VecDeque::new(),
            gone: 0,
            tail: VecDeque::new(),
        }
    }
}

impl<T> Blocks<T> {
    /// Items in full blocks, gone ones included.
    fn in_full(&self) -> usize {
        self.full.len().saturating_mul(BLOCK_ITEMS)
    }

    pub(super) fn len(&self) -> usize {
        let all = self.in_full().saturating_add(self.tail.len());
        all.saturating_sub(self.gone)
    }

    pub(super) fn front(&self) -> Option<&T> {
        match self.full.front() {
            Some(block) => block.get(self.gone),
            None => self.tail.front(),
        }
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.tail.back().or_else(|| self.full.back()?.last())
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        let at = at.checked_add(self.gone)?;
        match at.checked_sub(self.in_full()) {
            Some(behind) => self.tail.get(behind),
            None => {
                let block = self.full.get(at.checked_div(BLOCK_ITEMS)?)?;
                block.get(at.checked_rem(BLOCK_ITEMS)?)
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let full = self.full.iter().flat_map(|block| block.iter());
        full.skip(self.gone).chain(&self.tail)
    }

    /// The item for which `order` says that it is the one, in a queue ordered by it.
    pub(super) fn search(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let ends_before = |block: &Arc<[T]>| block.last().is_some_and(|last| order(last) == Ordering::Less);
        let first = self.full.partition_point(ends_before);
        let Some(block) = self.full.get(first) else {
            return self.tail.get(self.tail.binary_search_by(order).ok()?);
        };
        let gone = if first == 0 { self.gone } else { 0 };
        let kept = block.get(gone..).unwrap_or_default();
        kept.get(kept.binary_search_by(order).ok()?)
    }

    pub(super) fn push(&mut self, item: T) {
        self.tail.push_back(item);
        if self.tail.len() >= BLOCK_ITEMS {
            self.full.push_back(self.tail.drain(..).collect());
        }
    }

    /// Takes the first item away, if there is one. True if there was.
    pub(super) fn pop_front(&mut self) -> bool {
        let Some(block) = self.full.front() else {
            return self.tail.pop_front().is_some();
        };
        self.gone = self.gone.saturating_add(1);
        if self.gone >= block.len() {
            self.full.pop_front();
            self.gone = 0;
        }
        true
    }
}

impl<T: Clone> Blocks<T> {
    /// The items from `at` on, `count` at most.
    pub(super) fn share(&self, at: usize, count: usize) -> Shared<T> {
        let until = at.saturating_add(count).min(self.len());
        let (mut at, until) = (at.saturating_add(self.gone), until.saturating_add(self.gone));
        let full = self.in_full();
        let mut pieces = Vec::with_capacity(count.div_ceil(BLOCK_ITEMS).saturating_add(1));
        while at < until.min(full) {
            let block = at.checked_div(BLOCK_ITEMS).unwrap_or_default();
            let begins = block.saturating_mul(BLOCK_ITEMS);
            let ends = begins.saturating_add(BLOCK_ITEMS).min(until);
            if let Some(block) = self.full.get(block) {
                let range = at.saturating_sub(begins)..ends.saturating_sub(begins);
                pieces.push((Arc::clone(block), range));
            }
            at = ends;
        }
        if at < until {
            let range = at.saturating_sub(full)..until.saturating_sub(full);
            let copied: Arc<[T]> = self.tail.range(range).cloned().collect();
            let len = copied.len();
            pieces.push((copied, 0..len));
        }
        Shared(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plain queue does, whatever the order of pushes and pops.
    #[test]
    fn it_is_a_queue() {
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
                    blocks.push(next);
                    plain.push_back(next);
                    next = next.wrapping_add(2);
                }),
            }
            longest = plain.len().max(longest);
            assert_eq!((blocks.len(), blocks.front()), (plain.len(), plain.front()));
            assert!(blocks.iter().eq(&plain));
            let at = usize::try_from(draw(1_000)).unwrap();
            assert_eq!(blocks.get(at), plain.get(at));
            let count = usize::try_from(draw(300)).unwrap();
            let some = blocks.share(at, count);
            assert_eq!(some.iter().count(), plain.len().saturating_sub(at).min(count));
            assert!(some.iter().eq(plain.iter().skip(at).take(count)));
            // The queue goes on; what was shared stays.
            shared.push((
                some,
                plain.iter().skip(at).take(count).copied().collect::<Vec<_>>(),
            ));
            let wanted = plain.get(at).copied().unwrap_or(next);
            assert_eq!(blocks.search(|item| item.cmp(&wanted)), plain.get(at));
            assert_eq!(blocks.search(|item| item.cmp(&wanted.wrapping_add(1))), None);
        }
        assert!(longest > 1_000, "{longest}");
        assert!(shared.iter().all(|(some, was)| some.iter().eq(was)));
    }
}
