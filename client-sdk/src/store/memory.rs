//! A store that forgets when it is dropped: for tests and for throw-away clients.

use super::{Row, Store, Table, Write};
use crate::StoreError;
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

type Tables = BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Keeps everything in memory. Clones share their content. A client that loses it can only be restored from what the
/// hub shows, and loses its evidence: use [`super::RedbStore`] for real money.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy of the present content: a backup.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            tables: Arc::new(Mutex::new(self.lock().clone())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // No code panics while it holds the lock, and every batch is applied whole.
        self.tables
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        let mut tables = self.lock();
        for write in batch {
            let table = tables.entry(write.table).or_default();
            match write.value {
                Some(value) => drop(table.insert(write.key, value)),
                None => drop(table.remove(&write.key)),
            }
        }
        Ok(())
    }

    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().get(&table).and_then(|rows| rows.get(key).cloned()))
    }

    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        let rows = self.lock().get(&table).cloned().unwrap_or_default();
        Ok(rows.into_iter().collect())
    }
}
