//! The journal file: one row per group commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError};

use super::database::{File, read_failed};
use super::layout::{
    OWNERS, Owner, RECORD_HEAD_BYTES, Records, owner_row, read_owner, read_record, record_head, records_name,
};
use super::mark::Mark;
use crate::store::head::{Head, Heads};
use crate::store::{Durable, Epoch, JournalRecord, Loaded, ShardId, StoreError, TRIM_STEP_RECORDS, Trimmed};

/// One answer of `journal_tail` stops after this many bytes.
const TAIL_BYTES: usize = 16 * 1024 * 1024;

/// The writing side, owned by the journal's thread.
pub(super) struct Journal {
    file: Arc<File>,
    heads: Arc<Heads>,
    mark: Mark,
    /// Table names by shard, made once.
    names: BTreeMap<ShardId, String>,
}

impl Journal {
    pub(super) fn new(file: Arc<File>, heads: Arc<Heads>, mark: Mark) -> Self {
        Self {
            file,
            heads,
            mark,
            names: BTreeMap::new(),
        }
    }

    /// The hot path: one insert, one commit.
    pub(super) fn append(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        record: &JournalRecord,
    ) -> Result<Durable, StoreError> {
        let number = record.number;
        self.heads.of(shard).check_append(shard, epoch, record)?;
        let name = self.names.entry(shard).or_insert_with(|| records_name(shard));
        let head = record_head(shard, number, epoch, &record.bytes);
        self.file.commit(|transaction| {
            let mut table = transaction.open_table::<u64, &[u8]>(TableDefinition::new(name))?;
            let length = RECORD_HEAD_BYTES.saturating_add(record.bytes.len());
            let mut row = table.insert_reserve(number, length)?;
            let (to_head, to_bytes) = row.as_mut().split_at_mut(RECORD_HEAD_BYTES);
            to_head.copy_from_slice(&head);
            to_bytes.copy_from_slice(&record.bytes);
            Ok(())
        })?;
        self.heads.change(shard, |head| head.last = number);
        self.mark.write(shard, number);
        Ok(Durable::new(shard, epoch, number))
    }

    pub(super) fn acquire(&mut self, shard: ShardId) -> Result<Loaded, StoreError> {
        let head = self.heads.of(shard);
        let epoch = Epoch(head.epoch.0.saturating_add(1));
        self.write_owner(
            shard,
            Owner {
                epoch,
                first: head.first,
            },
            0..0,
        )?;
        Ok(self.heads.change(shard, |head| head.epoch = epoch).loaded())
    }

    pub(super) fn trim(&mut self, shard: ShardId, epoch: Epoch, below: u64) -> Result<Trimmed, StoreError> {
        let (range, more) = self
            .heads
            .of(shard)
            .plan_trim(shard, epoch, below, TRIM_STEP_RECORDS)?;
        if range.is_empty() {
            return Ok(Trimmed { deleted: 0, more });
        }
        let first = range.end;
        let deleted = range.end.saturating_sub(range.start);
        self.write_owner(shard, Owner { epoch, first }, range)?;
        self.heads.change(shard, |head| head.first = first);
        Ok(Trimmed { deleted, more })
    }

    /// Writes the owner's row and deletes a range of records, in one commit.
    fn write_owner(&self, shard: ShardId, owner: Owner, delete: Range<u64>) -> Result<(), StoreError> {
        self.file.commit(|transaction| {
            if !delete.is_empty() {
                let name = records_name(shard);
                let mut table = transaction.open_table::<u64, &[u8]>(TableDefinition::new(&name))?;
                for number in delete {
                    table.remove(number)?;
                }
            }
            let mut owners = transaction.open_table(OWNERS)?;
            owners.insert(shard.0, owner_row(shard, owner).as_slice())?;
            Ok(())
        })
    }
}

/// Reads where each shard stands, and that no record is missing. `upto` is left at 0.
pub(super) fn read_heads(file: &File) -> Result<BTreeMap<ShardId, Head>, StoreError> {
    let transaction = file.read()?;
    let owners = match transaction.open_table(OWNERS) {
        Ok(owners) => owners,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(read_failed(error)),
    };
    let mut heads = BTreeMap::new();
    for row in owners.iter().map_err(read_failed)? {
        let (key, value) = row.map_err(read_failed)?;
        let shard = ShardId(key.value());
        let owner = read_owner(shard, value.value())
            .ok_or_else(|| StoreError::Corrupt(format!("owner row of shard {}", shard.0)))?;
        let last = read_last(&transaction, shard, owner)?;
        heads.insert(
            shard,
            Head {
                epoch: owner.epoch,
                first: owner.first,
                last,
                upto: 0,
            },
        );
    }
    Ok(heads)
}

fn read_last(transaction: &redb::ReadTransaction, shard: ShardId, owner: Owner) -> Result<u64, StoreError> {
    let name = records_name(shard);
    let empty = owner
        .first
        .checked_sub(1)
        .ok_or_else(|| StoreError::Corrupt("first record is 0".to_owned()))?;
    let records: Records<'_> = TableDefinition::new(&name);
    let table = match transaction.open_table(records) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(empty),
        Err(error) => return Err(read_failed(error)),
    };
    let first = table.first().map_err(read_failed)?.map(|(key, _)| key.value());
    let last = table.last().map_err(read_failed)?.map(|(key, _)| key.value());
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(empty);
    };
    let count = table.len().map_err(read_failed)?;
    if first != owner.first || last.checked_sub(first) != count.checked_sub(1) {
        return Err(StoreError::Corrupt(format!(
            "journal of shard {} holds {count} records in {first}..={last}, its first should be {}",
            shard.0, owner.first
        )));
    }
    Ok(last)
}

/// Reads records in order and checks each.
pub(super) fn read_tail(
    file: &File,
    shard: ShardId,
    from: u64,
    limit: usize,
) -> Result<Vec<JournalRecord>, StoreError> {
    let transaction = file.read()?;
    let name = records_name(shard);
    let records: Records<'_> = TableDefinition::new(&name);
    let table = match transaction.open_table(records) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(read_failed(error)),
    };
    let mut tail = Vec::new();
    let mut total: usize = 0;
    let mut expected = from;
    for row in table.range(from..).map_err(read_failed)?.take(limit) {
        let (key, value) = row.map_err(read_failed)?;
        let number = key.value();
        let bytes = read_record(shard, number, value.value()).filter(|_| number == expected);
        let bytes = bytes.ok_or_else(|| {
            StoreError::Corrupt(format!(
                "journal record {expected} of shard {} is damaged or missing",
                shard.0
            ))
        })?;
        total = total.saturating_add(bytes.len());
        tail.push(JournalRecord { number, bytes });
        expected = expected.saturating_add(1);
        if total >= TAIL_BYTES {
            break;
        }
    }
    Ok(tail)
}
