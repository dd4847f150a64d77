//! Both files together: the pin, the cross-check, the start of the two workers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::TableError;

use super::RedbStore;
use super::database::{File, damaged, read_failed};
use super::journal::{Journal, read_heads};
use super::layout::{HUB, PIN_KEY};
use super::mark::Mark;
use super::open::io;
use super::state::{State, read_uptos};
use super::worker::{Poison, Worker};
use crate::execution::Execution;
use crate::store::head::{Head, Heads};
use crate::store::identity::{Identity, Pin, Role, compare, refuse_version};
use crate::store::{OpenError, ShardId, StoreError};

/// Both files, open but not yet trusted.
pub(super) struct Files {
    pub(super) journal: File,
    pub(super) state: File,
    pub(super) mark: Mark,
}

impl Files {
    pub(super) fn write_pins(&self, path: &Path, identity: Identity) -> Result<(), OpenError> {
        let pin = Pin {
            identity,
            store_id: rand::random(),
        };
        for (file, role) in [(&self.journal, Role::Journal), (&self.state, Role::State)] {
            let row = pin.to_row(role);
            file.commit(|transaction| {
                transaction.open_table(HUB)?.insert(PIN_KEY, row.as_slice())?;
                Ok(())
            })
            .map_err(|error| io(path, std::io::Error::other(error)))?;
        }
        Ok(())
    }

    pub(super) fn start(
        mut self,
        path: &Path,
        identity: Identity,
        execution: Execution,
    ) -> Result<RedbStore, OpenError> {
        let poison = Poison::default();
        let heads = poison
            .guard(|| Ok(self.check(path, identity)))
            .map_err(|error| damaged(path, error.to_string()))??;
        let heads = Arc::new(Heads::new(heads));
        let (journal_file, state_file) = (Arc::new(self.journal), Arc::new(self.state));
        let journal = Journal::new(Arc::clone(&journal_file), Arc::clone(&heads), self.mark);
        let state = State::new(Arc::clone(&state_file), Arc::clone(&heads));
        let journal = Worker::start("hub-journal", journal, poison.clone(), execution)
            .map_err(|error| io(path, error))?;
        let state =
            Worker::start("hub-state", state, poison.clone(), execution).map_err(|error| io(path, error))?;
        Ok(RedbStore {
            journal,
            state,
            journal_file,
            state_file,
            heads,
            poison,
            execution,
        })
    }

    /// Whose database it is.
    pub(super) fn identity(&self, path: &Path, format_version: u32) -> Result<Identity, OpenError> {
        Ok(read_pin(&self.journal, path, Role::Journal, format_version)?.identity)
    }

    /// Everything that can be known before the first write: same hub, same pair, nothing missing.
    fn check(&mut self, path: &Path, identity: Identity) -> Result<BTreeMap<ShardId, Head>, OpenError> {
        let journal = read_pin(&self.journal, path, Role::Journal, identity.format_version)?;
        let state = read_pin(&self.state, path, Role::State, identity.format_version)?;
        compare(path, &identity, &journal.identity)?;
        if journal != state {
            return Err(damaged(
                path,
                "journal.redb and state.redb are from two different databases",
            ));
        }
        let broken = |error: StoreError| damaged(path, error.to_string());
        let mut heads = read_heads(&self.journal).map_err(broken)?;
        for (shard, upto) in read_uptos(&self.state).map_err(broken)? {
            heads.entry(shard).or_default().upto = upto;
        }
        for (shard, head) in &heads {
            if let Some(noted) = self.mark.read(*shard).filter(|noted| *noted > head.last) {
                let what = format!(
                    "journal.redb ends at record {} of shard {}, but record {noted} was acknowledged (journal.mark): \
                     its newest commit was lost, or it is an older copy",
                    head.last, shard.0
                );
                return Err(damaged(path, what));
            }
            if head.upto > head.last || head.first > head.upto.saturating_add(1) {
                let what = format!(
                    "journal.redb and state.redb are of different age: shard {} has records {}..={} and checkpoint {}",
                    shard.0, head.first, head.last, head.upto
                );
                return Err(damaged(path, what));
            }
        }
        Ok(heads)
    }
}

fn read_pin(file: &File, path: &Path, role: Role, version: u32) -> Result<Pin, OpenError> {
    let read = || -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = file.read()?;
        let table = match transaction.open_table(HUB) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(read_failed(error)),
        };
        Ok(table
            .get(PIN_KEY)
            .map_err(read_failed)?
            .map(|row| row.value().to_vec()))
    };
    let row = read().map_err(|error| damaged(path, error.to_string()))?;
    let row = row.ok_or_else(|| {
        damaged(
            path,
            format!("the {role:?} file is not a hub's, or its creation was cut short"),
        )
    })?;
    match Pin::from_row(role, &row, version) {
        Some(Ok(pin)) => Ok(pin),
        Some(Err(found)) => Err(refuse_version(path, version, found)),
        None => Err(damaged(path, format!("the identity row of the {role:?} file"))),
    }
}
