//! One channel as bytes and back.

use super::{client::domain, world::World};
use crate::ledger::cold::Cold;
use protocol_spec::UnixSeconds;

#[test]
fn a_channel_at_rest_takes_little_and_comes_back_as_it_was() {
    let mut world = World::new(2, 10_000);
    let fresh = Cold::of(&world.ledger.entries[0]).bytes();
    for _ in 0..5 {
        let ops = vec![world.pay_op(0, 1, 10, 5)];
        world.send(0, ops);
        world.send(1, Vec::new());
    }
    // Some rows of its logs are in the store, some items not yet.
    let _ = world.ledger.checkpoint();
    let ops = vec![world.pay_op(0, 1, 10, 5), world.pay_op(0, 1, 20, 5)];
    world.send(0, ops);
    world.ledger.entries[0].asks_from = UnixSeconds(77);
    let mut used = Vec::new();
    for entry in world.ledger.entries.iter() {
        let cold = Cold::of(entry);
        let again = cold.warm().unwrap();
        assert_eq!(again.channel, entry.channel);
        assert_eq!(again.channel.config().id(&domain()), entry.channel.id());
        // With the ends of the logs, their items, and what of them is in which row.
        assert_eq!(format!("{:?}", again.stored), format!("{:?}", entry.stored));
        assert_eq!(again.asks_from, entry.asks_from);
        assert_eq!(cold.received(), entry.channel.received().paid);
        assert_eq!(cold.held(), entry.held());
        used.push(cold.bytes());
    }
    println!(
        "fresh: {fresh} bytes, after some payments: payer {}, payee {}",
        used[0], used[1]
    );
    assert!(
        fresh < 400 && used.iter().all(|bytes| *bytes < 2_000),
        "{fresh} {used:?}"
    );
    let cut = Cold::of(&world.ledger.entries[1]).cut();
    assert!(cut.warm().is_err(), "a part is not taken for the whole");
}
