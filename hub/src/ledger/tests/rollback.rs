//! A10 with the Restorer: a hub that comes back with the state of k commits ago, again and again.

use super::{
    client::{Client, TOKEN},
    state::Tables,
    world::World,
};
use crate::ledger::{ChainFact, Input};
use protocol_spec::{
    Amount, Payee, Preimage, ReturnReason, Seq, Side,
    limits::{DEADLINE_AHEAD_MAX_S, LAG_DEFAULT_S},
    message::{CapacityCall, QuoteCall, Reply},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const DEPOSIT: u128 = 1_000_000;

/// Both sides of every channel that has re-synced agree to the unit.
pub(super) fn agree(world: &World) {
    for (index, client) in world.clients.iter().enumerate() {
        let channel = &world.ledger.entries[index].channel;
        assert_eq!(
            channel.settlement(),
            client.channel.settlement(),
            "channel {index}"
        );
        assert_eq!(
            channel.sent().seq,
            client.channel.received().seq,
            "channel {index}"
        );
    }
}

pub(super) fn tables(world: &mut World) -> Tables {
    let mut tables = Tables::default();
    world.ledger.unsave();
    tables.write(world.ledger.checkpoint());
    tables
}

/// Clients pay each other at random; some are offline, some frames are lost on the way.
fn traffic(world: &mut World, random: &mut StdRng, steps: usize) {
    let count = world.clients.len();
    for _ in 0..steps {
        let (from, to) = (random.random_range(0..count), random.random_range(0..count));
        match random.random_range(0..10) {
            0 => world.offline(from),
            1 if world.sessions[from].is_none() => drop(world.resync(from)),
            // Signed, and never arrives before the crash.
            2 if world.clients[from].unaccepted.len() < 3 => {
                let op = world.pay_op(from, to, random.random_range(1..100), 5);
                let clock = world.clock();
                world.clients[from].frame(vec![op], clock).unwrap();
            }
            _ if from != to
                && world.sessions[from].is_some()
                && world.clients[from].unaccepted.is_empty() =>
            {
                let op = world.pay_op(from, to, random.random_range(1..100), 5);
                let origin = world.send(from, vec![op]);
                assert!(world.answer(origin).is_ok());
            }
            _ => {}
        }
    }
}

pub(super) fn everybody_back(world: &mut World) {
    for index in 0..world.clients.len() {
        world.resync(index);
    }
}

/// What the hub countersigned and forgot has lapsed.
fn lapse(world: &mut World) {
    world.now = world.now.after(DEADLINE_AHEAD_MAX_S + LAG_DEFAULT_S + 1);
    world.block(vec![]);
}

/// `RESTORER_SEEDS=1000` runs more.
#[test]
fn a10_the_restorer_costs_no_client_a_unit_and_never_signs_a_seq_twice() {
    let seeds: u64 = std::env::var("RESTORER_SEEDS").map_or(12, |text| text.parse().unwrap());
    let (mut lost, mut adopted) = (0_usize, 0_usize);
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(4, DEPOSIT);
        for _ in 0..3 {
            traffic(&mut world, &mut random, 12);
            let backup = tables(&mut world);
            let base = world.records.len();
            traffic(&mut world, &mut random, 12);
            // The last `behind` of the records since the tables are lost with the disk.
            let behind = random.random_range(0..=world.records.len() - base);
            let tail: Vec<Vec<u8>> = world.records[base..world.records.len() - behind].to_vec();
            let fair: Vec<_> = world
                .clients
                .iter()
                .map(|client| client.channel.settlement().0)
                .collect();
            lost += behind;
            let new = world.restore(&backup, &tail);
            assert_eq!(world.ledger.unsynced(), 4, "seed {seed}");
            everybody_back(&mut world);
            assert_eq!(world.ledger.unsynced(), 0, "seed {seed}");
            let entries = world.ledger.entries.iter();
            let known = entries.filter_map(|entry| entry.stored.adopted);
            adopted += known.filter(|sums| !sums.paid.is_zero()).count();
            // What came back or was delivered when it was sent again is on top of it.
            for (client, fair) in world.clients.iter().zip(fair) {
                assert!(client.channel.settlement().0 >= fair, "seed {seed}");
            }
            agree(&world);
            lapse(&mut world);
            world.check_replay_on(new.restore());
        }
        // It goes on as if nothing had been.
        traffic(&mut world, &mut random, 20);
        everybody_back(&mut world);
        agree(&world);
    }
    assert!(
        lost > 0 && adopted > 0,
        "{lost} records lost, {adopted} adoptions: the test tests nothing"
    );
}

/// Three clients; the backup was made before the first paid the second.
fn lost_a_payment() -> World {
    let mut world = World::new(3, DEPOSIT);
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    let backup = tables(&mut world);
    let op = world.pay_op(0, 1, 100, 5);
    world.send(0, vec![op]);
    world.restore(&backup, &[]);
    world
}

#[test]
fn a10_a_channel_in_doubt_signs_nothing_is_paid_nothing_and_is_released_alone() {
    let mut world = lost_a_payment();
    world.resync(0);
    assert_eq!(world.ledger.unsynced(), 2);
    let lost = world.ledger.entries[0].stored.adopted.unwrap();
    assert_eq!(
        (lost.paid.0, lost.received.0),
        (3, 105),
        "the fee's change, and the payment"
    );
    // The payee is still in doubt: what is sent to it comes back, whole.
    let before = world.clients[0].channel.settlement();
    let op = world.pay_op(0, 1, 7, 5);
    let origin = world.send(0, vec![op]);
    assert_eq!(world.voucher_reply(origin).bounced.len(), 1);
    assert_eq!(world.clients[0].channel.settlement(), before);
    // One that is in doubt is told why.
    let op = world.pay_op(2, 0, 7, 5);
    let origin = world.send(2, vec![op]);
    assert_eq!(world.error(origin), "RolledBack");
    world.resync(1);
    let lost = world.ledger.entries[1].stored.adopted.unwrap();
    assert_eq!((lost.paid.0, lost.received.0), (100, 0));
    world.resync(2);
    let op = world.pay_op(0, 1, 7, 5);
    world.send(0, vec![op]);
    agree(&world);
}

#[test]
fn a10_the_operator_may_accept_the_loss_and_a_client_that_does_come_back_is_in_doubt_again() {
    let mut world = lost_a_payment();
    world.resync(0);
    world.resync(2);
    let doubt = world.ledger.doubts().next().unwrap();
    // All that the hub has in it by what it knows: the lost payment is part of it.
    assert_eq!((doubt.channel, doubt.loss_max.0), (world.id(1), DEPOSIT - 10));
    world.commit(vec![Input::AcceptLoss(vec![doubt.channel])]);
    assert_eq!(world.ledger.unsynced(), 0);
    // It was lost, and its client shows it: this channel alone is in doubt, and in step again at once.
    world.resync(1);
    assert_eq!(world.ledger.unsynced(), 0);
    agree(&world);
}

#[test]
fn a10_a_client_that_held_back_a_voucher_stops_nobody_else() {
    let mut world = lost_a_payment();
    for client in [0, 2] {
        world.resync(client);
    }
    // Shows the older of the two that it holds, then the newer.
    let (origin, _) = world.resume_input(1);
    let mut call = world.clients[1].resume_call();
    call.received = None;
    let input = world.verified_resume(1, origin, call);
    world.commit(vec![input]);
    assert_eq!(world.ledger.unsynced(), 0);
    world.resync(1);
    assert_eq!(world.ledger.unsynced(), 0, "adopted");
    let others = [0, 2].map(|client| world.sessions[client].unwrap());
    assert!(others.iter().all(|session| !world.dropped.contains(session)));
    let op = world.pay_op(2, 0, 7, 5);
    let origin = world.send(2, vec![op]);
    assert!(world.answer(origin).is_ok());
}

/// A copy that was made after the first rollback, when every channel had been released once.
#[test]
fn a10_a_second_rollback_puts_all_channels_in_doubt_again_and_is_told_as_the_second() {
    let mut world = lost_a_payment();
    assert_eq!((world.ledger.unsynced(), world.rollbacks), (3, 1));
    everybody_back(&mut world);
    lapse(&mut world);
    let copy = tables(&mut world);
    let op = world.pay_op(0, 1, 100, 5);
    world.send(0, vec![op]);
    let saved = world.start_copy(&copy);
    assert_eq!(world.ledger.unsynced(), 0, "nobody knows yet");
    world.resync(0);
    assert_eq!((world.ledger.unsynced(), world.rollbacks), (2, 2));
    // Its payee is away: nothing is signed there that it may hold already.
    let before = world.ledger.entries[1].channel.sent().seq;
    assert_eq!(bounced(&mut world, 0, 1), Some(ReturnReason::Unavailable));
    assert_eq!(world.ledger.entries[1].channel.sent().seq, before);
    everybody_back(&mut world);
    assert_eq!((world.ledger.unsynced(), world.rollbacks), (0, 2));
    agree(&world);
    world.check_replay_on(saved.restore());
}

#[test]
fn a10_a_second_restore_from_an_older_backup_puts_all_channels_in_doubt_again() {
    let mut world = World::new(3, DEPOSIT);
    let oldest = tables(&mut world);
    let op = world.pay_op(0, 1, 100, 5);
    world.send(0, vec![op]);
    let newer = tables(&mut world);
    let op = world.pay_op(0, 1, 100, 5);
    world.send(0, vec![op]);
    for (backup, times) in [(newer, 1), (oldest, 2)] {
        let saved = world.restore(&backup, &[]);
        assert_eq!((world.ledger.unsynced(), world.rollbacks), (3, times));
        for client in 0..3 {
            world.resync(client);
            assert_eq!(world.ledger.unsynced(), 2 - client, "one by one");
        }
        agree(&world);
        lapse(&mut world);
        world.check_replay_on(saved.restore());
    }
}

#[test]
fn a10_a_channel_that_was_opened_in_the_lost_part_is_in_doubt_and_a_later_one_is_not() {
    let mut world = World::new(1, DEPOSIT);
    let backup = tables(&mut world);
    world.restore(&backup, &[]);
    world.resync(0);
    // The driver reads on from where the backup stood: the old hub may have served this one.
    let config = Client::new(7, TOKEN).channel.config().clone();
    world.block(vec![ChainFact::Opened(config)]);
    assert_eq!(world.ledger.unsynced(), 1);
    world.now = world.now.after(1);
    let config = Client::new(8, TOKEN).channel.config().clone();
    world.block(vec![ChainFact::Opened(config)]);
    assert_eq!(world.ledger.unsynced(), 1);
    let newest = world.ledger.entries.iter().last().unwrap();
    assert_eq!(
        (newest.stored.unsynced, newest.channel.sent().seq),
        (false, Seq::NONE)
    );
}

/// The driver reads the chain in ranges, and the last one may begin before the restart and end after it.
#[test]
fn a10_a_channel_that_was_opened_before_the_restart_is_in_doubt_also_when_its_range_ends_later() {
    let mut world = World::new(1, DEPOSIT);
    let backup = tables(&mut world);
    world.now = world.now.after(1_000);
    world.restore(&backup, &[]);
    world.resync(0);
    world.now = world.now.after(1);
    let config = Client::new(7, TOKEN).channel.config().clone();
    world.block(vec![ChainFact::Opened(config)]);
    assert_eq!(world.ledger.unsynced(), 1);
    world.now = world.now.after(1);
    let config = Client::new(8, TOKEN).channel.config().clone();
    world.block(vec![ChainFact::Opened(config)]);
    assert_eq!(world.ledger.unsynced(), 1, "a later one is not");
}

/// A release took out what the client had paid in the lost part, and the client shows nothing of that.
#[test]
fn a10_nothing_is_taken_from_a_client_that_could_not_be_returned() {
    let mut world = World::new(1, DEPOSIT);
    world.add(Client::new(8, TOKEN), 0);
    world.fund(1, 100, 50);
    let op = world.pay_op(0, 1, 10, 5);
    world.send(0, vec![op]);
    let backup = tables(&mut world);
    world.restore(&backup, &[]);
    let channel = world.id(1);
    world.block(vec![ChainFact::Withdrawn {
        channel,
        side: Side::Hub,
        total: Amount(60),
    }]);
    world.resync(0);
    world.resync(1);
    let acked = world.send(1, vec![]);
    assert!(
        world.answer(acked).is_ok(),
        "what only acknowledges changes no sum"
    );
    let (op, clock) = (world.pay_op(1, 0, 5, 5), world.clock());
    let frame = world.clients[1].frame(vec![op], clock).unwrap();
    let (origin, input) = world.input(1, frame.clone());
    world.commit(vec![input]);
    assert_eq!(world.error(origin), "BalanceExceeded");
    let op = world.pay_op(0, 1, 5, 5);
    let origin = world.send(0, vec![op]);
    assert_eq!(world.voucher_reply(origin).bounced.len(), 1);

    let amount = Amount(20);
    world.block(vec![ChainFact::Reserved { channel, amount }]);
    let (origin, input) = world.input(1, frame);
    world.commit(vec![input]);
    assert!(world.answer(origin).is_ok(), "the same bytes pass");
}

/// Found by the world: it could not return what the client paid, and stopped.
#[test]
fn a10_a_voucher_paid_out_of_a_deposit_that_is_not_known_yet_waits_for_it() {
    let mut world = World::new(1, DEPOSIT);
    world.add(Client::new(8, TOKEN), 0);
    let backup = tables(&mut world);
    let deposits = world.fund_facts(1, 100, 500);
    world.block(deposits.clone());
    let op = world.pay_op(0, 1, 200, 5);
    world.send(0, vec![op]);
    world.restore(&backup, &[]);
    let origin = world.online(1);
    assert_eq!(world.error(origin), "BalanceExceeded");
    assert_eq!(world.ledger.unsynced(), 2, "still in doubt");
    world.block(deposits);
    world.resync(1);
    assert_eq!(world.ledger.unsynced(), 1);
    let before = world.clients[1].channel.settlement();
    assert_eq!(before.0.0, 300);
    let op = world.pay_op(1, 0, 250, 5);
    let origin = world.send(1, vec![op]);
    assert_eq!(world.voucher_reply(origin).bounced.len(), 1);
    assert_eq!(
        world.clients[1].channel.settlement(),
        before,
        "it comes back whole"
    );
}

/// The hub forgot vouchers that it had accepted, and the client has withdrawn since what only the newest of them acknowledges.
/// The first one is refused for good, and nothing depends on it: whoever withdraws has every operation acknowledged, so what
/// is left to send again before the newest are acknowledgements, and R1 lets the newest jump over these.
#[test]
fn a10_an_acknowledgement_that_covers_no_later_withdrawal_is_refused_and_the_next_one_takes_its_place() {
    let mut world = World::new(2, DEPOSIT);
    let one = vec![world.pay_op(0, 1, 100, 5)];
    world.send(0, one);
    let clock = world.clock();
    let first = world.clients[1].frame(Vec::new(), clock).unwrap();
    let another = vec![world.pay_op(0, 1, 40_000, 500)];
    world.send(0, another);
    let backup = tables(&mut world);
    let newest = world.clients[1].frame(Vec::new(), clock).unwrap();
    for frame in [&first, &newest] {
        let (origin, input) = world.input(1, frame.clone());
        world.commit(vec![input]);
        assert!(world.answer(origin).is_ok());
    }
    world.restore(&backup, &[]);
    world.block(vec![ChainFact::Withdrawn {
        channel: world.id(1),
        side: Side::Client,
        total: Amount(DEPOSIT + 40_100),
    }]);
    let back = world.online(1);
    assert!(world.answer(back).is_ok());
    // More than there is, however often it comes.
    for _ in 0..2 {
        let (origin, input) = world.input(1, first.clone());
        world.commit(vec![input]);
        assert_eq!(world.error(origin), "BalanceExceeded");
    }
    let (origin, input) = world.input(1, newest);
    world.commit(vec![input]);
    assert!(world.answer(origin).is_ok(), "{:?}", world.answer(origin));
}

#[test]
fn a10_what_may_be_old_is_no_reason_to_dispute_but_an_answer_to_one() {
    let mut world = lost_a_payment();
    let channel = world.id(0);
    world.commit(vec![Input::DisputeSeen {
        channel,
        dispute_no: Seq(1),
    }]);
    let defences = world.ledger.disputed();
    let shown = defences[0].received.voucher.as_ref().unwrap();
    assert_eq!(shown.voucher.seq, Seq(1), "the best there is");
    assert!(world.ledger.overdue(world.now).is_empty());
    // It shows better vouchers while the dispute goes on: then those are shown.
    world.resync(0);
    let defences = world.ledger.disputed();
    let shown = defences[0].received.voucher.as_ref().unwrap();
    assert_eq!(shown.voucher.seq, Seq(2));
}

/// Why a payment of 7 came back.
fn bounced(world: &mut World, from: usize, to: usize) -> Option<ReturnReason> {
    let op = world.pay_op(from, to, 7, 5);
    let origin = world.send(from, vec![op]);
    let bounce = world.voucher_reply(origin).bounced.first();
    bounce.map(|bounce| bounce.reason)
}

/// What a quote for a payment of 7 says.
fn would_bounce(world: &mut World, from: usize, to: usize) -> Option<ReturnReason> {
    let origin = world.fresh_origin(from);
    let call = QuoteCall {
        channel_id: world.id(from),
        payee: Payee::Channel(world.id(to)),
        amount: Amount(7),
    };
    world.commit(vec![Input::Quote(origin, call)]);
    match world.answer(origin) {
        Ok(Reply::Quote(quote)) => quote.would_bounce,
        other => panic!("{other:?}"),
    }
}

/// Why there is no quote of capacity.
fn no_capacity(world: &mut World, client: usize) -> String {
    let origin = world.fresh_origin(client);
    let call = CapacityCall {
        channel_id: world.id(client),
        amount: Amount(7),
    };
    world.commit(vec![Input::Capacity(origin, call)]);
    let error = world.answer(origin).as_ref().unwrap_err();
    assert_eq!(error.data.name, "NoCapacity");
    error.message.clone()
}

/// Clients 0 and 1 show what they hold, the loss in channel 2 is accepted; channel 3 never was in doubt. What was stored
/// before that one.
fn all_released(world: &mut World) -> Tables {
    world.resync(0);
    world.resync(1);
    world.commit(vec![Input::AcceptLoss(vec![world.id(2)])]);
    world.online(2);
    let saved = tables(world);
    world.now = world.now.after(1);
    world.add(Client::new(8, TOKEN), DEPOSIT);
    saved
}

/// The forgotten close of a client could be mined after it has paid everything away.
#[test]
fn a10_until_what_was_forgotten_has_lapsed_a_client_is_paid_and_pays_nothing() {
    let mut world = lost_a_payment();
    let restored_at = world.now;
    let saved = all_released(&mut world);
    let held = Some(ReturnReason::Unavailable);
    assert_eq!(would_bounce(&mut world, 0, 1), held, "a quote says it before");
    assert_eq!(would_bounce(&mut world, 3, 0), None);
    assert!(no_capacity(&mut world, 0).contains("restored"));
    for from in [0, 2] {
        let before = world.clients[from].channel.settlement();
        assert_eq!(bounced(&mut world, from, 1), held, "client {from}");
        assert_eq!(
            world.clients[from].channel.settlement(),
            before,
            "it comes back whole"
        );
    }
    assert_eq!(
        bounced(&mut world, 3, 0),
        None,
        "it is paid by who never was in doubt"
    );
    // The border.
    world.now = restored_at.after(DEADLINE_AHEAD_MAX_S + LAG_DEFAULT_S);
    world.block(vec![]);
    assert_eq!(bounced(&mut world, 0, 1), held);
    world.now = world.now.after(1);
    world.block(vec![]);
    assert_eq!(would_bounce(&mut world, 0, 1), None);
    assert!(!no_capacity(&mut world, 0).contains("restored"));
    for from in [0, 2] {
        assert_eq!(bounced(&mut world, from, 1), None, "client {from}");
    }
    world.check_replay_on(saved.restore());
}

/// It may hold back a voucher of the hub that ends its locks, or marks their ids: model, rule `A10Locks`.
#[test]
fn a10_no_lock_is_forwarded_from_or_to_a_channel_that_was_in_doubt() {
    let mut world = lost_a_payment();
    let saved = all_released(&mut world);
    world.add(Client::new(9, TOKEN), DEPOSIT);
    lapse(&mut world);
    let locked = |world: &mut World, from: usize, to: usize| {
        let op = world.lock_op(from, to, 1_000, 4 * 3600, Preimage([5; 32]));
        let origin = world.send(from, vec![op]);
        let reply = world.voucher_reply(origin);
        reply.bounced.first().map(|bounce| bounce.reason)
    };
    let ended = Some(ReturnReason::LocksEnded);
    for (from, to) in [(0, 1), (0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)] {
        assert_eq!(locked(&mut world, from, to), ended, "from {from} to {to}");
        assert_eq!(bounced(&mut world, from, to), None, "a direct payment arrives");
    }
    assert_eq!(locked(&mut world, 3, 4), None);
    world.check_replay_on(saved.restore());
}

#[test]
fn a10_a_channel_that_was_paid_out_is_in_doubt_no_more() {
    let mut world = lost_a_payment();
    let saved = tables(&mut world);
    let channel = world.id(0);
    world.block(vec![ChainFact::Closed { channel }]);
    assert_eq!(world.ledger.unsynced(), 2);
    assert!(world.ledger.doubts().all(|doubt| doubt.channel != channel));
    world.check_replay_on(saved.restore());
}
