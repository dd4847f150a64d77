//! The journal's file by itself: how long it gets, and what is missing in it.

use crate::store::redb_store::Tuning;
use crate::store::sim::{Fault, SimDisk};
use crate::store::{Checkpoint, Epoch, OpenError, RedbStore, ShardId, Store};

use super::{SHARD, append, checkpoint_to, identity, record, verify, whole_tail};

/// The headings, and what follows them.
const HEADINGS: usize = 8192;
const SEGMENT: usize = 32 * 1024;

fn open(disk: &SimDisk) -> Result<RedbStore, OpenError> {
    let tuning = Tuning {
        segment_bytes: SEGMENT as u64,
        ..Tuning::default()
    };
    RedbStore::open_backends_tuned(disk.file(0), disk.file(1), identity(), tuning)
}

fn journal_bytes(disk: &SimDisk) -> usize {
    disk.contents().remove(0).len()
}

async fn appended(disk: &SimDisk, records: u64) -> (RedbStore, Epoch) {
    let store = open(disk).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    for number in 1..=records {
        drop(append(&store, epoch, number).await.unwrap());
    }
    (store, epoch)
}

#[tokio::test]
async fn what_is_trimmed_is_written_over() {
    let disk = SimDisk::new(2, 1);
    let (store, epoch) = appended(&disk, 1).await;
    let mut upto = 0;
    for number in 2..=1_000 {
        drop(append(&store, epoch, number).await.unwrap());
        if number % 20 == 0 {
            store
                .checkpoint(SHARD, epoch, checkpoint_to(upto + 1, number - 5))
                .await
                .unwrap();
            upto = number - 5;
            store.trim(SHARD, epoch, upto + 1).await.unwrap();
        }
    }
    // 25 records of a block each at most, in segments of eight.
    assert!(
        journal_bytes(&disk) <= HEADINGS + 6 * SEGMENT,
        "{}",
        journal_bytes(&disk)
    );
    drop(store);
    verify(&open(&disk).unwrap(), 1_000, 995, 1_000).await;
}

#[tokio::test]
async fn a_quiet_hubs_journal_stays_short() {
    let disk = SimDisk::new(2, 1);
    let (store, epoch) = appended(&disk, 1).await;
    for number in 2..=100 {
        store
            .checkpoint(SHARD, epoch, checkpoint_to(number - 1, number - 1))
            .await
            .unwrap();
        store.trim(SHARD, epoch, number).await.unwrap();
        drop(append(&store, epoch, number).await.unwrap());
    }
    assert!(
        journal_bytes(&disk) <= HEADINGS + 4096,
        "{}",
        journal_bytes(&disk)
    );
    drop(store);
    verify(&open(&disk).unwrap(), 100, 99, 100).await;
}

/// Without a mark, as after a loss of power.
#[tokio::test]
async fn a_record_is_missed_unless_it_is_the_last() {
    const RECORDS: u64 = 60;
    let disk = SimDisk::new(2, 1);
    drop(appended(&disk, RECORDS).await);
    let good = disk.contents();
    let (mut missed, mut last) = (0, 0);
    for block in 0..(good[0].len() - HEADINGS) / 4096 {
        let damaged = SimDisk::with_contents(good.clone(), 1);
        // Of its number.
        damaged.flip_bit(0, (HEADINGS + block * 4096 + 33) * 8);
        match open(&damaged) {
            Err(OpenError::Damaged { .. }) => missed += 1,
            Err(error) => panic!("{error}"),
            Ok(store) => {
                assert_eq!(store.load(SHARD).await.unwrap().last, RECORDS - 1);
                last += 1;
            }
        }
    }
    assert_eq!((missed, last), (RECORDS - 1, 1));
}

/// One disk, two shards that trim as they like, and a loss of power at any point.
#[tokio::test]
async fn shards_share_the_file() {
    let other = ShardId(1);
    let mut cut = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(2, seed);
        let (store, epoch) = appended(&disk, 3).await;
        store.acquire(other).await.unwrap();
        disk.inject(Fault::PowerCut(disk.counters().operations + 1 + seed * 2));
        let (mut ours, mut theirs, mut trimmed) = (3, 0, 1);
        for number in 1..=60_u64 {
            let done = async {
                // From some time on what they trim pins nothing any more, or all of it.
                if number < 5 || seed % 2 == 0 {
                    drop(append(&store, epoch, ours + 1).await?);
                    ours += 1;
                }
                drop(store.append(other, Epoch(1), record(number, 3_000)).await?);
                theirs = number;
                if number % 7 == 0 {
                    let all = Checkpoint {
                        upto: number - 3,
                        ..Default::default()
                    };
                    store.checkpoint(other, Epoch(1), all).await?;
                    store.trim(other, Epoch(1), number - 2).await?;
                    trimmed = number - 2;
                }
                Ok::<(), crate::store::StoreError>(())
            };
            if done.await.is_err() {
                cut += 1;
                break;
            }
        }
        drop(store);
        let store = open(&disk.crash(seed)).unwrap();
        let (found, at) = (
            store.load(SHARD).await.unwrap().last,
            store.load(other).await.unwrap().last,
        );
        assert!(
            found >= ours && found <= ours + 1,
            "seed {seed}: {found} of {ours}"
        );
        assert!(at >= theirs && at <= theirs + 1, "seed {seed}: {at} of {theirs}");
        for (index, found) in whole_tail(&store, 1).await.unwrap().into_iter().enumerate() {
            let number = index as u64 + 1;
            assert_eq!(found, record(number, 40 + (number as usize * 37) % 3000));
        }
        // What was trimmed just before the power failed may still be there.
        let from = trimmed.max(store.load(other).await.unwrap().upto + 1);
        for number in from..=theirs {
            let tail = store.journal_tail(other, number, 1).await.unwrap();
            assert_eq!(tail, vec![record(number, 3_000)]);
        }
    }
    assert!(cut > 50, "{cut}");
}

/// Long entries, and segments that were written over: behind the damaged one they stand anywhere.
#[tokio::test]
async fn a_record_is_missed_wherever_the_next_one_is() {
    let disk = SimDisk::new(2, 1);
    let store = open(&disk).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    let long = |number: u64| record(number, 8_000 + (number as usize * 7_919) % 12_000);
    let (mut upto, mut last) = (0, 0);
    let mut grow = async |to: u64, trim: bool| {
        while last < to {
            drop(store.append(SHARD, epoch, long(last + 1)).await.unwrap());
            last += 1;
            if trim && last % 3 == 0 {
                let all = Checkpoint {
                    upto: last - 2,
                    ..Checkpoint::default()
                };
                store.checkpoint(SHARD, epoch, all).await.unwrap();
                upto = last - 2;
                store.trim(SHARD, epoch, upto + 1).await.unwrap();
            }
        }
    };
    grow(60, true).await;
    // From here on no heading is written, and nothing is in a checkpoint.
    grow(75, false).await;
    let good = disk.contents();
    let (mut missed, mut last, mut harmless) = (0, 0, 0);
    for block in 0..(good[0].len() - HEADINGS) / 4096 {
        let damaged = SimDisk::with_contents(good.clone(), 1);
        damaged.flip_bit(0, (HEADINGS + block * 4096 + 40) * 8);
        match open(&damaged) {
            Err(OpenError::Damaged { .. }) => missed += 1,
            Err(error) => panic!("{error}"),
            Ok(store) => match store.load(SHARD).await.unwrap().last {
                75 => harmless += 1,
                74 => last += 1,
                other => panic!("block {block}: the journal ends at {other}"),
            },
        }
    }
    println!("{missed} missed, {last} of the last record, {harmless} of none");
    assert!(missed >= 40 && (1..=5).contains(&last) && harmless > 0);
}

/// What is noted in the heading, or beside it, is missed.
#[tokio::test]
async fn after_a_close_the_last_record_is_missed_as_well() {
    let disk = SimDisk::new(2, 1);
    let (store, _) = appended(&disk, 5).await;
    store.close().await.unwrap();
    let bytes = journal_bytes(&disk);
    disk.flip_bit(0, (bytes - 4096 + 33) * 8);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. })));
}

/// One of the two headings is always whole, however often the power fails while they are written.
#[tokio::test]
async fn the_headings_outlive_one_loss_of_power_after_the_other() {
    let mut cut = 0;
    for seed in 0..300 {
        let mut disk = SimDisk::new(2, seed);
        drop(appended(&disk, 5).await);
        for round in 0..8 {
            disk = disk.crash(seed * 8 + round);
            let last = match open(&disk) {
                Ok(store) => {
                    let last = store.load(SHARD).await.unwrap().last;
                    let operations = disk.counters().operations;
                    disk.inject(Fault::PowerCut(operations + 1 + (seed + round) % 4));
                    cut += u64::from(store.acquire(SHARD).await.is_err());
                    last
                }
                Err(error) => panic!("seed {seed}, round {round}: {error}"),
            };
            assert_eq!(last, 5);
        }
    }
    assert!(cut > 2_000, "{cut}");
}
