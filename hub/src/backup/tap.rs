//! A store with an ear: what is durable is noted for the backup, and the journal is kept until it was exported.

use crate::store::{
    Checkpoint, Durable, Epoch, JournalRecord, Loaded, Row, ShardId, Store, StoreError, Table, Trimmed,
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// Records kept for a backup that has fallen behind; beyond that it begins anew, so the journal stays bounded.
const KEPT_RECORDS_MAX: u64 = 100_000;

/// How often the gauges are set when nothing else sets them.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// How far the backup is.
#[derive(Debug)]
pub(super) struct Mark {
    /// First record that it still needs.
    needed: AtomicU64,
    /// Newest record that a head of this run claims; 0 before the first.
    exported: AtomicU64,
    /// Everything that was durable then is exported.
    caught_up: Mutex<Instant>,
}

impl Mark {
    fn new() -> Self {
        Self {
            needed: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            caught_up: Mutex::new(Instant::now()),
        }
    }

    /// Keeps the journal from `first` on.
    pub(super) fn needs(&self, first: u64) {
        self.needed.store(first, Ordering::Release);
    }

    /// What was durable at `then` is exported and claimed, up to `newest`.
    pub(super) fn caught_up(&self, newest: u64, then: Instant) {
        self.needs(newest.saturating_add(1));
        self.exported.store(newest, Ordering::Release);
        *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner) = then;
    }

    /// Commits that a lost disk would lose now, when `durable` is the newest.
    pub(super) fn lag(&self, durable: u64) -> u64 {
        durable.saturating_sub(self.exported.load(Ordering::Acquire))
    }

    /// Sets the gauges.
    pub(super) fn measure(&self, durable: u64) {
        let commits = self.lag(durable);
        let since = *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        metrics::gauge!("hub_backup_lag_commits").set(u32::try_from(commits).unwrap_or(u32::MAX));
        metrics::gauge!("hub_backup_lag_seconds").set(since.elapsed());
    }

    /// Sets them also when nothing is committed and nobody exports, until the hub stops.
    pub(super) async fn measure_always(
        self: Arc<Self>,
        durable: watch::Receiver<u64>,
        mut stopped: watch::Receiver<bool>,
    ) {
        while tokio::time::timeout(MEASURE_EVERY, stopped.wait_for(|stopped| *stopped))
            .await
            .is_err()
        {
            self.measure(*durable.borrow());
        }
    }
}

/// See the module. Costs the payment path two stores to memory and two gauges per commit.
pub struct Tap {
    inner: Arc<dyn Store>,
    durable: watch::Sender<u64>,
    pub(super) mark: Arc<Mark>,
}

impl Tap {
    /// Before `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            durable: watch::Sender::new(0),
            mark: Arc::new(Mark::new()),
        }
    }

    /// The newest durable record.
    pub(super) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }
}

#[async_trait]
impl Store for Tap {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        let loaded = self.inner.acquire(shard).await?;
        self.durable.send_replace(loaded.last);
        Ok(loaded)
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
        let durable = self.inner.append(shard, epoch, record).await?;
        self.durable.send_replace(durable.number());
        self.mark.measure(durable.number());
        Ok(durable)
    }

    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.inner.checkpoint(shard, epoch, checkpoint).await
    }

    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        let durable = *self.durable.borrow();
        let needed = self.mark.needed.load(Ordering::Acquire);
        let kept = needed.max(durable.saturating_sub(KEPT_RECORDS_MAX));
        self.inner.trim(shard, epoch, below.min(kept)).await
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
