//! Locks with a resolver: only what is on the list is forwarded, and a witness counts only once the chain has said yes.

use super::{
    state::Tables,
    world::{FEE_MAX, World, policy},
};
use crate::ledger::{ChainFact, Check, Input, Origin, Output, Policy};
use protocol_spec::{
    Address, Amount, Condition, Op, Preimage, ReturnReason, Seq, Side, UnixSeconds, Witness,
    limits::{self, LAG_DEFAULT_S, RESOLVER_LOCK_WEIGHT},
    message::Reveal,
};

const RESOLVER: Address = Address::repeat_byte(8);
const LIFE_S: u64 = 4 * 3600;

fn forwarding() -> Policy {
    let mut terms = policy();
    terms.locks.resolvers = vec![Address::repeat_byte(7), RESOLVER];
    terms
}

fn condition() -> Condition {
    Condition::data(RESOLVER, b"one bicycle")
}

fn witness(byte: u8) -> Witness {
    Witness::new(vec![byte; 100]).unwrap()
}

fn lock_op(world: &mut World, from: usize, to: usize, condition: Condition) -> Op {
    let mut op = world.lock_op(from, to, 1_000, LIFE_S, Preimage::ZERO);
    if let Op::LockAdd { lock, .. } = &mut op {
        (lock.hash, lock.resolver) = (condition.hash, condition.resolver);
    }
    op
}

/// A lock from client 0 to client 1; the hub's lock in the payee's channel.
fn locked(world: &mut World) -> u64 {
    let op = lock_op(world, 0, 1, condition());
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    let lock = &world.clients[1].locks.last().unwrap().0;
    assert_eq!(lock.condition(), condition(), "R22: same hash, same resolver");
    lock.id
}

fn tell(world: &mut World, payee: usize, lock_id: u64, witness: Witness) -> (Origin, Vec<Check>) {
    let origin = world.fresh_origin(payee);
    let call = Reveal {
        channel_id: world.id(payee),
        lock_id,
        witness,
    };
    let outputs = world.commit(vec![Input::Reveal(origin, call)]);
    (origin, checks(&outputs))
}

fn checks(outputs: &[Output]) -> Vec<Check> {
    let check = |output: &Output| match output {
        Output::Check(check) => Some(check.clone()),
        _ => None,
    };
    outputs.iter().filter_map(check).collect()
}

fn say(world: &mut World, check: &Check, opens: Option<bool>) {
    let number = check.number;
    world.commit(vec![Input::Checked { number, opens }]);
}

fn fold(world: &mut World, client: usize) {
    let ops = world.clients[client].fold();
    world.send(client, ops);
}

#[test]
fn r22_only_resolvers_on_the_list_are_forwarded_and_each_takes_four_places() {
    let mut terms = forwarding();
    terms.locks.per_client_max = u32::try_from(2 * RESOLVER_LOCK_WEIGHT).unwrap();
    let mut world = World::with(terms, 2, 100_000);
    let mut refusal = |resolver| {
        let op = lock_op(
            &mut world,
            0,
            1,
            Condition {
                resolver,
                ..condition()
            },
        );
        let origin = world.send(0, vec![op]);
        let bounced = &world.voucher_reply(origin).bounced;
        (
            bounced.first().map(|bounce| bounce.reason),
            world.ledger.forwarded,
        )
    };
    let other = Address::repeat_byte(9);
    assert_eq!(refusal(other), (Some(ReturnReason::ResolverRefused), 0));
    assert_eq!(refusal(RESOLVER), (None, RESOLVER_LOCK_WEIGHT));
    assert_eq!(refusal(RESOLVER), (None, 2 * RESOLVER_LOCK_WEIGHT));
    assert_eq!(
        refusal(Address::ZERO).0,
        Some(ReturnReason::LocksFull),
        "not even one on a preimage fits any more"
    );
    world.check_replay(&Tables::default());
}

#[test]
fn a_witness_counts_once_the_chain_says_yes_and_both_legs_convert_in_one_record() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let before = world.ledger.next_record;
    let (origin, asked) = tell(&mut world, 1, id, witness(1));
    assert_eq!(
        (asked[0].condition, &asked[0].witness),
        (condition(), &witness(1))
    );
    assert!(
        !world.answers.contains_key(&(origin.session.0, origin.id)),
        "it waits"
    );
    assert_eq!(
        world.ledger.next_record, before,
        "nothing is believed, nothing is written"
    );
    assert!(world.clients[1].converted.is_empty() && world.clients[0].fold().is_empty());

    say(&mut world, &asked[0], Some(true));
    assert!(world.answer(origin).is_ok());
    assert_eq!(world.clients[1].converted, [id]);
    assert_eq!(world.clients[1].channel.received().paid, Amount(1_000));
    assert_eq!(world.ledger.next_record, before + 1, "both legs in one record");
    assert_eq!(
        world.clients[0].fold(),
        [Op::LockConvert {
            id: 1,
            witness: witness(1).as_bytes().to_vec()
        }]
    );
    fold(&mut world, 0);
    assert_eq!(world.clients[0].channel.sent().paid, Amount(1_000 + FEE_MAX));
    assert_eq!(world.ledger.forwarded, 0);
    // An answer that comes twice finds no question.
    let next = world.ledger.next_record;
    say(&mut world, &asked[0], Some(true));
    assert_eq!(world.ledger.next_record, next);
    world.check_replay(&Tables::default());
}

#[test]
fn a_wrong_witness_is_refused_and_its_client_waits_a_second() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let (origin, asked) = tell(&mut world, 1, id, witness(1));
    let before = world.ledger.next_record;
    say(&mut world, &asked[0], Some(false));
    assert_eq!(world.error(origin), "WitnessWrong");
    assert_eq!(world.ledger.next_record, before);
    let (early, asked) = tell(&mut world, 1, id, witness(2));
    assert_eq!((world.error(early), asked.len()), ("Busy".to_owned(), 0));
    world.now = world.now.after(1);
    let (_, asked) = tell(&mut world, 1, id, witness(2));
    say(&mut world, &asked[0], Some(true));
    assert_eq!(world.clients[1].converted, [id]);
    world.check_replay(&Tables::default());
}

#[test]
fn with_the_chain_down_nothing_is_lost_and_the_payee_is_told_to_come_again() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let (origin, asked) = tell(&mut world, 1, id, witness(1));
    say(&mut world, &asked[0], None);
    let Err(error) = world.answer(origin) else {
        panic!()
    };
    assert_eq!(
        (error.data.name.as_str(), error.data.retry_after_ms),
        ("ChainFailed", Some(1000))
    );
    assert_eq!(world.clients[1].channel.received().locks.len(), 1);
    let (_, asked) = tell(&mut world, 1, id, witness(1));
    say(&mut world, &asked[0], Some(true));
    assert_eq!(world.clients[1].converted, [id]);
    world.check_replay(&Tables::default());
}

#[test]
fn questions_of_one_client_are_bounded_and_forgotten_by_a_restart() {
    let mut world = World::with(forwarding(), 3, 100_000);
    let id = locked(&mut world);
    let mut open = Vec::new();
    for _ in 0..8 {
        let (_, asked) = tell(&mut world, 1, id, witness(1));
        open.extend(asked);
    }
    assert_eq!(open.len(), 8);
    let (ninth, asked) = tell(&mut world, 1, id, witness(1));
    assert_eq!((world.error(ninth), asked.len()), ("Busy".to_owned(), 0));
    // Another client's question is asked all the same.
    let op = lock_op(&mut world, 0, 2, condition());
    world.send(0, vec![op]);
    let other = world.clients[2].locks[0].0.id;
    assert_eq!(tell(&mut world, 2, other, witness(1)).1.len(), 1);
    for check in &open {
        say(&mut world, check, Some(true));
    }
    assert_eq!(world.clients[1].converted, [id], "once");
    world.check_replay(&Tables::default());
}

#[test]
fn r8_the_answer_must_be_there_before_the_expiry() {
    for late in [false, true] {
        let mut world = World::with(forwarding(), 2, 100_000);
        let id = locked(&mut world);
        let expiry = world.clients[1].locks[0].0.expiry;
        world.now = UnixSeconds(expiry.0 - 1);
        let (origin, asked) = tell(&mut world, 1, id, witness(1));
        world.now = UnixSeconds(expiry.0 - u64::from(!late));
        say(&mut world, &asked[0], Some(true));
        if late {
            assert_eq!(world.error(origin), "PreimageTooLate");
            let (again, asked) = tell(&mut world, 1, id, witness(1));
            assert_eq!(
                (world.error(again), asked.len()),
                ("PreimageTooLate".to_owned(), 0)
            );
        } else {
            assert_eq!(world.clients[1].converted, [id]);
        }
        world.now = expiry.after(LAG_DEFAULT_S);
        world.block(vec![]);
        assert!(world.clients[1].channel.received().locks.is_empty());
        let given_up = world.clients[0].given_up.get(&1).copied();
        assert_eq!(given_up, late.then_some(ReturnReason::Expired));
        world.check_replay(&Tables::default());
    }
}

#[test]
fn r11_a_lock_given_up_while_the_chain_was_asked_stays_given_up() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let (origin, asked) = tell(&mut world, 1, id, witness(1));
    world.give_up(1, id);
    say(&mut world, &asked[0], Some(true));
    assert_eq!(world.error(origin), "LockUnknown");
    world.send(1, vec![]);
    assert_eq!(world.clients[0].given_up.get(&1), Some(&ReturnReason::Cancelled));
    world.check_replay(&Tables::default());
}

#[test]
fn r23_a_witness_shown_on_chain_only_is_used_on_the_payers_lock() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let channel = world.id(1);
    let dispute_no = Seq(1);
    world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
    let resolved = |witness: &Witness| ChainFact::Resolved {
        channel,
        payer: Side::Hub,
        lock_id: id,
        witness: witness.as_bytes().to_vec(),
    };
    world.block(vec![resolved(&witness(3))]);
    // Counted again in a newer voucher it comes without.
    world.block(vec![resolved(&Witness::default())]);
    let due = world.clients[0]
        .channel
        .sent()
        .locks
        .iter()
        .next()
        .unwrap()
        .expiry;
    let overdue = world.ledger.overdue(UnixSeconds(due.0 - 60));
    assert_eq!(
        overdue[0].received.witnesses,
        [("1".to_owned(), witness(3))],
        "R21: what the hub collects with"
    );
    fold(&mut world, 0);
    assert_eq!(world.clients[0].channel.sent().paid, Amount(1_000 + FEE_MAX));
    world.check_replay(&Tables::default());
}

#[test]
fn r23_in_an_unconfirmed_block_it_is_used_once_the_resolver_says_so() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let channel = world.id(1);
    let before = world.ledger.next_record;
    let seen = |byte| Input::WitnessSeen {
        channel,
        lock_id: id,
        witness: witness(byte),
    };
    let asked = checks(&world.commit(vec![seen(1), seen(2)]));
    assert_eq!(asked.len(), 2);
    say(&mut world, &asked[0], Some(false));
    assert_eq!(
        world.ledger.next_record, before,
        "a node that lies changes nothing"
    );
    say(&mut world, &asked[1], Some(true));
    assert_eq!(world.clients[0].fold().len(), 1, "the payer is told");
    assert_eq!(world.ledger.next_record, before + 1);
    world.check_replay(&Tables::default());
}

#[test]
fn a_payer_that_converts_by_itself_has_paid_whatever_its_witness_is_worth() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let payer = world.clients[0]
        .channel
        .sent()
        .locks
        .iter()
        .next()
        .unwrap()
        .clone();
    let opened = protocol_spec::Opened::vouched(payer.condition(), witness(9)).unwrap();
    let clock = world.clock();
    world.clients[0]
        .channel
        .told_witness(payer.id, &opened, clock)
        .unwrap();
    fold(&mut world, 0);
    assert_eq!(world.clients[1].converted, [id]);
    assert_eq!(world.clients[1].channel.received().paid, Amount(1_000));
    world.check_replay(&Tables::default());
}

#[test]
fn long_witnesses_that_are_converted_together_are_cut_into_frames_that_fit() {
    let mut terms = forwarding();
    (terms.locks.per_client_max, terms.locks.total_max) = (480, 480);
    let mut world = World::with(terms, 2, 100_000);
    let ids: Vec<u64> = (0..60).map(|_| locked(&mut world)).collect();
    let channel = world.id(1);
    let dispute_no = Seq(1);
    world.block(vec![ChainFact::Disputed { channel, dispute_no }]);
    let longest = Witness::new(vec![1; limits::WITNESS_BYTES_MAX]).unwrap();
    for id in ids {
        let (_, asked) = tell(&mut world, 1, id, longest.clone());
        say(&mut world, &asked[0], Some(true));
    }
    assert!(world.clients[1].converted.is_empty(), "R6: not in a dispute");
    let outputs = world.block(vec![ChainFact::DisputeCancelled { channel, dispute_no }]);
    let places = outputs.iter().filter_map(|output| match output {
        Output::Frame(frame) => Some(frame.issue.ops.iter().map(Op::places).sum::<usize>()),
        _ => None,
    });
    let places: Vec<usize> = places.filter(|places| *places > 0).collect();
    assert!(places.len() > 1, "{places:?}");
    assert!(places.iter().all(|places| *places <= limits::OPS_PER_FRAME_MAX));
    assert_eq!(world.clients[1].converted.len(), 60);
    world.check_replay(&Tables::default());
}

/// In a dispute what was told waits for its end; told again it is neither asked nor late.
#[test]
fn r08_a_witness_that_is_told_again_is_not_asked_again() {
    let mut world = World::with(forwarding(), 2, 100_000);
    let id = locked(&mut world);
    let (_, asked) = tell(&mut world, 1, id, witness(1));
    let channel = world.id(1);
    world.block(vec![ChainFact::Disputed {
        channel,
        dispute_no: Seq(1),
    }]);
    say(&mut world, &asked[0], Some(true));
    for later_s in [0, LIFE_S] {
        world.now = world.now.after(later_s);
        let (origin, asked) = tell(&mut world, 1, id, witness(1));
        assert_eq!(asked, []);
        assert!(world.answer(origin).is_ok(), "{}", world.error(origin));
    }
}
