//! Bugs planted in the product, one at a time: the oracles of the world must find each within a number of drawn runs,
//! and must be content with the same runs when nothing is planted. `CANARY_SEEDS` (60) is that number.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

use protocol_spec::canary::{Canary, plant};
use tests::world::{Faults, Rates, Scenario, run};

const CANARIES: [Canary; 6] = [
    Canary::AcknowledgeBeforeCommit,
    Canary::SendBeforeStore,
    Canary::KeepChange,
    Canary::ForgetUnseen,
    Canary::SkipEvent,
    Canary::KeepBounce,
];

fn scenario(seed: u64) -> Scenario {
    let rates = Rates {
        cut: 120,
        hub: 60,
        client: 60,
        hub_disk: 60,
    };
    Scenario {
        seed,
        payers: 3,
        merchants: 1,
        payments: 8,
        faults: Faults::Drawn(rates),
    }
}

/// What the world says of one seed; nothing when all oracles are content.
fn complaint(seed: u64) -> Option<String> {
    match run(&scenario(seed)) {
        Ok(report) => report.violations.into_iter().next(),
        Err(error) => Some(format!("a machine gave up: {}", error.root_cause())),
    }
}

#[test]
fn every_planted_bug_is_found() {
    let seeds = std::env::var("CANARY_SEEDS").map_or(60, |text| text.parse().unwrap());
    let mut missed = Vec::new();
    for canary in CANARIES {
        plant(Some(canary));
        let found = (1..=seeds).find_map(|seed| Some((seed, complaint(seed)?)));
        plant(None);
        match found {
            None => missed.push(canary),
            Some((seed, complaint)) => {
                let clean = (1..=seed).find_map(self::complaint);
                assert_eq!(clean, None, "without a bug the same runs must be clean");
                println!("{canary:?}: found by seed {seed}: {complaint}");
            }
        }
    }
    assert!(missed.is_empty(), "not found within {seeds} seeds: {missed:?}");
    println!("{} of {} planted bugs found", CANARIES.len(), CANARIES.len());
}
