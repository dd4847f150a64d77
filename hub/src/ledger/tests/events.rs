//! Receipts: each once per cursor position, live and backfilled.

use super::{
    state::{Tables, state},
    world::{World, policy},
};
use crate::{
    engine::SessionId,
    ledger::{Input, Origin, Output},
};
use protocol_spec::{
    ChannelId,
    message::{Cursor, SubscribeCall},
};

fn subscribe(world: &mut World, client: usize, after: Option<(u64, u64)>) -> Origin {
    let origin = world.fresh_origin(client);
    let call = SubscribeCall {
        channel_id: world.id(client),
        after: after.map(|(epoch, position)| Cursor { epoch, position }),
    };
    world.commit(vec![Input::Subscribe(origin, call)]);
    while world.ledger.is_lagging() {
        world.commit(vec![]);
    }
    origin
}

fn pay(world: &mut World, count: usize) {
    let ops = (0..count).map(|_| world.pay_op(0, 1, 10, 2)).collect();
    world.send(0, ops);
    while world.ledger.is_lagging() {
        world.commit(vec![]);
    }
}

fn positions(world: &World, origin: Origin) -> Vec<u64> {
    let rows = world.events.get(&origin.session.0).into_iter().flatten();
    rows.map(|(position, _)| *position).collect()
}

#[test]
fn backfill_then_live_shows_each_event_exactly_once() {
    let mut world = World::new(2, 1_000_000);
    for _ in 0..4 {
        pay(&mut world, 200);
    }
    let origin = subscribe(&mut world, 1, None);
    pay(&mut world, 5);
    assert_eq!(positions(&world, origin), (1..=805).collect::<Vec<_>>());
    // From a cursor, on a new connection.
    world.online(1);
    let again = subscribe(&mut world, 1, Some((1, 803)));
    assert_eq!(positions(&world, again), [804, 805]);
    pay(&mut world, 1);
    assert_eq!(positions(&world, again), [804, 805, 806]);
    // At the newest: nothing until something happens.
    world.online(1);
    let newest = subscribe(&mut world, 1, Some((1, 806)));
    assert!(positions(&world, newest).is_empty());
    pay(&mut world, 2);
    assert_eq!(positions(&world, newest), [807, 808]);
}

#[test]
fn cursors_of_another_epoch_ahead_of_the_log_or_too_old_are_refused() {
    let mut terms = policy();
    terms.events_per_channel_max = 10;
    let mut world = World::with(terms, 2, 1_000_000);
    for _ in 0..3 {
        world.now = world.now.after(61);
        pay(&mut world, 8);
    }
    let refused = |world: &mut World, after| {
        let origin = subscribe(world, 1, Some(after));
        world.error(origin)
    };
    assert_eq!(refused(&mut world, (2, 5)), "CursorAhead");
    assert_eq!(refused(&mut world, (1, 25)), "CursorAhead");
    assert_eq!(refused(&mut world, (1, 13)), "CursorTooOld");
    let origin = subscribe(&mut world, 1, Some((1, 13)));
    let error = world.answer(origin).as_ref().unwrap_err();
    assert_eq!(
        error.data.expected.as_deref(),
        Some("1:14"),
        "the earliest cursor that works"
    );
    let origin = subscribe(&mut world, 1, Some((1, 14)));
    assert_eq!(positions(&world, origin), (15..=24).collect::<Vec<_>>());
    let unknown = SubscribeCall {
        channel_id: ChannelId([5; 32]),
        after: None,
    };
    let origin = world.fresh_origin(1);
    world.commit(vec![Input::Subscribe(origin, unknown)]);
    assert_eq!(world.error(origin), "UnknownChannel");
}

/// Full blocks of 64 lie behind the newest receipts; of the first one some are gone. Pays as well for the ids of the payer.
#[test]
fn whoever_begins_anywhere_in_the_blocks_is_shown_the_rest_also_after_a_restart() {
    let mut terms = policy();
    terms.events_per_channel_max = 200;
    let mut world = World::with(terms, 2, 10_000_000);
    let mut tables = Tables::default();
    for count in [190, 70, 73] {
        world.now = world.now.after(61);
        pay(&mut world, count);
        // Rows of the store that end within blocks.
        tables.write(world.ledger.checkpoint());
    }
    let restored = tables.restore();
    assert_eq!(state(&restored), state(&world.ledger));
    for ledger in [&world.ledger, &restored] {
        let events = &ledger.entries[1].stored.events;
        assert_eq!(
            (events.from(), events.len()),
            (134, 200),
            "within the third block"
        );
        let ids = &ledger.entries[0].stored.payments;
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|known| ledger.knows_payment(0, known.id)));
    }
    for after in [133, 134, 190, 191, 192, 193, 255, 256, 257, 319, 320, 332, 333] {
        world.online(1);
        let origin = subscribe(&mut world, 1, Some((1, after)));
        let shown = positions(&world, origin);
        assert_eq!(shown, (after + 1..=333).collect::<Vec<_>>(), "after {after}");
        world.offline(1);
    }
    world.ledger = restored;
    world.online(0);
    for (after, newest) in [(133, 334), (257, 335)] {
        world.online(1);
        let origin = subscribe(&mut world, 1, Some((1, after)));
        pay(&mut world, 1);
        let shown = positions(&world, origin);
        assert_eq!(shown, (after + 1..=newest).collect::<Vec<_>>(), "and the new one");
        world.offline(1);
    }
}

#[test]
fn events_older_than_the_retention_window_go_and_younger_ones_stay() {
    let mut terms = policy();
    terms.retention_s = 100;
    let mut world = World::with(terms, 2, 1_000_000);
    pay(&mut world, 3);
    world.now = world.now.after(100);
    pay(&mut world, 1);
    assert_eq!(
        world.ledger.entries[1].stored.events.from(),
        1,
        "exactly the window is kept"
    );
    world.now = world.now.after(1);
    pay(&mut world, 1);
    assert_eq!(world.ledger.entries[1].stored.events.from(), 4);
    assert_eq!(world.ledger.entries[1].newest_event(), 5);
}

#[test]
fn a_subscriber_that_is_not_ready_keeps_its_place_and_one_that_fell_behind_is_dropped() {
    let mut terms = policy();
    terms.events_per_channel_max = 300;
    let mut world = World::with(terms, 2, 10_000_000);
    let origin = subscribe(&mut world, 1, None);
    let busy = |_: SessionId| false;
    let stuck = |world: &mut World| {
        let op = (0..200).map(|_| world.pay_op(0, 1, 10, 2)).collect();
        let clock = world.clock();
        let frame = world.clients[0].frame(op, clock).unwrap();
        let (_, input) = world.input(0, frame);
        let commit = world.ledger.commit_paced(vec![Box::new(input)], world.now, &busy);
        for output in &commit.outputs {
            if let Output::Drop(session) = output {
                world.dropped.insert(session.0);
            }
        }
        world.records.push(commit.record.unwrap().1);
        world.issued_by_record.push(Vec::new());
        world.now = world.now.after(3600);
    };
    stuck(&mut world);
    assert!(world.ledger.is_lagging());
    world.commit(vec![]);
    assert_eq!(positions(&world, origin), (1..=200).collect::<Vec<_>>());
    stuck(&mut world);
    stuck(&mut world);
    world.commit(vec![]);
    assert!(
        world.dropped.contains(&origin.session.0),
        "201 is gone: it must ask with its cursor"
    );
    assert!(!world.ledger.is_lagging());
}

#[test]
fn receipts_carry_the_time_of_the_record_also_when_a_fact_of_the_chain_cut_the_voucher() {
    let mut world = World::new(2, 1_000_000);
    world.now = world.now.after(500);
    let ops = vec![world.pay_op(0, 1, 10, 2)];
    let clock = world.clock();
    let frame = world.clients[0].frame(ops, clock).unwrap();
    let (_, paying) = world.input(0, frame);
    let facts = world.fund_facts(1, 0, 5);
    let block = world.block_of(facts);
    world.commit(vec![paying, block]);
    assert_eq!(
        world.ledger.entries[1].stored.events.front().unwrap().at,
        world.now
    );
}
