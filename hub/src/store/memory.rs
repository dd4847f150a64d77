//! A store without a disk, for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::head::Head;
use super::{
    Checkpoint, Durable, Epoch, Freeze, Frozen, JournalRecord, Loaded, Row, ShardId, Store, StoreError,
    TRIM_STEP_RECORDS, Table, Trimmed,
};

#[derive(Debug, Default)]
struct Inner {
    heads: BTreeMap<ShardId, Head>,
    records: BTreeMap<(ShardId, u64), Vec<u8>>,
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// Commits left until one fails; `None`: never.
    fail_after: Option<u64>,
}

impl Inner {
    fn head(&self, shard: ShardId) -> Head {
        self.heads.get(&shard).copied().unwrap_or_default()
    }
}

/// Keeps everything in memory, behind the same rules as [`RedbStore`](super::RedbStore).
///
/// Clones of the contents survive in [`MemoryStore::reopen`], as a file survives a process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    poisoned: AtomicBool,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another handle of the same contents, healthy even if this one is poisoned.
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.lock_any().fail_after = None;
        Self {
            inner: Arc::clone(&self.inner),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Lets `commits` more commits succeed; the next one then fails without writing anything.
    pub fn fail_after(&self, commits: u64) {
        self.lock_any().fail_after = Some(commits);
    }

    fn lock_any(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            Err(StoreError::Poisoned)
        } else {
            Ok(self.lock_any())
        }
    }

    fn commit(&self, inner: &mut Inner) -> Result<(), StoreError> {
        match inner.fail_after.as_mut() {
            Some(0) => {
                self.poisoned.store(true, Ordering::Release);
                Err(StoreError::CommitFailed(
                    "planned failure of the memory store".to_owned(),
                ))
            }
            Some(left) => {
                *left = left.saturating_sub(1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        let mut inner = self.lock()?;
        self.commit(&mut inner)?;
        let head = inner.heads.entry(shard).or_default();
        head.epoch = Epoch(head.epoch.0.saturating_add(1));
        Ok(head.loaded())
    }

    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        Ok(self.lock()?.head(shard).loaded())
    }

    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError> {
        let mut inner = self.lock()?;
        inner.head(shard).check_append(shard, epoch, &record)?;
        self.commit(&mut inner)?;
        inner.records.insert((shard, record.number), record.bytes);
        inner.heads.entry(shard).or_default().last = record.number;
        Ok(Durable::new(shard, epoch, record.number))
    }

    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        let mut inner = self.lock()?;
        inner.head(shard).check_checkpoint(shard, epoch, &checkpoint)?;
        self.commit(&mut inner)?;
        for key in checkpoint.deletes {
            inner.rows.remove(&key);
        }
        for (table, key, value) in checkpoint.puts {
            inner.rows.insert((table, key), value);
        }
        inner.heads.entry(shard).or_default().upto = checkpoint.upto;
        Ok(())
    }

    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        let mut inner = self.lock()?;
        let (range, more) = inner
            .head(shard)
            .plan_trim(shard, epoch, below, TRIM_STEP_RECORDS)?;
        if range.is_empty() {
            return Ok(Trimmed { deleted: 0, more });
        }
        self.commit(&mut inner)?;
        inner.heads.entry(shard).or_default().first = range.end;
        let deleted = range.end.saturating_sub(range.start);
        for number in range {
            inner.records.remove(&(shard, number));
        }
        Ok(Trimmed { deleted, more })
    }

    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock()?.rows.get(&(table, key.to_vec())).cloned())
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(rows_from(&self.lock()?.rows, table, from, limit))
    }

    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        let inner = self.lock()?;
        inner.head(shard).check_tail(from)?;
        let records = inner.records.range((shard, from)..=(shard, u64::MAX)).take(limit);
        Ok(records
            .map(|((_, number), bytes)| JournalRecord {
                number: *number,
                bytes: bytes.clone(),
            })
            .collect())
    }
}

struct FrozenRows {
    upto: u64,
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Freeze for MemoryStore {
    fn freeze(&self, shard: ShardId) -> Result<Box<dyn Frozen>, StoreError> {
        let inner = self.lock()?;
        Ok(Box::new(FrozenRows {
            upto: inner.head(shard).upto,
            rows: inner.rows.clone(),
        }))
    }
}

impl Frozen for FrozenRows {
    fn upto(&self) -> u64 {
        self.upto
    }

    fn rows(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        Ok(rows_from(&self.rows, table, from, limit))
    }
}

fn rows_from(
    rows: &BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    table: Table,
    from: &[u8],
    limit: usize,
) -> Vec<Row> {
    let rows = rows
        .range((table, from.to_vec())..)
        .take_while(|((of, _), _)| *of == table);
    rows.take(limit)
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}
