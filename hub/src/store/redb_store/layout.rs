//! The names of the files; tables and rows of the state's. The journal's bytes are described beside it.
//!
//! | table | key | row (each behind a 16-byte checksum) |
//! |---|---|---|
//! | `hub` | "pin" | format version, store id, identity |
//! | `shards` | shard | upto u64 |
//! | `table-<number>` | key | value |
//!
//! Integers are little-endian.

use redb::TableDefinition;

use crate::store::row::{self, Kind};
use crate::store::{ShardId, Table};

pub(in crate::store) const JOURNAL_FILE: &str = "journal.log";
pub(in crate::store) const STATE_FILE: &str = "state.redb";

pub(super) const HUB: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hub");
pub(super) const PIN_KEY: &str = "pin";
pub(super) const SHARDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("shards");

/// One of the byte-keyed tables.
pub(super) type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;

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

pub(super) fn upto_row(shard: ShardId, upto: u64) -> Vec<u8> {
    row::seal(Kind::Upto, &[&shard.0.to_le_bytes()], &upto.to_le_bytes())
}

pub(super) fn read_upto(shard: ShardId, bytes: &[u8]) -> Option<u64> {
    let body = row::open(Kind::Upto, &[&shard.0.to_le_bytes()], bytes)?;
    Some(u64::from_le_bytes(body.try_into().ok()?))
}

pub(super) fn table_row(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    row::seal(Kind::TableRow, &[&[table.number()], key], value)
}

pub(super) fn read_table_row(table: Table, key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    row::open(Kind::TableRow, &[&[table.number()], key], row).map(<[u8]>::to_vec)
}
