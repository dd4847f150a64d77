//! How long an append takes on this disk. Run by hand:
//! `cargo test -p hub --release --lib store::tests::latency -- --ignored --nocapture`
//! (`HUB_STORE_BENCH_DIR` chooses the disk).

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::store::{Checkpoint, Epoch, RedbStore, Store, Table};

use super::{SHARD, bytes_of, identity, record};

fn percentile(times: &mut [Duration], percent: usize) -> u128 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_micros()
}

struct Bench {
    store: RedbStore,
    epoch: Epoch,
    last: u64,
    times: Vec<Duration>,
}

impl Bench {
    async fn new(path: &Path) -> Self {
        let store = RedbStore::open(path, identity()).unwrap();
        let epoch = store.acquire(SHARD).await.unwrap().epoch;
        Self {
            store,
            epoch,
            last: 0,
            times: Vec::new(),
        }
    }

    async fn append(&mut self, length: usize) {
        let next = record(self.last + 1, length);
        let start = Instant::now();
        self.last = self.store.append(SHARD, self.epoch, next).await.unwrap().number();
        self.times.push(start.elapsed());
    }

    /// Time of the longest trim step, and how many there were.
    async fn trim_all(&mut self) -> (u128, u64) {
        let all = Checkpoint {
            upto: self.last,
            ..Checkpoint::default()
        };
        self.store.checkpoint(SHARD, self.epoch, all).await.unwrap();
        let (mut longest, mut steps) = (0, 0);
        loop {
            let start = Instant::now();
            let step = self.store.trim(SHARD, self.epoch, self.last + 1).await.unwrap();
            longest = longest.max(start.elapsed().as_micros());
            steps += 1;
            if !step.more {
                return (longest, steps);
            }
        }
    }
}

/// Writing the same bytes to a plain file of fixed length, with fdatasync.
fn plain(path: &Path, length: usize, count: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&vec![0; length.next_multiple_of(4096) * 16])
        .unwrap();
    file.sync_all().unwrap();
    let bytes = bytes_of(1, length);
    let write = |index: usize| {
        let start = Instant::now();
        file.seek(SeekFrom::Start(
            (length.next_multiple_of(4096) * (index % 16)) as u64,
        ))
        .unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        start.elapsed()
    };
    (0..count).map(write).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn append_latency() {
    let root = std::env::var_os("HUB_STORE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    for (length, count) in [(1 << 10, 2000), (64 << 10, 1000), (1 << 20, 200)] {
        let directory = tempfile::tempdir_in(&root).unwrap();
        let mut bench = Bench::new(&directory.path().join("store")).await;
        let mut raw = plain(&directory.path().join("raw"), length, count);
        for space in ["growing file", "trimmed space"] {
            for _ in 0..count {
                bench.append(length).await;
            }
            let (p50, p99) = (percentile(&mut bench.times, 50), percentile(&mut bench.times, 99));
            println!("{length:>8} B, {space}: p50 {p50} p99 {p99} us");
            let (longest, steps) = bench.trim_all().await;
            println!("{length:>8} B: trim of {count} records: {steps} steps, the longest {longest} us");
            bench.times.clear();
        }
        let (raw_50, raw_99) = (percentile(&mut raw, 50), percentile(&mut raw, 99));
        println!("{length:>8} B: plain file, overwrite + fdatasync: p50 {raw_50} p99 {raw_99} us");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn checkpoint_and_open_times() {
    let root = std::env::var_os("HUB_STORE_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(&root).unwrap();
    let path = directory.path().join("store");
    let mut bench = Bench::new(&path).await;
    for round in 0..10 {
        bench.append(1 << 10).await;
        let row = |index: u64| {
            (
                Table::Channels,
                bytes_of(index * 7919 % 1_000_003, 32),
                bytes_of(round, 300),
            )
        };
        let puts: Vec<_> = (round * 30_000..(round + 1) * 30_000).map(row).collect();
        let start = Instant::now();
        let upto = bench.last;
        bench
            .store
            .checkpoint(
                SHARD,
                bench.epoch,
                Checkpoint {
                    upto,
                    puts,
                    deletes: Vec::new(),
                },
            )
            .await
            .unwrap();
        println!(
            "checkpoint of 30,000 rows of 300 B, round {round}: {:?}",
            start.elapsed()
        );
    }
    bench.store.close().await.unwrap();
    let bytes = std::fs::metadata(path.join("state.redb")).unwrap().len();
    let start = Instant::now();
    RedbStore::open(&path, identity()).unwrap().close().await.unwrap();
    println!(
        "open and close, every page verified, state.redb of {} MiB: {:?}",
        bytes >> 20,
        start.elapsed()
    );
}
