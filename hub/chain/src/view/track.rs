//! The bookkeeping of a chain view: no I/O, so that every order of events can be tried.

use super::super::error::ChainError;
use super::super::types::{BlockRef, ChainLog};
use alloy::primitives::B256;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most unconfirmed blocks that are remembered to tell how deep a reorg was.
const REMEMBERED_MAX: u64 = 256;

/// How far the logs were handed out. Persist it with their effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Height of the newest block of which something was handed out, or which was found without logs.
    pub block_number: u64,
    /// Its hash: how a vanished confirmed block is noticed after a restart.
    pub block_hash: B256,
    /// First log of that block that was not handed out yet.
    pub next_log_index: u64,
}

impl Cursor {
    /// A cursor that hands out all logs of `block` and of the blocks after it.
    #[must_use]
    pub fn before(block: BlockRef) -> Self {
        Self {
            block_number: block.number,
            block_hash: block.hash,
            next_log_index: 0,
        }
    }
}

/// A confirmed block is not on the chain any more: what was believed may be untrue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeepReorg {
    /// Height of the block.
    pub number: u64,
    /// Its hash when it was confirmed.
    pub expected: B256,
    /// What is there now; `None` if the chain is shorter.
    pub got: Option<B256>,
}

/// What a view hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewEvent {
    /// A confirmed log.
    Log {
        /// The log.
        log: ChainLog,
        /// Where to go on after it.
        cursor: Cursor,
    },
    /// All logs up to this block were handed out.
    Confirmed {
        /// The block.
        block: BlockRef,
        /// Where to go on after it.
        cursor: Cursor,
    },
    /// Unconfirmed blocks were replaced. Nothing handed out is affected, but transactions may have to be sent again.
    Reorg {
        /// How many of the blocks seen are gone.
        depth: u64,
        /// The head before.
        old_head: BlockRef,
        /// The head now.
        new_head: BlockRef,
    },
    /// A confirmed block vanished; the view has stopped.
    DeepReorg(DeepReorg),
}

/// Blocks whose logs to read, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: u64,
    pub(super) to: u64,
}

#[derive(Debug)]
pub(super) struct Tracker {
    confirmations: u64,
    cursor: Cursor,
    latest: Option<BlockRef>,
    confirmed: Option<BlockRef>,
    /// Unconfirmed blocks of the branch that was seen last.
    seen: BTreeMap<u64, B256>,
    alarm: Option<DeepReorg>,
}

impl Tracker {
    pub(super) fn new(cursor: Cursor, confirmations: u64) -> Self {
        Self {
            confirmations,
            cursor,
            latest: None,
            confirmed: None,
            seen: BTreeMap::new(),
            alarm: None,
        }
    }

    pub(super) fn latest(&self) -> Option<BlockRef> {
        self.latest
    }

    pub(super) fn confirmed(&self) -> Option<BlockRef> {
        self.confirmed
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(super) fn alarm(&self) -> Option<DeepReorg> {
        self.alarm
    }

    /// Compares the cursor's block with what the chain has at its height.
    pub(super) fn check_anchor(&mut self, got: Option<BlockRef>) -> Option<DeepReorg> {
        let got = got.map(|block| block.hash);
        if got == Some(self.cursor.block_hash) {
            return None;
        }
        let alarm = DeepReorg {
            number: self.cursor.block_number,
            expected: self.cursor.block_hash,
            got,
        };
        self.alarm = Some(alarm);
        self.alarm
    }

    /// Whether the block below `lowest` is needed to connect `head` to what was seen before.
    pub(super) fn wants_parent(&self, head: BlockRef, lowest: BlockRef) -> bool {
        let floor = self.floor(head);
        let connected = self.seen.get(&lowest.number) == Some(&lowest.hash);
        !connected && lowest.number > floor
    }

    /// Lowest block that is still worth remembering under `head`.
    fn floor(&self, head: BlockRef) -> u64 {
        let depth = self.confirmations.min(REMEMBERED_MAX);
        head.number.saturating_sub(depth).max(self.cursor.block_number)
    }

    /// What to read next, if anything has become confirmed.
    pub(super) fn plan(&self, head: BlockRef, blocks_max: u64) -> Option<Step> {
        let confirmed = head.number.checked_sub(self.confirmations)?;
        let from = self.cursor.block_number;
        let to = confirmed.min(from.saturating_add(blocks_max.max(1)));
        // The cursor's own block is read again until it was seen whole once: it may hold logs from `next_log_index` on.
        let progress = to > from || (to == from && self.confirmed.is_none());
        progress.then_some(Step { from, to })
    }

    /// Takes the unconfirmed part of the chain, oldest first, and tells if it replaced another.
    pub(super) fn observe(&mut self, head: BlockRef, blocks: Vec<BlockRef>) -> Option<ViewEvent> {
        let old = self.latest.replace(head);
        let replaces = |block: &&BlockRef| {
            self.seen
                .get(&block.number)
                .is_some_and(|hash| *hash != block.hash)
        };
        let fork = blocks.iter().find(replaces).map(|block| block.number);
        // A lower head of the same branch is a node that lags behind another, not a reorg: what is above stays.
        let gone = fork.map_or_else(BTreeMap::new, |fork| self.seen.split_off(&fork));
        let depth = gone.len();
        self.seen
            .extend(blocks.iter().map(|block| (block.number, block.hash)));
        let floor = self.floor(head);
        self.seen.retain(|number, _| *number >= floor);
        let old_head = old.filter(|_| depth > 0)?;
        Some(ViewEvent::Reorg {
            depth: u64::try_from(depth).unwrap_or(u64::MAX),
            old_head,
            new_head: head,
        })
    }

    /// Takes the logs up to the confirmed block `to` and hands out what is new.
    pub(super) fn advance(
        &mut self,
        to: BlockRef,
        mut logs: Vec<ChainLog>,
    ) -> Result<Vec<ViewEvent>, ChainError> {
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.dedup_by_key(|log| (log.block_number, log.log_index));
        let mut cursor = self.cursor;
        let mut events = Vec::new();
        for log in logs {
            let known_hash = match log.block_number {
                number if number == cursor.block_number => Some(cursor.block_hash),
                number if number == to.number => Some(to.hash),
                _ => None,
            };
            if log.block_number > to.number || known_hash.is_some_and(|hash| hash != log.block_hash) {
                let text = format!("a log of block {} on another branch", log.block_number);
                return Err(ChainError::BadAnswer(text));
            }
            if (log.block_number, log.log_index) < (cursor.block_number, cursor.next_log_index) {
                continue;
            }
            cursor = Cursor {
                block_number: log.block_number,
                block_hash: log.block_hash,
                next_log_index: log.log_index.saturating_add(1),
            };
            events.push(ViewEvent::Log { log, cursor });
        }
        if cursor.block_number < to.number {
            cursor = Cursor {
                block_number: to.number,
                block_hash: to.hash,
                next_log_index: 0,
            };
        }
        self.cursor = cursor;
        self.confirmed = Some(to);
        events.push(ViewEvent::Confirmed { block: to, cursor });
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, Bytes, U256};

    const K: u64 = 2;

    fn hash(branch: u8, number: u64) -> B256 {
        let mut bytes = U256::from(number).to_be_bytes::<32>();
        bytes[0] = branch;
        B256::from(bytes)
    }

    /// Block `number`; branch 1 parts from branch 0 above `fork`.
    fn block(branch: u8, fork: u64, number: u64) -> BlockRef {
        let side = |number: u64| if number > fork { branch } else { 0 };
        let parent = number.saturating_sub(1);
        BlockRef {
            number,
            hash: hash(side(number), number),
            parent_hash: hash(side(parent), parent),
            timestamp_s: number,
            gas_limit: 30_000_000,
        }
    }

    fn log(at: BlockRef, log_index: u64) -> ChainLog {
        ChainLog {
            address: Address::ZERO,
            topics: Vec::new(),
            data: Bytes::new(),
            block_number: at.number,
            block_hash: at.hash,
            tx_hash: B256::ZERO,
            log_index,
        }
    }

    fn main(number: u64) -> BlockRef {
        block(0, 0, number)
    }

    fn tracker(at: u64) -> Tracker {
        Tracker::new(Cursor::before(main(at)), K)
    }

    fn indexes(events: &[ViewEvent]) -> Vec<(u64, u64)> {
        let index = |event: &ViewEvent| match event {
            ViewEvent::Log { log, .. } => Some((log.block_number, log.log_index)),
            _ => None,
        };
        events.iter().filter_map(index).collect()
    }

    #[test]
    fn nothing_is_read_before_k_blocks_are_on_top() {
        let tracker = tracker(5);
        assert_eq!(tracker.plan(main(6), 100), None);
        assert_eq!(tracker.plan(main(7), 100), Some(Step { from: 5, to: 5 }));
        assert_eq!(tracker.plan(main(8), 100), Some(Step { from: 5, to: 6 }));
        assert_eq!(tracker.plan(main(1), 100), None);
        assert_eq!(tracker.plan(main(500), 10), Some(Step { from: 5, to: 15 }));
    }

    #[test]
    fn each_log_comes_once_in_order_whatever_the_node_repeats() {
        let mut tracker = tracker(1);
        let logs = vec![log(main(2), 1), log(main(1), 0), log(main(2), 0), log(main(2), 1)];
        let events = tracker.advance(main(3), logs.clone()).unwrap();
        assert_eq!(indexes(&events), [(1, 0), (2, 0), (2, 1)]);
        assert_eq!(
            tracker.cursor(),
            Cursor {
                block_number: 3,
                block_hash: main(3).hash,
                next_log_index: 0
            }
        );
        // A restart from the cursor of any event gives exactly the rest.
        let cursors: Vec<Cursor> = events
            .iter()
            .filter_map(|event| {
                if let ViewEvent::Log { cursor, .. } = event {
                    Some(*cursor)
                } else {
                    None
                }
            })
            .collect();
        for (handed, cursor) in cursors.into_iter().enumerate() {
            let again = Tracker::new(cursor, K).advance(main(3), logs.clone()).unwrap();
            assert_eq!(indexes(&again), indexes(&events)[handed + 1..]);
        }
    }

    #[test]
    fn logs_of_another_branch_or_above_the_confirmed_block_are_refused() {
        for bad in [log(block(1, 0, 1), 0), log(block(1, 0, 3), 0), log(main(4), 0)] {
            let mut tracker = tracker(1);
            assert!(tracker.advance(main(3), vec![bad]).is_err());
            assert_eq!(
                tracker.cursor(),
                Cursor::before(main(1)),
                "nothing was handed out"
            );
        }
    }

    #[test]
    fn reorgs_are_told_with_their_depth_and_lagging_nodes_are_none() {
        let mut tracker = Tracker::new(Cursor::before(main(0)), 5);
        let branch = |number| block(1, 7, number);
        assert_eq!(tracker.observe(main(9), (4..=9).map(main).collect()), None);
        assert_eq!(tracker.observe(main(10), vec![main(9), main(10)]), None);
        assert_eq!(tracker.observe(main(9), vec![main(9)]), None, "a node that lags");
        assert_eq!(tracker.observe(main(10), vec![main(10)]), None);
        let told = tracker.observe(branch(9), vec![main(7), branch(8), branch(9)]);
        assert_eq!(
            told,
            Some(ViewEvent::Reorg {
                depth: 3,
                old_head: main(10),
                new_head: branch(9)
            })
        );
        assert_eq!(tracker.observe(branch(10), vec![branch(9), branch(10)]), None);
    }

    #[test]
    fn a_vanished_confirmed_block_is_an_alarm_for_good() {
        let mut tracker = tracker(1);
        assert_eq!(tracker.check_anchor(Some(main(1))), None);
        let alarm = DeepReorg {
            number: 1,
            expected: main(1).hash,
            got: Some(block(1, 0, 1).hash),
        };
        assert_eq!(tracker.check_anchor(Some(block(1, 0, 1))), Some(alarm));
        assert_eq!(tracker.alarm(), Some(alarm));
    }
}
