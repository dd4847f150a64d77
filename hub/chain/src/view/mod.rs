//! Follows a chain: confirmed logs in order and exactly once, reorgs noticed, deep reorgs reported.

mod track;

pub use track::{Cursor, DeepReorg, ViewEvent};

use super::Chain;
use super::error::ChainError;
use super::types::{BlockRef, ChainLog, LogQuery};
use alloy::primitives::Address;
use std::collections::VecDeque;
use track::{Step, Tracker};

/// What to follow, and how carefully.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewOptions {
    /// Contract whose logs are wanted.
    pub address: Address,
    /// Blocks that must be on top of a block before its logs count.
    pub confirmations: u64,
    /// Most blocks of one [`ChainView::poll`]; a long catch-up takes several.
    pub blocks_per_poll_max: u64,
}

/// A view of one contract's logs. Feed it a persisted [`Cursor`], call [`Self::poll`] when it suits, and store the
/// cursor that comes with each event together with the event's effects: a restart then repeats and loses nothing.
#[derive(Debug)]
pub struct ChainView {
    options: ViewOptions,
    tracker: Tracker,
}

impl ChainView {
    /// A view that goes on behind `cursor`.
    #[must_use]
    pub fn new(options: ViewOptions, cursor: Cursor) -> Self {
        Self {
            options,
            tracker: Tracker::new(cursor, options.confirmations),
        }
    }

    /// The newest block that was seen.
    #[must_use]
    pub fn latest(&self) -> Option<BlockRef> {
        self.tracker.latest()
    }

    /// The newest block that is confirmed and whose logs were all handed out. Its timestamp is chain time.
    #[must_use]
    pub fn confirmed(&self) -> Option<BlockRef> {
        self.tracker.confirmed()
    }

    /// Where the view stands, after everything that was handed out.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.tracker.cursor()
    }

    /// The alarm, once a confirmed block has vanished. The view then yields nothing more: build a new one from a
    /// cursor that is still on the chain, when it has been decided what to do about what was believed.
    #[must_use]
    pub fn alarm(&self) -> Option<DeepReorg> {
        self.tracker.alarm()
    }

    /// Looks at the chain once and hands out what is new, in order.
    ///
    /// # Errors
    /// Those of the port; nothing was handed out then, and the next call begins where this one did.
    ///
    /// Cancel safety: dropping the future loses nothing.
    pub async fn poll(&mut self, chain: &dyn Chain) -> Result<Vec<ViewEvent>, ChainError> {
        if let Some(alarm) = self.tracker.alarm() {
            return Ok(vec![ViewEvent::DeepReorg(alarm)]);
        }
        let head = chain.head().await?;
        let chain_of_heads = self.unconfirmed(chain, head).await?;
        let step = self.tracker.plan(head, self.options.blocks_per_poll_max);
        let confirmed = match step {
            Some(step) => Some(self.read(chain, step).await?),
            None => None,
        };
        // Looked at between the two looks at the confirmed block: all three are then of one branch.
        let anchor = chain.block(self.tracker.cursor().block_number).await?;
        if let Some(alarm) = self.tracker.check_anchor(anchor) {
            return Ok(vec![ViewEvent::DeepReorg(alarm)]);
        }
        if let Some((block, _)) = &confirmed
            && chain.block(block.number).await? != Some(*block)
        {
            return Err(moved());
        }
        // Only now, with every answer in hand, does the view change.
        let mut events: Vec<ViewEvent> = self.tracker.observe(head, chain_of_heads).into_iter().collect();
        if let Some((block, logs)) = confirmed {
            events.extend(self.tracker.advance(block, logs)?);
        }
        Ok(events)
    }

    /// Logs above the confirmed block, which a reorg may still take away: for reactions that cannot wait
    /// (answering a dispute) and do no harm if the log vanishes. Of a chain that is far ahead only the newest blocks are read, as
    /// many as one [`ChainView::poll`] takes, which hands out the older ones: read anew each time, they would keep the view behind.
    ///
    /// # Errors
    /// Those of the port.
    pub async fn unconfirmed_logs(&self, chain: &dyn Chain) -> Result<Vec<ChainLog>, ChainError> {
        let head = chain.head().await?;
        let newest = self.options.confirmations.max(self.options.blocks_per_poll_max);
        let behind = self.tracker.cursor().block_number.saturating_add(1);
        let from = behind.max(head.number.saturating_sub(newest));
        if from > head.number {
            return Ok(Vec::new());
        }
        chain
            .logs(LogQuery {
                address: self.options.address,
                from,
                to: head.number,
            })
            .await
    }

    /// The blocks from the head down to one that the tracker knows (or to the confirmed ones), oldest first.
    async fn unconfirmed(&self, chain: &dyn Chain, head: BlockRef) -> Result<Vec<BlockRef>, ChainError> {
        let mut blocks = VecDeque::from([head]);
        let mut lowest = head;
        while lowest.number > 0 && self.tracker.wants_parent(head, lowest) {
            let number = lowest.number.saturating_sub(1);
            let parent = chain.block(number).await?;
            match parent.filter(|parent| parent.hash == lowest.parent_hash) {
                Some(parent) => {
                    blocks.push_front(parent);
                    lowest = parent;
                }
                None => return Err(moved()),
            }
        }
        Ok(blocks.into())
    }

    async fn read(&self, chain: &dyn Chain, step: Step) -> Result<(BlockRef, Vec<ChainLog>), ChainError> {
        let block = chain.block(step.to).await?.ok_or_else(moved)?;
        let query = LogQuery {
            address: self.options.address,
            from: step.from,
            to: step.to,
        };
        Ok((block, chain.logs(query).await?))
    }
}

/// The chain changed between two requests; the next poll sees it in peace.
fn moved() -> ChainError {
    ChainError::BadAnswer("the chain changed while it was read".to_owned())
}
