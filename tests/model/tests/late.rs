//! Two honest parties and a late network; transactions that get in each other's way. All rules: nobody loses. One rule
//! removed: the loss is found.

mod support;

use model::instances::INSTANCES;
use model::pair::instances::INSTANCES as PAIRS;
use model::race::instances::INSTANCES as RACES;
use model::rules::{Rule, Rules};
use model::search::{Model, search};
use protocol_spec::Side;
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
        let mut forbids = 0;
        for instance in PAIRS {
            let more = more(instance.name, |rules| instance.model(false, rules), *rule);
            forbids += usize::from(more);
        }
        for instance in INSTANCES
            .iter()
            .filter(|instance| instance.name.starts_with("locks-"))
        {
            let model = |rules| instance.model(false, rules, Side::Client);
            forbids += usize::from(more(instance.name, model, *rule));
        }
        assert!(forbids > 0, "{rule} forbids nothing");
    }
}

/// True when there are more states without the rule. There is no fault in any.
fn more<M: Model>(name: &str, model: impl Fn(Rules) -> M, rule: Rule) -> bool {
    let states = |rules| {
        let report = search(&model(rules), usize::MAX, 1, &|_, _| {});
        assert!(
            report.fault.is_none(),
            "{name} without {rule}: {:?}",
            report.fault
        );
        report.states
    };
    states(Rules::without(rule)) > states(Rules::ALL)
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
