//! Two honest parties and a late network; transactions that get in each other's way. All rules: nobody loses. One rule
//! removed: the loss is found.

mod support;

use model::pair::instances::INSTANCES as PAIRS;
use model::race::instances::INSTANCES as RACES;
use model::rules::{Rule, Rules};
use model::search::search;
use support::{holds, loses};

#[test]
fn two_honest_parties_lose_nothing_with_all_rules() {
    for instance in PAIRS {
        holds(instance.name, &instance.model(false, Rules::ALL));
    }
}

#[test]
fn two_honest_parties_miss_every_removed_rule() {
    for instance in PAIRS {
        for rule in instance.finds {
            loses(
                instance.name,
                *rule,
                &instance.model(false, Rules::without(*rule)),
            );
        }
    }
}

/// It forbids what nobody loses by: without it there are more states, and no fault in any.
#[test]
fn rules_that_others_imply_are_not_missed() {
    for rule in Rule::IMPLIED {
        let more = PAIRS.iter().filter(|instance| {
            let states = |rules| {
                let report = search(&instance.model(false, rules), usize::MAX, 1, &|_, _| {});
                assert!(report.fault.is_none(), "{}: {:?}", instance.name, report.fault);
                report.states
            };
            states(Rules::without(*rule)) > states(Rules::ALL)
        });
        assert!(more.count() > 0, "{rule} forbids nothing");
    }
}

#[test]
fn delayed_transactions_lose_nothing_with_all_rules() {
    for instance in RACES {
        holds(instance.name, &instance.model(false, Rules::ALL));
    }
}

#[test]
fn delayed_transactions_miss_every_removed_rule() {
    for instance in RACES {
        for rule in instance.finds {
            loses(
                instance.name,
                *rule,
                &instance.model(false, Rules::without(*rule)),
            );
        }
    }
}
