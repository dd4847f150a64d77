//! A store that takes its time: while it works, messages pass, and the power may fail before or after its commit.

use super::{network::Network, part::Part};
use async_trait::async_trait;
use hub::store::{
    Checkpoint, Durable, Epoch, JournalRecord, Loaded, Row, ShardId, Store, StoreError, Table, Trimmed,
};
use rand::{Rng as _, rngs::StdRng};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Longest time a write takes on each side of its commit.
const WRITE_MS_MAX: u64 = 6;
/// The same when the disk is slow.
const SLOW_MS_MAX: u64 = 2_500;

/// A store of the hub or of a person. See the module.
pub(super) struct Slow<S> {
    inner: S,
    random: Mutex<StdRng>,
    network: Network,
}

impl<S> Slow<S> {
    pub(super) fn new(inner: S, random: StdRng, network: Network) -> Self {
        Self {
            inner,
            random: Mutex::new(random),
            network,
        }
    }

    async fn pause(&self) {
        let slow_ms = self.network.plan(|plan| match plan.strikes(Part::SlowDisk) {
            true => plan.dice(Part::SlowDisk).random_range(100..=SLOW_MS_MAX),
            false => 0,
        });
        let ms = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.random_range(0..=WRITE_MS_MAX)
        };
        sleep(Duration::from_millis(ms + slow_ms)).await;
    }
}

#[async_trait]
impl<S: Store> Store for Slow<S> {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.acquire(shard).await
    }

    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.inner.load(shard).await
    }

    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError> {
        self.pause().await;
        let durable = self.inner.append(shard, epoch, record).await?;
        self.pause().await;
        Ok(durable)
    }

    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.pause().await;
        self.inner.checkpoint(shard, epoch, checkpoint).await?;
        self.pause().await;
        Ok(())
    }

    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        self.inner.trim(shard, epoch, below).await
    }

    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key).await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, from, limit).await
    }

    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        self.inner.journal_tail(shard, from, limit).await
    }
}

#[async_trait]
impl<S: client_sdk::Store> client_sdk::Store for Slow<S> {
    async fn commit(&self, batch: Vec<client_sdk::Write>) -> Result<(), client_sdk::StoreError> {
        self.pause().await;
        self.inner.commit(batch).await?;
        self.pause().await;
        Ok(())
    }

    async fn get(
        &self,
        table: client_sdk::Table,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, client_sdk::StoreError> {
        self.inner.get(table, key).await
    }

    async fn scan(&self, table: client_sdk::Table) -> Result<Vec<client_sdk::Row>, client_sdk::StoreError> {
        self.inner.scan(table).await
    }
}
