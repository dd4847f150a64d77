//! SIGKILL of a hub's engine under load, again and again; the clients and their log of acknowledgements live in
//! this process, the engine with its redb store in a child. `KILL_ROUNDS` (10) and `KILL_SEED` choose the run.

#![allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "kill_loop/child.rs"]
mod child;
#[path = "support/client.rs"]
mod client;
#[path = "kill_loop/load.rs"]
mod load;
#[path = "kill_loop/stage.rs"]
mod stage;
#[path = "support/engine.rs"]
mod support;
#[path = "kill_loop/wire.rs"]
mod wire;

use client::Client;
use load::{AckLog, drain, run_client};
use stage::Stages;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

const PAYERS: usize = 6;
const PAYEES: usize = 3;
const DEPOSIT: u128 = 1 << 60;
const ACKS_PER_ROUND: usize = 1_000;

/// The child's entry: does nothing unless this test binary was started as a child.
#[test]
fn child_entry() {
    if let Ok(dir) = std::env::var("KILL_LOOP_DIR") {
        child::run(Path::new(&dir));
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_entry", "--exact", "--nocapture"])
        .env("KILL_LOOP_DIR", dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_payment_is_lost_or_doubled_by_sigkill() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, mut seed) = (number("KILL_ROUNDS", 10), number("KILL_SEED", 1));
    println!("KILL_ROUNDS={rounds} KILL_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut all = support::clients((PAYERS + PAYEES) as u64, DEPOSIT);
    let log = Arc::new(Mutex::new(AckLog::default()));
    let mut stages: BTreeMap<String, u64> = BTreeMap::new();
    let (mut busy, began) = (Duration::ZERO, Instant::now());
    for round in 1..=rounds {
        let mut tracker = Stages::listen(dir.path());
        let mut hub = spawn(dir.path());
        tracker.ready(&mut hub);
        let stop = Arc::new(AtomicBool::new(false));
        let before = log.lock().unwrap().acked();
        let started = Instant::now();
        let payees: Vec<_> = all[PAYERS..].iter().map(Client::account).collect();
        let tasks: Vec<_> = all
            .drain(..)
            .enumerate()
            .map(|(index, client)| {
                let pays = (index < PAYERS).then(|| payees.clone());
                tokio::spawn(run_client(
                    client,
                    dir.path().to_path_buf(),
                    pays,
                    Arc::clone(&log),
                    Arc::clone(&stop),
                ))
            })
            .collect();
        while log.lock().unwrap().acked() < before + ACKS_PER_ROUND {
            assert!(hub.try_wait().unwrap().is_none(), "the hub ended by itself");
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no progress in round {round}"
            );
            tracker.follow();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let until = Instant::now() + Duration::from_micros((seed >> 33) % 40_000);
        while Instant::now() < until {
            tracker.follow();
            tokio::task::yield_now().await;
        }
        tracker.kill_at((seed >> 20) % 6, &mut hub);
        busy += started.elapsed();
        hub.wait().unwrap();
        stop.store(true, Ordering::Release);
        for task in tasks {
            all.push(task.await.unwrap());
        }
        let stage = tracker.finish();
        let acks = log.lock().unwrap().acked() - before;
        let unsent: usize = all.iter().map(|client| client.unaccepted.len()).sum();
        println!("kill {round:3}: {stage}; {acks} acknowledged, {unsent} frames unanswered");
        *stages.entry(stage).or_default() += 1;
    }
    let mut tracker = Stages::listen(dir.path());
    let mut hub = spawn(dir.path());
    tracker.ready(&mut hub);
    let all = drain(all, dir.path(), Arc::clone(&log)).await;
    hub.kill().unwrap();
    hub.wait().unwrap();
    let log = log.lock().unwrap();
    let (lost, doubled, open) = log.judge(&all);
    println!("stages: {stages:?}");
    println!(
        "{rounds} kills: {} payments sent, {} acknowledged, {} credited; {lost} lost, {doubled} doubled, {open} unsettled; {:.0} acknowledged/s under load, {:.1?} in all",
        log.sent(),
        log.acked(),
        all.iter().map(|client| client.credits.len()).sum::<usize>(),
        log.acked() as f64 / busy.as_secs_f64(),
        began.elapsed(),
    );
    assert_eq!((lost, doubled, open), (0, 0, 0));
}
