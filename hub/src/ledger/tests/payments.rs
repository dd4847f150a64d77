//! Payments: delivered, returned with each reason, repeated, refused.

use super::{
    client::{Client, TOKEN},
    state::{Tables, state},
    world::{START, World, policy},
};
use crate::ledger::{ChainFact, Input, Tariff};
use protocol_spec::{
    Address, Amount, ChannelId, Op, Payee, ReturnReason, Seq, limits, message::PaymentStatus,
};

fn reasons(world: &World, client: usize) -> Vec<ReturnReason> {
    world.clients[client]
        .returns
        .iter()
        .map(|returned| returned.reason)
        .collect()
}

/// Sends `op` alone and returns the reason it bounced with, having checked that all the money came back.
fn bounce(world: &mut World, from: usize, op: Op) -> Option<ReturnReason> {
    let Op::Pay(payment) = &op else { unreachable!() };
    let (id, whole) = (payment.payment_id, payment.amount.plus(payment.fee_max).unwrap());
    let before = world.clients[from].channel.received().paid;
    let origin = world.send(from, vec![op]);
    let bounce = world.voucher_reply(origin).bounced.first().cloned()?;
    assert_eq!(bounce.payment_id, id);
    let after = world.clients[from].channel.received().paid;
    assert_eq!(
        after,
        before.plus(whole).unwrap(),
        "all of it comes back in the same commit"
    );
    Some(bounce.reason)
}

#[test]
fn a_direct_payment_is_credited_in_the_same_commit_and_change_comes_back() {
    let mut world = World::new(2, 1_000_000);
    let op = world.pay_op(0, 1, 1_000, 50);
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    assert_eq!(world.clients[1].credits.len(), 1);
    assert_eq!(world.clients[1].channel.received().paid, Amount(1_000));
    // flat 1 and 1 % of 1,000 make 11; 39 of 50 come back.
    assert_eq!(world.clients[0].channel.received().paid, Amount(39));
    assert_eq!(reasons(&world, 0), [ReturnReason::Change]);
    assert_eq!(world.clients[0].channel.received().ack_seq, Seq(1));
}

#[test]
fn many_payments_of_one_voucher_and_many_vouchers_of_one_commit_make_few_vouchers() {
    let mut world = World::new(3, 1_000_000_000);
    let mut inputs = Vec::new();
    for _ in 0..4 {
        let ops = (0..200).map(|n| world.pay_op(0, 1 + n % 2, 10, 2)).collect();
        let clock = world.clock();
        let frame = world.clients[0].frame(ops, clock).unwrap();
        inputs.push(world.input(0, frame).1);
    }
    world.commit(inputs);
    // 400 credits each fill one voucher of 256 and begin a second one; the payer gets one acknowledgement.
    assert_eq!(world.clients[1].channel.received().seq, Seq(2));
    assert_eq!(world.clients[2].credits.len(), 400);
    assert_eq!(world.clients[0].channel.received().seq, Seq(1));
    assert_eq!(world.clients[0].channel.received().ack_seq, Seq(4));
    world.check_replay(&Tables::default());
}

#[test]
fn every_reason_of_a_return_is_produced() {
    let other = Address::repeat_byte(0x71);
    let mut terms = policy();
    terms.tokens.push(Tariff {
        token: other,
        ..Tariff::default()
    });
    let mut world = World::with(terms, 3, 10_000);
    let foreign = world.add(Client::new(7, other), 10_000);
    world.fund(0, 100_000, 0);
    let pay = |world: &mut World, payee, amount, fee, life| {
        let expires = world.now.after(life);
        let op = world.clients[0].pay(payee, amount, fee, expires);
        bounce(world, 0, op)
    };
    let payee = Payee::Account(world.clients[1].account());
    let nobody = Payee::Channel(ChannelId([1; 32]));
    assert_eq!(
        pay(&mut world, nobody, 5, 9, 60),
        Some(ReturnReason::UnknownPayee)
    );
    let nobody = Payee::Account(Address::repeat_byte(3));
    assert_eq!(
        pay(&mut world, nobody, 5, 0, 60),
        Some(ReturnReason::UnknownPayee)
    );
    let me = Payee::Channel(world.id(0));
    assert_eq!(pay(&mut world, me, 5, 9, 60), Some(ReturnReason::SelfPayment));
    assert_eq!(pay(&mut world, payee, 5, 9, 0), Some(ReturnReason::Expired));
    assert_eq!(
        pay(&mut world, payee, 5, 9, 1),
        None,
        "a second later it is not expired"
    );
    let far = limits::PAYMENT_LIFE_MAX_S;
    assert_eq!(
        pay(&mut world, payee, 5, 9, far + 1),
        Some(ReturnReason::ExpiryTooFar)
    );
    assert_eq!(pay(&mut world, payee, 5, 9, far), None);
    assert_eq!(pay(&mut world, payee, 5, 1, 60), Some(ReturnReason::FeeTooLow));
    assert_eq!(pay(&mut world, payee, 5, 2, 60), None, "exactly the tariff");
    let token = Payee::Channel(world.id(foreign));
    assert_eq!(
        pay(&mut world, token, 5, 9, 60),
        Some(ReturnReason::TokenMismatch)
    );
    let rest = 10_000 - 15;
    assert_eq!(
        pay(&mut world, payee, rest + 1, 0, 60),
        Some(ReturnReason::InsufficientReserve)
    );
    let third = world.id(2);
    world.block(vec![ChainFact::Closed { channel: third }]);
    assert_eq!(
        pay(&mut world, Payee::Channel(third), 5, 9, 60),
        Some(ReturnReason::PayeeClosed)
    );
    let closed_account = Payee::Account(world.clients[2].account());
    assert_eq!(
        pay(&mut world, closed_account, 5, 9, 60),
        Some(ReturnReason::UnknownPayee)
    );
    world.check_replay(&Tables::default());
}

#[test]
fn the_reserve_is_used_to_the_last_unit_and_no_further() {
    let mut world = World::new(2, 100);
    world.fund(0, 10_000, 0);
    let op = world.pay_op(0, 1, 100, 2);
    assert_eq!(bounce(&mut world, 0, op), None);
    let op = world.pay_op(0, 1, 1, 2);
    assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::InsufficientReserve));
    world.fund(1, 0, 1);
    let op = world.pay_op(0, 1, 1, 2);
    assert_eq!(bounce(&mut world, 0, op), None);
    // What the payee spends comes back into the hub's hands: netting.
    let back = world.pay_op(1, 0, 50, 3);
    assert_eq!(bounce(&mut world, 1, back), None);
    let op = world.pay_op(0, 1, 52, 2);
    assert_eq!(bounce(&mut world, 0, op), None);
}

#[test]
fn an_id_used_again_bounces_whatever_its_content_and_its_status_stays() {
    let mut world = World::new(2, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    let Op::Pay(mut payment) = op.clone() else {
        unreachable!()
    };
    let id = payment.payment_id;
    assert_eq!(bounce(&mut world, 0, op.clone()), None);
    assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::DuplicateId));
    payment.amount = Amount(11);
    assert_eq!(
        bounce(&mut world, 0, Op::Pay(payment)),
        Some(ReturnReason::DuplicateId)
    );
    assert_eq!(world.clients[1].credits.len(), 1);
    assert_eq!(world.status(0, id), PaymentStatus::Accepted { seq: Seq(1) });
}

#[test]
fn the_same_frame_again_is_answered_as_before_and_counts_once() {
    let mut world = World::new(2, 10_000);
    let good = world.pay_op(0, 1, 10, 5);
    let twin = good.clone();
    let late = world.clients[0].pay(Payee::Channel(ChannelId([1; 32])), 7, 0, START.after(9));
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![good, twin, late], clock).unwrap();
    let (first, input) = world.input(0, frame.clone());
    world.commit(vec![input]);
    let (before, records) = (state(&world.ledger), world.records.len());
    let (again, input) = world.input(0, frame);
    world.commit(vec![input]);
    assert_eq!(world.voucher_reply(first), world.voucher_reply(again));
    let bounced = &world.voucher_reply(again).bounced;
    assert_eq!(bounced.len(), 2);
    assert_eq!(bounced[0].reason, ReturnReason::DuplicateId);
    assert_eq!(bounced[1].reason, ReturnReason::UnknownPayee);
    assert_eq!(state(&world.ledger), before);
    assert_eq!(world.records.len(), records, "nothing to make durable");
    world.check_replay(&Tables::default());
}

#[test]
fn ids_are_kept_while_a_payment_can_still_be_delivered_twice_and_bounded_after() {
    let mut terms = policy();
    terms.events_per_channel_max = 4;
    let mut world = World::with(terms, 2, 1_000_000);
    let payee = Payee::Account(world.clients[1].account());
    for _ in 0..4 {
        let expires = world.now.after(100);
        let op = world.clients[0].pay(payee, 5, 2, expires);
        assert_eq!(bounce(&mut world, 0, op), None);
    }
    // Full of ids that must be kept: refused, and what is refused does not pile up either.
    for _ in 0..20 {
        let op = world.clients[0].pay(payee, 5, 2, protocol_spec::UnixSeconds(u64::MAX));
        assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::ExpiryTooFar));
        let expires = world.now.after(100);
        let op = world.clients[0].pay(payee, 5, 2, expires);
        assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::Unavailable));
    }
    assert_eq!(world.ledger.entries[0].stored.payments.len(), 4);
    // At their expiry they are still kept, a second later there is room again.
    world.now = world.now.after(100);
    let expires = world.now.after(100);
    let op = world.clients[0].pay(payee, 5, 2, expires);
    assert_eq!(bounce(&mut world, 0, op.clone()), Some(ReturnReason::Unavailable));
    world.now = world.now.after(1);
    assert_eq!(bounce(&mut world, 0, op), None);
    world.check_replay(&Tables::default());
}

#[test]
fn a_voucher_that_breaks_a_rule_is_refused_and_changes_nothing() {
    let mut world = World::new(2, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    let before = state(&world.ledger);
    let records = world.records.len();
    type Tamper = fn(&mut protocol_spec::Voucher);
    let cases: &[(&str, Tamper)] = &[
        ("PaidMismatch", |v| v.paid.0 += 1),
        ("HistoryMismatch", |v| v.history.0[0] ^= 1),
        ("SeqJumpTooFar", |v| v.seq.0 += 2000),
        ("AckUnknown", |v| v.ack_seq.0 += 9),
        ("AckPaidMismatch", |v| v.ack_paid.0 += 1),
        ("LocksMismatch", |v| v.locks.0[0] ^= 1),
        ("SeqConflict", |v| v.seq.0 -= 1),
        ("AckNotMonotone", |v| {
            (v.ack_seq, v.ack_paid) = (Seq(0), Amount(0))
        }),
    ];
    // The client has acknowledged the hub's first voucher, so that an ack can go back.
    let ack = world.pay_op(0, 1, 1, 2);
    world.send(0, vec![ack]);
    let (before, records) = if state(&world.ledger) == before {
        (before, records)
    } else {
        (state(&world.ledger), world.records.len())
    };
    for (name, tamper) in cases {
        let op = world.pay_op(0, 1, 10, 5);
        let clock = world.clock();
        let mut next = world.clients[0].channel.clone();
        let mut voucher = next
            .issue(std::slice::from_ref(&op), &super::client::domain(), clock)
            .unwrap()
            .voucher;
        tamper(&mut voucher);
        let frame = protocol_spec::message::Frame {
            voucher: world.clients[0].sign(voucher),
            ops: vec![op],
        };
        let (origin, input) = world.input(0, frame);
        world.commit(vec![input]);
        assert_eq!(&world.error(origin), name);
        assert_eq!(state(&world.ledger), before, "{name}");
        assert_eq!(world.records.len(), records, "{name}");
    }
}

#[test]
fn a_voucher_of_another_client_or_before_resume_is_refused() {
    let mut world = World::new(2, 10_000);
    let op = world.pay_op(0, 1, 10, 5);
    let clock = world.clock();
    let frame = world.clients[0].frame(vec![op], clock).unwrap();
    let (mut origin, input) = world.input(0, frame.clone());
    let Input::Frame { voucher, ops, .. } = input else {
        unreachable!()
    };
    origin.signer = world.clients[1].account();
    let stolen = Input::Frame { origin, voucher, ops };
    world.commit(vec![stolen]);
    assert_eq!(world.error(origin), "NotYourChannel");
    world.offline(0);
    let (origin, input) = world.input(0, frame);
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "NotResumed");
}

#[test]
fn money_that_could_not_be_returned_in_88_bits_is_refused_up_front() {
    let mut world = World::new(1, 0);
    let half = limits::AMOUNT_MAX / 2;
    world.fund(0, half, 0);
    let nobody = Payee::Channel(ChannelId([1; 32]));
    for _ in 0..2 {
        let expires = world.now.after(60);
        let op = world.clients[0].pay(nobody, half, 0, expires);
        assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::UnknownPayee));
    }
    // AMOUNT_MAX is odd: one unit is left in both directions, and two do not fit.
    let expires = world.now.after(60);
    let op = world.clients[0].pay(nobody, 1, 0, expires);
    assert_eq!(bounce(&mut world, 0, op), Some(ReturnReason::UnknownPayee));
    let op = world.clients[0].pay(nobody, 1, 0, expires);
    let clock = world.clock();
    assert!(
        world.clients[0].frame(vec![op], clock).is_err(),
        "the client's own width is used up, too"
    );
    assert_eq!(world.ledger.entries[0].channel.config().token, TOKEN);
}
