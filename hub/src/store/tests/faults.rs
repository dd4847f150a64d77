//! A disk that says no: attacks C3 and C4.

use std::io::ErrorKind;

use crate::store::sim::{Fault, SimDisk};
use crate::store::{Epoch, OpenError, RedbStore, ShardId, Store, StoreError, Table};

use super::{SHARD, append, checkpoint_to, identity, verify};

fn open(disk: &SimDisk) -> RedbStore {
    RedbStore::open_with_backends(disk.file(0), disk.file(1), identity()).unwrap()
}

async fn healthy(seed: u64) -> (SimDisk, RedbStore, Epoch) {
    let disk = SimDisk::new(2, seed);
    let store = open(&disk);
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    (disk, store, epoch)
}

/// Appends, with a checkpoint after every tenth, until something fails.
async fn run(store: &RedbStore, epoch: Epoch, appends: u64) -> (u64, u64, Result<(), StoreError>) {
    let (mut acknowledged, mut checkpointed) = (0, 0);
    for number in 1..=appends {
        match append(store, epoch, number).await {
            Ok(durable) => acknowledged = durable.number(),
            Err(error) => return (acknowledged, checkpointed, Err(error)),
        }
        if number % 10 == 0 {
            match store
                .checkpoint(SHARD, epoch, checkpoint_to(checkpointed + 1, number))
                .await
            {
                Ok(()) => checkpointed = number,
                Err(error) => return (acknowledged, checkpointed, Err(error)),
            }
        }
    }
    (acknowledged, checkpointed, Ok(()))
}

async fn assert_poisoned(store: &RedbStore, epoch: Epoch) {
    let poisoned = StoreError::Poisoned;
    assert_eq!(store.acquire(SHARD).await, Err(poisoned.clone()));
    assert_eq!(store.load(ShardId(3)).await, Err(poisoned.clone()));
    assert_eq!(append(store, epoch, 1).await, Err(poisoned.clone()));
    assert_eq!(
        store.checkpoint(SHARD, epoch, checkpoint_to(1, 1)).await,
        Err(poisoned.clone())
    );
    assert_eq!(store.trim(SHARD, epoch, 1).await, Err(poisoned.clone()));
    assert_eq!(store.get(Table::Meta, b"").await, Err(poisoned.clone()));
    assert_eq!(store.scan(Table::Meta, b"", 1).await, Err(poisoned.clone()));
    assert_eq!(store.journal_tail(SHARD, 1, 1).await, Err(poisoned));
}

async fn fail_and_recover(name: &str, seed: u64, fault: impl Fn(&SimDisk) -> Fault, crash: bool) {
    let (disk, store, epoch) = healthy(seed).await;
    disk.inject(fault(&disk));
    let (acknowledged, checkpointed, result) = run(&store, epoch, 200).await;
    assert!(
        matches!(result, Err(StoreError::CommitFailed(_))),
        "{name} {seed}: {result:?}"
    );
    assert_poisoned(&store, epoch).await;
    let synced = disk.counters().syncs;
    assert_eq!(store.close().await, Err(StoreError::Poisoned));
    // After a restart of the process alone the page cache is what is read; after a power loss, the platter.
    let after = if crash {
        disk.crash(seed)
    } else {
        SimDisk::with_contents(disk.contents(), seed)
    };
    println!("{name} {seed}: acknowledged {acknowledged}, checkpointed {checkpointed}, syncs {synced}");
    let store = open(&after);
    verify(&store, acknowledged, checkpointed, acknowledged + 1).await;
    store.acquire(SHARD).await.unwrap();
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_poisons_and_recovers() {
    for nth in 1..=50 {
        for crash in [false, true] {
            let fault = |disk: &SimDisk| Fault::SyncFails(disk.counters().syncs + nth);
            fail_and_recover("sync", nth, fault, crash).await;
        }
    }
}

#[tokio::test]
async fn a_failed_write_acknowledges_nothing_poisons_and_recovers() {
    for nth in 1..=50 {
        for crash in [false, true] {
            let fault = |disk: &SimDisk| Fault::WriteFails(disk.counters().writes + nth * 3);
            fail_and_recover("write", nth, fault, crash).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_poisons_and_recovers() {
    for step in 0..20 {
        for crash in [false, true] {
            fail_and_recover("full", step, |_| Fault::Full(80_000 + step * 7_777), crash).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_not_called_damage_at_opening() {
    let (disk, store, epoch) = healthy(1).await;
    let (acknowledged, checkpointed, result) = run(&store, epoch, 50).await;
    assert_eq!(result, Ok(()));
    // As a kill leaves it: opening has to repair, which writes.
    let killed = disk.contents();
    drop(store);
    let full = SimDisk::with_contents(killed.clone(), 1);
    full.inject(Fault::Full(0));
    let error = RedbStore::open_with_backends(full.file(0), full.file(1), identity())
        .map(drop)
        .unwrap_err();
    println!("{error}");
    assert!(
        matches!(&error, OpenError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
        "{error}"
    );
    verify(
        &open(&SimDisk::with_contents(killed, 1)),
        acknowledged,
        checkpointed,
        acknowledged,
    )
    .await;
}
