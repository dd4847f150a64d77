//! The journal: a file of our own, since it is written with every commit and read only at a start. A commit is one write of whole
//! blocks and one sync. What is trimmed is written over.

mod file;
mod layout;
mod scan;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use self::file::{Place, Places};
use self::layout::{EntryHead, Owner, Start, entry_bytes};
use super::database::File;
use super::mark::Mark;
use crate::store::head::{Head, Heads};
use crate::store::{Durable, Epoch, JournalRecord, Loaded, ShardId, StoreError, TRIM_STEP_RECORDS, Trimmed};

pub(super) use self::file::JournalFile;
pub(super) use self::layout::{Heading, SEGMENT_BYTES};
pub(super) use self::scan::Next;

/// Memory that is kept from one entry to the next.
const ENTRY_KEPT: usize = 4 * 1024 * 1024;

/// The writing side, owned by the journal's thread.
pub(super) struct Journal {
    file: Arc<JournalFile>,
    heads: Arc<Heads>,
    mark: Mark,
    /// As it is on disk.
    heading: Heading,
    next: Next,
    /// The entry that is written; its memory is used again.
    entry: Vec<u8>,
    /// Its lock is that of the whole database: nobody opens it before the last entry is written.
    _state: Arc<File>,
}

impl Journal {
    pub(super) fn new(
        (file, state): (Arc<JournalFile>, Arc<File>),
        heads: Arc<Heads>,
        mut mark: Mark,
        heading: Heading,
        next: Next,
    ) -> Self {
        // A loss of power may have left an older one.
        for shard in heading.owners.keys() {
            mark.write(*shard, heads.of(*shard).last);
        }
        Self {
            file,
            heads,
            mark,
            heading,
            next,
            entry: Vec::new(),
            _state: state,
        }
    }

    /// The hot path: one write, one sync.
    pub(super) fn append(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        record: &JournalRecord,
    ) -> Result<Durable, StoreError> {
        let number = record.number;
        self.heads.of(shard).check_append(shard, epoch, record)?;
        let serial = self.next.serial;
        let (segment, offset) = self.place_for(record.bytes.len()).map_err(failed)?;
        let head = EntryHead {
            shard,
            serial,
            number,
            epoch,
        };
        let put = self.file.spot(offset).put(head, &record.bytes, &mut self.entry);
        put.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        self.file.write(offset, &self.entry).map_err(failed)?;
        self.file.sync().map_err(failed)?;
        self.next.segment = segment;
        self.next.offset = offset.saturating_add(self.entry.len() as u64);
        self.next.serial = serial.saturating_add(1);
        self.next.newest.insert(segment, serial);
        self.entry.shrink_to(ENTRY_KEPT);
        if let Some(places) = self.file.places().get_mut(&shard) {
            places.of.push_back(Place {
                offset,
                serial,
                length: record.bytes.len(),
            });
        }
        self.heads.change(shard, |head| head.last = number);
        self.mark.write(shard, number);
        Ok(Durable::new(shard, epoch, number))
    }

    /// Segment and offset of the next entry: behind the last one, or in a segment from which nobody reads any more, or in a new one.
    fn place_for(&self, length: usize) -> io::Result<(u64, u64)> {
        let Next { segment, offset, .. } = self.next;
        let segments = self.file.segments();
        let bytes = entry_bytes(length);
        if bytes > segments.bytes {
            return Err(io::Error::other(
                "a record is longer than a segment of the journal",
            ));
        }
        if offset.saturating_add(bytes) <= segments.end(segment) {
            return Ok((segment, offset));
        }
        let all = segments.in_file(self.file.len()?);
        // A start follows all entries from the oldest that counts, whosesoever they are.
        let is_over = |other: &u64| {
            let newest = self.next.newest.get(other);
            newest.is_none_or(|newest| *newest < self.heading.start.serial)
        };
        let mut others = (0..all).filter(|other| *other != segment);
        let segment = others.find(is_over).unwrap_or(all);
        Ok((segment, segments.begin(segment)))
    }

    pub(super) fn acquire(&mut self, shard: ShardId) -> Result<Loaded, StoreError> {
        let Head {
            epoch, first, last, ..
        } = self.heads.of(shard);
        let epoch = Epoch(epoch.0.saturating_add(1));
        self.write_heading(shard, Owner { epoch, first, last })?;
        self.file
            .places()
            .entry(shard)
            .or_insert_with(|| Places::new(first));
        Ok(self.heads.change(shard, |head| head.epoch = epoch).loaded())
    }

    pub(super) fn trim(&mut self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        let head = self.heads.of(shard);
        let (range, more) = head.plan_trim(shard, epoch, below, TRIM_STEP_RECORDS)?;
        if range.is_empty() {
            return Ok(Trimmed { deleted: 0, more });
        }
        let first = range.end;
        if let Some(places) = self.file.places().get_mut(&shard) {
            let gone = usize::try_from(first.saturating_sub(places.first)).unwrap_or(usize::MAX);
            places.of.drain(..gone.min(places.of.len()));
            places.first = first;
        }
        // Only then are they written over.
        let last = head.last;
        self.write_heading(shard, Owner { epoch, first, last })?;
        self.heads.change(shard, |head| head.first = first);
        Ok(Trimmed {
            deleted: range.end.saturating_sub(range.start),
            more,
        })
    }

    /// Notes where all records end: after it damage to the last one is noticed, too.
    pub(super) fn note_ends(&mut self) -> Result<(), StoreError> {
        let mut owners = self.heading.owners.clone();
        for (shard, owner) in &mut owners {
            owner.last = self.heads.of(*shard).last;
        }
        match owners == self.heading.owners {
            true => Ok(()),
            false => self.write_owners(owners),
        }
    }

    fn write_heading(&mut self, shard: ShardId, owner: Owner) -> Result<(), StoreError> {
        let mut owners = self.heading.owners.clone();
        owners.insert(shard, owner);
        self.write_owners(owners)
    }

    /// Writes what stands in front of the entries. With none left, the segment is begun again: a quiet hub's file stays short.
    fn write_owners(&mut self, owners: BTreeMap<ShardId, Owner>) -> Result<(), StoreError> {
        let oldest = {
            let places = self.file.places();
            let oldest = places.values().filter_map(|places| places.of.front().copied());
            oldest.min_by_key(|place| place.serial)
        };
        let start = match oldest {
            Some(Place { offset, serial, .. }) => Start { offset, serial },
            None => Start {
                offset: self.file.segments().begin(self.next.segment),
                serial: self.next.serial,
            },
        };
        let heading = Heading {
            generation: self.heading.generation.saturating_add(1),
            start,
            owners,
            ..self.heading.clone()
        };
        self.file.write_heading(&heading).map_err(failed)?;
        self.heading = heading;
        if oldest.is_none() {
            self.next.offset = start.offset;
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> StoreError {
    StoreError::CommitFailed(error.to_string())
}

/// Where each shard stands, but for its checkpoint.
pub(super) fn heads_of(file: &JournalFile, heading: &Heading) -> BTreeMap<ShardId, Head> {
    let places = file.places();
    let head = |shard: &ShardId, owner: &Owner| {
        let next = places.get(shard).map_or(owner.first, Places::next);
        Head {
            epoch: owner.epoch,
            first: owner.first,
            last: next.saturating_sub(1),
            upto: 0,
        }
    };
    let owners = heading.owners.iter();
    owners
        .map(|(shard, owner)| (*shard, head(shard, owner)))
        .collect()
}
