//! Both files together: the pin, the cross-check, the start of the two workers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::TableError;

use super::RedbStore;
use super::database::{File, damaged, read_failed};
use super::journal::{Heading, Journal, JournalFile, Next, heads_of};
use super::layout::{HUB, JOURNAL_FILE, PIN_KEY};
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
    pub(super) journal: JournalFile,
    pub(super) state: File,
    pub(super) mark: Mark,
}

impl Files {
    pub(super) fn write_pins(&self, path: &Path, identity: Identity) -> Result<(), OpenError> {
        let pin = Pin {
            identity,
            store_id: rand::random(),
        };
        let heading = Heading::new(pin.to_row(Role::Journal), self.journal.segment_bytes());
        let written = self.journal.write_heading(&heading);
        written.map_err(|error| io(path, error))?;
        let row = pin.to_row(Role::State);
        let written = self.state.commit(|transaction| {
            transaction.open_table(HUB)?.insert(PIN_KEY, row.as_slice())?;
            Ok(())
        });
        written.map_err(|error| io(path, std::io::Error::other(error)))
    }

    pub(super) fn start(
        mut self,
        path: &Path,
        identity: Identity,
        execution: Execution,
    ) -> Result<RedbStore, OpenError> {
        let poison = Poison::default();
        let (heads, heading, next) = poison
            .guard(|| Ok(self.check(path, identity)))
            .map_err(|error| damaged(path, error.to_string()))??;
        let heads = Arc::new(Heads::new(heads));
        let (journal_file, state_file) = (Arc::new(self.journal), Arc::new(self.state));
        let journal = Journal::new(
            (Arc::clone(&journal_file), Arc::clone(&state_file)),
            Arc::clone(&heads),
            self.mark,
            heading,
            next,
        );
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
        let heading = self.journal.heading(&path.join(JOURNAL_FILE))?;
        Ok(pin_of(&heading.pin, path, Role::Journal, format_version)?.identity)
    }

    /// Everything that can be known before anything new is written: same hub, same pair, nothing missing.
    fn check(&mut self, path: &Path, identity: Identity) -> Result<Checked, OpenError> {
        let journal_path = path.join(JOURNAL_FILE);
        let mut heading = self.journal.heading(&journal_path)?;
        let journal = pin_of(&heading.pin, path, Role::Journal, identity.format_version)?;
        let row = read_pin(&self.state).map_err(|error| damaged(path, error.to_string()))?;
        let row = row.ok_or_else(|| {
            damaged(
                path,
                "the State file is not a hub's, or its creation was cut short",
            )
        })?;
        let state = pin_of(&row, path, Role::State, identity.format_version)?;
        compare(path, &identity, &journal.identity)?;
        if journal != state {
            return Err(damaged(
                path,
                "journal.log and state.redb are from two different databases",
            ));
        }
        let broken = |error: StoreError| damaged(path, error.to_string());
        let next = self.journal.scan(&journal_path, &mut heading, journal.store_id)?;
        let mut heads = heads_of(&self.journal, &heading);
        for (shard, upto) in read_uptos(&self.state).map_err(broken)? {
            heads.entry(shard).or_default().upto = upto;
        }
        for (shard, head) in &heads {
            if let Some(noted) = self.mark.read(*shard).filter(|noted| *noted > head.last) {
                let what = format!(
                    "journal.log ends at record {} of shard {}, but record {noted} was acknowledged (journal.mark): \
                     its newest record was lost, or it is an older copy",
                    head.last, shard.0
                );
                return Err(damaged(path, what));
            }
            if head.upto > head.last || head.first > head.upto.saturating_add(1) {
                let what = format!(
                    "journal.log and state.redb are of different age: shard {} has records {}..={} and checkpoint {}",
                    shard.0, head.first, head.last, head.upto
                );
                return Err(damaged(path, what));
            }
        }
        Ok((heads, heading, next))
    }
}

/// Where the shards stand; how the journal begins, and where it goes on.
type Checked = (BTreeMap<ShardId, Head>, Heading, Next);

fn read_pin(state: &File) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = state.read()?;
    let table = match transaction.open_table(HUB) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(read_failed(error)),
    };
    let row = table.get(PIN_KEY).map_err(read_failed)?;
    Ok(row.map(|row| row.value().to_vec()))
}

fn pin_of(row: &[u8], path: &Path, role: Role, version: u32) -> Result<Pin, OpenError> {
    match Pin::from_row(role, row, version) {
        Some(Ok(pin)) => Ok(pin),
        Some(Err(found)) => Err(refuse_version(path, version, found)),
        None => Err(damaged(path, format!("the identity row of the {role:?} file"))),
    }
}
