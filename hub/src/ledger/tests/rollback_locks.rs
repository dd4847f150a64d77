//! A10 with locks: what was locked, paid and given up in the part that is lost.

use super::{
    rollback::{agree, everybody_back, tables},
    state::Tables,
    world::{FEE_MAX, World},
};
use crate::ledger::ChainFact;
use protocol_spec::{
    Amount, Op, Preimage, ReturnReason, Side,
    limits::{DELTA_DEFAULT_S, LAG_DEFAULT_S},
    message::Reply,
};

pub(super) const DEPOSIT: u128 = 100_000;
const SECRET: Preimage = Preimage([5; 32]);
pub(super) const LIFE_S: u64 = 4 * 3600;
/// The hub's fee for 1,000: flat 1 and 1 %.
const FEE: u128 = 11;

/// A lock of 1,000 from client 0 to client 1; the hub's lock in the payee's channel.
fn locked(world: &mut World) -> u64 {
    let op = world.lock_op(0, 1, 1_000, LIFE_S, SECRET);
    let origin = world.send(0, vec![op]);
    assert!(world.voucher_reply(origin).bounced.is_empty());
    world.clients[1].locks.last().unwrap().0.id
}

fn fold(world: &mut World, client: usize) {
    let ops = world.clients[client].fold();
    assert!(!ops.is_empty(), "nothing was told to client {client}");
    let origin = world.send(client, ops);
    assert!(world.answer(origin).is_ok(), "{:?}", world.answer(origin));
}

/// The hub's share of all channels.
pub(super) fn worth(world: &World) -> u128 {
    let entries = world.ledger.entries.iter();
    entries.map(|entry| entry.channel.settlement().1.0).sum()
}

/// The hub never gave up the payer's lock.
fn kept(world: &World) -> bool {
    world.clients[0].given_up.is_empty() && world.ledger.entries[0].channel.consents_given().count() == 0
}

fn knows(world: &World) -> bool {
    world.ledger.entries[0].channel.known_witnesses().count() == 1
}

/// Time goes on until the payer's lock has expired for everybody.
pub(super) fn expire(world: &mut World) {
    for life_s in [LIFE_S - DELTA_DEFAULT_S, DELTA_DEFAULT_S] {
        world.now = world.now.after(life_s + LAG_DEFAULT_S);
        world.block(vec![]);
    }
}

/// The lock and what follows are in the lost part, and both clients in doubt; what the hub has then, and its lock's id.
fn lost(then: impl FnOnce(&mut World, u64)) -> (World, Tables, u64) {
    let mut world = World::new(2, DEPOSIT);
    let backup = tables(&mut world);
    let id = locked(&mut world);
    then(&mut world, id);
    let new = world.restore(&backup, &[]);
    (world, new, id)
}

/// The lock was forwarded before; what follows is lost.
fn forwarded(then: impl FnOnce(&mut World, u64)) -> (World, Tables, u64) {
    let mut world = World::new(2, DEPOSIT);
    let id = locked(&mut world);
    let backup = tables(&mut world);
    then(&mut world, id);
    let new = world.restore(&backup, &[]);
    (world, new, id)
}

/// The payee tells, and is paid.
fn paid(world: &mut World, id: u64) {
    world.reveal(1, id, SECRET);
}

#[test]
fn a10_a_lock_that_was_forgotten_goes_through_in_whatever_order_its_channels_come_back() {
    for order in [[0, 1], [1, 0]] {
        let (mut world, new, id) = lost(|_, _| {});
        let before = 2 * DEPOSIT;
        for client in order {
            world.resync(client);
            if client == 1 {
                // Perhaps before the hub knows of the payer's.
                let origin = world.reveal(1, id, SECRET);
                assert!(world.answer(origin).is_ok());
            }
        }
        assert_eq!(world.clients[1].converted, [id], "{order:?}");
        assert!(kept(&world) && knows(&world), "{order:?}");
        assert_eq!(world.ledger.payers.len(), 1, "R21: its expiry is watched");
        if order == [0, 1] {
            fold(&mut world, 0);
        } else {
            // It was offline when the hub learnt it: told again after a resume.
            world.online(0);
            fold(&mut world, 0);
        }
        agree(&world);
        // What the payer granted is not given back: the hub has forgotten what it forwarded.
        assert_eq!(worth(&world), before + FEE_MAX);
        assert!(world.ledger.payers.is_empty() && world.ledger.locked.is_empty());
        world.check_replay_on(new.restore());
    }
}

#[test]
fn a10_a_forgotten_lock_that_the_payee_gives_up_ends_by_the_payers_expiry() {
    let (mut world, new, id) = lost(|_, _| {});
    everybody_back(&mut world);
    world.give_up(1, id);
    world.send(1, vec![]);
    assert!(world.ledger.entries[1].channel.sent().locks.is_empty());
    assert!(kept(&world), "the hub does not know what rests on it");
    expire(&mut world);
    assert!(kept(&world));
    let origin = world.send(0, vec![Op::LockDrop { id: 1 }]);
    assert!(world.answer(origin).is_ok(), "R5: it is over");
    agree(&world);
    assert_eq!(worth(&world), 2 * DEPOSIT);
    assert!(world.ledger.payers.is_empty() && world.ledger.locked.is_empty());
    world.check_replay_on(new.restore());
}

#[test]
fn a10_a_forgotten_lock_of_the_hub_is_dropped_when_its_time_is_over() {
    let (mut world, new, _) = lost(|_, _| {});
    everybody_back(&mut world);
    assert_eq!(world.ledger.locked.len(), 1);
    expire(&mut world);
    assert!(world.ledger.entries[1].channel.sent().locks.is_empty() && world.ledger.locked.is_empty());
    assert!(kept(&world));
    world.check_replay_on(new.restore());
}

/// The payee was paid in the lost part; who comes back first does not matter.
#[test]
fn a10_a_payers_lock_is_kept_when_the_forwarded_one_was_paid_in_the_lost_part() {
    for order in [[0, 1], [1, 0]] {
        let (mut world, new, id) = forwarded(paid);
        for client in order {
            world.resync(client);
        }
        assert_eq!(world.ledger.entries[1].channel.sent().paid, Amount(1_000));
        // It acknowledges the end of the hub's lock: dead by R10, as if it had been given up.
        world.send(1, vec![]);
        assert!(!world.ledger.entries[1].channel.is_live(id));
        assert!(kept(&world), "{order:?}");
        expire(&mut world);
        assert!(kept(&world), "{order:?}");
        world.check_replay_on(new.restore());
        // The payer was told in the lost part.
        fold(&mut world, 0);
        agree(&world);
        assert_eq!(worth(&world), 2 * DEPOSIT + FEE);
        assert_eq!(world.ledger.forwarded, 0);
        assert!(world.ledger.payers.is_empty() && world.ledger.locked.is_empty());
        world.check_replay_on(new.restore());
    }
}

#[test]
fn a10_a_witness_that_comes_up_later_is_used_on_the_lock_that_was_kept() {
    let (mut world, new, id) = forwarded(paid);
    everybody_back(&mut world);
    world.send(1, vec![]);
    assert!(!knows(&world));
    let wrong = world.reveal(1, id, Preimage([6; 32]));
    assert_eq!(world.error(wrong), "LockUnknown");
    assert!(!knows(&world));
    let again = world.reveal(1, id, SECRET);
    assert_eq!(world.error(again), "LockUnknown", "it was paid");
    assert!(knows(&world), "R23");
    // R21: the payer does not convert.
    let expiry = world.clients[0]
        .channel
        .sent()
        .locks
        .iter()
        .next()
        .unwrap()
        .expiry;
    let almost = protocol_spec::UnixSeconds(expiry.0 - 1);
    assert_eq!(world.ledger.overdue(almost).len(), 1);
    world.check_replay_on(new.restore());
}

#[test]
fn a10_a_lock_that_was_given_up_after_the_restore_ends_by_the_payers_expiry() {
    let (mut world, new, id) = forwarded(|_, _| {});
    everybody_back(&mut world);
    world.give_up(1, id);
    world.send(1, vec![]);
    assert!(
        kept(&world),
        "a voucher that the payee holds back may have paid it"
    );
    assert_eq!(world.ledger.entries[1].stored.resting.len(), 1);
    expire(&mut world);
    world.send(0, vec![Op::LockDrop { id: 1 }]);
    agree(&world);
    assert_eq!((worth(&world), world.ledger.forwarded), (2 * DEPOSIT, 0));
    assert!(world.ledger.locked.is_empty() && world.ledger.payers.is_empty());
    world.check_replay_on(new.restore());
}

#[test]
fn a10_what_both_folded_in_the_lost_part_leaves_no_row() {
    let (mut world, new, _) = forwarded(|world, id| {
        world.reveal(1, id, SECRET);
        fold(world, 0);
    });
    world.resync(0);
    assert_eq!((world.ledger.forwarded, world.ledger.payers.len()), (0, 0));
    world.resync(1);
    world.send(1, vec![]);
    assert!(world.ledger.entries[1].stored.resting.is_empty() && world.ledger.locked.is_empty());
    agree(&world);
    assert_eq!(worth(&world), 2 * DEPOSIT + FEE);
    world.check_replay_on(new.restore());
}

/// While the payee's channel is in doubt its lock, of which nothing is known, is resolved on chain.
#[test]
fn a10_a_witness_that_the_chain_shows_of_an_unknown_lock_is_used_on_the_payers() {
    for order in [[0, 1], [1, 0]] {
        let (mut world, new, id) = lost(|_, _| {});
        world.block(vec![ChainFact::Resolved {
            channel: world.id(1),
            payer: Side::Hub,
            lock_id: id,
            witness: SECRET.0.to_vec(),
        }]);
        for client in order {
            world.resync(client);
        }
        assert!(knows(&world), "{order:?}");
        assert_eq!(world.clients[1].converted, [id], "R9: a marked lock is converted");
        world.online(0);
        fold(&mut world, 0);
        agree(&world);
        world.check_replay_on(new.restore());
    }
}

#[test]
fn a10_a_payees_channel_that_is_paid_out_in_doubt_gives_up_no_payers_lock() {
    let (mut world, new, _) = forwarded(paid);
    world.resync(0);
    let channel = world.id(1);
    world.block(vec![ChainFact::Closed { channel }]);
    assert!(kept(&world));
    fold(&mut world, 0);
    assert!(world.ledger.entries[1].stored.resting.is_empty());
    assert_eq!(world.ledger.forwarded, 0);
    world.check_replay_on(new.restore());
}

#[test]
fn a10_a_list_that_is_missing_leaves_the_channel_in_doubt() {
    let (mut world, new, _) = lost(|_, _| {});
    for (client, needed) in [(1, "received"), (0, "sent")] {
        let (origin, _) = world.resume_input(client);
        let mut call = world.clients[client].resync_call();
        match needed {
            "sent" => call.sent_locks = None,
            _ => call.received_locks = None,
        }
        let input = world.verified_resume(client, origin, call);
        world.commit(vec![input]);
        assert_eq!(world.error(origin), "LocksNotShown", "{needed}");
    }
    assert_eq!(world.ledger.unsynced(), 2);
    everybody_back(&mut world);
    assert_eq!(world.ledger.unsynced(), 0);
    agree(&world);
    world.check_replay_on(new.restore());
}

/// The hub accepted it and forwarded it, and its answer did not arrive: the payer sends it again.
#[test]
fn a10_a_lock_that_is_sent_again_is_neither_given_up_nor_forwarded_twice() {
    for is_paid in [false, true] {
        let mut world = World::new(2, DEPOSIT);
        let backup = tables(&mut world);
        // It hears no more of the hub.
        let before = world.sessions[0].replace(u64::MAX);
        let op = world.lock_op(0, 1, 1_000, LIFE_S, SECRET);
        let clock = world.clock();
        let frame = world.clients[0].frame(vec![op], clock).unwrap();
        world.sessions[0] = before;
        let (_, input) = world.input(0, frame.clone());
        world.sessions[0] = Some(u64::MAX);
        world.commit(vec![input]);
        let id = world.clients[1].locks[0].0.id;
        if is_paid {
            paid(&mut world, id);
        }
        world.clients[0].unaccepted = vec![frame];
        let new = world.restore(&backup, &[]);
        everybody_back(&mut world);
        assert!(kept(&world), "paid: {is_paid}");
        assert_eq!(world.clients[1].locks.len(), 1);
        assert_eq!((world.ledger.forwarded, world.ledger.payers.len()), (0, 1));
        world.reveal(1, id, SECRET);
        // One that was paid is not in the payee's channel any more, and the hub has forgotten what opened it.
        assert_eq!(knows(&world), !is_paid);
        if is_paid {
            expire(&mut world);
            assert!(kept(&world));
        } else {
            fold(&mut world, 0);
            agree(&world);
        }
        world.check_replay_on(new.restore());
    }
}

/// No lock of the lost part lasts as long.
#[test]
fn a10_a_lock_that_is_new_is_given_up_at_once() {
    for (more_s, ended) in [(0, None), (1, Some(ReturnReason::LocksEnded))] {
        let (mut world, new, _) = lost(|_, _| {});
        let until = world.now.after(world.ledger.policy.locks.life_max_s);
        world.now = world.now.after(60);
        world.block(vec![]);
        everybody_back(&mut world);
        let life_s = until.0 + more_s - world.clock().chain.0;
        let op = world.lock_op(0, 1, 1_000, life_s, Preimage([6; 32]));
        let origin = world.send(0, vec![op]);
        let bounced = world.voucher_reply(origin).bounced.first();
        assert_eq!(bounced.map(|bounce| bounce.reason), ended);
        assert_eq!(world.clients[0].given_up.len(), usize::from(ended.is_some()));
        assert_eq!(world.clients[1].locks.len(), 1, "it is not forwarded");
        let told = [0, 1].map(|client| world.ledger.entries[client].info().locks_ended);
        assert_eq!(told, [true; 2], "clients are told beforehand");
        world.check_replay_on(new.restore());
    }
}

/// A11: what a client that has forgotten a voucher of its own needs to adopt both, and nobody else.
#[test]
fn a11_a_client_that_forgot_is_shown_the_locks_of_both_sides() {
    let mut world = World::new(2, DEPOSIT);
    locked(&mut world);
    let back = world.lock_op(1, 0, 1_000, LIFE_S, Preimage([6; 32]));
    world.send(1, vec![back]);
    let both = |world: &World| {
        let channel = &world.clients[0].channel;
        let list = |half: &protocol_spec::channel::Half| Some(half.locks.iter().cloned().collect::<Vec<_>>());
        (list(channel.sent()), list(channel.received()))
    };
    let shown = both(&world);
    for (forgot, expected) in [(true, shown), (false, (None, None))] {
        let (origin, _) = world.resume_input(0);
        let mut call = world.clients[0].resume_call();
        if forgot {
            call.sent = None;
        }
        let input = world.verified_resume(0, origin, call);
        world.commit(vec![input]);
        let Ok(Reply::Resume(reply)) = world.answer(origin) else {
            panic!("{:?}", world.answer(origin));
        };
        assert_eq!((reply.received_locks.clone(), reply.sent_locks.clone()), expected);
    }
}
