//! What a hub that is away too long would lose to an old voucher, by the ledger.

use super::{client::TOKEN, world::World};
use protocol_spec::{Address, Amount, ChannelId};
use std::collections::{BTreeMap, HashMap};

/// Channel and value of those worth at least so much, beyond what was shown.
fn found(world: &World, least: u128, shown: &[(ChannelId, u128)]) -> Vec<(ChannelId, u128)> {
    let above = BTreeMap::from([(TOKEN, Amount(least))]);
    let shown: HashMap<_, _> = shown.iter().map(|(id, paid)| (*id, Amount(*paid))).collect();
    let found = world.ledger.unsettled(&above, &shown).into_iter();
    found.map(|one| (one.channel, one.value.0)).collect()
}

#[test]
fn whose_newest_voucher_is_worth_more_than_the_chain_knows_is_named_at_rest_too() {
    let mut world = World::new(3, 10_000);
    for (from, amount) in [(0, 100), (1, 10)] {
        let op = world.pay_op(from, 2, amount, 5);
        world.send(from, vec![op]);
        world.send(2, Vec::new());
    }
    let [much, little] = [(world.id(0), 105), (world.id(1), 15)];
    for rest in [false, true] {
        if rest {
            (0..3).for_each(|client| world.offline(client));
            let _ = world.ledger.checkpoint();
            world.ledger.entries.cool(100, 100, |_| true);
            assert!(world.ledger.entries.cold().0 >= 2);
        }
        assert_eq!(found(&world, 15, &[]), [much, little], "at rest: {rest}");
        assert_eq!(found(&world, 16, &[]), [much]);
        assert_eq!(found(&world, 105, &[]), [much]);
        assert_eq!(found(&world, 106, &[]), []);
        let shown = (much.0, 60);
        assert_eq!(found(&world, 45, &[shown]), [(much.0, 45)]);
        assert_eq!(found(&world, 46, &[shown]), []);
    }
    let other = BTreeMap::from([(Address::ZERO, Amount(1))]);
    assert_eq!(world.ledger.unsettled(&other, &HashMap::new()), []);
    assert_eq!(world.ledger.unsettled(&BTreeMap::new(), &HashMap::new()), []);
}
