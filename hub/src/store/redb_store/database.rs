//! One redb file: opening it without trusting it, and what every commit has in common.

use std::any::Any;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, StorageBackend,
    StorageError, WriteTransaction,
};

use super::journal::SEGMENT_BYTES;
use crate::store::{OpenError, StoreError};

/// How commits are made. Production uses the default; the tests show that the others are worse.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Tuning {
    /// Data is synced before the file says that it is there. Without it redb, finding a damaged newest
    /// commit, falls back to the one before, which would silently forget an acknowledged record.
    pub(in crate::store) two_phase: bool,
    /// False only in the test that shows that the fault disk finds a missing fsync.
    pub(in crate::store) sync: bool,
    /// Of the journal.
    pub(in crate::store) segment_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            two_phase: true,
            sync: true,
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

/// An open file. A panic of redb while it closes is contained.
pub(in crate::store) struct File {
    database: Option<Database>,
    tuning: Tuning,
}

impl File {
    /// Opens an existing file or, if the backend is empty, makes a new database in it.
    pub(in crate::store) fn open(
        path: &Path,
        backend: impl StorageBackend,
        cache_bytes: usize,
        tuning: Tuning,
    ) -> Result<Self, OpenError> {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Builder::new()
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(true)
                .create_with_backend(backend)
        }));
        match opened {
            Ok(Ok(database)) => Ok(Self {
                database: Some(database),
                tuning,
            }),
            Ok(Err(error)) => Err(refuse(path, error)),
            Err(panic) => Err(damaged(path, panic_text(panic.as_ref()))),
        }
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or(StoreError::Poisoned)
    }

    /// Begins a read. The snapshot stays as it is whatever is committed later.
    pub(in crate::store) fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.database()?.begin_read().map_err(read_failed)
    }

    /// Runs `fill` in one transaction and commits it durably. Any failure means that the process must stop.
    pub(in crate::store) fn commit(
        &self,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let commit = || -> Result<(), redb::Error> {
            let database = self.database.as_ref().ok_or(redb::Error::DatabaseClosed)?;
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(self.tuning.two_phase);
            let durability = if self.tuning.sync {
                Durability::Immediate
            } else {
                Durability::None
            };
            transaction
                .set_durability(durability)
                .map_err(redb::Error::from)?;
            fill(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        commit().map_err(|error| StoreError::CommitFailed(error.to_string()))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.database.take();
        // Nothing depends on a clean close; it only makes the next open faster.
        drop(catch_unwind(AssertUnwindSafe(|| drop(database))));
    }
}

/// A failed read: damage and refusals of the disk need different words.
pub(in crate::store) fn read_failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupt(what),
        redb::Error::PreviousIo => StoreError::Poisoned,
        error => StoreError::ReadFailed(error.to_string()),
    }
}

/// The words of a panic.
pub(in crate::store) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panic without words")
        .to_owned()
}

/// A file that cannot be read as a database.
pub(in crate::store) fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
    OpenError::Damaged {
        path: path.to_path_buf(),
        what: what.into(),
    }
}

fn refuse(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::InUse {
            path: path.to_path_buf(),
        },
        DatabaseError::Storage(StorageError::Io(source))
            if !matches!(
                source.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
            ) =>
        {
            OpenError::Io {
                path: path.to_path_buf(),
                source,
            }
        }
        error => damaged(path, error.to_string()),
    }
}
