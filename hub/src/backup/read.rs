//! Reading a backup: every segment is opened and its place in the chain checked, then the ledger is rebuilt.

use super::{
    BackupError, BackupKey,
    directory::{Directory, Files},
    format::{Header, Kind, digest},
    part::{Head, Part},
};
use crate::{
    ledger::{Ledger, Tables},
    store::{Identity, Row, Table},
};
use protocol_spec::{Address, Amount, Domain, UnixSeconds};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What a backup covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    /// Number of the generation.
    pub generation: u64,
    /// Its segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Newest commit in it.
    pub newest_commit: u64,
    /// When it was exported, by the hub's clock: everything durable then is in. Seconds.
    pub at: u64,
    /// Channels, closed ones included.
    pub channels: usize,
    /// Channels that are not closed.
    pub open: usize,
    /// What the open channels are worth, by token.
    pub tokens: Vec<TokenWorth>,
    /// When the newest head that can be opened was written, also of a generation that cannot be used. Seconds.
    pub written_at: u64,
    /// Newer generations that were never completed, and were passed over.
    pub incomplete: Vec<u64>,
    /// What is wrong: newer generations that cannot be used, and what is after the part that can.
    pub damage: Option<String>,
    /// The note of a restore, of any generation in the directory.
    pub restored_before: Option<PathBuf>,
}

/// What the newest vouchers of all open channels of a token would pay, base units.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TokenWorth {
    /// The token.
    pub token: Address,
    /// To the clients.
    pub clients: Amount,
    /// To the hub.
    pub hub: Amount,
}

/// A backup that was read.
#[derive(Debug)]
pub struct Contents {
    /// What the database is pinned to.
    pub identity: Identity,
    /// The ledger at the newest commit.
    pub ledger: Ledger,
    /// What it covers.
    pub summary: Summary,
}

/// Reads and checks the newest complete generation in `dir`; an older one when no ledger can be made of it. What was
/// passed over or is damaged after the tables is told in the summary, and what is before the damage is there.
/// Errors: nothing can be used; then what is wrong with the newest.
pub fn read(dir: &Path, key: &BackupKey) -> Result<Contents, BackupError> {
    let directory = Directory::at(dir);
    let generations = directory.generations()?;
    let restored_before = generations
        .values()
        .rev()
        .find_map(|files| files.restored.clone());
    let (mut incomplete, mut unusable, mut written_at) = (Vec::new(), Vec::new(), 0_u64);
    for (number, files) in generations.iter().rev() {
        // The head is written once the tables are whole.
        let Some(head) = &files.head else {
            incomplete.push(*number);
            continue;
        };
        let contents = Reader::open(&directory, key, *number, head).and_then(|reader| {
            written_at = written_at.max(reader.head.at.0);
            reader.read(files)
        });
        match contents {
            Ok(mut contents) => {
                let summary = &mut contents.summary;
                summary.damage = damage(&unusable, summary.damage.take());
                (summary.incomplete, summary.restored_before) = (incomplete, restored_before);
                summary.written_at = written_at;
                return Ok(contents);
            }
            Err(error) if is_damage(&error) => unusable.push((*number, error)),
            Err(error) => return Err(error),
        }
    }
    let newest = unusable.into_iter().next().map(|(_, error)| error);
    Err(newest.unwrap_or_else(|| BackupError::Empty(dir.to_owned())))
}

/// When the newest head in `dir` that can be opened was written, seconds; none: there is none.
pub(super) fn written_at(dir: &Path, key: &BackupKey) -> Option<u64> {
    let directory = Directory::at(dir);
    let generations = directory.generations().ok()?;
    let heads = generations.iter().filter_map(|(number, files)| {
        let reader = Reader::open(&directory, key, *number, files.head.as_ref()?);
        Some(reader.ok()?.head.at.0)
    });
    heads.max()
}

/// Of a file: another generation may be whole. What does not replay is no damage, but the program's fault.
fn is_damage(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Damaged { .. } | BackupError::WrongKey { .. } | BackupError::Io { .. }
    )
}

/// All that is wrong, in words.
fn damage(unusable: &[(u64, BackupError)], after: Option<String>) -> Option<String> {
    let skipped = unusable.iter().map(|(number, error)| {
        format!("generation {number} cannot be used and an older one is taken: {error}")
    });
    let all: Vec<String> = skipped.chain(after).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

pub(super) struct Reader<'a> {
    directory: &'a Directory,
    key: &'a BackupKey,
    /// Of the head: names the generation, its newest segment and that one's digest.
    claimed: Header,
    head: Head,
    previous: [u8; 32],
    bytes: u64,
    tables: BTreeMap<u8, Vec<Row>>,
    rows: u64,
    ledger: Option<Ledger>,
    identity: Option<(Identity, Address, u64)>,
    record: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn open(
        directory: &'a Directory,
        key: &'a BackupKey,
        number: u64,
        path: &Path,
    ) -> Result<Self, BackupError> {
        let file = directory.get(path)?;
        let (claimed, body) = Header::open(key, Kind::Head, path, &file)?;
        if claimed.number != number {
            return Err(BackupError::damaged(
                path,
                format!("is the head of generation {}", claimed.number),
            ));
        }
        let head = borsh::from_slice(&body).map_err(|error| BackupError::damaged(path, error.to_string()))?;
        Ok(Self {
            directory,
            key,
            claimed,
            head,
            previous: [0; 32],
            bytes: 0,
            tables: BTreeMap::new(),
            rows: 0,
            ledger: None,
            identity: None,
            record: 0,
        })
    }

    /// The header of its head.
    pub(super) fn claimed(&self) -> Header {
        self.claimed
    }

    pub(super) fn read(mut self, files: &Files) -> Result<Contents, BackupError> {
        let mut damage = None;
        let mut segments = 0_u64;
        // A crash between a segment and the head leaves one that is not claimed yet; what it holds counts.
        let newest = files.segments.last_key_value().map_or(0, |(index, _)| *index);
        for index in 0..=self.claimed.index.max(newest) {
            match self.segment(index) {
                Ok(()) => segments = index.saturating_add(1),
                // Without its tables nothing can be made of it.
                Err(error) if self.ledger.is_none() => return Err(error),
                Err(error) if is_damage(&error) => {
                    damage = Some(error.to_string());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let path = self.directory.head(self.claimed.number);
        let unusable = || BackupError::damaged(&path, "the tables of its generation are not whole");
        let ledger = self.ledger.take().ok_or_else(unusable)?;
        let (identity, ..) = self.identity.ok_or_else(unusable)?;
        if damage.is_none() && self.record < self.head.record {
            damage = Some(format!(
                "the head claims commit {}, the newest is {}",
                self.head.record, self.record
            ));
        }
        let (tokens, open) = worth(&ledger)?;
        let summary = Summary {
            generation: self.claimed.number,
            segments,
            bytes: self.bytes,
            newest_commit: self.record,
            at: self.head.at.0,
            channels: ledger.channels(),
            open,
            tokens,
            written_at: self.head.at.0,
            incomplete: Vec::new(),
            damage,
            restored_before: None,
        };
        Ok(Contents {
            identity,
            ledger,
            summary,
        })
    }

    fn segment(&mut self, index: u64) -> Result<(), BackupError> {
        let path = self.directory.segment(self.claimed.number, index);
        let file = match self.directory.get(&path) {
            Err(BackupError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BackupError::damaged(&path, "is missing"));
            }
            file => file?,
        };
        let (header, body) = Header::open(self.key, Kind::Segment, &path, &file)?;
        let chained = Header {
            index,
            previous: self.previous,
            nonce: header.nonce,
            kind: Kind::Segment,
            ..self.claimed
        };
        if header != chained {
            return Err(BackupError::damaged(
                &path,
                "does not follow the segment before: it is of another place or backup",
            ));
        }
        let digest = digest(&file);
        if index == self.claimed.index && digest != self.claimed.previous {
            return Err(BackupError::damaged(&path, "is not the one that the head claims"));
        }
        let part =
            borsh::from_slice(&body).map_err(|error| BackupError::damaged(&path, error.to_string()))?;
        self.take(part, &path)?;
        self.previous = digest;
        self.bytes = self.bytes.saturating_add(file.len() as u64);
        Ok(())
    }

    fn take(&mut self, part: Part, path: &Path) -> Result<(), BackupError> {
        let out_of_order = || Err(BackupError::damaged(path, "holds what does not belong there"));
        match (part, &mut self.ledger) {
            (Part::Start { identity, hub, upto }, None) if self.identity.is_none() => {
                self.identity = Some((identity, hub, upto));
                self.record = upto;
                Ok(())
            }
            (Part::Rows { table, rows }, None) => {
                self.rows = self.rows.saturating_add(rows.len() as u64);
                self.tables.entry(table).or_default().extend(rows);
                Ok(())
            }
            (Part::Whole { rows }, None) if rows == self.rows => self.whole(path),
            (Part::Records { first, records }, Some(ledger)) if first == self.record.saturating_add(1) => {
                for (number, bytes) in (first..).zip(&records) {
                    ledger.replay(number, bytes).map_err(BackupError::Replay)?;
                    self.record = number;
                }
                Ok(())
            }
            _ => out_of_order(),
        }
    }

    fn whole(&mut self, path: &Path) -> Result<(), BackupError> {
        let Some((identity, hub, upto)) = self.identity else {
            return Err(BackupError::damaged(path, "comes before the start"));
        };
        let domain = Domain::new(identity.chain_id, identity.adjudicator.into());
        let mut ledger = Ledger::new(domain, hub, identity.hub_signer.into());
        let mut rows = |table: Table| self.tables.remove(&table.number()).unwrap_or_default();
        let meta = rows(Table::Meta)
            .into_iter()
            .find(|(key, _)| key == Ledger::meta_key())
            .map(|(_, value)| value);
        let tables = Tables {
            meta,
            channels: rows(Table::Channels),
            payments: rows(Table::Payments),
            events: rows(Table::Events),
            unacknowledged: rows(Table::Unacknowledged),
        };
        ledger.restore(upto, tables).map_err(BackupError::Replay)?;
        self.ledger = Some(ledger);
        Ok(())
    }
}

fn worth(ledger: &Ledger) -> Result<(Vec<TokenWorth>, usize), BackupError> {
    let (mut tokens, mut open): (BTreeMap<Address, TokenWorth>, usize) = (BTreeMap::new(), 0);
    for (token, (client, hub)) in ledger.worth() {
        open = open.saturating_add(1);
        let sum = tokens.entry(token).or_insert(TokenWorth {
            token,
            clients: Amount::ZERO,
            hub: Amount::ZERO,
        });
        sum.clients = sum.clients.plus(client).map_err(BackupError::Replay)?;
        sum.hub = sum.hub.plus(hub).map_err(BackupError::Replay)?;
    }
    Ok((tokens.into_values().collect(), open))
}

impl Summary {
    /// Age at `now`, seconds.
    #[must_use]
    pub fn age_s(&self, now: UnixSeconds) -> u64 {
        now.0.saturating_sub(self.at)
    }

    /// Seconds at `now` since a head was written.
    pub(super) fn quiet_s(&self, now: UnixSeconds) -> u64 {
        now.0.saturating_sub(self.written_at)
    }
}
