//! The seeded world: a fault at every message, drawn faults, and equal runs for equal seeds.
//!
//! `WORLD_SEEDS` (20; of everything that a seed may draw, and of hubs that lie, 40 each) and `WORLD_FIRST` (1) choose the drawn runs; `WORLD_SEED` with `WORLD_FAULTS` (for example
//! `CutAfter@17`, or `drawn`) replays one run and prints its trace.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

mod creation;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tests::world::{Fault, Faults, Kind, Part, Rates, Report, Scenario, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Small, so that a fault can be tried at every one of its messages.
fn small(faults: Faults) -> Scenario {
    Scenario {
        seed: 1,
        payers: 2,
        merchants: 1,
        foes: 0,
        payments: 3,
        faults,
    }
}

fn drawn(seed: u64) -> Scenario {
    let rates = Rates::default()
        .with(Part::Cut, 120)
        .with(Part::HubPower, 40)
        .with(Part::ClientPower, 40)
        .with(Part::HubDiskPower, 60);
    Scenario {
        seed,
        payers: 3,
        merchants: 2,
        foes: 0,
        payments: 12,
        faults: Faults::Drawn(rates),
    }
}

/// Runs, and stops everything with the trace and a command that does it again if an oracle is not content.
fn judged(scenario: &Scenario) -> Report {
    let report = run(scenario).unwrap_or_else(|error| panic!("{}\n{error:?}", command(scenario)));
    let trace = report.trace[report.trace.len().saturating_sub(60)..].join("\n");
    let violations = report.violations.join("\n");
    assert!(
        violations.is_empty(),
        "{trace}\n\n{violations}\n{}",
        command(scenario)
    );
    report
}

fn command(scenario: &Scenario) -> String {
    if *scenario == Scenario::swarm(scenario.seed) {
        let seed = scenario.seed;
        return format!("again: cargo run --release -p tests --bin world -- --seeds {seed} --trace");
    }
    if scenario.parts().into_iter().any(Part::is_lie) {
        let seed = scenario.seed;
        let with = match *scenario == Scenario::lying(seed) {
            true => "",
            false => " --with Watchtower",
        };
        return format!(
            "again: cargo run --release -p tests --bin world -- --lying{with} --seeds {seed} --trace"
        );
    }
    let faults = match &scenario.faults {
        Faults::None => "none".to_owned(),
        Faults::Drawn(_) => "drawn".to_owned(),
        Faults::At(faults) => faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
    };
    format!(
        "again: WORLD_SEED={} WORLD_FAULTS={faults} cargo test --release --workspace --features tests/canary --test world replay -- --nocapture",
        scenario.seed
    )
}

/// Runs all scenarios on two threads; each world is a thread of its own anyway.
fn all(scenarios: &[Scenario]) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(index) else {
                        return;
                    };
                    let report = judged(scenario);
                    reports.lock().unwrap().insert(index, report);
                }
            });
        }
    });
    reports.into_inner().unwrap().into_values().collect()
}

fn print(what: &str, began: Instant, reports: &[Report]) {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{what}: {} worlds in {:.1?}: {} messages, {} payments delivered, {} bounced, {} boots of hubs, {} of people, {} checks, {} s of virtual time; 0 violations",
        reports.len(),
        began.elapsed(),
        sum(|report| report.messages),
        sum(|report| report.delivered as u64),
        sum(|report| report.bounced as u64),
        sum(|report| report.boots.0),
        sum(|report| report.boots.1),
        sum(|report| report.checks),
        sum(|report| report.seconds),
    );
}

#[test]
fn nothing_goes_wrong_when_nothing_goes_wrong() {
    let began = Instant::now();
    let report = judged(&small(Faults::None));
    assert_eq!(report.delivered + report.bounced, 6);
    assert_eq!(report.boots, (1, 3));
    print("without faults", began, &[report]);
}

fn guarded(seed: u64) -> Scenario {
    Scenario::lying(seed).with(Part::Watchtower)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let worlds = (1..=3).map(drawn).chain((1..=3).map(guarded));
    for world in worlds.chain((1..=3).map(Scenario::swarm)) {
        let [first, second] = [(), ()].map(|()| judged(&world));
        assert_eq!(first.trace_hash, second.trace_hash, "{}", command(&world));
        assert_eq!(first, second);
    }
}

#[test]
fn a_fault_at_every_message() {
    let began = Instant::now();
    let messages = judged(&small(Faults::None)).messages;
    let scenarios: Vec<Scenario> = (0..messages)
        .flat_map(|message| Kind::ALL.map(|kind| Fault { message, kind }))
        .map(|fault| small(Faults::At(vec![fault])))
        .collect();
    let reports = all(&scenarios);
    print(
        &format!(
            "{} kinds of fault at each of {messages} messages",
            Kind::ALL.len()
        ),
        began,
        &reports,
    );
}

/// `WORLD_SEEDS` worlds, or so many.
fn from_seeds(what: &str, count: u64, world: fn(u64) -> Scenario) {
    let began = Instant::now();
    let first = number("WORLD_FIRST", 1);
    let seeds = first..first + number("WORLD_SEEDS", count);
    let scenarios: Vec<Scenario> = seeds.map(world).collect();
    let reports = all(&scenarios);
    print(what, began, &reports);
}

#[test]
fn drawn_faults() {
    from_seeds("drawn faults", 20, drawn);
}

/// Roles, faults and their rates by the seed.
#[test]
fn whatever_a_seed_draws() {
    from_seeds("whatever a seed draws", 40, Scenario::swarm);
}

/// Whatever the hub does, everybody gets what it can prove.
#[test]
fn a_hub_that_lies() {
    from_seeds("hubs that lie", 40, Scenario::lying);
}

#[test]
fn replay() {
    if let Ok(filter) = std::env::var("WORLD_LOG") {
        let _ = hub::ops::logging::start(&filter);
    }
    let Ok(faults) = std::env::var("WORLD_FAULTS") else {
        return;
    };
    let seed = number("WORLD_SEED", 1);
    let scenario = match faults.as_str() {
        "drawn" => drawn(seed),
        "none" => small(Faults::None),
        list => small(Faults::At(
            list.split(',').map(|text| text.parse().unwrap()).collect(),
        )),
    };
    let mut report = run(&scenario).unwrap();
    println!("{}", std::mem::take(&mut report.trace).join("\n"));
    println!("{report:#?}");
    assert!(report.violations.is_empty());
}
