//! A10 with locks at random: locks, witnesses, consents and conversions, of which the last are lost.

use super::{
    rollback::{agree, tables},
    rollback_locks::{DEPOSIT, LIFE_S, expire, worth},
    world::World,
};
use protocol_spec::{Op, Preimage};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Honest clients who are told at once: whatever was lost, the hub loses nothing, and they get what they are owed.
/// `LOCK_RESTORER_SEEDS=1000` runs more.
#[test]
fn a10_whatever_was_lost_of_locked_payments_costs_nobody_a_unit() {
    let seeds: u64 = std::env::var("LOCK_RESTORER_SEEDS").map_or(40, |text| text.parse().unwrap());
    let (mut orphans, mut collected) = (0, 0);
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(4, DEPOSIT);
        let mut secrets = Vec::new();
        traffic(&mut world, &mut random, &mut secrets, 12);
        let backup = tables(&mut world);
        traffic(&mut world, &mut random, &mut secrets, 12);
        let new = world.restore(&backup, &[]);
        // A consent that the hub has forgotten is worth nothing before the expiry.
        world
            .clients
            .iter_mut()
            .for_each(|client| client.given_up.clear());
        let mut order = [0, 1, 2, 3];
        for place in 0..4 {
            order.swap(place, random.random_range(place..4));
        }
        for client in order {
            world.resync(client);
            // What it acknowledged last is not sent again: R1 lets this one jump over it, but none with locks.
            let op = world.pay_op(client, (client + 1) % 4, 7, 5);
            say(&mut world, client, vec![op]);
            tell(&mut world, &mut random, &secrets, client);
        }
        let rows: usize = world
            .ledger
            .entries
            .iter()
            .map(|entry| entry.stored.forwards.len())
            .sum();
        let locks = world
            .ledger
            .entries
            .iter()
            .map(|entry| entry.channel.received().locks.len());
        orphans += locks.sum::<usize>() - rows;
        for client in order {
            world.online(client);
            let ops = world.clients[client].fold();
            collected += ops.len();
            say(&mut world, client, ops);
            tell(&mut world, &mut random, &secrets, client);
        }
        world.check_replay_on(new.restore());
        settle(&mut world);
        agree(&world);
        assert!(worth(&world) >= 4 * DEPOSIT, "seed {seed}: {}", worth(&world));
        let empty = world.ledger.locked.is_empty() && world.ledger.payers.is_empty();
        assert!(empty && world.ledger.forwarded == 0, "seed {seed}");
        world.check_replay_on(new.restore());
    }
    assert!(
        orphans > 0 && collected > 0,
        "{orphans}, {collected}: the test tests nothing"
    );
}

/// If there is anything to say.
fn say(world: &mut World, client: usize, ops: Vec<Op>) {
    if !ops.is_empty() || world.clients[client].channel.must_ack() {
        let origin = world.send(client, ops);
        assert!(world.answer(origin).is_ok(), "{:?}", world.answer(origin));
    }
}

/// Locks, and what becomes of them.
fn traffic(world: &mut World, random: &mut StdRng, secrets: &mut Vec<Preimage>, steps: usize) {
    for _ in 0..steps {
        let client = random.random_range(0..4);
        match random.random_range(0..4) {
            0 | 1 => {
                let secret = Preimage(random.random());
                secrets.push(secret);
                let payee = (client + random.random_range(1..4)) % 4;
                let op = world.lock_op(client, payee, 1_000, LIFE_S, secret);
                say(world, client, vec![op]);
            }
            2 => tell(world, random, secrets, client),
            _ => {
                let ops = world.clients[client].fold();
                say(world, client, ops);
            }
        }
    }
}

/// A client tells what opens some of the hub's locks, and gives up others.
fn tell(world: &mut World, random: &mut StdRng, secrets: &[Preimage], client: usize) {
    let locks: Vec<_> = world.clients[client]
        .channel
        .received()
        .locks
        .iter()
        .cloned()
        .collect();
    for lock in locks {
        let opens = |secret: &&Preimage| protocol_spec::Condition::preimage(secret).hash == lock.hash;
        match (random.random_range(0..4), secrets.iter().find(opens)) {
            (0, _) => _ = world.give_up(client, lock.id),
            (1 | 2, Some(secret)) => _ = world.reveal(client, lock.id, *secret),
            _ => {}
        }
    }
}

/// All that was told is folded; then everything that is left expires and is dropped.
fn settle(world: &mut World) {
    for round in 0..2 {
        for client in 0..4 {
            let mut ops = world.clients[client].fold();
            let clock = world.clock();
            let channel = &world.clients[client].channel;
            let folded = |id: &u64| {
                ops.iter().any(|op| matches!(op, Op::LockConvert { id: other, .. } | Op::LockDrop { id: other } if other == id))
            };
            let old: Vec<u64> = channel.expired_locks(clock).filter(|id| !folded(id)).collect();
            ops.extend(old.into_iter().map(|id| Op::LockDrop { id }));
            say(world, client, ops);
        }
        if round == 0 {
            expire(world);
        }
    }
}
