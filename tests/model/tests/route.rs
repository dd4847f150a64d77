//! Two channels and an honest hub between them. All rules: it never loses. One rule removed: the loss is found.

mod support;

use model::route::instances::INSTANCES;
use model::rules::Rules;
use support::{holds, loses};

#[test]
fn the_hub_loses_nothing_with_all_rules() {
    for instance in INSTANCES {
        holds(instance.name, &instance.model(false, Rules::ALL));
    }
}

#[test]
fn the_hub_misses_every_removed_rule() {
    for instance in INSTANCES {
        for rule in instance.finds {
            loses(
                instance.name,
                *rule,
                &instance.model(false, Rules::without(*rule)),
            );
        }
    }
}
