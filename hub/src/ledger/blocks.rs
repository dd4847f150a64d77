//! A queue in blocks: it grows without moving what is in it.

use std::{
    cmp::Ordering,
    collections::{VecDeque, vec_deque},
};

/// Items in one block, at most.
pub(super) const BLOCK_ITEMS: usize = 64;

/// Items in order. A short queue is one block.
#[derive(Clone, Debug)]
pub(super) struct Blocks<T> {
    /// The first items; empty only without any.
    head: VecDeque<T>,
    /// All others: full blocks, and the last one.
    rest: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            head: VecDeque::new(),
            rest: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Blocks<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.head.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.rest.back().unwrap_or(&self.head).back()
    }

    /// The block of an item and its place there.
    fn find(&self, at: usize) -> Option<(&VecDeque<T>, usize)> {
        let Some(behind) = at.checked_sub(self.head.len()) else {
            return Some((&self.head, at));
        };
        let block = self.rest.get(behind.checked_div(BLOCK_ITEMS)?)?;
        Some((block, behind.checked_rem(BLOCK_ITEMS)?))
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        let (block, at) = self.find(at)?;
        block.get(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.head.iter().chain(self.rest.iter().flatten())
    }

    /// The items from `at` on that are in one block with it.
    pub(super) fn together(&self, at: usize) -> vec_deque::Iter<'_, T> {
        let found = self.find(at).filter(|(block, at)| *at < block.len());
        found.map_or_else(vec_deque::Iter::default, |(block, at)| block.range(at..))
    }

    /// The item for which `order` says that it is the one, in a queue ordered by it.
    pub(super) fn search(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let ends_before =
            |block: &VecDeque<T>| block.back().is_some_and(|last| order(last) == Ordering::Less);
        let block = match ends_before(&self.head) {
            true => self.rest.get(self.rest.partition_point(ends_before))?,
            false => &self.head,
        };
        block.get(block.binary_search_by(order).ok()?)
    }

    pub(super) fn push(&mut self, item: T) {
        let last = self.rest.back_mut().unwrap_or(&mut self.head);
        match last.len() < BLOCK_ITEMS {
            true => last.push_back(item),
            false => self.rest.push_back(VecDeque::from([item])),
        }
        self.len = self.len.saturating_add(1);
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let item = self.head.pop_front()?;
        self.len = self.len.saturating_sub(1);
        if self.head.is_empty()
            && let Some(next) = self.rest.pop_front()
        {
            self.head = next;
        }
        Some(item)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
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
        for _ in 0..3_000 {
            match draw(20) {
                0 if draw(10) == 0 => {
                    blocks.clear();
                    plain.clear();
                }
                0..=8 => (0..draw(120)).for_each(|_| assert_eq!(blocks.pop_front(), plain.pop_front())),
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
            let some: Vec<u64> = blocks.together(at).copied().collect();
            assert!(some.len() <= BLOCK_ITEMS && some.is_empty() == (at >= plain.len()));
            assert!(some.iter().eq(plain.iter().skip(at).take(some.len())));
            let wanted = plain.get(at).copied().unwrap_or(next);
            assert_eq!(blocks.search(|item| item.cmp(&wanted)), plain.get(at));
            assert_eq!(blocks.search(|item| item.cmp(&wanted.wrapping_add(1))), None);
        }
        assert!(longest > 1_000, "{longest}");
    }
}
