//! The bytes of the journal's file.
//!
//! | offset | what |
//! |---|---|
//! | 0, and again at 4096 | heading: length u32, checksum, generation u64, bytes of a segment u64, start (offset u64, serial u64), owners (count u32, each shard u32, epoch u64, first u64, last u64), pin |
//! | 8192, and so on | segments: entries one behind the other, each at a multiple of 4096 |
//!
//! An entry is its checksum, the checksum of its head, length u32, shard u32, serial u64, number u64, epoch u64 and the record's
//! bytes. Serials count the entries of all shards. The checksums cover where it stands and the store's own number, which nobody
//! else knows: no bytes of a record pass for an entry. Integers are little-endian.

use std::collections::BTreeMap;

use crate::store::row::{self, CHECK_BYTES, Kind, take};
use crate::store::{Epoch, RECORD_BYTES_MAX, ShardId};

/// Entries begin at multiples of it: a write of one never touches a block of another.
pub(super) const BLOCK: usize = 4096;

/// Where the two headings stand.
pub(super) const HEADINGS: [u64; 2] = [0, BLOCK as u64];

const SEGMENTS_FROM: u64 = 2 * BLOCK as u64;

/// A record of the greatest length has room.
pub(in crate::store::redb_store) const SEGMENT_BYTES: u64 = RECORD_BYTES_MAX as u64 + 16 * BLOCK as u64;

/// How the file is divided behind its headings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    /// Length of each; a multiple of a block.
    pub(super) bytes: u64,
}

impl Segments {
    /// Offset of the first byte of a segment.
    pub(super) fn begin(self, segment: u64) -> u64 {
        SEGMENTS_FROM.saturating_add(segment.saturating_mul(self.bytes))
    }

    /// Offset behind the last byte of a segment.
    pub(super) fn end(self, segment: u64) -> u64 {
        self.begin(segment.saturating_add(1))
    }

    /// The segment in which an offset lies.
    pub(super) fn of(self, offset: u64) -> u64 {
        let behind = offset.saturating_sub(SEGMENTS_FROM);
        behind.checked_div(self.bytes).unwrap_or_default()
    }

    /// How many segments a file of so many bytes has, the last one perhaps in part.
    pub(super) fn in_file(self, bytes: u64) -> u64 {
        let behind = bytes.saturating_sub(SEGMENTS_FROM);
        self.of(bytes)
            .saturating_add(u64::from(behind.checked_rem(self.bytes) != Some(0)))
    }
}

/// What the journal knows about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) epoch: Epoch,
    /// First record that was not trimmed, or the next one.
    pub(super) first: u64,
    /// It, and all before it, are durable.
    pub(super) last: u64,
}

/// Where the oldest entry that counts stands, or the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: u64,
    pub(super) serial: u64,
}

/// What stands in front of all entries, twice: while one is written, the other is whole and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::redb_store) struct Heading {
    /// Goes up with each change.
    pub(super) generation: u64,
    pub(super) segments: Segments,
    pub(super) start: Start,
    pub(super) owners: BTreeMap<ShardId, Owner>,
    pub(in crate::store::redb_store) pin: Vec<u8>,
}

impl Heading {
    /// Of a file without entries.
    pub(in crate::store::redb_store) fn new(pin: Vec<u8>, segment_bytes: u64) -> Self {
        Self {
            generation: 0,
            segments: Segments { bytes: segment_bytes },
            start: Start {
                offset: SEGMENTS_FROM,
                serial: 1,
            },
            owners: BTreeMap::new(),
            pin,
        }
    }

    /// The block at `offset`. `None`: there are too many shards for one.
    pub(super) fn block(&self, offset: u64) -> Option<Vec<u8>> {
        let mut body = self.generation.to_le_bytes().to_vec();
        body.extend(self.segments.bytes.to_le_bytes());
        body.extend(self.start.offset.to_le_bytes());
        body.extend(self.start.serial.to_le_bytes());
        body.extend(u32::try_from(self.owners.len()).ok()?.to_le_bytes());
        for (shard, owner) in &self.owners {
            body.extend(shard.0.to_le_bytes());
            body.extend(owner.epoch.0.to_le_bytes());
            body.extend(owner.first.to_le_bytes());
            body.extend(owner.last.to_le_bytes());
        }
        body.extend(&self.pin);
        let sealed = row::seal(Kind::Heading, &[&offset.to_le_bytes()], &body);
        let mut block = u32::try_from(sealed.len()).ok()?.to_le_bytes().to_vec();
        block.extend(sealed);
        (block.len() <= BLOCK).then(|| {
            block.resize(BLOCK, 0);
            block
        })
    }

    /// Reads the block at `offset`, if it is whole.
    pub(super) fn read(offset: u64, mut block: &[u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*take(&mut block)?);
        let sealed = block.get(..usize::try_from(length).ok()?)?;
        let body = &mut row::open(Kind::Heading, &[&offset.to_le_bytes()], sealed)?;
        let generation = take_u64(body)?;
        let segments = Segments {
            bytes: take_u64(body)?,
        };
        let start = Start {
            offset: take_u64(body)?,
            serial: take_u64(body)?,
        };
        let mut owners = BTreeMap::new();
        for _ in 0..u32::from_le_bytes(*take(body)?) {
            let shard = ShardId(u32::from_le_bytes(*take(body)?));
            let epoch = Epoch(take_u64(body)?);
            let first = take_u64(body)?;
            let last = take_u64(body)?;
            owners.insert(shard, Owner { epoch, first, last });
        }
        Some(Self {
            generation,
            segments,
            start,
            owners,
            pin: body.to_vec(),
        })
    }
}

fn take_u64(body: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*take(body)?))
}

/// Of the checksum of an entry's head.
const HEAD_CHECK_BYTES: usize = 8;

const HEAD_AT: usize = CHECK_BYTES + HEAD_CHECK_BYTES;

/// Bytes of an entry in front of its record's.
pub(super) const ENTRY_HEAD_BYTES: usize = HEAD_AT + 32;

/// An entry but for its record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) shard: ShardId,
    pub(super) serial: u64,
    pub(super) number: u64,
    pub(super) epoch: Epoch,
}

/// Where entries of a store stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) store_id: &'a [u8; 16],
    pub(super) offset: u64,
}

impl Spot<'_> {
    /// An entry that stands here, in whole blocks; `to` is overwritten.
    pub(super) fn put(self, head: EntryHead, bytes: &[u8], to: &mut Vec<u8>) -> Option<()> {
        to.clear();
        to.extend([0; HEAD_AT]);
        to.extend(u32::try_from(bytes.len()).ok()?.to_le_bytes());
        to.extend(head.shard.0.to_le_bytes());
        to.extend(head.serial.to_le_bytes());
        to.extend(head.number.to_le_bytes());
        to.extend(head.epoch.0.to_le_bytes());
        let check = self.head_check(to.get(HEAD_AT..)?);
        to.get_mut(CHECK_BYTES..HEAD_AT)?.copy_from_slice(&check);
        to.extend_from_slice(bytes);
        let (check, body) = to.split_first_chunk_mut::<CHECK_BYTES>()?;
        *check = self.check(body);
        to.resize(to.len().checked_next_multiple_of(BLOCK)?, 0);
        Some(())
    }

    /// What the first bytes of an entry say of it, and the length of its record, if an entry was written here.
    pub(super) fn read_head(self, head: &[u8; ENTRY_HEAD_BYTES]) -> Option<(EntryHead, usize)> {
        let (checks, rest) = head.split_at_checked(HEAD_AT)?;
        if checks.get(CHECK_BYTES..)? != self.head_check(rest) {
            return None;
        }
        let rest = &mut &*rest;
        let length = u32::from_le_bytes(*take(rest)?);
        let head = EntryHead {
            shard: ShardId(u32::from_le_bytes(*take(rest)?)),
            serial: take_u64(rest)?,
            number: take_u64(rest)?,
            epoch: Epoch(take_u64(rest)?),
        };
        let length = usize::try_from(length).ok()?;
        (length <= RECORD_BYTES_MAX).then_some((head, length))
    }

    /// True for an entry that was written here.
    pub(super) fn is_whole(self, entry: &[u8]) -> bool {
        let split = entry.split_at_checked(CHECK_BYTES);
        split.is_some_and(|(check, body)| check == self.check(body))
    }

    fn check(self, body: &[u8]) -> [u8; CHECK_BYTES] {
        row::check(Kind::Record, &[self.store_id, &self.offset.to_le_bytes()], body)
    }

    fn head_check(self, rest: &[u8]) -> [u8; HEAD_CHECK_BYTES] {
        let place: [&[u8]; 2] = [self.store_id, &self.offset.to_le_bytes()];
        let check = row::check(Kind::RecordHead, &place, rest);
        check.first_chunk().copied().unwrap_or_default()
    }
}

/// Bytes that an entry with a record of so many takes.
pub(super) fn entry_bytes(length: usize) -> u64 {
    let whole = length.saturating_add(ENTRY_HEAD_BYTES);
    whole.checked_next_multiple_of(BLOCK).unwrap_or(whole) as u64
}
