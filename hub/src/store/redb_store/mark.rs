//! A second opinion on where the journal ends.
//!
//! Whether the newest or the second newest commit of a redb file counts is decided by one bit that no
//! checksum covers, and a kill between the two phases of a commit leaves the same file as that bit flipped.
//! So after each commit the record's number also goes into `journal.mark`, unsynced: a few microseconds. The
//! mark never runs ahead of what is durable. If it is ahead of the journal found at a start, the journal was
//! rolled back: by a flipped bit, a lying disk or an older copy put in its place. A missing or torn mark
//! says nothing, as after a power loss.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::store::ShardId;
use crate::store::row::{self, CHECK_BYTES, Kind};

pub(in crate::store) const MARK_FILE: &str = "journal.mark";

/// Checksum and number; one slot per shard.
const SLOT_BYTES: usize = CHECK_BYTES + 8;

/// The open mark; does nothing where there is no file.
#[derive(Debug, Default)]
pub(super) struct Mark(Option<File>);

impl Mark {
    /// Opens or creates the mark. It is advice, so a failure only leaves the store without it.
    pub(super) fn open(directory: &Path) -> Self {
        let path = directory.join(MARK_FILE);
        Self(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .ok(),
        )
    }

    fn seek(&mut self, shard: ShardId) -> Option<&mut File> {
        let file = self.0.as_mut()?;
        let offset = u64::from(shard.0).saturating_mul(SLOT_BYTES as u64);
        file.seek(SeekFrom::Start(offset)).ok()?;
        Some(file)
    }

    /// Notes a durable record.
    pub(super) fn write(&mut self, shard: ShardId, number: u64) {
        let slot = row::seal(Kind::Mark, &[&shard.0.to_le_bytes()], &number.to_le_bytes());
        if let Some(file) = self.seek(shard) {
            // Advice only: see `open`.
            let _written = file.write_all(&slot);
        }
    }

    /// The last record noted, if that can be read.
    pub(super) fn read(&mut self, shard: ShardId) -> Option<u64> {
        let mut slot = [0; SLOT_BYTES];
        self.seek(shard)?.read_exact(&mut slot).ok()?;
        let body = row::open(Kind::Mark, &[&shard.0.to_le_bytes()], &slot)?;
        Some(u64::from_le_bytes(body.try_into().ok()?))
    }
}
