//! The real `Channel` goes every way that the model's honest party goes, takes what it takes and refuses what it refuses.
#![allow(clippy::panic, reason = "a test may stop at whatever surprises it")]

use model::instances::INSTANCES;
use model::replay::walk;
use model::rules::Rules;
use protocol_spec::{
    Side,
    canary::{Canary, plant},
};
use std::panic::catch_unwind;

/// Of an instance with more so many are replayed in every test run, and what is left of their level; all by command.
const STATES: usize = 300_000;

fn agrees(side: Side) {
    for instance in INSTANCES {
        let walk = walk(&instance.model(false, Rules::ALL, side), STATES);
        assert!(
            walk.fault.is_none(),
            "{} {side:?}: {:?}",
            instance.name,
            walk.fault
        );
        assert!(
            (walk.complete || walk.states >= STATES) && walk.events > 0 && walk.verdicts > walk.events,
            "{} {side:?}: {walk:?}",
            instance.name
        );
    }
}

#[test]
fn a_clients_channel_does_what_the_model_does() {
    agrees(Side::Client);
}

#[test]
fn a_hubs_channel_does_what_the_model_does() {
    agrees(Side::Hub);
}

/// Bugs of `Channel` and of the settlement: each is noticed in some instance.
#[test]
fn planted_bugs_are_noticed() {
    for canary in [
        Canary::SkipJump,
        Canary::SkipPaid,
        Canary::SkipAck,
        Canary::SkipBalance,
        Canary::IgnoreDispute,
        Canary::DropEarly,
        Canary::ForgetWithdrawal,
        Canary::SumNotMax,
    ] {
        let noticed = INSTANCES.iter().find(|instance| {
            let model = instance.model(false, Rules::ALL, Side::Client);
            plant(Some(canary));
            // The model compares its contract with the real settlement by assertions.
            let walk = catch_unwind(|| walk(&model, 20_000));
            plant(None);
            walk.map_or(canary == Canary::SumNotMax, |walk| walk.fault.is_some())
        });
        assert!(noticed.is_some(), "{canary:?} is not noticed");
    }
}
