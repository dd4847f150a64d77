//! Tests of both stores.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "test code on small numbers"
)]

mod conformance;
mod damage;
mod faults;
mod journal_file;
mod latency;
mod opening;
mod power;

use super::{Checkpoint, Durable, Epoch, Identity, JournalRecord, ShardId, Store, StoreError, Table};

pub(super) const SHARD: ShardId = ShardId(0);

pub(super) fn identity() -> Identity {
    Identity {
        format_version: 1,
        chain_id: 31_337,
        genesis_hash: [1; 32],
        adjudicator: [2; 20],
        code_hash: [3; 32],
        hub_signer: [4; 20],
    }
}

/// Bytes that tell their number, so that a wrong record is noticed.
pub(super) fn bytes_of(number: u64, length: usize) -> Vec<u8> {
    let word = |index: usize| {
        number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(index as u64)
            .to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(word).take(length).collect()
}

pub(super) fn record(number: u64, length: usize) -> JournalRecord {
    JournalRecord {
        number,
        bytes: bytes_of(number, length),
    }
}

pub(super) async fn append(store: &dyn Store, epoch: Epoch, number: u64) -> Result<Durable, StoreError> {
    store
        .append(SHARD, epoch, record(number, 40 + (number as usize * 37) % 3000))
        .await
}

pub(super) fn channel_row(number: u64) -> (Table, Vec<u8>, Vec<u8>) {
    (
        Table::Channels,
        (number % 50).to_be_bytes().to_vec(),
        number.to_le_bytes().to_vec(),
    )
}

pub(super) fn checkpoint_to(from: u64, upto: u64) -> Checkpoint {
    Checkpoint {
        upto,
        puts: (from..=upto).map(channel_row).collect(),
        deletes: Vec::new(),
    }
}

pub(super) async fn whole_tail(store: &dyn Store, from: u64) -> Result<Vec<JournalRecord>, StoreError> {
    let mut tail: Vec<JournalRecord> = Vec::new();
    loop {
        let next = tail.last().map_or(from, |record| record.number + 1);
        let more = store.journal_tail(SHARD, next, 7).await?;
        if more.is_empty() {
            return Ok(tail);
        }
        tail.extend(more);
    }
}

/// Checks everything the store holds against what was acknowledged; returns the number of the last record.
pub(super) async fn verify(store: &dyn Store, acknowledged: u64, checkpointed: u64, attempted: u64) -> u64 {
    let at = store.load(SHARD).await.unwrap();
    assert!(
        at.last >= acknowledged,
        "acknowledged {acknowledged}, found {}",
        at.last
    );
    assert!(at.last <= attempted, "attempted {attempted}, found {}", at.last);
    assert!(
        at.upto >= checkpointed,
        "checkpointed {checkpointed}, found {}",
        at.upto
    );
    let tail = whole_tail(store, at.upto + 1).await.unwrap();
    assert_eq!(tail.len() as u64, at.last - at.upto, "dense and nothing twice");
    for (expected, found) in (at.upto + 1..).zip(&tail) {
        assert_eq!(*found, record(expected, 40 + (expected as usize * 37) % 3000));
    }
    // The tables hold exactly the effects of records 1..=upto: the newest number of each key.
    let rows = store.scan(Table::Channels, &[], 1000).await.unwrap();
    assert_eq!(rows.len() as u64, at.upto.min(50));
    for (key, value) in rows {
        let slot = u64::from_be_bytes(key.try_into().unwrap());
        let newest = (1..=at.upto).rev().find(|number| number % 50 == slot).unwrap();
        assert_eq!(u64::from_le_bytes(value.try_into().unwrap()), newest);
    }
    at.last
}
