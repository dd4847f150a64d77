//! The store on a disk: a journal of our own, and the state behind it in redb. `open` has the rules of opening, `files` the
//! checks, `layout` the state's bytes.

mod create;
mod database;
mod files;
mod journal;
mod layout;
mod mark;
mod open;
mod pieces;
mod state;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;

use self::database::{File, panic_text};
use self::journal::{Journal, JournalFile};
use self::state::{FrozenTables, State};
use self::worker::{Poison, Worker};
use super::head::Heads;
use crate::execution::Execution;

use super::{
    Checkpoint, Durable, Epoch, Freeze, Frozen, JournalRecord, Loaded, Row, ShardId, Store, StoreError,
    Table, Trimmed,
};

#[cfg(test)]
pub(in crate::store) use self::database::Tuning;
#[cfg(test)]
pub(in crate::store) use self::layout::{JOURNAL_FILE, STATE_FILE};
#[cfg(test)]
pub(in crate::store) use self::mark::MARK_FILE;

/// Storage of one machine: `journal.log` and `state.redb` in one directory.
///
/// Commits run on two threads of their own, so a large checkpoint does not hold up the journal; reads run on
/// tokio's blocking pool. Needs a tokio runtime. On simulated disks everything runs where it is called.
pub struct RedbStore {
    journal: Worker<Journal>,
    state: Worker<State>,
    journal_file: Arc<JournalFile>,
    state_file: Arc<File>,
    heads: Arc<Heads>,
    poison: Poison,
    execution: Execution,
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore")
            .field("heads", &self.heads)
            .finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Finishes the queued writes and closes both files; afterwards they can be opened again.
    ///
    /// Dropping the store does the same without waiting for it.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`] if a commit had failed, or a thread is gone.
    pub async fn close(self) -> Result<(), StoreError> {
        // Poisoned, it has nothing to note.
        let _noted = self.journal.run(Journal::note_ends).await;
        let closing = tokio::task::spawn_blocking(move || {
            let stopped = self.journal.stop().is_ok() & self.state.stop().is_ok();
            self.poison.check()?;
            if stopped {
                Ok(())
            } else {
                Err(StoreError::Poisoned)
            }
        });
        closing.await.map_err(|_| StoreError::Poisoned)?
    }

    async fn read<F: Send + Sync + 'static, R: Send + 'static>(
        &self,
        file: &Arc<F>,
        read: impl FnOnce(&F) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        self.poison.check()?;
        // A panic of redb while reading: the file is not what redb wrote.
        let panicked = |what: String| Err(StoreError::Corrupt(format!("reading failed: {what}")));
        if self.execution == Execution::Inline {
            let done = catch_unwind(AssertUnwindSafe(|| read(file)));
            return done.unwrap_or_else(|panic| panicked(panic_text(panic.as_ref())));
        }
        let file = Arc::clone(file);
        let done = tokio::task::spawn_blocking(move || read(&file)).await;
        done.unwrap_or_else(|error| panicked(error.to_string()))
    }
}

impl Freeze for RedbStore {
    fn freeze(&self, shard: ShardId) -> Result<Box<dyn Frozen>, StoreError> {
        self.poison.check()?;
        Ok(Box::new(FrozenTables::new(&self.state_file, shard)?))
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn acquire(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        let epoch = self
            .journal
            .run(move |journal| journal.acquire(shard))
            .await?
            .epoch;
        // Checkpoints of an earlier owner that were queued are over once this job has had its turn.
        self.state.run(|_| Ok(())).await?;
        let head = self.heads.of(shard);
        head.check_owner(shard, epoch)?;
        Ok(head.loaded())
    }

    async fn load(&self, shard: ShardId) -> Result<Loaded, StoreError> {
        self.poison.check()?;
        Ok(self.heads.of(shard).loaded())
    }

    async fn append(
        &self,
        shard: ShardId,
        epoch: Epoch,
        record: JournalRecord,
    ) -> Result<Durable, StoreError> {
        self.journal
            .run(move |journal| journal.append(shard, epoch, &record))
            .await
    }

    async fn checkpoint(
        &self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.state
            .run(move |state| state.checkpoint(shard, epoch, checkpoint))
            .await
    }

    async fn trim(&self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        self.journal
            .run(move |journal| journal.trim(shard, epoch, below))
            .await
    }

    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_vec();
        self.read(&self.state_file, move |file| state::read_row(file, table, &key))
            .await
    }

    async fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let from = from.to_vec();
        self.read(&self.state_file, move |file| {
            state::read_rows(file, table, &from, limit)
        })
        .await
    }

    async fn journal_tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        let heads = Arc::clone(&self.heads);
        let read = move |file: &JournalFile| {
            heads.of(shard).check_tail(from)?;
            file.tail(shard, from, limit)
        };
        self.read(&self.journal_file, read).await
    }
}
