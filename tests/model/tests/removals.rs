//! All rules: no fault in any instance. One rule removed: the loss is found.

use model::instances::INSTANCES;
use model::rules::{Rule, Rules};
use model::search::search;
use protocol_spec::Side;

const LIMIT: usize = 4_000_000;

#[test]
fn nobody_loses_with_all_rules() {
    for (instance, side) in INSTANCES.iter().flat_map(|instance| [(instance, Side::Client), (instance, Side::Hub)]) {
        // The roles differ in the contract's rounding at the edges only; the other side is searched where it is cheap.
        if side == Side::Hub && !instance.both_sides {
            continue;
        }
        let report = search(&instance.model(false, Rules::ALL, side), LIMIT, 1, &|_, _| {});
        assert!(report.fault.is_none(), "{} {side:?}: {:?}", instance.name, report.fault);
        assert!(report.complete && report.ended > 0, "{}: {} states", instance.name, report.states);
    }
}

#[test]
fn every_removed_rule_is_missed() {
    let rules = INSTANCES.iter().flat_map(|instance| instance.finds.iter().map(move |rule| (instance, *rule)));
    for (instance, rule) in rules {
        let report = search(&instance.model(false, Rules::without(rule), Side::Client), LIMIT, 1, &|_, _| {});
        assert!(report.fault.is_some(), "{}: {rule} removed and nobody lost in {} states", instance.name, report.states);
    }
}

#[test]
fn rules_that_no_instance_shows_are_named() {
    let found = |rule: &Rule| INSTANCES.iter().any(|instance| instance.finds.contains(rule));
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !found(rule)).collect();
    assert_eq!(missing, Rule::NOT_FOUND.iter().collect::<Vec<_>>());
}
