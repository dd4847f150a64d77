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
    let mut forbid = Vec::new();
    for instance in PAIRS {
        forbid.extend(forbidding(instance.name, |rules| instance.model(false, rules)));
    }
    for instance in INSTANCES
        .iter()
        .filter(|instance| instance.name.starts_with("locks-"))
    {
        let model = |rules| instance.model(false, rules, Side::Client);
        forbid.extend(forbidding(instance.name, model));
    }
    for rule in Rule::IMPLIED {
        assert!(forbid.contains(rule), "{rule} forbids nothing");
    }
}

/// The implied rules without which there are more states. There is no fault in any.
fn forbidding<M: Model>(name: &str, model: impl Fn(Rules) -> M) -> Vec<Rule> {
    let states = |removed: Option<Rule>| {
        let rules = removed.map_or(Rules::ALL, Rules::without);
        let report = search(&model(rules), usize::MAX, 1, &|_, _| {});
        let fault = &report.fault;
        assert!(fault.is_none(), "{name} without {removed:?}: {fault:?}");
        report.states
    };
    let all = states(None);
    let forbids = |rule: &Rule| states(Some(*rule)) > all;
    Rule::IMPLIED.iter().copied().filter(forbids).collect()
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
