//! Block timestamps: the clock, plus what time travel added.

use super::failure::RpcFailure;
use serde::{Deserialize, Serialize};

/// Where the chain's time stands against its clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Travel {
    /// Seconds the chain is ahead of the clock (negative: behind).
    offset_s: i64,
    /// Timestamp asked for the next block.
    next_s: Option<u64>,
}

impl Travel {
    /// Jumps ahead; the total offset is returned.
    pub(super) fn increase(&mut self, by_s: u64) -> i64 {
        self.offset_s = self
            .offset_s
            .saturating_add(i64::try_from(by_s).unwrap_or(i64::MAX));
        self.offset_s
    }

    pub(super) fn set_next(&mut self, timestamp_s: u64, parent_s: u64) -> Result<(), RpcFailure> {
        if timestamp_s < parent_s {
            let text =
                format!("Timestamp error: {timestamp_s} is lower than previous block's timestamp {parent_s}");
            return Err(RpcFailure::params(text));
        }
        self.next_s = Some(timestamp_s);
        Ok(())
    }

    /// Timestamp of a block on `parent_s` built now. Equal timestamps are allowed: many blocks fit a second.
    pub(super) fn peek(&self, clock_s: u64, parent_s: u64) -> u64 {
        let now = self
            .next_s
            .unwrap_or_else(|| clock_s.saturating_add_signed(self.offset_s));
        now.max(parent_s)
    }

    /// As [`Self::peek`], and a requested timestamp is used up: time goes on from there.
    pub(super) fn take(&mut self, clock_s: u64, parent_s: u64) -> u64 {
        let timestamp_s = self.peek(clock_s, parent_s);
        if self.next_s.take().is_some() {
            self.offset_s = timestamp_s.checked_signed_diff(clock_s).unwrap_or_default();
        }
        timestamp_s
    }
}
