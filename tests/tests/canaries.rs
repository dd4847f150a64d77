//! Bugs planted in the product, one at a time: the oracles of the world must find each within a number of drawn worlds,
//! the same for all and none chosen, and must be content with the same worlds when nothing is planted.
//!
//! Every run looks for thirteen, in dense worlds. `CANARY_SEEDS=60` looks for all of them; with `CANARY_SWARM` in the swarm's
//! worlds, where most parts are off; `CANARY_ONLY` names some.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

use protocol_spec::canary::{Canary, plant};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tests::world::{Scenario, run};

const CANARIES: [Canary; 19] = [
    Canary::AcknowledgeBeforeCommit,
    Canary::SendBeforeStore,
    Canary::KeepChange,
    Canary::ForgetUnseen,
    Canary::SkipEvent,
    Canary::KeepBounce,
    Canary::SkipPaid,
    Canary::SkipAck,
    Canary::SkipBalance,
    Canary::ForgetWithdrawal,
    Canary::SumNotMax,
    Canary::CancelLive,
    Canary::CreditRefused,
    Canary::SkipJump,
    Canary::IgnoreDispute,
    Canary::DropEarly,
    Canary::ForgetLocks,
    Canary::ForgetIds,
    Canary::GoOnAfterError,
];

/// The first of them are looked for by every run of the tests: each took at most four worlds.
const ALWAYS: usize = 13;
const SEEDS: u64 = 60;

/// What the world says of one seed; nothing when all oracles are content.
fn complaint(scenario: &Scenario) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run(scenario))) {
        Ok(Ok(report)) => report.violations.into_iter().next(),
        Ok(Err(error)) => Some(format!("a machine gave up: {}", error.root_cause())),
        Err(_) => Some("a panic".to_owned()),
    }
}

/// The first seed that finds the bug, and what it says.
fn found(canary: Canary, seeds: u64, world: fn(u64) -> Scenario) -> Option<(u64, String)> {
    plant(Some(canary));
    let found = (1..=seeds).find_map(|seed| Some((seed, complaint(&world(seed))?)));
    plant(None);
    // At once: a run that is cut short has said what it knows.
    match &found {
        Some((seed, complaint)) => println!("{:24} seed {seed:3}: {complaint}", format!("{canary:?}")),
        None => println!("{:24} NOT FOUND", format!("{canary:?}")),
    }
    found
}

/// Does everything of a list on two threads; each world is a thread of its own anyway.
fn all<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        return;
                    };
                    let result = work(item);
                    done.lock().unwrap().insert(index, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

#[test]
fn every_planted_bug_is_found() {
    look_for(&CANARIES[..ALWAYS], SEEDS, Scenario::dense);
}

#[test]
fn the_rarer_ones_are_found_too() {
    let Ok(seeds) = std::env::var("CANARY_SEEDS") else {
        return;
    };
    let only = std::env::var("CANARY_ONLY").unwrap_or_default();
    let wanted =
        |canary: &Canary| only.is_empty() || only.split(',').any(|name| name == format!("{canary:?}"));
    let canaries: Vec<Canary> = CANARIES.into_iter().filter(wanted).collect();
    let world = match std::env::var_os("CANARY_SWARM") {
        Some(_) => Scenario::swarm,
        None => Scenario::dense,
    };
    look_for(&canaries, seeds.parse().unwrap(), world);
}

fn look_for(canaries: &[Canary], seeds: u64, world: fn(u64) -> Scenario) {
    let findings = all(canaries, |canary| found(*canary, seeds, world));
    let mut missed = Vec::new();
    let mut used = 0;
    for (canary, finding) in canaries.iter().zip(findings) {
        match finding {
            None => missed.push(*canary),
            Some((seed, _)) => used = used.max(seed),
        }
    }
    let clean: Vec<u64> = (1..=used).collect();
    let complaints = all(&clean, |seed| complaint(&world(*seed)).map(|why| (*seed, why)));
    let complaints: Vec<_> = complaints.into_iter().flatten().collect();
    assert!(
        complaints.is_empty(),
        "without a bug the same worlds must be clean: {complaints:?}"
    );
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
    println!(
        "{} planted bugs found; the same {used} worlds are clean without",
        canaries.len()
    );
}
