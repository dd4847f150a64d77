//! Two channels and an honest hub between them. All rules: it never loses. One rule removed: the loss is found.

use model::route::instances::INSTANCES;
use model::rules::Rules;
use model::search::search;

const LIMIT: usize = 4_000_000;

#[test]
fn the_hub_loses_nothing_with_all_rules() {
    for instance in INSTANCES {
        let report = search(&instance.model(false, Rules::ALL), LIMIT, 1, &|_, _| {});
        assert!(report.fault.is_none(), "{}: {:?}", instance.name, report.fault);
        assert!(
            report.complete && report.ended > 0,
            "{}: {} states",
            instance.name,
            report.states
        );
    }
}

#[test]
fn the_hub_misses_every_removed_rule() {
    for (instance, rule) in INSTANCES
        .iter()
        .flat_map(|instance| instance.finds.iter().map(move |rule| (instance, *rule)))
    {
        let report = search(&instance.model(false, Rules::without(rule)), LIMIT, 1, &|_, _| {});
        assert!(
            report.fault.is_some(),
            "{}: {rule} removed and the hub lost nothing in {} states",
            instance.name,
            report.states
        );
    }
}
