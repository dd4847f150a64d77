//! Witnesses, conditions, and locks whose conditions a resolver judges: R5, R8.

use crate::common::*;
use alloy_primitives::hex;
use protocol_spec::{
    Address, Amount, Condition, Digest, Lock, Op, Opened, Preimage,
    Side::{Client, Hub},
    Witness, limits,
    message::{Frame, Message, Notification, binary, json},
    probe, probes,
};

const E: u64 = START + 7200;
const RESOLVER: Address = Address::repeat_byte(5);

fn witness(bytes: &[u8]) -> Witness {
    Witness::new(bytes.to_vec()).unwrap()
}

fn on_resolver(id: u64) -> Lock {
    let condition = Condition::data(RESOLVER, b"a deal");
    Lock {
        hash: condition.hash,
        resolver: condition.resolver,
        ..lock(id, 10, E)
    }
}

fn convert_with(id: u64, bytes: &[u8]) -> Op {
    let witness = bytes.to_vec();
    Op::LockConvert { id, witness }
}

#[test]
fn a_witness_has_a_longest_length_in_every_encoding() {
    let longest = witness(&[7; limits::WITNESS_BYTES_MAX]);
    let too_long = vec![7; limits::WITNESS_BYTES_MAX + 1];
    assert_eq!(name(Witness::new(too_long.clone())), "WitnessTooLong");
    let json = serde_json::to_string(&longest).unwrap();
    assert_eq!(serde_json::from_str::<Witness>(&json).unwrap(), longest);
    let longer = format!("\"0x{}\"", hex::encode(&too_long));
    assert!(serde_json::from_str::<Witness>(&longer).is_err());
    let bytes = borsh::to_vec(&longest).unwrap();
    assert_eq!(borsh::from_slice::<Witness>(&bytes).unwrap(), longest);
    assert!(borsh::from_slice::<Witness>(&borsh::to_vec(&too_long).unwrap()).is_err());
    assert_eq!(witness(&[3; 32]).preimage(), Some(Preimage([3; 32])));
    assert_eq!(witness(&[3; 33]).preimage(), None);
}

#[test]
fn a_frame_full_of_the_longest_witnesses_fits_a_message_in_either_encoding() {
    let longest = |id| convert_with(id, &[0xff; limits::WITNESS_BYTES_MAX]);
    assert_eq!(convert(1).places(), 1, "a preimage takes one place");
    let count = limits::OPS_PER_FRAME_MAX / longest(1).places();
    let ops: Vec<Op> = (0..count).map(|id| longest(u64::MAX - id as u64)).collect();
    let mut w = World::new();
    let voucher = w.send(Client, &[add(lock(1, 10, E))]).verified.signed().clone();
    let frame = Message::Notification(Box::new(Notification::Voucher(Frame { voucher, ops })));
    assert!(json::encode(&frame).len() <= limits::MESSAGE_BYTES_MAX);
    assert!(binary::encode(&frame).len() <= limits::MESSAGE_BYTES_MAX);
}

#[test]
fn who_can_say_that_a_condition_is_open() {
    let secret = Preimage([1; 32]);
    let by_hash = Condition::preimage(&secret);
    assert!(Opened::by_hash(by_hash, secret.into()).is_some());
    assert!(Opened::by_hash(by_hash, witness(&[1; 31])).is_none());
    assert!(
        Opened::vouched(by_hash, secret.into()).is_none(),
        "nobody is believed"
    );
    let by_resolver = Condition {
        resolver: RESOLVER,
        ..by_hash
    };
    assert!(Opened::by_hash(by_resolver, secret.into()).is_none());
    assert!(Opened::vouched(by_resolver, secret.into()).is_some());
    assert!(by_resolver.weight() > by_hash.weight());
}

#[test]
fn r08_a_resolver_lock_is_converted_only_on_the_witness_that_was_checked_in_time() {
    let mut w = World::new();
    w.send(Client, &[add(on_resolver(1)), add(on_resolver(2))]);
    let opened = Opened::vouched(on_resolver(1).condition(), witness(b"signed")).unwrap();
    assert_eq!(
        name(w.issue(Client, &[convert_with(1, b"signed")])),
        "WitnessWrong",
        "not told"
    );
    let other = Condition::data(RESOLVER, b"another deal");
    let clock_now = w.clock;
    for wrong in [
        other,
        Condition {
            resolver: Address::repeat_byte(6),
            ..on_resolver(1).condition()
        },
    ] {
        let wrong = Opened::vouched(wrong, witness(b"signed")).unwrap();
        let told = unchanged_if_refused(&mut w.client, |c| c.told_witness(1, &wrong, clock_now));
        assert_eq!(name(told), "WitnessWrong", "of another condition");
    }
    w.at(E - 1);
    let now = w.clock;
    w.client.told_witness(1, &opened, now).unwrap();
    w.at(E);
    let now = w.clock;
    assert_eq!(name(w.client.told_witness(2, &opened, now)), "PreimageTooLate");
    assert_eq!(
        name(w.issue(Client, &[convert_with(1, b"signee")])),
        "WitnessWrong"
    );
    w.send(Client, &[convert_with(1, b"signed")]);
    assert_eq!(w.hub.received().paid, Amount(10));
    assert_eq!(
        name(w.issue(Client, &[convert_with(2, b"signed")])),
        "WitnessWrong"
    );
}

#[test]
fn r05_a_resolver_lock_whose_witness_was_known_in_time_is_not_dropped() {
    let mut w = World::new();
    w.send(Client, &[add(on_resolver(1))]);
    let opened = Opened::vouched(on_resolver(1).condition(), witness(b"signed")).unwrap();
    let now = w.clock;
    w.hub.learn_witness(1, &opened, now).unwrap();
    assert_eq!(name(w.hub.consent(1)), "ConsentRefused");
    w.at(E + LAG);
    let sent = w.forge(Client, &[drop_lock(1)], |_| {});
    assert_eq!(name(w.deliver(Client, &sent)), "LockNotDroppable");
}

#[test]
fn r05_boundary_the_longest_witness_converts_a_lock() {
    let mut w = World::new();
    w.send(Client, &[add(on_resolver(1))]);
    let now = w.clock;
    w.client.mark(Client, 1);
    let longer = w.client.issue(
        &[convert_with(1, &[7; limits::WITNESS_BYTES_MAX + 1])],
        &domain(),
        now,
    );
    assert_eq!(name(longer), "WitnessWrong");
    w.send(Client, &[convert_with(1, &[7; limits::WITNESS_BYTES_MAX])]);
    assert_eq!(w.hub.received().paid, Amount(10));
}

#[test]
fn r05_a_marked_resolver_lock_is_converted_whatever_witness_is_left() {
    let mut w = World::new();
    w.send(Hub, &[add(on_resolver(1))]);
    w.at(E + 1);
    w.hub.mark(Hub, 1);
    w.client.mark(Hub, 1);
    w.send(Hub, &[convert_with(1, b"")]);
    assert_eq!(w.client.received().paid, Amount(10));
}

#[test]
fn the_question_to_a_resolver_ends_with_the_calldata_of_check() {
    let condition = Condition {
        hash: Digest([9; 32]),
        resolver: RESOLVER,
    };
    let code = probe::code(&condition, &witness(b"abc"));
    let call = protocol_spec::abi::IResolver::checkCall {
        hash: [9; 32].into(),
        witness: b"abc".to_vec().into(),
    };
    let call = alloy_sol_types::SolCall::abi_encode(&call);
    assert!(code.ends_with(&call));
    assert!(code.len() < call.len() + 100);
    let word = |last: u8| {
        let mut word = [0; 32];
        word[31] = last;
        word
    };
    assert_eq!(probe::answer(&word(0)), Some(false));
    assert_eq!(probe::answer(&word(1)), Some(true));
    assert_eq!(probe::answer(&word(2)), None);
    assert_eq!(probe::answer(&[]), None);
}

/// As the adjudicator has it: 60,000 beside, and a 64th that EIP-150 keeps back from the call.
#[test]
fn a_resolver_is_asked_only_with_all_of_its_gas() {
    let condition = Condition::data(RESOLVER, b"a deal");
    let code = probe::code(&condition, &witness(b"abc"));
    let needed = u64::from(u32::from_be_bytes([0, code[1], code[2], code[3]]));
    let gets = |left: u64| left - left / 64;
    assert_eq!(gets(needed - 60_000), limits::RESOLVER_GAS);
    assert_eq!(gets(needed - 60_001), limits::RESOLVER_GAS - 1);
    let many = probes::code(&[(condition, &witness(b"abc"))]);
    let compared = [&[0x62], &code[1..4], &[0x5a]].concat(); // PUSH3, GAS
    assert!(
        many.windows(5).any(|bytes| bytes == compared),
        "many at once, too"
    );
}
