//! All rules: no fault in any instance. One rule removed: the loss is found.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test may stop at whatever surprises it"
)]

mod support;

use model::chain::{Chain, Close, Status, Terms, Voucher, Withdraw};
use model::instances::INSTANCES;
use model::pair::instances as pair;
use model::race::instances as race;
use model::route::instances as route;
use model::rules::{Rule, Rules};
use protocol_spec::Side;
use support::{holds, loses};

#[test]
fn nobody_loses_with_all_rules() {
    for (instance, side) in INSTANCES
        .iter()
        .flat_map(|instance| [(instance, Side::Client), (instance, Side::Hub)])
    {
        // The roles differ in the contract's rounding at the edges only; the other side is searched where it is cheap.
        if side == Side::Hub && !instance.both_sides {
            continue;
        }
        let name = format!("{} {side:?}", instance.name);
        holds(&name, &instance.model(false, Rules::ALL, side));
    }
}

#[test]
fn every_removed_rule_is_missed() {
    let rules = INSTANCES
        .iter()
        .flat_map(|instance| instance.finds.iter().map(move |rule| (instance, *rule)));
    for (instance, rule) in rules {
        let without = instance.model(false, Rules::without(rule), Side::Client);
        loses(instance.name, rule, &without);
    }
}

#[test]
fn every_rule_is_missed_in_some_instance_or_implied() {
    let found = |rule: &Rule| {
        *rule == Rule::R15Contract
            || INSTANCES.iter().any(|instance| instance.finds.contains(rule))
            || route::INSTANCES
                .iter()
                .any(|instance| instance.finds.contains(rule))
            || pair::INSTANCES
                .iter()
                .any(|instance| instance.finds.contains(rule))
            || race::INSTANCES
                .iter()
                .any(|instance| instance.finds.contains(rule))
    };
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !found(rule)).collect();
    assert_eq!(missing, Rule::IMPLIED.iter().collect::<Vec<_>>());
}

fn terms(rules: Rules, side: Side) -> Terms {
    Terms {
        rules,
        side,
        window: 3,
        expiry: [[5; 2]; 2],
    }
}

/// R15 and R20: whatever both sign, a close pays out what is there. Without the contract's comparison it does not.
#[test]
fn a_close_pays_out_what_is_there() {
    let broken = |rules| {
        let mut broken = 0;
        for n in 0..4_u32.pow(6) {
            let [a, b, c, d, e, f] =
                [0, 1, 2, 3, 4, 5].map(|place| u8::try_from(n / 4_u32.pow(place) % 4).unwrap_or(0));
            let mut chain = Chain {
                dep: [a, 3],
                wd: [b.min(a), 0],
                ..Chain::default()
            };
            let close = Close {
                dep: [c, d],
                balance: [e, f],
                deadline: 1,
            };
            let total = chain.total();
            let mined = chain.close(&terms(rules, Side::Client), &close, 1);
            broken += u32::from(mined && chain.payout[0] + chain.payout[1] != total);
        }
        broken
    };
    assert_eq!(broken(Rules::ALL), 0);
    assert!(broken(Rules::without(Rule::R15Contract)) > 0);
}

/// Evidence in any order says the same: three vouchers of each direction and a withdrawal, all orders of all subsets.
#[test]
fn the_order_of_evidence_is_irrelevant() {
    let voucher = |seq, paid, ack_seq, ack_paid, lock| Voucher {
        seq,
        paid,
        ack_seq,
        ack_paid,
        locks: [lock, 0],
    };
    let evidence = [
        (0, voucher(1, 1, 0, 0, 1)),
        (0, voucher(2, 2, 1, 1, 0)),
        (0, voucher(3, 2, 2, 1, 1)),
        (1, voucher(1, 1, 1, 1, 0)),
        (1, voucher(2, 1, 2, 2, 1)),
        (1, voucher(3, 3, 2, 2, 0)),
    ];
    let w = Withdraw {
        side: 0,
        total: 1,
        seq: [2, 2],
        paid: [2, 1],
        deadline: 9,
    };
    for side in [Side::Client, Side::Hub] {
        let terms = terms(Rules::ALL, side);
        let mut results = vec![None; 1 << 7];
        let mut open = vec![(
            0_usize,
            Chain {
                dep: [3, 3],
                ..Chain::default()
            },
        )];
        while let Some((shown, chain)) = open.pop() {
            let result = (chain.balances(&terms), chain.dir, chain.status == Status::Open);
            assert_eq!(
                *results[shown].get_or_insert(result),
                result,
                "evidence {shown:b}"
            );
            for place in (0..7).filter(|place| shown & (1 << place) == 0) {
                let mut next = chain;
                match evidence.get(place) {
                    Some((payer, voucher)) => next.submit(&terms, *payer, voucher),
                    None => assert!(next.withdraw(&terms, &w, 1)),
                }
                open.push((shown | (1 << place), next));
            }
        }
    }
}
