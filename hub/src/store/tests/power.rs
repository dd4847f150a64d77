//! Power loss, seed by seed: attack C2, and C10 to show that the harness would notice.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::store::redb_store::Tuning;
use crate::store::sim::{Fault, SimDisk};
use crate::store::{Epoch, RedbStore, Store, StoreError};

use super::{SHARD, append, checkpoint_to, identity, verify};

const SEEDS: u64 = 300;

fn open(disk: &SimDisk, tuning: Tuning) -> Result<RedbStore, crate::store::OpenError> {
    RedbStore::open_backends_tuned(disk.file(0), disk.file(1), identity(), tuning)
}

/// What the world outside has been told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    acknowledged: u64,
    checkpointed: u64,
    attempted: u64,
}

/// Writes at random until the power fails or `steps` are done.
async fn work(store: &RedbStore, told: &mut Told, random: &mut StdRng, steps: u64) -> Result<(), StoreError> {
    let at = store.acquire(SHARD).await?;
    let epoch: Epoch = at.epoch;
    let (mut last, mut upto) = (at.last, at.upto);
    for _ in 0..steps {
        match random.random_range(0..10) {
            0 => {
                let next = random.random_range(upto..=last);
                store
                    .checkpoint(SHARD, epoch, checkpoint_to(upto + 1, next))
                    .await?;
                upto = next;
                told.checkpointed = upto;
            }
            1 => drop(
                store
                    .trim(SHARD, epoch, random.random_range(0..=upto + 1))
                    .await?,
            ),
            _ => {
                told.attempted = told.attempted.max(last + 1);
                last = append(store, epoch, last + 1).await?.number();
                told.acknowledged = last;
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Tally {
    cut_while_working: u64,
    cut_in_recovery: u64,
    records: u64,
    unacknowledged_found: u64,
}

/// A journal whose segments are full after some records: others are begun, and written over.
fn short_segments() -> Tuning {
    Tuning {
        segment_bytes: 32 * 1024,
        ..Tuning::default()
    }
}

/// One seed: a life of several crashes, every acknowledged record checked after each.
async fn live(seed: u64, tuning: Tuning, tally: &mut Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut disk = SimDisk::new(2, seed);
    open(&disk, tuning).unwrap().close().await.unwrap();
    let mut told = Told::default();
    for _ in 0..random.random_range(2..5) {
        disk = disk.crash(random.random());
        let store = open(&disk, tuning).unwrap();
        let found = verify(&store, told.acknowledged, told.checkpointed, told.attempted).await;
        tally.unacknowledged_found += found - told.acknowledged;
        told.acknowledged = found;
        told.attempted = found;
        told.checkpointed = store.load(SHARD).await.unwrap().upto;
        let now = disk.counters().operations;
        disk.inject(Fault::PowerCut(now + random.random_range(1..400)));
        let worked = work(&store, &mut told, &mut random, 60).await;
        tally.cut_while_working += u64::from(worked.is_err());
        if worked.is_err() {
            assert!(
                matches!(worked, Err(StoreError::CommitFailed(_))),
                "seed {seed}: {worked:?}"
            );
            assert_eq!(store.load(SHARD).await, Err(StoreError::Poisoned));
        }
        drop(store.close().await);
        disk = crash_in_recovery(disk, tuning, &mut random, tally);
    }
    let store = open(&disk.crash(random.random()), tuning).unwrap();
    tally.records += verify(&store, told.acknowledged, told.checkpointed, told.attempted).await;
}

/// Up to three attempts to open, each cut short by another power loss.
fn crash_in_recovery(mut disk: SimDisk, tuning: Tuning, random: &mut StdRng, tally: &mut Tally) -> SimDisk {
    for _ in 0..random.random_range(0..4) {
        disk = disk.crash(random.random());
        disk.inject(Fault::PowerCut(random.random_range(1..30)));
        drop(open(&disk, tuning));
        tally.cut_in_recovery += u64::from(disk.is_dead());
    }
    disk
}

#[tokio::test]
async fn no_acknowledged_record_is_lost_by_any_power_failure() {
    for tuning in [Tuning::default(), short_segments()] {
        let mut tally = Tally::default();
        for seed in 0..SEEDS {
            live(seed, tuning, &mut tally).await;
        }
        println!("{SEEDS} seeds, {tuning:?}, 0 acknowledged lost, 0 doubled: {tally:?}");
        assert!(tally.cut_while_working > SEEDS && tally.cut_in_recovery > SEEDS);
    }
}

/// What became of acknowledged records on a disk or with a setting that does not keep promises.
#[derive(Debug, Default)]
struct Losses {
    lost: u64,
    refused: u64,
    kept: u64,
}

async fn lose(seed: u64, lie: bool, tuning: Tuning, losses: &mut Losses) {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = SimDisk::new(2, seed);
    open(&disk, Tuning::default()).unwrap().close().await.unwrap();
    let store = open(&disk, tuning).unwrap();
    if lie {
        disk.inject(Fault::SyncLies);
    }
    let now = disk.counters().operations;
    disk.inject(Fault::PowerCut(now + random.random_range(20..400)));
    let mut told = Told::default();
    let cut = work(&store, &mut told, &mut random, 60).await;
    let after = disk.crash(random.random());
    // Only now may the store close: a clean close would sync.
    drop(cut);
    drop(store.close().await);
    match open(&after, Tuning::default()) {
        Err(_) => losses.refused += 1,
        Ok(store) => match store.load(SHARD).await.unwrap().last {
            last if last < told.acknowledged => losses.lost += 1,
            _ => losses.kept += 1,
        },
    }
}

#[tokio::test]
async fn the_harness_finds_a_missing_fsync_and_a_lying_disk() {
    let unsynced = Tuning {
        sync: false,
        ..Tuning::default()
    };
    for (name, lie, tuning) in [
        ("no fsync", false, unsynced),
        ("lying disk", true, Tuning::default()),
    ] {
        let mut losses = Losses::default();
        for seed in 0..50 {
            lose(seed, lie, tuning, &mut losses).await;
        }
        println!("{name}: {losses:?}");
        assert!(losses.lost > 0, "{name}: {losses:?}");
    }
    let mut healthy = Losses::default();
    for seed in 0..50 {
        lose(seed, false, Tuning::default(), &mut healthy).await;
    }
    println!("healthy: {healthy:?}");
    assert_eq!((healthy.lost, healthy.refused, healthy.kept), (0, 0, 50));
}

const KILLED: &str = "HUB_STORE_TEST_KILLED";

/// Not a test of its own: appends until it is killed, and says what was acknowledged.
#[tokio::test]
#[ignore = "started by a_killed_process_loses_nothing_acknowledged"]
async fn append_until_killed() {
    let Some(path) = std::env::var_os(KILLED) else {
        return;
    };
    let store = RedbStore::open(path, identity()).unwrap();
    let at = store.acquire(SHARD).await.unwrap();
    let mut upto = at.upto;
    for number in at.last + 1.. {
        let durable = append(&store, at.epoch, number).await.unwrap();
        println!("acknowledged {}", durable.number());
        if number % 25 == 0 {
            store
                .checkpoint(SHARD, at.epoch, checkpoint_to(upto + 1, number))
                .await
                .unwrap();
            upto = number;
            store.trim(SHARD, at.epoch, number - 10).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut random = StdRng::seed_from_u64(3);
    let (mut acknowledged, mut kills) = (0, 0);
    for _ in 0..30 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "store::tests::power::append_until_killed",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(KILLED, &path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = random.random_range(20..120);
        // After the kill the pipe is read to its end: what the child said, it had promised.
        while let Some(Ok(line)) = lines.next() {
            if let Some((_, number)) = line.split_once("acknowledged ") {
                acknowledged = number.parse().unwrap();
                left -= 1;
                if left == 0 {
                    child.kill().unwrap();
                    kills += 1;
                }
            }
        }
        child.wait().unwrap();
        let store = RedbStore::open_existing(&path, identity()).unwrap();
        acknowledged = verify(&store, acknowledged, 0, acknowledged + 1).await;
        store.close().await.unwrap();
    }
    println!("{kills} kills, {acknowledged} records, 0 acknowledged lost");
    assert_eq!(kills, 30);
}
