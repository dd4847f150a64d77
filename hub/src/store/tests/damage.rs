//! Flipped bits: attack C6. Every flip is opened in a child process, so that even an abort is an outcome.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::store::redb_store::{JOURNAL_FILE, MARK_FILE, STATE_FILE};
use crate::store::sim::SimDisk;
use crate::store::{Epoch, Loaded, OpenError, RedbStore, Store, Table};

use super::{SHARD, append, checkpoint_to, identity, record, whole_tail};

const RECORDS: u64 = 60;
const UPTO: u64 = 20;
/// Bytes at the front of a file that redb overwrites in place.
const HEADER_BYTES: usize = 320;

/// Makes a database and copies it, after a clean close or as a kill leaves it.
async fn make(path: &Path, clean: bool) -> PathBuf {
    let (work, good) = (path.join("work"), path.join("good"));
    let store = RedbStore::open(&work, identity()).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    for number in 1..=RECORDS {
        drop(append(&store, epoch, number).await.unwrap());
    }
    store
        .checkpoint(SHARD, epoch, checkpoint_to(1, 10))
        .await
        .unwrap();
    store
        .checkpoint(SHARD, epoch, checkpoint_to(11, UPTO))
        .await
        .unwrap();
    store.trim(SHARD, epoch, 10).await.unwrap();
    drop(append(&store, epoch, RECORDS + 1).await.unwrap());
    if clean {
        store.close().await.unwrap();
    }
    std::fs::create_dir(&good).unwrap();
    for name in [JOURNAL_FILE, STATE_FILE, MARK_FILE] {
        std::fs::copy(work.join(name), good.join(name)).unwrap();
    }
    good
}

/// The bits to flip in a file of this length: random ones; then each bit of the header outside the two commit
/// slots, and one bit of each byte of these, which have a checksum.
fn bits(length: usize) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(20_261_123);
    let anywhere = (0..200).map(|_| random.random_range(0..length * 8));
    let slots = (64..HEADER_BYTES).map(|byte| byte * 8 + byte % 8);
    anywhere.chain(0..64 * 8).chain(slots).collect()
}

async fn classify(path: &Path) -> &'static str {
    let store = match RedbStore::open(path, identity()) {
        Ok(store) => store,
        Err(OpenError::Damaged { what, .. }) if what.contains("panic") => return "refused at open (panic)",
        Err(OpenError::Damaged { .. }) => return "refused at open",
        Err(_) => return "refused at open, other error",
    };
    match store.load(SHARD).await {
        Ok(Loaded { last: 0, .. }) => return "BAD: silently empty",
        Ok(Loaded { last, epoch, .. }) if (last, epoch) != (RECORDS + 1, Epoch(1)) => {
            return "BAD: journal rolled back";
        }
        // The journal still has everything after that checkpoint, so the replay makes up for it.
        Ok(Loaded { upto: 10, .. }) if compare(&store, 10).await.starts_with("harmless") => {
            return "harmless, replay from an older checkpoint";
        }
        Ok(Loaded { upto, .. }) if upto != UPTO => return "BAD: state rolled back",
        Ok(_) => {}
        Err(_) => return "refused at read",
    }
    compare(&store, UPTO).await
}

/// Reads everything and compares it with what was written.
async fn compare(store: &RedbStore, upto: u64) -> &'static str {
    let expected: Vec<_> = (10..=RECORDS + 1)
        .map(|number| record(number, 40 + (number as usize * 37) % 3000))
        .collect();
    let tail = match whole_tail(store, 10).await {
        Ok(tail) => tail,
        Err(_) => return "refused at read",
    };
    let Ok(rows) = store.scan(Table::Channels, &[], 1000).await else {
        return "refused at read";
    };
    let expected_rows: Vec<_> = (1..=upto)
        .map(|number| (number.to_be_bytes().to_vec(), number.to_le_bytes().to_vec()))
        .collect();
    match (tail == expected, rows == expected_rows) {
        (false, _) => "BAD: wrong record",
        (_, false) => "BAD: wrong row",
        _ => "harmless, everything as written",
    }
}

const GOOD: &str = "HUB_STORE_TEST_GOOD";
const FILE: &str = "HUB_STORE_TEST_FILE";
const FROM: &str = "HUB_STORE_TEST_FROM";

/// Not a test of its own: opens damaged copies and prints what became of each.
#[tokio::test]
#[ignore = "started by flipped_bits_are_never_believed"]
async fn open_damaged_copies() {
    let (Some(good), Ok(name), Ok(from)) = (std::env::var_os(GOOD), std::env::var(FILE), std::env::var(FROM))
    else {
        return;
    };
    let good = PathBuf::from(good);
    let bytes = std::fs::read(good.join(&name)).unwrap();
    for (index, bit) in bits(bytes.len())
        .into_iter()
        .enumerate()
        .skip(from.parse().unwrap())
    {
        let scratch = tempfile::tempdir().unwrap();
        for file in [JOURNAL_FILE, STATE_FILE, MARK_FILE] {
            std::fs::copy(good.join(file), scratch.path().join(file)).unwrap();
        }
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(scratch.path().join(&name), bad).unwrap();
        println!("flip {index} {bit} {}", classify(scratch.path()).await);
    }
}

/// Outcomes by number of the flip; a child that dies is an outcome and is started again.
fn run_children(good: &Path, name: &str) -> Vec<(usize, String)> {
    let total = bits(std::fs::metadata(good.join(name)).unwrap().len() as usize);
    let mut outcomes = Vec::new();
    while outcomes.len() < total.len() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "store::tests::damage::open_damaged_copies",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(GOOD, good)
            .env(FILE, name)
            .env(FROM, outcomes.len().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(at) = line.find("flip ") else { continue };
            let mut words = line[at + 5..].splitn(3, ' ');
            let index: usize = words.next().unwrap().parse().unwrap();
            assert_eq!(index, outcomes.len());
            outcomes.push((
                words.next().unwrap().parse().unwrap(),
                words.next().unwrap().to_owned(),
            ));
        }
        if !child.wait().unwrap().success() && outcomes.len() < total.len() {
            outcomes.push((total[outcomes.len()], "refused by a dead process".to_owned()));
        }
    }
    outcomes
}

#[tokio::test]
async fn flipped_bits_are_never_believed() {
    let mut bad = Vec::new();
    for clean in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let good = make(directory.path(), clean).await;
        for name in [JOURNAL_FILE, STATE_FILE] {
            let outcomes = run_children(&good, name);
            for (place, range) in [("anywhere", 0..200), ("header", 200..outcomes.len())] {
                let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                for (bit, outcome) in &outcomes[range] {
                    *counts.entry(outcome).or_default() += 1;
                    if outcome.starts_with("BAD") {
                        bad.push(format!(
                            "{name}, clean {clean}, byte {} bit {}: {outcome}",
                            bit / 8,
                            bit % 8
                        ));
                    }
                }
                println!("{name}, closed cleanly {clean}, {place}: {counts:?}");
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Damage after the file was verified: here only our own checksums stand between the disk and the ledger.
#[tokio::test]
async fn bits_that_flip_under_an_open_store_are_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let good = make(directory.path(), true).await;
    let contents = [JOURNAL_FILE, STATE_FILE].map(|name| std::fs::read(good.join(name)).unwrap());
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut random = StdRng::seed_from_u64(7);
    for (file, name) in [JOURNAL_FILE, STATE_FILE].into_iter().enumerate() {
        for _ in 0..600 {
            let disk = SimDisk::with_contents(contents.to_vec(), 1);
            let store = RedbStore::open_with_backends(disk.file(0), disk.file(1), identity()).unwrap();
            // Past the header, which is not read again.
            disk.flip_bit(file, random.random_range(4096 * 8..contents[file].len() * 8));
            *counts.entry((name, compare(&store, UPTO).await)).or_default() += 1;
            drop(store.close().await);
        }
    }
    println!("{counts:?}");
    assert!(
        counts.keys().all(|(_, outcome)| !outcome.starts_with("BAD")),
        "{counts:?}"
    );
    assert!(
        counts.keys().any(|(_, outcome)| *outcome == "refused at read"),
        "{counts:?}"
    );
}
