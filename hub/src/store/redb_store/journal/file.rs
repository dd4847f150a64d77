//! The journal's file: its two headings, its entries, and where the records are. Shared by the one who writes and those who read.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::layout::{BLOCK, ENTRY_HEAD_BYTES, EntryHead, HEADINGS, Heading, Owner, Segments, Spot};
use super::scan::Next;
use crate::store::redb_store::database::{Tuning, damaged};
use crate::store::redb_store::open::io as io_error;
use crate::store::{JournalRecord, OpenError, ShardId, StoreError};

/// One answer of [`JournalFile::tail`] stops after this many bytes.
const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) serial: u64,
    pub(super) length: usize,
}

/// Where the records of a shard stand, one number after the other.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Number of the first.
    pub(super) first: u64,
    pub(super) of: VecDeque<Place>,
}

impl Places {
    /// None yet, from this number on.
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            of: VecDeque::new(),
        }
    }

    /// Number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.of.len() as u64)
    }
}

/// See the module.
pub(in crate::store::redb_store) struct JournalFile {
    backend: Box<dyn StorageBackend>,
    /// False only in the test that shows that the fault disk finds a missing fsync.
    sync: bool,
    segments: Segments,
    store_id: [u8; 16],
    places: Mutex<BTreeMap<ShardId, Places>>,
}

/// An entry that is whole, and how long its record is.
pub(super) struct Entry {
    pub(super) head: EntryHead,
    pub(super) length: usize,
}

impl JournalFile {
    pub(in crate::store::redb_store) fn new(backend: Box<dyn StorageBackend>, tuning: Tuning) -> Self {
        Self {
            backend,
            sync: tuning.sync,
            segments: Segments {
                bytes: tuning.segment_bytes,
            },
            store_id: [0; 16],
            places: Mutex::default(),
        }
    }

    /// Of a new file; of another as its heading says.
    pub(in crate::store::redb_store) fn segment_bytes(&self) -> u64 {
        self.segments.bytes
    }

    /// The newest heading that is whole. Errors: the file is not a journal, or cannot be read.
    pub(in crate::store::redb_store) fn heading(&self, path: &Path) -> Result<Heading, OpenError> {
        let [first, second] = self.headings().map_err(|error| io_error(path, error))?;
        let newest = match (first, second) {
            (Some(first), Some(second)) if first.generation < second.generation => Some(second),
            (first, second) => first.or(second),
        };
        newest.ok_or_else(|| damaged(path, "neither of its two headings is whole"))
    }

    /// Those that are whole.
    fn headings(&self) -> io::Result<[Option<Heading>; 2]> {
        let bytes = self.len()?;
        let mut found = [None, None];
        for (heading, offset) in found.iter_mut().zip(HEADINGS) {
            let mut block = [0; BLOCK];
            if bytes >= offset.saturating_add(BLOCK as u64) {
                self.backend.read(offset, &mut block)?;
                *heading = Heading::read(offset, &block);
            }
        }
        Ok(found)
    }

    /// Writes a heading, durably: first the one, then the other.
    pub(in crate::store::redb_store) fn write_heading(&self, heading: &Heading) -> io::Result<()> {
        HEADINGS
            .into_iter()
            .try_for_each(|offset| self.write_heading_at(offset, heading))
    }

    fn write_heading_at(&self, offset: u64, heading: &Heading) -> io::Result<()> {
        let block = heading.block(offset);
        let block = block.ok_or_else(|| io::Error::other("the journal has no room for so many shards"))?;
        self.backend.write(offset, &block)?;
        self.sync()
    }

    /// Makes both headings the newest one, durably, whatever was under way when the process ended.
    pub(super) fn mend_headings(&self, newest: &mut Heading) -> io::Result<()> {
        let [first, second] = self.headings()?;
        let generation = |heading: &Option<Heading>| heading.as_ref().map(|heading| heading.generation);
        if second.is_none() || generation(&first) == generation(&second) {
            // The first was durable before the second was begun.
            return HEADINGS
                .last()
                .map_or(Ok(()), |second| self.write_heading_at(*second, newest));
        }
        // The first is not whole, or perhaps not durable; the second is. One generation says so of both only once it is true.
        newest.generation = newest.generation.saturating_add(1);
        self.write_heading(newest)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    pub(super) fn write(&self, offset: u64, entry: &[u8]) -> io::Result<()> {
        self.backend.write(offset, entry)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if self.sync {
            self.backend.sync_data()?;
        }
        Ok(())
    }

    /// From now on entries are those of this store.
    pub(super) fn adopt(&mut self, store_id: [u8; 16], segments: Segments) {
        self.store_id = store_id;
        self.segments = segments;
    }

    pub(super) fn segments(&self) -> Segments {
        self.segments
    }

    pub(super) fn spot(&self, offset: u64) -> Spot<'_> {
        let store_id = &self.store_id;
        Spot { store_id, offset }
    }

    /// Held for a look or a change, never while anything is read or written.
    pub(super) fn places(&self) -> MutexGuard<'_, BTreeMap<ShardId, Places>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry at `offset`, its bytes in `to`, if there is a whole one that `is_it` wants.
    pub(super) fn entry(
        &self,
        offset: u64,
        to: &mut Vec<u8>,
        is_it: impl Fn(&EntryHead) -> bool,
    ) -> io::Result<Option<Entry>> {
        let bytes = self.len()?;
        let behind_head = offset.saturating_add(ENTRY_HEAD_BYTES as u64);
        let ends = bytes.min(self.segments.end(self.segments.of(offset)));
        if behind_head > ends {
            return Ok(None);
        }
        let mut head = [0; ENTRY_HEAD_BYTES];
        self.backend.read(offset, &mut head)?;
        let Some((found, length)) = self
            .spot(offset)
            .read_head(&head)
            .filter(|(found, _)| is_it(found))
        else {
            return Ok(None);
        };
        if behind_head.saturating_add(length as u64) > ends {
            return Ok(None);
        }
        to.clear();
        to.extend(head);
        to.resize(ENTRY_HEAD_BYTES.saturating_add(length), 0);
        if let Some(rest) = to.get_mut(ENTRY_HEAD_BYTES..) {
            self.backend.read(behind_head, rest)?;
        }
        Ok(self
            .spot(offset)
            .is_whole(to)
            .then_some(Entry { head: found, length }))
    }

    /// True when an entry with the next serial or a later one is whole anywhere but in front of the next.
    pub(super) fn has_from(&self, next: &Next, owners: &BTreeMap<ShardId, Owner>) -> io::Result<bool> {
        let segments = self.segments;
        let bytes = self.len()?;
        let is_later = |head: &EntryHead| head.serial >= next.serial && owners.contains_key(&head.shard);
        let mut entry = Vec::new();
        for segment in 0..segments.in_file(bytes) {
            let begins = match segment == next.segment {
                true => next.offset,
                false if next.newest.contains_key(&segment) => continue,
                false => segments.begin(segment),
            };
            for offset in (begins..segments.end(segment).min(bytes)).step_by(BLOCK) {
                if self.entry(offset, &mut entry, is_later)?.is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Records in order, from number `from` on: at most `limit`, fewer when they are large.
    pub(in crate::store::redb_store) fn tail(
        &self,
        shard: ShardId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<JournalRecord>, StoreError> {
        let mut tail = Vec::new();
        let mut entry = Vec::new();
        for (place, number) in self.places_from(shard, from, limit).into_iter().zip(from..) {
            let read = self.entry(place.offset, &mut entry, |head| {
                (head.shard, head.serial, head.number) == (shard, place.serial, number)
            });
            if read
                .map_err(|error| StoreError::ReadFailed(error.to_string()))?
                .is_none()
            {
                return Err(self.not_there(shard, number));
            }
            let bytes = entry.get(ENTRY_HEAD_BYTES..).unwrap_or_default().to_vec();
            tail.push(JournalRecord { number, bytes });
        }
        Ok(tail)
    }

    /// No more than make an answer.
    fn places_from(&self, shard: ShardId, from: u64, limit: usize) -> Vec<Place> {
        let places = self.places();
        let Some(places) = places.get(&shard) else {
            return Vec::new();
        };
        let skip = usize::try_from(from.saturating_sub(places.first)).unwrap_or(usize::MAX);
        let mut total = 0_usize;
        let fits = |place: &&Place| {
            let fits = total < TAIL_BYTES;
            total = total.saturating_add(place.length);
            fits
        };
        places
            .of
            .iter()
            .skip(skip)
            .take(limit)
            .take_while(fits)
            .copied()
            .collect()
    }

    /// A record that does not read: it was trimmed meanwhile, and what is there now is another one, or it is damaged.
    fn not_there(&self, shard: ShardId, number: u64) -> StoreError {
        match self.places().get(&shard) {
            Some(places) if places.first > number => StoreError::Trimmed {
                first: places.first,
                got: number,
            },
            _ => StoreError::Corrupt(format!(
                "journal record {number} of shard {} is damaged or missing",
                shard.0
            )),
        }
    }
}
