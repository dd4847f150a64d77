//! Accepting: locks and phases.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Address, Amount, Channel, Digest, Lock, Op, Opened, Seq, Side, UnixSeconds, Witness, batch,
    channel::{Accepted, Delays, Event, LockFacts, LockKey},
    limits,
};
use std::collections::BTreeMap;

const E: u64 = START + 5000;

#[test]
fn r05_accepts_locks_their_conversion_and_their_end() {
    let mut w = World::new();
    w.send(
        Client,
        &[add(lock(1, 10, E)), add(lock(2, 20, E + 1)), add(lock(5, 30, E))],
    );
    assert_eq!(w.hub.received().locks.total(), Amount(60));
    let opening = w.hub.received().locks.opening().unwrap();
    assert_eq!(opening.max_expiry, UnixSeconds(E + 1));
    w.client.told_witness(1, &opened(1), w.clock).unwrap();
    w.send(Client, &[convert(1)]);
    assert_eq!(w.hub.received().paid, Amount(10));
    w.hub.consent(2).unwrap();
    w.client.consented(2).unwrap();
    w.send(Client, &[drop_lock(2)]);
    w.at(E + LAG);
    w.send(Client, &[drop_lock(5)]);
    assert_eq!(w.hub.received().locks.commitment(), Digest::ZERO);
}

/// What is locked is the sum of the locks that are left, whichever of them went and however.
#[test]
fn r05_accepts_a_sum_without_the_locks_that_left() {
    let mut w = World::new();
    w.send(
        Client,
        &[add(lock(1, 10, E)), add(lock(2, 20, E)), add(lock(3, 970, E))],
    );
    w.client.told_witness(1, &opened(1), w.clock).unwrap();
    w.hub.consent(2).unwrap();
    w.client.consented(2).unwrap();
    w.send(Client, &[convert(1), drop_lock(2)]);
    for half in [w.hub.received(), w.client.sent()] {
        assert_eq!(half.locks.total(), Amount(970));
        assert_eq!(half.locks.opening().unwrap().total, Amount(970));
    }
    let over = w.forge(Client, &[pay(1, 21, 0)], |_| {});
    assert_eq!(name(w.deliver(Client, &over)), "BalanceExceeded");
    w.send(Client, &[pay(1, 20, 0)]);
}

#[test]
fn r05_rejects_wrong_commitments_and_reused_ids() {
    let mut w = World::new();
    let sent = w.forge(Client, &[add(lock(1, 10, E))], |v| v.locks = Digest::ZERO);
    assert_eq!(name(w.deliver(Client, &sent)), "LocksMismatch");
    let sent = w.forge(Client, &[pay(1, 1, 0)], |v| v.locks = Digest([1; 32]));
    assert_eq!(name(w.deliver(Client, &sent)), "LocksMismatch");
    w.send(Client, &[add(lock(7, 10, E))]);
    for id in [0, 6, 7] {
        let sent = w.forge(Client, &[add(lock(id, 10, E))], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "LockIdReused");
    }
    w.hub.consent(7).unwrap();
    w.client.consented(7).unwrap();
    w.send(Client, &[drop_lock(7)]);
    let again = w.forge(Client, &[add(lock(7, 10, E))], |_| {});
    assert_eq!(name(w.deliver(Client, &again)), "LockIdReused");
}

#[test]
fn r05_rejects_unknown_locks_and_wrong_preimages() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    for witness in [vec![], vec![1; 31], vec![1; 33], vec![2; 32]] {
        let sent = w.forge(Client, &[Op::LockConvert { id: 1, witness }], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "WitnessWrong");
    }
    let sent = w.forge(Client, &[convert(2)], |_| {});
    assert_eq!(name(w.deliver(Client, &sent)), "LockUnknown");
    let sent = w.forge(Client, &[drop_lock(2)], |_| {});
    assert_eq!(name(w.deliver(Client, &sent)), "LockUnknown");
}

#[test]
fn r05_rejects_dropping_a_lock_whose_preimage_was_known_or_that_is_marked() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E)), add(lock(2, 10, E))]);
    let early = w.forge(Client, &[drop_lock(1)], |_| {});
    assert_eq!(name(w.deliver(Client, &early)), "LockNotDroppable");
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    w.hub.mark(Client, 2);
    w.at(E + LAG);
    for id in [1, 2] {
        let sent = w.forge(Client, &[drop_lock(id)], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "LockNotDroppable");
    }
}

#[test]
fn r05_accepts_conversion_of_a_marked_lock_after_its_expiry() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.at(E + 1);
    w.client.mark(Client, 1);
    w.hub.mark(Client, 1);
    w.send(Client, &[convert(1)]);
    assert_eq!(w.hub.received().paid, Amount(10));
}

/// The payee gains by it; whether the resolver would take the witness is the payer's to judge.
#[test]
fn r05_accepts_any_witness_of_a_resolver_lock() {
    let mut w = World::new();
    let mut on_resolver = lock(1, 10, E);
    on_resolver.resolver = Address::repeat_byte(5);
    assert!(!on_resolver.condition().opened_by(&preimage(1).0));
    let witness = Witness::new(vec![1, 2, 3]).unwrap();
    let opened = Opened::vouched(on_resolver.condition(), witness).unwrap();
    w.send(Client, &[add(on_resolver)]);
    let now = w.clock;
    w.client.told_witness(1, &opened, now).unwrap();
    w.send(
        Client,
        &[Op::LockConvert {
            id: 1,
            witness: vec![1, 2, 3],
        }],
    );
    assert_eq!(w.hub.received().paid, Amount(10));
}

#[test]
fn r05_boundary_expiry_is_above_chain_time_and_within_max_lock() {
    let mut w = World::new();
    for expiry in [START, START + limits::LOCK_LIFE_MAX_S + 1] {
        let sent = w.forge(Client, &[add(lock(1, 10, expiry))], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "LockExpiryOutOfRange");
    }
    w.send(
        Client,
        &[
            add(lock(1, 10, START + 1)),
            add(lock(2, 10, START + limits::LOCK_LIFE_MAX_S)),
        ],
    );
}

#[test]
fn r05_boundary_the_payee_lets_a_lock_go_exactly_at_its_expiry() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.at(E - 1);
    let sent = w.forge(Client, &[drop_lock(1)], |v| v.locks = Digest::ZERO);
    assert_eq!(name(w.deliver(Client, &sent)), "LockNotDroppable");
    w.at(E);
    assert_eq!(w.deliver(Client, &sent).unwrap(), Accepted::New);
}

#[test]
fn r05_boundary_a_preimage_learnt_at_the_expiry_is_too_late() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E)), add(lock(2, 10, E))]);
    w.at(E - 1);
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    assert_eq!(name(w.hub.learn_witness(1, &opened(9), clock(E))), "WitnessWrong");
    w.at(E);
    w.hub.learn_witness(2, &opened(2), w.clock).unwrap();
    let known: Vec<u64> = w.hub.known_witnesses().map(|(id, _)| id).collect();
    assert_eq!(known, [1]);
}

#[test]
fn r05_boundary_480_locks_of_a_client_and_4096_of_the_hub() {
    for (payer, most) in [
        (Client, limits::LOCKS_FROM_CLIENT_MAX),
        (Hub, limits::LOCKS_FROM_HUB_MAX),
    ] {
        let mut w = World::new();
        for channel in [&mut w.client, &mut w.hub] {
            channel.deposit_confirmed(Hub, Amount(10_000));
        }
        let ids: Vec<u64> = (1..=most as u64).collect();
        for some in ids.chunks(limits::OPS_PER_FRAME_MAX) {
            w.send(
                payer,
                &some.iter().map(|id| add(lock(*id, 1, E))).collect::<Vec<_>>(),
            );
        }
        let one_more = w.forge(payer, &[add(lock(most as u64 + 1, 1, E))], |_| {});
        assert_eq!(name(w.deliver(payer, &one_more)), "LocksTooMany");
        let locks = &w.of(payer.other()).received().locks;
        assert_eq!(locks.len(), most);
        let proof = locks.proof(most as u64).unwrap();
        assert!(proof.len() <= limits::PROOF_DEPTH_MAX);
    }
}

/// The adjudicator keeps 88 bits: so much may be locked in all, and not one unit more.
#[test]
fn r05_boundary_the_largest_sum_of_locks() {
    let mut w = World::new();
    for channel in [&mut w.client, &mut w.hub] {
        channel.deposit_confirmed(Client, Amount(limits::AMOUNT_MAX));
    }
    let most = limits::AMOUNT_MAX - 1;
    let over = w.forge(Client, &[add(lock(1, most, E)), add(lock(2, 2, E))], |_| {});
    assert_eq!(name(w.deliver(Client, &over)), "AmountOverflow");
    w.send(Client, &[add(lock(1, most, E)), add(lock(2, 1, E))]);
    assert_eq!(w.hub.received().locks.total(), Amount(limits::AMOUNT_MAX));
}

#[test]
fn r05_a_channel_with_another_lock_is_another_channel() {
    let with = |amount| {
        let mut w = World::new();
        w.send(Client, &[add(lock(1, amount, E))]);
        w.hub.received().locks.clone()
    };
    assert_eq!(with(10), with(10));
    assert_ne!(with(10), with(11));
}

/// A store that keeps locks in rows of their own gives back the same channel, and takes no row less, more or changed.
#[test]
fn r05_a_record_and_its_locks_belong_together() {
    let mut w = World::new();
    w.send(Client, &(1..=7).map(|id| add(lock(id, 1, E))).collect::<Vec<_>>());
    w.client.told_witness(4, &opened(4), w.clock).unwrap();
    w.hub.learn_witness(4, &opened(4), w.clock).unwrap();
    w.hub.consent(5).unwrap();
    w.client.consented(5).unwrap();
    w.hub.mark(Client, 4);
    w.hub.mark(Client, 99);
    for channel in [&w.client, &w.hub] {
        let (record, facts) = (channel.to_record_without_locks(), channel.lock_facts());
        let back = |facts| Channel::from_record_and_locks(&record, facts);
        assert_eq!(back(facts.clone()).as_ref(), Ok(channel));
        assert_eq!(facts[&(Client, 4)].witness.as_ref(), Some(opened(4).witness()));
        assert!(facts[&(Client, 5)].given_up);
        let changed = |change: &dyn Fn(&mut BTreeMap<LockKey, LockFacts>)| {
            let mut facts = facts.clone();
            change(&mut facts);
            back(facts).map(drop).map_err(|reject| reject.name())
        };
        let corrupt = Err("RecordCorrupt");
        assert_eq!(changed(&|facts| drop(facts.remove(&(Client, 3)))), corrupt);
        assert_eq!(
            changed(&|facts| facts.get_mut(&(Client, 3)).unwrap().lock = None),
            corrupt
        );
        let more = |facts: &mut BTreeMap<LockKey, LockFacts>| {
            let lock = Some(lock(8, 1, E));
            facts.insert(
                (Client, 8),
                LockFacts {
                    lock,
                    ..LockFacts::default()
                },
            );
        };
        assert_eq!(changed(&more), corrupt);
        let dearer = |facts: &mut BTreeMap<LockKey, LockFacts>| {
            facts.get_mut(&(Client, 3)).unwrap().lock.as_mut().unwrap().amount = Amount(2);
        };
        assert_eq!(changed(&dearer), corrupt);
        let moved = |facts: &mut BTreeMap<LockKey, LockFacts>| {
            let three = facts.remove(&(Client, 3)).unwrap();
            facts.insert((Client, 30), three);
        };
        assert_eq!(changed(&moved), corrupt);
    }
}

/// What is kept between vouchers must say what the list itself does: with and without lock operations, read back from a
/// record, and after locks have gone from its middle.
#[test]
fn r05_a_commitment_is_always_that_of_the_listed_locks() {
    let mut w = World::new();
    let listed = |channel: &Channel| {
        let locks: Vec<_> = channel.received().locks.iter().cloned().collect();
        let root = batch::Tree::new(locks.iter().map(Lock::leaf).collect()).root();
        let opening = channel.received().locks.opening().unwrap();
        assert_eq!(opening.root, root);
        assert_eq!(channel.received().commitment(), opening.commitment());
        opening.commitment()
    };
    w.send(Client, &(1..=7).map(|id| add(lock(id, 1, E))).collect::<Vec<_>>());
    let seven = listed(&w.hub);
    w.send(Client, &[pay(1, 1, 0)]);
    assert_eq!(listed(&w.hub), seven);
    w.hub = Channel::from_record(&w.hub.to_record()).unwrap();
    w.client = Channel::from_record(&w.client.to_record()).unwrap();
    w.client.told_witness(4, &opened(4), w.clock).unwrap();
    w.send(Client, &[convert(4), add(lock(8, 1, E))]);
    assert_ne!(listed(&w.hub), seven);
    w.send(Client, &[pay(2, 1, 0)]);
    listed(&w.hub);
}

#[test]
fn r06_accepts_while_open_and_after_a_dispute_is_gone() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 1, 0)]);
    w.hub.enter(&Event::DisputeSeen { dispute_no: Seq(1) }).unwrap();
    w.hub.enter(&Event::DisputeGone).unwrap();
    w.send(Client, &[pay(2, 1, 0)]);
}

#[test]
fn r06_rejects_in_a_dispute_after_a_close_and_when_closed() {
    let events = [
        Event::DisputeSeen { dispute_no: Seq(1) },
        Event::CloseSigned {
            deadline: UnixSeconds(START + 9),
        },
        Event::ClosedOnChain,
    ];
    for event in events {
        let mut w = World::new();
        let first = w.send(Client, &[pay(1, 1, 0)]);
        let next = w.forge(Client, &[pay(2, 1, 0)], |_| {});
        w.hub.enter(&event).unwrap();
        assert_eq!(name(w.deliver(Client, &next)), "ChannelNotOpen");
        assert_eq!(name(w.issue(Hub, &[credit(1, 1)])), "ChannelNotOpen");
        assert_eq!(
            w.deliver(Client, &first).unwrap(),
            Accepted::Duplicate,
            "the old answer stays"
        );
    }
}

#[test]
fn r06_boundary_lag_and_act_are_below_the_challenge_period() {
    let new = |lag_s, act_s| Channel::new(config(), &domain(), Client, Delays { lag_s, act_s });
    let longest = new(86_398, 1).unwrap().delays();
    assert_eq!((longest.lag_s, longest.act_s), (86_398, 1));
    assert_eq!(name(new(86_399, 1)), "ConfigInvalid");
    assert_eq!(name(new(u64::MAX, 1)), "ConfigInvalid");
}

/// The tree that is mended where locks came and went is the one made anew, whatever came and went together.
#[test]
fn r05_a_mended_tree_is_that_of_the_listed_locks() {
    let mut w = World::new();
    let mut next = 1_u64;
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for round in 0..300 {
        let ids: Vec<u64> = w.hub.received().locks.iter().map(|lock| lock.id).collect();
        let (mut drops, mut adds) = (Vec::new(), Vec::new());
        let leave = match round % 50 {
            49 => ids.len() as u64 + 1,
            _ => draw(ids.len() as u64 / 2 + 2),
        };
        for id in ids.iter().filter(|_| leave > draw(ids.len() as u64 + 1)) {
            w.hub.consent(*id).unwrap();
            w.client.consented(*id).unwrap();
            drops.push(drop_lock(*id));
        }
        for _ in 0..draw(9) {
            adds.push(add(lock(next, 1, E)));
            next += 1;
        }
        let ops = match draw(2) {
            0 => [drops, adds].concat(),
            _ => [adds, drops].concat(),
        };
        if ops.is_empty() {
            continue;
        }
        w.send(Client, &ops);
        let locks: Vec<Lock> = w.hub.received().locks.iter().cloned().collect();
        let tree = batch::Tree::new(locks.iter().map(Lock::leaf).collect());
        assert_eq!(
            w.hub
                .received()
                .opening
                .as_ref()
                .map_or(Digest::ZERO, |opening| opening.root),
            tree.root()
        );
        for (index, lock) in locks.iter().enumerate() {
            assert_eq!(w.hub.received().locks.proof(lock.id), Some(tree.proof(index)));
        }
    }
    assert!(next > 800, "{next} locks");
}
