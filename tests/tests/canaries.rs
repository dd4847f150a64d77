//! Bugs planted in the product, one at a time: the oracles of the world must find each within a number of drawn worlds,
//! the same for all and none chosen, and must be content with the same worlds when nothing is planted.
//!
//! Every run looks for them in dense worlds, for each from seed 1 on; and in worlds whose hub lies for those that such a hub
//! can use. `CANARY_ONLY` names some, `CANARY_SEEDS` says how many worlds they have; with `CANARY_SWARM` the first are looked
//! for in the swarm's worlds, where most parts are off.

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
    time::Duration,
};
use tests::world::{Scenario, run};

/// How a world is made of a seed, and what `--bin world` needs to make the same.
#[derive(Clone, Copy)]
struct Worlds {
    of: fn(u64) -> Scenario,
    flag: &'static str,
}

/// Those first that took longest: then both threads end at about the same time.
const CANARIES: [Canary; 24] = [
    Canary::ShareCredits,
    Canary::ServeUnregistered,
    Canary::IgnoreDispute,
    Canary::ForgetWithdrawal,
    Canary::SkipJump,
    Canary::ForgetUnsaved,
    Canary::DropEarly,
    Canary::ForgetLocks,
    Canary::CancelLive,
    Canary::ForgetForRoom,
    Canary::ForgetIds,
    Canary::AcknowledgeBeforeCommit,
    Canary::GoOnAfterError,
    Canary::KeepBounce,
    Canary::ForgetUnseen,
    Canary::SkipBalance,
    Canary::TrustBackup,
    Canary::CreditRefused,
    Canary::SendBeforeStore,
    Canary::KeepChange,
    Canary::SkipAck,
    Canary::SkipPaid,
    Canary::SumNotMax,
    Canary::SkipEvent,
];

/// What only shows where the hub lies.
const CREDULOUS: [Canary; 11] = [
    Canary::KeepPackage,
    Canary::IdleTower,
    Canary::AssumeUnpaid,
    Canary::ForgetWitnesses,
    Canary::ShowNothing,
    Canary::TrustConsent,
    Canary::TrustReceipt,
    Canary::SkipAck,
    Canary::SkipBalance,
    Canary::SkipJump,
    Canary::SkipPaid,
];

/// What no world finds within 200 seeds yet: looked for only by name, with `CANARY_ONLY`.
const MISSED: [Canary; 3] = [Canary::KeepConsents, Canary::TrustNumbers, Canary::GoOnAfterMiss];

const SEEDS: u64 = 200;
/// Of a complaint, in the list of what was found.
const COMPLAINT_CHARS: usize = 100;

/// What the world says of one seed; nothing when all oracles are content.
fn complaint(scenario: &Scenario) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run(scenario))) {
        Ok(Ok(report)) => report.violations.into_iter().next(),
        Ok(Err(error)) => Some(format!("a machine gave up: {}", error.root_cause())),
        Err(_) => Some("a panic".to_owned()),
    }
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// The first seed that finds the bug, and what it says.
fn found(canary: Canary, seeds: u64, worlds: Worlds) -> Option<(u64, String)> {
    plant(Some(canary));
    let began = cpu();
    let found = (1..=seeds).find_map(|seed| Some((seed, complaint(&(worlds.of)(seed))?)));
    plant(None);
    let took = cpu().saturating_sub(began);
    // At once: a run that is cut short has said what it knows.
    match &found {
        Some((seed, complaint)) => {
            let complaint: String = complaint.chars().take(COMPLAINT_CHARS).collect();
            println!(
                "{:24} seed {seed:3} {took:8.1?}: {complaint}",
                format!("{canary:?}")
            );
        }
        None => println!("{:24} NOT FOUND {took:8.1?}", format!("{canary:?}")),
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

/// Those of `canaries` that the environment asks for.
fn wanted(canaries: &[Canary]) -> Vec<Canary> {
    let only = std::env::var("CANARY_ONLY").unwrap_or_default();
    let names: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let is = |canary: &Canary, name: &str| name == format!("{canary:?}");
    for name in &names {
        let mut known = CANARIES.iter().chain(&CREDULOUS).chain(&MISSED);
        assert!(known.any(|canary| is(canary, name)), "{name}: no such bug");
    }
    let is_named = |canary: &&Canary| names.iter().any(|name| is(canary, name));
    let is_wanted = |canary: &&Canary| names.is_empty() || is_named(canary);
    let missed = MISSED
        .iter()
        .filter(|canary| is_named(canary) && canaries == CANARIES);
    canaries.iter().filter(is_wanted).chain(missed).copied().collect()
}

fn seeds() -> u64 {
    std::env::var("CANARY_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

#[test]
fn every_planted_bug_is_found() {
    let canaries = wanted(&CANARIES);
    let worlds = match std::env::var_os("CANARY_SWARM") {
        Some(_) => Worlds {
            of: Scenario::swarm,
            flag: "",
        },
        None => Worlds {
            of: Scenario::dense,
            flag: "--dense ",
        },
    };
    look_for(&canaries, seeds(), worlds);
}

#[test]
fn every_bug_that_a_lying_hub_would_use_is_found() {
    let canaries = wanted(&CREDULOUS);
    let worlds = Worlds {
        of: Scenario::lying,
        flag: "--lying ",
    };
    look_for(&canaries, seeds(), worlds);
}

fn look_for(canaries: &[Canary], seeds: u64, worlds: Worlds) {
    let findings = all(canaries, |canary| found(*canary, seeds, worlds));
    let mut missed = Vec::new();
    let mut used = 0;
    for (canary, finding) in canaries.iter().zip(findings) {
        match finding {
            None => missed.push(*canary),
            Some((seed, _)) => used = used.max(seed),
        }
    }
    let clean: Vec<u64> = (1..=used).collect();
    let complaints = all(&clean, |seed| {
        let why = complaint(&(worlds.of)(*seed))?;
        let flag = worlds.flag;
        Some(format!(
            "{why}\nagain: cargo run --release -p tests --bin world -- {flag}--seeds {seed} --trace"
        ))
    });
    let complaints: Vec<String> = complaints.into_iter().flatten().collect();
    assert!(
        complaints.is_empty(),
        "without a bug the same worlds must be clean:\n{}",
        complaints.join("\n")
    );
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
    println!(
        "{} planted bugs found; the same {used} worlds are clean without",
        canaries.len()
    );
}
