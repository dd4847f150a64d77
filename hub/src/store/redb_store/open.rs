//! Opening: never over something that is not a complete database of this hub.

use std::io::ErrorKind;
use std::path::Path;

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::RedbStore;
use super::create::{create, sync_parent};
use super::database::{File, Tuning, damaged};
use super::files::Files;
use super::journal::JournalFile;
use super::layout::{JOURNAL_FILE, STATE_FILE};
use super::mark::Mark;
use super::pieces::InPieces;
use crate::execution::Execution;
use crate::store::{Identity, OpenError};

/// So short that a short life fills some; its records must be shorter.
const SHORT_SEGMENT_BYTES: u64 = 512 * 1024;
pub(super) const STATE_CACHE_BYTES: usize = 32 * 1024 * 1024;

impl RedbStore {
    /// Opens the database in `path`, or creates it if the directory does not exist or is empty.
    ///
    /// The directory belongs to the store: keep nothing else in it. A new database is made beside it and
    /// moved into place when complete, so a crash leaves either none or a whole one. Blocks; call it before
    /// serving.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing is created over anything that exists.
    pub fn open(path: impl AsRef<Path>, identity: Identity) -> Result<Self, OpenError> {
        Self::open_tuned(path.as_ref(), identity, Tuning::default())
    }

    /// Opens the database in `path`, which must exist: for a hub that has run before.
    ///
    /// # Errors
    /// [`OpenError::NotFound`] if there is none, else as [`RedbStore::open`].
    pub fn open_existing(path: impl AsRef<Path>, identity: Identity) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if is_vacant(path)? {
            return Err(OpenError::NotFound {
                path: path.to_path_buf(),
            });
        }
        Self::open(path, identity)
    }

    /// Opens the database in `path`, which must exist, as whatever hub's it is: for tools that sign and send nothing.
    ///
    /// # Errors
    /// As [`RedbStore::open_existing`], but for the identity, which is returned.
    pub fn open_as_is(path: impl AsRef<Path>, format_version: u32) -> Result<(Self, Identity), OpenError> {
        let path = path.as_ref();
        if is_vacant(path)? {
            return Err(OpenError::NotFound {
                path: path.to_path_buf(),
            });
        }
        let files = open_files(path, Tuning::default())?;
        let identity = files.identity(path, format_version)?;
        Ok((files.start(path, identity, Execution::Threads)?, identity))
    }

    /// Opens or creates a database on two backends, for tests with a simulated disk. All work runs inline, in the
    /// task that asks for it.
    ///
    /// # Errors
    /// As [`RedbStore::open`]; one empty backend beside one that is not empty is refused.
    pub fn open_with_backends(
        journal: impl StorageBackend,
        state: impl StorageBackend,
        identity: Identity,
    ) -> Result<Self, OpenError> {
        let tuning = Tuning {
            segment_bytes: SHORT_SEGMENT_BYTES,
            ..Tuning::default()
        };
        Self::open_backends_tuned(journal, state, identity, tuning)
    }

    pub(in crate::store) fn open_tuned(
        path: &Path,
        identity: Identity,
        tuning: Tuning,
    ) -> Result<Self, OpenError> {
        if is_vacant(path)? {
            create(path, identity, tuning)?;
        }
        sync_parent(path)?;
        open_files(path, tuning)?.start(path, identity, Execution::Threads)
    }

    pub(in crate::store) fn open_backends_tuned(
        journal: impl StorageBackend,
        state: impl StorageBackend,
        identity: Identity,
        tuning: Tuning,
    ) -> Result<Self, OpenError> {
        let path = Path::new("(backend)");
        let length = |backend: &dyn StorageBackend| backend.len().map_err(|source| io(path, source));
        let (journal_bytes, state_bytes) = (length(&journal)?, length(&state)?);
        if (journal_bytes == 0) != (state_bytes == 0) {
            let what = format!("journal has {journal_bytes} bytes, state has {state_bytes}");
            return Err(OpenError::Incomplete {
                path: path.to_path_buf(),
                what,
            });
        }
        let files = Files {
            journal: JournalFile::new(Box::new(journal), tuning),
            state: File::open(&path.join(STATE_FILE), state, STATE_CACHE_BYTES, tuning)?,
            mark: Mark::default(),
        };
        if journal_bytes == 0 {
            files.write_pins(path, identity)?;
        }
        files.start(path, identity, Execution::Inline)
    }
}

fn open_files(path: &Path, tuning: Tuning) -> Result<Files, OpenError> {
    let (journal, state) = (path.join(JOURNAL_FILE), path.join(STATE_FILE));
    let pieces = InPieces::new(open_file(&state)?);
    // Of several processes that start at once, whoever has the state has the journal.
    let state = File::open(&state, pieces, STATE_CACHE_BYTES, tuning)?;
    Ok(Files {
        journal: JournalFile::new(Box::new(open_file(&journal)?), tuning),
        state,
        mark: Mark::open(path),
    })
}

pub(super) fn io(path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// True if there is nothing at `path`; an error if there is something that is not a database.
fn is_vacant(path: &Path) -> Result<bool, OpenError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(io(path, error)),
    };
    let names: Result<Vec<_>, _> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect();
    let names = names.map_err(|error| io(path, error))?;
    let missing: Vec<&str> = [JOURNAL_FILE, STATE_FILE]
        .into_iter()
        .filter(|file| !names.iter().any(|name| name == file))
        .collect();
    if names.is_empty() || missing.is_empty() {
        return Ok(names.is_empty());
    }
    let what = format!("{} missing, {} other entries", missing.join(" and "), names.len());
    Err(OpenError::Incomplete {
        path: path.to_path_buf(),
        what,
    })
}

fn open_file(path: &Path) -> Result<FileBackend, OpenError> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| io(path, error))?;
    if file.metadata().map_err(|error| io(path, error))?.len() == 0 {
        return Err(damaged(path, "the file is empty"));
    }
    backend(path, file)
}

pub(super) fn backend(path: &Path, file: std::fs::File) -> Result<FileBackend, OpenError> {
    FileBackend::new(file).map_err(|error| damaged(path, error.to_string()))
}
