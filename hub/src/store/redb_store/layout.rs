//! Tables and rows of the two files.
//!
//! | file | table | key | row (each behind a 16-byte checksum) |
//! |---|---|---|---|
//! | both | `hub` | "pin" | format version, store id, identity |
//! | journal.redb | `owners` | shard | epoch u64, first u64 (first record not trimmed) |
//! | journal.redb | `records-<shard>` | number | epoch u64, bytes |
//! | state.redb | `shards` | shard | upto u64 |
//! | state.redb | `table-<number>` | key | value |
//!
//! Integers are little-endian.

use redb::TableDefinition;

use crate::store::row::{self, CHECK_BYTES, Kind, take};
use crate::store::{Epoch, ShardId, Table};

pub(in crate::store) const JOURNAL_FILE: &str = "journal.redb";
pub(in crate::store) const STATE_FILE: &str = "state.redb";

pub(super) const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
pub(super) const PIN_KEY: &str = "pin";
pub(super) const OWNERS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("owners");
pub(super) const SHARDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("shards");

/// The journal of one shard.
pub(super) type Records<'a> = TableDefinition<'a, u64, &'static [u8]>;
/// One of the byte-keyed tables.
pub(super) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Bytes in front of a record.
pub(super) const RECORD_HEAD_BYTES: usize = CHECK_BYTES + 8;

pub(super) fn records_name(shard: ShardId) -> String {
    format!("records-{}", shard.0)
}

pub(super) const fn rows_of(table: Table) -> Rows {
    TableDefinition::new(match table {
        Table::Channels => "table-1",
        Table::Payments => "table-2",
        Table::Events => "table-3",
        Table::Meta => "table-4",
        Table::Evidence => "table-5",
        Table::Settings => "table-6",
        Table::Unacknowledged => "table-7",
    })
}

/// What the journal knows about a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) epoch: Epoch,
    pub(super) first: u64,
}

pub(super) fn owner_row(shard: ShardId, owner: Owner) -> Vec<u8> {
    let body = [owner.epoch.0.to_le_bytes(), owner.first.to_le_bytes()].concat();
    row::seal(Kind::Owner, &[&shard.0.to_le_bytes()], &body)
}

pub(super) fn read_owner(shard: ShardId, bytes: &[u8]) -> Option<Owner> {
    let body = &mut row::open(Kind::Owner, &[&shard.0.to_le_bytes()], bytes)?;
    let epoch = Epoch(u64::from_le_bytes(*take(body)?));
    let first = u64::from_le_bytes(*take(body)?);
    body.is_empty().then_some(Owner { epoch, first })
}

pub(super) fn upto_row(shard: ShardId, upto: u64) -> Vec<u8> {
    row::seal(Kind::Upto, &[&shard.0.to_le_bytes()], &upto.to_le_bytes())
}

pub(super) fn read_upto(shard: ShardId, bytes: &[u8]) -> Option<u64> {
    let body = row::open(Kind::Upto, &[&shard.0.to_le_bytes()], bytes)?;
    Some(u64::from_le_bytes(body.try_into().ok()?))
}

/// Checksum and epoch, to be written in front of a record's bytes.
pub(super) fn record_head(
    shard: ShardId,
    number: u64,
    epoch: Epoch,
    bytes: &[u8],
) -> [u8; RECORD_HEAD_BYTES] {
    let mut head = [0; RECORD_HEAD_BYTES];
    let epoch = epoch.0.to_le_bytes();
    let check = row::check(
        Kind::Record,
        &[&shard.0.to_le_bytes(), &number.to_le_bytes(), &epoch],
        bytes,
    );
    head.iter_mut()
        .zip(check.into_iter().chain(epoch))
        .for_each(|(to, from)| *to = from);
    head
}

/// Bytes of a record, if its checksum fits.
pub(super) fn read_record(shard: ShardId, number: u64, row: &[u8]) -> Option<Vec<u8>> {
    let (head, bytes) = row.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let (_, epoch) = head.split_last_chunk::<8>()?;
    let epoch = Epoch(u64::from_le_bytes(*epoch));
    (*head == record_head(shard, number, epoch, bytes)).then(|| bytes.to_vec())
}

pub(super) fn table_row(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    row::seal(Kind::TableRow, &[&[table.number()], key], value)
}

pub(super) fn read_table_row(table: Table, key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    row::open(Kind::TableRow, &[&[table.number()], key], row).map(<[u8]>::to_vec)
}
