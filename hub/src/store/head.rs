//! Where each shard stands, in memory; the checks that both stores share.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Checkpoint, Epoch, JournalRecord, Loaded, RECORD_BYTES_MAX, ShardId, StoreError};

/// Where one shard stands. Every number here is already durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Head {
    pub(in crate::store) epoch: Epoch,
    /// First record that was not trimmed, or the next record's number if there is none.
    pub(in crate::store) first: u64,
    pub(in crate::store) last: u64,
    pub(in crate::store) upto: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            first: 1,
            last: 0,
            upto: 0,
        }
    }
}

impl Head {
    pub(in crate::store) fn loaded(&self) -> Loaded {
        Loaded {
            upto: self.upto,
            last: self.last,
            epoch: self.epoch,
        }
    }

    /// Number of the next record. u64 cannot run out at one commit per nanosecond in 500 years.
    pub(in crate::store) fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    pub(in crate::store) fn check_owner(&self, shard: ShardId, yours: Epoch) -> Result<(), StoreError> {
        if yours == self.epoch && yours != Epoch(0) {
            return Ok(());
        }
        Err(StoreError::EpochLost {
            shard,
            yours,
            current: self.epoch,
        })
    }

    pub(in crate::store) fn check_append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: &JournalRecord,
    ) -> Result<(), StoreError> {
        self.check_owner(shard, epoch)?;
        if record.number != self.next() {
            return Err(StoreError::NotDense {
                expected: self.next(),
                got: record.number,
            });
        }
        if record.bytes.len() > RECORD_BYTES_MAX {
            return Err(StoreError::RecordTooLarge {
                max: RECORD_BYTES_MAX,
                got: record.bytes.len(),
            });
        }
        Ok(())
    }

    pub(in crate::store) fn check_checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        self.check_owner(shard, epoch)?;
        if (self.upto..=self.last).contains(&checkpoint.upto) {
            return Ok(());
        }
        Err(StoreError::CheckpointOutOfRange {
            min: self.upto,
            max: self.last,
            got: checkpoint.upto,
        })
    }

    /// The records to delete in one step of at most `step`, and whether some are left after it.
    pub(in crate::store) fn plan_trim(
        &self,
        shard: ShardId,
        epoch: Epoch,
        below: u64,
        step: u64,
    ) -> Result<(std::ops::Range<u64>, bool), StoreError> {
        self.check_owner(shard, epoch)?;
        if below > self.upto.saturating_add(1) {
            return Err(StoreError::TrimBeyondCheckpoint {
                below,
                upto: self.upto,
            });
        }
        let end = below.min(self.first.saturating_add(step)).max(self.first);
        Ok((self.first..end, end < below))
    }

    /// Refuses reads of trimmed records.
    pub(in crate::store) fn check_tail(&self, from: u64) -> Result<(), StoreError> {
        if from < self.first {
            return Err(StoreError::Trimmed {
                first: self.first,
                got: from,
            });
        }
        Ok(())
    }
}

/// All shards. The lock is held for a copy in or out, never across a commit.
#[derive(Debug, Default)]
pub(in crate::store) struct Heads(Mutex<BTreeMap<ShardId, Head>>);

impl Heads {
    pub(in crate::store) fn new(heads: BTreeMap<ShardId, Head>) -> Self {
        Self(Mutex::new(heads))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ShardId, Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::store) fn of(&self, shard: ShardId) -> Head {
        self.lock().get(&shard).copied().unwrap_or_default()
    }

    /// Changes one shard's head, after the commit that makes the change true.
    pub(in crate::store) fn change(&self, shard: ShardId, change: impl FnOnce(&mut Head)) -> Head {
        let mut heads = self.lock();
        let head = heads.entry(shard).or_default();
        change(head);
        *head
    }
}
