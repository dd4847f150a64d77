//! What a journal's file holds, found when it is opened.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::{JournalFile, Place, Places};
use super::layout::{EntryHead, Heading, Owner, entry_bytes};
use crate::store::redb_store::database::damaged;
use crate::store::redb_store::open::io as io_error;
use crate::store::{OpenError, ShardId};

/// Where the next entry comes, if it fits there.
#[derive(Clone, Debug)]
pub(in crate::store::redb_store) struct Next {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) serial: u64,
    /// The newest serial of each segment that has one of those which a start follows.
    pub(super) newest: BTreeMap<u64, u64>,
}

/// Where the next entry comes, where the records are, and where the last one is.
type Followed = (Next, BTreeMap<ShardId, Places>, Option<Place>);

impl JournalFile {
    /// Follows the entries from the heading's start to the last one, takes them for the file's records, and makes sure that what
    /// it found is durable. Errors: an entry is missing, or is not what its owner would have written.
    pub(in crate::store::redb_store) fn scan(
        &mut self,
        path: &Path,
        heading: &mut Heading,
        store_id: [u8; 16],
    ) -> Result<Next, OpenError> {
        let io = |error| io_error(path, error);
        self.adopt(store_id, heading.segments);
        let (next, found, last) = self.follow(path, heading)?;
        // One that is not whole was never acknowledged, if it is the last: none is written before the one in front is durable.
        let later = self.has_from(&next, &heading.owners).map_err(io)?;
        let missing = |(shard, owner): (&ShardId, &Owner)| {
            let places = found.get(shard);
            places.is_none_or(|places| places.next() <= owner.last)
        };
        if later || heading.owners.iter().any(missing) {
            return Err(damaged(
                path,
                format!("entry {} is damaged or missing", next.serial),
            ));
        }
        // Whether the last one is durable, nobody knows: the process may have ended before its sync, or because of it.
        if let Some(last) = last {
            let mut entry = Vec::new();
            let is_it = |head: &EntryHead| head.serial == last.serial;
            if self.entry(last.offset, &mut entry, is_it).map_err(io)?.is_none() {
                return Err(damaged(path, "an entry changed while it was read"));
            }
            self.write(last.offset, &entry).map_err(io)?;
        }
        self.sync().map_err(io)?;
        self.mend_headings(heading).map_err(io)?;
        *self.places() = found;
        Ok(next)
    }

    fn follow(&self, path: &Path, heading: &Heading) -> Result<Followed, OpenError> {
        let io = |error| io_error(path, error);
        let segments = self.segments();
        let all = segments.in_file(self.len().map_err(io)?);
        let mut found = Found::new(heading);
        let mut entry = Vec::new();
        let start = heading.start;
        let mut next = Next {
            segment: segments.of(start.offset),
            offset: start.offset,
            serial: start.serial,
            newest: BTreeMap::new(),
        };
        let mut last = None;
        loop {
            // Behind the last one that fits into a segment another segment begins.
            let begins = (0..all).map(|segment| segments.begin(segment));
            let mut whole = None;
            for offset in std::iter::once(next.offset).chain(begins) {
                let is_next = self.entry(offset, &mut entry, |head| head.serial == next.serial);
                whole = is_next.map_err(io)?.map(|found| (offset, found));
                if whole.is_some() {
                    break;
                }
            }
            let Some((offset, whole)) = whole else {
                return Ok((next, found.places, last));
            };
            let place = Place {
                offset,
                serial: next.serial,
                length: whole.length,
            };
            found
                .take(whole.head, place)
                .ok_or_else(|| damaged(path, format!("entry {} is not its owner's next", next.serial)))?;
            last = Some(place);
            next.segment = segments.of(offset);
            next.newest.insert(next.segment, next.serial);
            next.offset = offset.saturating_add(entry_bytes(whole.length));
            next.serial = next.serial.saturating_add(1);
        }
    }
}

/// The records found so far.
struct Found<'a> {
    owners: &'a BTreeMap<ShardId, Owner>,
    places: BTreeMap<ShardId, Places>,
}

impl<'a> Found<'a> {
    fn new(heading: &'a Heading) -> Self {
        let empty = |(shard, owner): (&ShardId, &Owner)| (*shard, Places::new(owner.first));
        Self {
            owners: &heading.owners,
            places: heading.owners.iter().map(empty).collect(),
        }
    }

    /// `None`: it cannot be there.
    fn take(&mut self, head: EntryHead, place: Place) -> Option<()> {
        let owner = self.owners.get(&head.shard)?;
        let places = self.places.get_mut(&head.shard)?;
        if head.number < owner.first && places.of.is_empty() {
            return Some(()); // Trimmed, behind one of another shard that is not.
        }
        (head.number == places.next() && head.epoch <= owner.epoch).then(|| places.of.push_back(place))
    }
}
