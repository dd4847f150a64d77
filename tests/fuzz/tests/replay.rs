//! Every target over its seeds, its corpus and some thousand changed inputs, the same in every run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use fuzz::{
    TARGETS,
    runner::{Bounds, run},
    target,
};
use protocol_spec::canary::{Canary, plant};
use std::time::Duration;

#[test]
fn no_input_of_the_corpus_and_no_small_change_of_it_fails() {
    for target in &TARGETS {
        let bounds = Bounds {
            seed: 1,
            changes: match target.name {
                "engines" => 200,
                // A hub for each; a runtime and some hundred requests for each.
                "session" | "rpc" => 500,
                _ => 5_000,
            },
            time: Duration::MAX,
        };
        let done = run(target, &bounds);
        assert_eq!(done.failed, None, "{}", target.name);
        assert!(done.inputs > bounds.changes, "{}", target.name);
        println!("{}: {} inputs in {:.1} s", target.name, done.inputs, done.seconds);
    }
}

/// The reference says more than the code says of itself.
#[test]
fn the_reference_of_the_channel_notices_rules_that_are_not_asked() {
    for canary in [
        Canary::SkipJump,
        Canary::SkipPaid,
        Canary::SkipAck,
        Canary::SkipBalance,
    ] {
        let bounds = Bounds {
            seed: 1,
            changes: 100_000,
            time: Duration::MAX,
        };
        plant(Some(canary));
        let done = run(target("channel").unwrap(), &bounds);
        plant(None);
        assert!(done.failed.is_some(), "{canary:?} was not found");
        println!("{canary:?}: found by input {}", done.inputs);
    }
}
