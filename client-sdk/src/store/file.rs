//! The store in a file: redb, every batch durable before it returns.

use super::{Row, Store, Table, Write, create};
use crate::StoreError;
use async_trait::async_trait;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableDefinition, TableError,
};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

const VERSION: &[u8] = b"channelhub.client-store.v13";
const VERSION_KEY: &[u8] = b"version";

/// A store in one file, readable by its owner only. One process at a time.
#[derive(Clone)]
pub struct RedbStore {
    database: Arc<Open>,
    path: PathBuf,
    /// Works on the calling task instead of a thread for blocking work.
    inline: bool,
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedbStore({})", self.path.display())
    }
}

impl RedbStore {
    /// Opens the file, or makes it when there is none. Blocks for a moment; call it before the runtime is busy.
    ///
    /// It is made under another name (`NAME.*.new`) and gets its own when it is whole and durable: a crash before that leaves
    /// nothing that would be opened, and the next start takes away what is left.
    ///
    /// Errors: [`StoreError::InUse`], [`StoreError::OtherVersion`], [`StoreError::Corrupt`] (never started empty over an existing
    /// file), [`StoreError::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        create::sweep(path);
        if !path.exists() {
            create::make(path)?;
        }
        create::sync_directory(path)?;
        let database = guarded(path, || open_file(path))??;
        let store = Self {
            database: Arc::new(Open(Some(database))),
            path: path.to_owned(),
            inline: false,
        };
        store.check_version()?;
        Ok(store)
    }

    /// For test disks: a store on `backend`, empty or left by an earlier one. Its work runs on the calling task, so that
    /// nothing depends on threads; a real disk would stall the runtime.
    ///
    /// A disk that failed before this returned for the first time holds no store yet: begin with an empty one.
    /// Errors: as [`RedbStore::open`].
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, StoreError> {
        let path = Path::new("test disk");
        let failed = |_| StoreError::Io("the length of the test disk cannot be read".to_owned());
        let empty = guarded(path, || backend.len())?.map_err(failed)? == 0;
        let open = || Builder::new().create_with_backend(backend);
        let database = guarded(path, open)?.map_err(|error| refuse(path, error))?;
        let store = Self {
            database: Arc::new(Open(Some(database))),
            path: path.to_owned(),
            inline: true,
        };
        if empty {
            guarded(path, || write(store.database.get()?, vec![version()]))??;
        }
        store.check_version()?;
        Ok(store)
    }

    fn check_version(&self) -> Result<(), StoreError> {
        match guarded(&self.path, || self.read(Table::Meta, VERSION_KEY))?? {
            Some(version) if version == VERSION => Ok(()),
            Some(other) => Err(StoreError::OtherVersion {
                path: self.path.display().to_string(),
                found: String::from_utf8_lossy(&other).into_owned(),
                expected: String::from_utf8_lossy(VERSION).into_owned(),
            }),
            None => Err(corrupt(&self.path, "no version in it")),
        }
    }

    fn read(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.database.get()?.begin_read().map_err(io)?;
        match read.open_table(definition(table)) {
            Ok(rows) => Ok(rows.get(key).map_err(io)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(io(error)),
        }
    }

    fn read_all(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        let read = self.database.get()?.begin_read().map_err(io)?;
        let rows = match read.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(io(error)),
        };
        let mut all = Vec::new();
        for row in rows.iter().map_err(io)? {
            let (key, value) = row.map_err(io)?;
            all.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(all)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.inline {
            return guarded(&self.path, || work(self))?;
        }
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(|_| corrupt(&self.path, "the database engine panicked"))?
    }
}

pub(super) fn version() -> Write {
    Write {
        table: Table::Meta,
        key: VERSION_KEY.to_vec(),
        value: Some(VERSION.to_vec()),
    }
}

/// An open database. A panic of redb while it closes over a failed disk is contained.
struct Open(Option<Database>);

impl Open {
    fn get(&self) -> Result<&Database, StoreError> {
        self.0.as_ref().ok_or_else(|| io("the database is closed"))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let database = self.0.take();
        // Every commit is durable already; a clean close only makes the next open faster.
        drop(catch_unwind(AssertUnwindSafe(|| drop(database))));
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

pub(super) fn write(database: &Database, batch: Vec<Write>) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(io)?;
    transaction.set_durability(Durability::Immediate).map_err(io)?;
    // Two phases: keys and values are partly chosen by others, so one checksum must not be all that tells a torn commit.
    transaction.set_two_phase_commit(true);
    for change in batch {
        let mut rows = transaction.open_table(definition(change.table)).map_err(io)?;
        match change.value {
            Some(value) => drop(rows.insert(change.key.as_slice(), value.as_slice()).map_err(io)?),
            None => drop(rows.remove(change.key.as_slice()).map_err(io)?),
        }
    }
    transaction.commit().map_err(io)
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let size = fs::metadata(path).map_err(io)?.len();
    if size == 0 {
        return Err(corrupt(path, "the file is empty"));
    }
    Builder::new().open(path).map_err(|error| refuse(path, error))
}

/// A file in use, a disk that fails, and damage need different words.
pub(super) fn refuse(path: &Path, error: DatabaseError) -> StoreError {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.display().to_string(),
        },
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
        {
            io(error)
        }
        other => corrupt(path, other),
    }
}

/// redb panics on some garbage; that must not look like a bug of the caller.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| corrupt(path, "the database engine panicked"))
}

fn corrupt(path: &Path, why: impl ToString) -> StoreError {
    StoreError::Corrupt {
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

pub(super) fn io(error: impl std::fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}

#[async_trait]
impl Store for RedbStore {
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.blocking(move |store| write(store.database.get()?, batch))
            .await
    }

    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_vec();
        self.blocking(move |store| store.read(table, &key)).await
    }

    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.blocking(move |store| store.read_all(table)).await
    }
}
