//! The state file: tables written behind the journal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use super::database::{File, panic_text, read_failed};
use super::layout::{SHARDS, read_table_row, read_upto, rows_of, table_row, upto_row};
use crate::store::head::Heads;
use crate::store::{Checkpoint, Epoch, Frozen, Row, ShardId, StoreError, Table};

/// Rows by table and key, in the order in which a B-tree likes them; `None` deletes.
type Changes = BTreeMap<Table, BTreeMap<Vec<u8>, Option<Vec<u8>>>>;

/// The writing side, owned by the state's thread.
pub(super) struct State {
    file: Arc<File>,
    heads: Arc<Heads>,
}

impl State {
    pub(super) fn new(file: Arc<File>, heads: Arc<Heads>) -> Self {
        Self { file, heads }
    }

    pub(super) fn checkpoint(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        checkpoint: Checkpoint,
    ) -> Result<(), StoreError> {
        self.heads.of(shard).check_checkpoint(shard, epoch, &checkpoint)?;
        let upto = checkpoint.upto;
        let changes = sort(checkpoint);
        self.file.commit(|transaction| {
            for (table, rows) in &changes {
                write_rows(transaction, *table, rows)?;
            }
            transaction
                .open_table(SHARDS)?
                .insert(shard.0, upto_row(shard, upto).as_slice())?;
            Ok(())
        })?;
        self.heads.change(shard, |head| head.upto = upto);
        Ok(())
    }
}

/// Deletes first, then puts; the last of several puts of one key wins.
fn sort(checkpoint: Checkpoint) -> Changes {
    let mut changes = Changes::new();
    for (table, key) in checkpoint.deletes {
        changes.entry(table).or_default().insert(key, None);
    }
    for (table, key, value) in checkpoint.puts {
        changes.entry(table).or_default().insert(key, Some(value));
    }
    changes
}

fn write_rows(
    transaction: &WriteTransaction,
    table: Table,
    rows: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> Result<(), redb::Error> {
    let mut open = transaction.open_table(rows_of(table))?;
    for (key, value) in rows {
        match value {
            Some(value) => drop(open.insert(key.as_slice(), table_row(table, key, value).as_slice())?),
            None => drop(open.remove(key.as_slice())?),
        }
    }
    Ok(())
}

/// Reads the last checkpoint of each shard.
pub(super) fn read_uptos(file: &File) -> Result<BTreeMap<ShardId, u64>, StoreError> {
    uptos_of(&file.read()?)
}

fn uptos_of(transaction: &ReadTransaction) -> Result<BTreeMap<ShardId, u64>, StoreError> {
    let shards = match transaction.open_table(SHARDS) {
        Ok(shards) => shards,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(read_failed(error)),
    };
    let mut uptos = BTreeMap::new();
    for row in shards.iter().map_err(read_failed)? {
        let (key, value) = row.map_err(read_failed)?;
        let shard = ShardId(key.value());
        let upto = read_upto(shard, value.value())
            .ok_or_else(|| StoreError::Corrupt(format!("checkpoint row of shard {}", shard.0)))?;
        uptos.insert(shard, upto);
    }
    Ok(uptos)
}

type OpenRows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

fn open_rows(transaction: &ReadTransaction, table: Table) -> Result<Option<OpenRows>, StoreError> {
    match transaction.open_table(rows_of(table)) {
        Ok(rows) => Ok(Some(rows)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(read_failed(error)),
    }
}

fn checked(table: Table, key: &[u8], row: &[u8]) -> Result<Vec<u8>, StoreError> {
    read_table_row(table, key, row).ok_or_else(|| {
        StoreError::Corrupt(format!(
            "row 0x{} of table {table:?} is damaged",
            hex::encode(key)
        ))
    })
}

pub(super) fn read_row(file: &File, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = file.read()?;
    let Some(rows) = open_rows(&transaction, table)? else {
        return Ok(None);
    };
    let row = rows.get(key).map_err(read_failed)?;
    row.map(|row| checked(table, key, row.value())).transpose()
}

pub(super) fn read_rows(
    file: &File,
    table: Table,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    rows_in(&file.read()?, table, from, limit)
}

fn rows_in(
    transaction: &ReadTransaction,
    table: Table,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let Some(rows) = open_rows(transaction, table)? else {
        return Ok(Vec::new());
    };
    let range = rows.range::<&[u8]>(from..).map_err(read_failed)?.take(limit);
    range
        .map(|row| {
            let (key, value) = row.map_err(read_failed)?;
            Ok((key.value().to_vec(), checked(table, key.value(), value.value())?))
        })
        .collect()
}

/// See [`Frozen`].
pub(super) struct FrozenTables {
    transaction: ReadTransaction,
    upto: u64,
}

impl FrozenTables {
    pub(super) fn new(file: &File, shard: ShardId) -> Result<Self, StoreError> {
        let transaction = file.read()?;
        let upto = uptos_of(&transaction)?.get(&shard).copied().unwrap_or(0);
        Ok(Self { transaction, upto })
    }
}

impl Frozen for FrozenTables {
    fn upto(&self) -> u64 {
        self.upto
    }

    fn rows(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        // A panic of redb while reading: the file is not what redb wrote.
        let read = || rows_in(&self.transaction, table, from, limit);
        catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
            Err(StoreError::Corrupt(format!(
                "reading failed: {}",
                panic_text(panic.as_ref())
            )))
        })
    }
}
