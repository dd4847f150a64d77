//! What a hub takes from its surroundings, so that a simulation can put its own in their place.

use crate::{
    backup::{BackupError, BackupOptions, DatabaseId, Job, Tap},
    execution::Execution,
    ledger::RowItems,
    now::Now,
    store::{Freeze, Identity, OpenError, RedbStore, Store},
};
use std::{fmt, path::PathBuf, sync::Arc};
use thiserror::Error;

/// Opens the database for a hub of this identity. Blocks.
type Open = Box<dyn FnOnce(Identity) -> Result<Opened, Refused> + Send + Sync>;

/// Why there is no database, or no backup of it.
#[derive(Debug, Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// An open database, and its backup, still to be started.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) backup: Option<Job>,
}

/// Time, threads and disk. The network is the listener that sessions are served on; the chain is a port of its own.
pub struct Ports {
    /// The own clock.
    pub now: Now,
    /// Where the stages of the payment path run.
    pub execution: Execution,
    /// Rows of checkpoints.
    pub(super) rows: RowItems,
    pub(super) open: Open,
}

impl Ports {
    /// The real world: the machine's clock, threads, and a redb database in `data_dir`.
    #[must_use]
    pub fn machine(data_dir: PathBuf) -> Self {
        Self::machine_with(data_dir, None)
    }

    /// The same with a backup, if there is one.
    #[must_use]
    pub fn machine_with(data_dir: PathBuf, backup: Option<BackupOptions>) -> Self {
        let open = move |identity| -> Result<Opened, Refused> {
            let database: Arc<dyn Freeze> = Arc::new(RedbStore::open(data_dir.join("store"), identity)?);
            let Some(options) = backup else {
                let (store, backup) = (database, None);
                return Ok(Opened { store, backup });
            };
            let tap = Tap::new(database.clone());
            let id = DatabaseId::of(&data_dir)?;
            let backup = Some(Job::new(options, identity, id, database, &tap)?);
            let store = Arc::new(tap);
            Ok(Opened { store, backup })
        };
        Self {
            now: Now::wall(),
            execution: Execution::Threads,
            rows: RowItems::PAGE,
            open: Box::new(open),
        }
    }

    /// A simulated world: everything on the caller's thread, with its clock and disk.
    pub fn simulated(
        now: Now,
        open: impl FnOnce(Identity) -> Result<Arc<dyn Store>, OpenError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            now,
            execution: Execution::Inline,
            rows: RowItems::FEW,
            open: Box::new(|identity| {
                let (store, backup) = (open(identity)?, None);
                Ok(Opened { store, backup })
            }),
        }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports")
            .field("now", &self.now)
            .field("execution", &self.execution)
            .finish_non_exhaustive()
    }
}
