//! A look into a copy of the hub's database at the moment of its death: what of the payments under way is durable.

use super::world::World;
use client_sdk::PaymentId;
use hub::store::{RedbStore, ShardId, Store};
use std::{collections::HashSet, fs, path::Path};

/// Payments under way are in the newest records.
const RECORDS: u64 = 256;
const SHARD: ShardId = ShardId(0);

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Newest durable record.
    pub(crate) last: u64,
    /// Newest record in the checkpoint.
    pub(crate) upto: u64,
    /// The checkpoint is this process's, and its records are still in the journal.
    pub(crate) trimming: bool,
    /// Payments sent whose outcome the clients do not know.
    pub(crate) open: usize,
    /// Those of them that are in a durable record.
    pub(crate) durable: usize,
}

/// Opens a copy, so that the hub finds its own files as it left them. `open`: payments without an outcome;
/// `before`: the checkpoint at the kill before.
pub(crate) async fn examine(world: &World, open: &HashSet<PaymentId>, before: u64) -> Found {
    let scratch = tempfile::tempdir_in(&world.dir).unwrap();
    let copy = scratch.path().join("store");
    copy_files(&world.store, &copy);
    let store = RedbStore::open(&copy, world.identity).unwrap();
    let loaded = store.load(SHARD).await.unwrap();
    let trimming = loaded.upto > before
        && store
            .journal_tail(SHARD, loaded.upto, 1)
            .await
            .is_ok_and(|records| !records.is_empty());
    let mut from = (loaded.upto + 1).max(loaded.last.saturating_sub(RECORDS));
    let mut durable = HashSet::new();
    loop {
        let records = store.journal_tail(SHARD, from, 64).await.unwrap();
        let Some(newest) = records.last() else { break };
        from = newest.number + 1;
        for record in &records {
            // An id is 16 random bytes: where they stand, the payment is.
            let ids = record
                .bytes
                .windows(16)
                .filter_map(|window| window.try_into().ok());
            durable.extend(ids.map(PaymentId).filter(|id| open.contains(id)));
        }
    }
    store.close().await.unwrap();
    Found {
        last: loaded.last,
        upto: loaded.upto,
        trimming,
        open: open.len(),
        durable: durable.len(),
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
