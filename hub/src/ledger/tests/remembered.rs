//! What is remembered of payments when there are more of them than memory is meant for.

use super::{
    state::{Tables, state},
    world::{World, policy},
};
use crate::engine::SessionId;
use crate::ledger::{Input, Ledger, Origin, Policy, entry::Entry};
use protocol_spec::{
    Op, Payee, ReturnReason, Seq, limits,
    message::{Frame, PaymentStatus},
};

/// Payments in a frame.
const EACH: u64 = 10;
/// Their life, seconds.
const LIFE_S: u64 = 100;
const MAX: u64 = 400;

fn terms() -> Policy {
    let mut terms = policy();
    terms.remembered_max = MAX;
    terms
}

/// `from` pays `to` in some frames, of which each comes more than a payment's life after the one before.
fn pay(world: &mut World, from: usize, to: usize, frames: u64) {
    for _ in 0..frames {
        world.now = world.now.after(LIFE_S + 1);
        world.block(Vec::new());
        let ops = pay_ops(world, from, to);
        let origin = world.send(from, ops);
        assert!(world.voucher_reply(origin).bounced.is_empty());
        world.send(to, Vec::new());
    }
}

fn pay_ops(world: &mut World, from: usize, to: usize) -> Vec<Op> {
    let payee = Payee::Account(world.clients[to].account());
    let expires = world.now.after(LIFE_S);
    (0..EACH)
        .map(|_| world.clients[from].pay(payee, 5, 2, expires))
        .collect()
}

/// Ids and receipts of each channel.
fn held(ledger: &Ledger) -> Vec<(usize, usize)> {
    let logs = |entry: &Entry| (entry.stored.payments.len(), entry.stored.events.len());
    ledger.entries.iter().map(logs).collect()
}

fn sum(ledger: &Ledger) -> u64 {
    let sum = |(ids, receipts): (usize, usize)| (ids + receipts) as u64;
    let rows: u64 = held(ledger).into_iter().map(sum).sum();
    let weight = |entry: &Entry| {
        let weight = entry.weight_after(Seq::NONE);
        assert_eq!(entry.oldest_row, entry.first_row());
        assert_eq!(entry.backlog_weight, weight);
        weight
    };
    let weights: u64 = ledger.entries.iter().map(weight).sum();
    assert_eq!(
        ledger.remembered(),
        rows + weights,
        "the count is that of the lists"
    );
    rows
}

#[test]
fn who_pays_much_forgets_its_own_and_who_pays_little_keeps_all() {
    let mut world = World::with(terms(), 4, 10_000_000);
    pay(&mut world, 0, 1, 2);
    let small = held(&world.ledger);
    pay(&mut world, 2, 3, 200);
    // 4,000 ids and receipts would be more than there is room for; some vouchers wait, too.
    assert!(
        (MAX - 10 * EACH..=MAX + 2 * EACH).contains(&sum(&world.ledger)),
        "{:?}",
        held(&world.ledger)
    );
    assert_eq!(held(&world.ledger)[..2], small[..2], "{small:?}");
    let newest = world.ledger.entries[3].stored.events.end();
    assert_eq!(newest, 2_001, "positions go on");
    // The payer's last payments are known, its first are not any more.
    let op = pay_ops(&mut world, 2, 3).remove(0);
    let Op::Pay(payment) = &op else { unreachable!() };
    world.send(2, vec![op.clone()]);
    assert!(matches!(
        world.status(2, payment.payment_id),
        PaymentStatus::Accepted { .. }
    ));
    assert!(world.ledger.entries[2].stored.payments.from() > 1_500);
    // Others grow up to their share, and those with more make place.
    pay(&mut world, 1, 0, 200);
    let share = MAX as usize / 4;
    let bound = |(ids, receipts): &(usize, usize)| ids + receipts <= share + 2 * EACH as usize;
    assert!(
        held(&world.ledger)[2..].iter().all(bound),
        "{:?}",
        held(&world.ledger)
    );
    assert!(sum(&world.ledger) <= MAX + 2 * EACH, "{:?}", held(&world.ledger));
    world.check_replay(&Tables::default());
}

/// Of a channel that both pays and is paid the oldest go first, whatever they are.
#[test]
fn receipts_that_are_older_than_all_ids_are_forgotten_before_them() {
    let mut world = World::with(terms(), 3, 10_000_000);
    pay(&mut world, 0, 1, 12);
    pay(&mut world, 1, 2, 1);
    sum(&world.ledger); // client 2 has one voucher with receipts, and knows how old that is
    let from = |world: &World| {
        let stored = &world.ledger.entries[1].stored;
        (stored.payments.from(), stored.events.from())
    };
    let (first_id, first_receipt) = from(&world);
    for _ in 0..11 {
        pay(&mut world, 1, 2, 1);
    }
    let (id, receipt) = from(&world);
    assert_eq!(id, first_id, "{:?}", held(&world.ledger));
    let gone = receipt - first_receipt;
    assert!((40..=120).contains(&gone), "{gone}: {:?}", held(&world.ledger));
    // And the other way round.
    pay(&mut world, 1, 2, 12);
    let (id, receipt) = from(&world);
    assert_eq!(receipt, first_receipt + 120, "{:?}", held(&world.ledger));
    assert!(id > first_id);
    world.check_replay(&Tables::default());
}

#[test]
fn ids_that_must_be_kept_stop_only_those_who_have_more_than_their_share_of_them() {
    let mut world = World::with(terms(), 3, 10_000_000);
    let mut bounced = 0;
    for _ in 0..60 {
        let ops = pay_ops(&mut world, 0, 1);
        let origin = world.send(0, ops);
        let reasons = world
            .voucher_reply(origin)
            .bounced
            .iter()
            .map(|bounce| bounce.reason);
        let reasons: Vec<ReturnReason> = reasons.collect();
        assert!(
            reasons.iter().all(|reason| *reason == ReturnReason::Unavailable),
            "{reasons:?}"
        );
        bounced += reasons.len();
        world.now = world.now.after(1);
    }
    assert!(bounced > 100, "{bounced}");
    // Its payee's receipts made place for them, and what bounced does not pile up.
    assert!(sum(&world.ledger) <= MAX + 2 * EACH, "{:?}", held(&world.ledger));
    // Somebody else still pays.
    let ops = pay_ops(&mut world, 2, 1);
    let origin = world.send(2, ops);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    // And so does the first when its payments have expired.
    world.now = world.now.after(LIFE_S);
    pay(&mut world, 0, 1, 3);
    world.check_replay(&Tables::default());
}

#[test]
fn channels_at_rest_give_memory_back_as_well() {
    let mut world = World::with(terms(), 4, 10_000_000);
    pay(&mut world, 0, 1, 15);
    let _ = world.ledger.checkpoint();
    let hot = world.ledger.hot();
    for index in 0..2 {
        world.offline(index);
    }
    world.ledger.entries.cool(hot, hot, |index| index < 2);
    assert_eq!(world.ledger.entries.cold().0, 2);
    // Nobody needs the place yet.
    pay(&mut world, 2, 3, 1);
    assert_eq!(world.ledger.entries.cold().0, 2);
    // Now somebody does.
    pay(&mut world, 2, 3, 100);
    let share = MAX as usize / 4;
    let rest = held(&world.ledger)[..2].to_vec();
    assert!(
        rest.iter().all(|(ids, receipts)| ids + receipts <= share),
        "{rest:?}"
    );
    world.check_replay(&Tables::default());
}

#[test]
fn what_is_older_than_the_window_goes_also_where_nothing_happens() {
    let mut terms = policy();
    terms.retention_s = 1_000;
    let mut world = World::with(terms, 4, 10_000_000);
    pay(&mut world, 0, 1, 3);
    let kept = held(&world.ledger);
    let mut tables = Tables::default();
    tables.write(world.ledger.checkpoint());
    let from = world.records.len();
    world.now = world.now.after(500);
    pay(&mut world, 2, 3, 1);
    assert_eq!(held(&world.ledger)[..2], kept[..2]);
    // A clock that is 40 days ahead for a moment takes nothing.
    let right = world.now;
    world.now = right.after(40 * 24 * 3600);
    for _ in 0..3 {
        world.commit(vec![Input::Policy(world.ledger.policy.clone())]);
    }
    world.now = right;
    assert_eq!(held(&world.ledger)[..2], kept[..2]);
    world.now = world.now.after(500);
    pay(&mut world, 2, 3, 1);
    assert_eq!(held(&world.ledger)[..2], [(0, 0), (0, 0)]);
    assert_eq!(sum(&world.ledger), 4 * EACH);
    // It is written down, too: another start does not bring it back.
    tables.write(world.ledger.checkpoint());
    assert_eq!(state(&tables.restore()), state(&world.ledger));
    assert!(world.records.len() > from);
}

#[test]
fn a_payee_that_is_away_is_not_paid_when_its_share_is_full_of_vouchers() {
    let mut world = World::with(terms(), 2, 10_000_000);
    world.offline(1);
    let mut refused = 0;
    for _ in 0..40 {
        world.now = world.now.after(LIFE_S + 1);
        world.block(Vec::new());
        let ops = pay_ops(&mut world, 0, 1);
        let origin = world.send(0, ops);
        for bounce in &world.voucher_reply(origin).bounced {
            assert_eq!(bounce.reason, ReturnReason::PayeeBacklog);
            refused += 1;
        }
    }
    assert!(refused > 100, "{refused}");
    let weight = world.ledger.entries[1].backlog_weight;
    assert!((500..800).contains(&weight), "{weight}");
    world.check_replay(&Tables::default());
    world.online(1);
    world.send(1, Vec::new());
    assert_eq!(world.ledger.entries[1].backlog_weight, 0);
    pay(&mut world, 0, 1, 2);
}

/// From now on the client sees nothing of what the hub says, and the hub does not know. Gives its connection.
fn deafen(world: &mut World, client: usize) -> u64 {
    world.sessions[client].take().unwrap()
}

/// Payments of the first client to nobody.
fn bouncing(world: &mut World, count: u64) -> Vec<Op> {
    let nobody = Payee::Account(protocol_spec::Address::repeat_byte(0x99));
    let expires = world.now.after(LIFE_S);
    (0..count)
        .map(|_| world.clients[0].pay(nobody, 1, 0, expires))
        .collect()
}

/// Of the first client.
fn send_unheard(world: &mut World, session: u64, frame: Frame) -> Origin {
    let origin = Origin {
        session: SessionId(session),
        ..world.fresh_origin(0)
    };
    let voucher = world.clients[0].verified(&frame);
    let ops = frame.ops;
    world.commit(vec![Input::Frame { origin, voucher, ops }]);
    origin
}

#[test]
fn a_payer_that_does_not_acknowledge_is_not_heard_until_it_does_or_shows_what_it_has() {
    let mut world = World::with(terms(), 2, 10_000_000);
    let session = deafen(&mut world, 0);
    let mut sent = 0;
    let refused = loop {
        world.now = world.now.after(LIFE_S + 1);
        world.block(Vec::new());
        let ops = bouncing(&mut world, EACH);
        let clock = world.clock();
        let frame = world.clients[0].frame(ops, clock).unwrap();
        let origin = send_unheard(&mut world, session, frame.clone());
        if world.answer(origin).is_err() {
            assert_eq!(world.error(origin), "TooManyUnacked");
            break frame;
        }
        sent += 1;
        assert!(sent < 40);
    };
    assert!(sent > 15, "{sent}");
    // Now it listens; what it signed before acknowledges as little as it did.
    world.online(0);
    let (origin, input) = world.input(0, refused.clone());
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "TooManyUnacked");
    // It comes back, and shows the newest voucher that it has.
    let weight = world.ledger.entries[0].backlog_weight;
    world.online(0);
    assert!(
        weight > 500 && world.ledger.entries[0].backlog_weight == 0,
        "{weight}"
    );
    let (origin, input) = world.input(0, refused);
    world.commit(vec![input]);
    assert!(world.answer(origin).is_ok());
    world.check_replay(&Tables::default());
    pay(&mut world, 0, 1, 2);
    world.check_replay(&Tables::default());
}

/// Twenty of them would fill 24 GB if only the number of vouchers counted.
#[test]
fn who_lets_full_frames_bounce_and_acknowledges_nothing_is_stopped_while_there_is_room() {
    let mut world = World::new(2, 10_000_000);
    let session = deafen(&mut world, 0);
    let mut frames = 0;
    loop {
        let ops = bouncing(&mut world, limits::OPS_PER_FRAME_MAX as u64);
        let clock = world.clock();
        let frame = world.clients[0].frame(ops, clock).unwrap();
        let origin = send_unheard(&mut world, session, frame);
        if world.answer(origin).is_err() {
            assert_eq!(world.error(origin), "TooManyUnacked");
            break;
        }
        frames += 1;
        assert!(frames < 300);
    }
    assert!(frames > 200, "{frames}");
    let weight = world.ledger.entries[0].backlog_weight;
    assert!((131_072..131_072 + 600).contains(&weight), "{weight}");
}

#[test]
fn a_receipt_each_second_is_no_place_for_ids_without_end() {
    let mut world = World::with(terms(), 2, 10_000_000);
    let mut delivered = 0;
    for _ in 0..80 {
        world.now = world.now.after(1);
        world.block(Vec::new());
        let op = pay_ops(&mut world, 1, 0).remove(0);
        world.send(1, vec![op]);
        let ops = pay_ops(&mut world, 0, 1);
        let origin = world.send(0, ops);
        delivered += EACH as usize - world.voucher_reply(origin).bounced.len();
    }
    assert!(delivered > 100, "{delivered}");
    // Nothing has expired; 800 ids were to be kept.
    assert!(sum(&world.ledger) <= MAX + MAX / 2, "{:?}", held(&world.ledger));
}

#[test]
fn what_must_be_kept_has_a_bound_in_whatever_order_they_come() {
    let clients = 24;
    let mut world = World::with(terms(), clients, 10_000_000);
    for payer in 0..clients as usize - 1 {
        for _ in 0..20 {
            let ops = pay_ops(&mut world, payer, payer + 1);
            world.send(payer, ops);
            // Its payee acknowledges, and that makes no news.
            let _ = world.clients[payer + 1]
                .channel
                .must_ack()
                .then(|| world.send(payer + 1, Vec::new()));
        }
        world.now = world.now.after(1);
        world.block(Vec::new());
    }
    assert!(
        world.now < super::world::START.after(LIFE_S),
        "nothing has expired"
    );
    let (ids, rows) = (held(&world.ledger), sum(&world.ledger));
    let floors = clients * 16;
    assert!((2 * MAX..=3 * MAX + floors).contains(&rows), "{rows}: {ids:?}");
    // Also the last one could pay.
    assert!(ids[clients as usize - 2].0 >= 10, "{ids:?}");
}

#[test]
fn a_channel_is_resumed_once_in_a_commit() {
    let mut world = World::new(2, 10_000_000);
    pay(&mut world, 0, 1, 2);
    let (first, input) = world.resume_input(1);
    let (second, again) = world.resume_input(1);
    let (other, of_other) = world.resume_input(0);
    world.commit(vec![input, again, of_other]);
    assert!(world.answer(first).is_ok() && world.answer(other).is_ok());
    let error = world.answer(second).as_ref().unwrap_err();
    assert_eq!(
        (error.data.name.as_str(), error.data.retry_after_ms),
        ("Busy", Some(100))
    );
    let (third, input) = world.resume_input(1);
    world.commit(vec![input]);
    assert!(world.answer(third).is_ok());
}

#[test]
fn a_receipt_that_is_just_as_old_as_the_retention_stays_and_an_older_one_goes() {
    let mut world = World::with(policy(), 2, 10_000_000);
    let (first, each) = (world.now, EACH as usize);
    for _ in 0..2 {
        let ops = pay_ops(&mut world, 0, 1);
        world.send(0, ops);
        world.send(1, Vec::new());
        world.now = world.now.after(1);
        world.block(Vec::new());
    }
    world.now = first.after(policy().retention_s + 1);
    for _ in 0..10 {
        world.block(Vec::new());
    }
    assert_eq!(held(&world.ledger)[1], (0, each));
    world.now = world.now.after(1);
    for _ in 0..10 {
        world.block(Vec::new());
    }
    assert_eq!(held(&world.ledger)[1], (0, 0));
    world.check_replay(&Tables::default());
}
