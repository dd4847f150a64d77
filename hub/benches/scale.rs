//! What channels cost that nothing happens to: memory of each, bytes on disk, and how long an engine takes to start on
//! them, after a process that was killed. `cargo bench -p hub --bench scale [-- CHANNELS]`. Nothing but engine and store:
//! no chain, no sockets.

#![allow(
    dead_code,
    clippy::float_arithmetic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "a benchmark; `client` and `support` are shared with the tests of the engine, which use other parts"
)]

#[path = "../tests/support/client.rs"]
mod client;
#[path = "../tests/support/engine.rs"]
mod support;

use client::{HUB, HUB_KEY, TOKEN, domain, key};
use hub::{
    engine::{EngineOptions, Running, start},
    ledger::{ChainBlock, ChainFact, ChainPosition, Input, RowItems},
    store::{Identity, RedbStore},
};
use protocol_spec::{Address, Amount, Config, Digest};
use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DEPOSIT: Amount = Amount(1_000_000_000_000);
/// Channels opened in one block.
const EACH: u64 = 1_000;
const EVERY: Duration = Duration::from_secs(2);
/// Longest wait for channels to come to rest.
const REST_MAX: Duration = Duration::from_secs(600);

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let first = words.next();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match (first.as_deref(), words.next()) {
        // What runs in processes of its own.
        (Some("fill"), Some(path)) => {
            runtime.block_on(fill(Path::new(&path), words.next().unwrap().parse().unwrap()))
        }
        (Some("start"), Some(path)) => runtime.block_on(again(Path::new(&path))),
        (count, _) => {
            let count = count.map_or(100_000, |count| count.parse().unwrap());
            println!("{count} channels");
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store").display().to_string();
            run(&["fill", &path, &count.to_string()]);
            for _ in 0..3 {
                run(&["start", &path]);
            }
        }
    }
}

fn run(words: &[&str]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(words)
        .status();
    assert!(!status.unwrap().success(), "it ends by being killed");
}

/// Opens channels, waits until they are at rest and in the store, and is killed.
async fn fill(path: &Path, count: u64) {
    let running = engine(path).await;
    let before = resident();
    let began = Instant::now();
    for block in 0..count.div_ceil(EACH) {
        let numbers = block * EACH..count.min((block + 1) * EACH);
        assert!(
            running
                .control
                .tell(Input::Chain(opened(block + 1, numbers)))
                .await
        );
    }
    let known = || async { running.control.snapshot().await.unwrap() };
    while known().await.channels < usize::try_from(count).unwrap() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let opened_in = began.elapsed();
    let hot = resident();
    let mut number = count;
    while known().await.hot > 0 {
        assert!(
            began.elapsed() < REST_MAX,
            "{} channels are hot",
            known().await.hot
        );
        // A record, for the next checkpoint.
        number += 1;
        running.control.tell(Input::Chain(opened(number, 0..0))).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let rested_in = began.elapsed();
    tokio::time::sleep(EVERY).await;
    let on_disk: u64 = std::fs::read_dir(path)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    let each = |bytes: u64| bytes.checked_div(count).unwrap_or(0);
    println!(
        "opened in {:.1} s, at rest after {:.1} s; memory of each: {} bytes when opened, {} at rest; {} on disk",
        opened_in.as_secs_f64(),
        rested_in.as_secs_f64(),
        each(hot.saturating_sub(before)),
        each(resident().saturating_sub(before)),
        each(on_disk),
    );
    std::process::abort();
}

/// Starts on what is there, and is killed.
async fn again(path: &Path) {
    let before = resident();
    let began = Instant::now();
    let store = store(path);
    let opened = began.elapsed();
    let running = start(options(store)).await.unwrap();
    let started = began.elapsed();
    let snapshot = running.control.snapshot().await.unwrap();
    let memory = resident().saturating_sub(before);
    let asked = Instant::now();
    let listed = running.control.liquidity().await.unwrap().channels.len();
    println!(
        "start: {:.2} s to open the files, {:.2} s in all; memory of each: {} bytes, {} hot; a look at {listed}: {:.2} s",
        opened.as_secs_f64(),
        started.as_secs_f64(),
        memory.checked_div(snapshot.channels as u64).unwrap_or(0),
        snapshot.hot,
        asked.elapsed().as_secs_f64(),
    );
    std::process::abort();
}

fn opened(block: u64, numbers: std::ops::Range<u64>) -> ChainBlock {
    let domain = domain();
    let facts = numbers.flat_map(|number| {
        let client = Address::from_word(alloy::primitives::keccak256(number.to_be_bytes()));
        let config = Config {
            client,
            client_signer: client,
            hub: HUB,
            hub_signer: key(HUB_KEY).address(),
            token: TOKEN,
            challenge_period_s: 3_600,
            salt: Digest(alloy::primitives::keccak256(number.to_le_bytes()).0),
        };
        let channel = config.id(&domain);
        let deposited = ChainFact::Deposited {
            channel,
            total: DEPOSIT,
            client_net: (DEPOSIT, Amount::ZERO),
        };
        [ChainFact::Opened(config), deposited]
    });
    let mut hash = [9; 32];
    hash.first_chunk_mut()
        .map(|start| *start = block.to_be_bytes())
        .unwrap();
    ChainBlock {
        position: ChainPosition {
            number: block,
            hash,
            timestamp: support::NOW,
        },
        facts: facts.collect(),
    }
}

fn store(path: &Path) -> Arc<RedbStore> {
    let identity = Identity {
        chain_id: 31_337,
        genesis_hash: [1; 32],
        adjudicator: [3; 20],
        code_hash: [4; 32],
        hub_signer: key(HUB_KEY).address().into(),
        format_version: 1,
    };
    Arc::new(RedbStore::open(path, identity).unwrap())
}

async fn engine(path: &Path) -> Running {
    start(options(store(path))).await.unwrap()
}

fn options(store: Arc<RedbStore>) -> EngineOptions {
    EngineOptions {
        workers: 1,
        checkpoint_every: EVERY,
        checkpoint_records: 20_000,
        rows: RowItems::PAGE,
        ..support::options(store)
    }
}

/// Resident memory now, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1_024
}
