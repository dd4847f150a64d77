//! Blocks that take less gas than what would be sent at once: it goes in smaller parts.

use crate::{
    fleet::{Channel, DEPOSIT, Fleet},
    locks::all_known,
    vouchers::{PERIOD_S, STRANGER, key},
    world::World,
};
use protocol_spec::Evidence;

const RESERVE: u128 = 1_000;
const PAID: u128 = 100;
const LOCKS: u64 = 60;
/// Below the gas of sixty locks, above that of thirty.
const GAS: u64 = 2_000_000;

fn received(channel: &Channel, expiry: u64) -> Evidence {
    all_known(&channel.parties, LOCKS, |_| 1, expiry)
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_payouts_go_in_parts_that_a_small_block_takes() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::reserved(world, 3, RESERVE).await;
    let world = &fleet.world;
    let [by_hand, watched, in_batch] = fleet.channels.as_slice() else {
        unreachable!()
    };
    // A watchtower has a package of each.
    let tower = world.subdirectory("tower");
    for (number, channel) in fleet.channels.iter().enumerate() {
        let package = tower.join(format!("{number}.json"));
        let evidence = received(channel, expiry);
        world
            .export_as(
                channel.seed + 50,
                &evidence,
                STRANGER,
                &package,
                &["--rpc-url", &world.url],
            )
            .exits(0);
    }
    // The hub disputes one of them and shows nothing.
    world.empty_dispute(&watched.parties).await;
    world.block_gas_limit(GAS).await;
    world.mine().await;

    // By hand.
    let file = world.named("me.json", &received(by_hand, expiry));
    let planned = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(planned["steps"][0]["simulated"], true, "{planned}");
    world.send_as(by_hand.seed + 50, "dispute", &file, &[]).exits(0);

    // By a watch with the signer's key.
    let dir = world.subdirectory("own");
    world.named("own/me.json", &received(watched, expiry));
    world.watch_once(&dir, watched.seed + 50, &[]).exits(0);

    // By a batch.
    world.subdirectory("exits");
    world.named("exits/me.json", &received(in_batch, expiry));
    let keys = fleet.keys("keys", &[2]);
    let send = ["--keys", keys.as_str(), "--broadcast", "--wait", "--json"];
    fleet.batch("dispute", "exits", &send).exits(0);

    for channel in &fleet.channels {
        let sent = world.nonce(channel.parties.config.client_signer).await;
        assert_eq!(sent, LOCKS.div_ceil(15), "fifteen at a time");
    }

    // The watchtower pays all out, although one call for all does not fit a block.
    world.pass(3 * PERIOD_S).await;
    world.block_gas_limit(320_000).await;
    world.mine().await;
    world.watch_once(&tower, STRANGER, &[]).exits(0);
    assert!(world.nonce(key(STRANGER).address()).await > 1, "in parts");
    for channel in &fleet.channels {
        let got = world.balance(channel.parties.config.client).await;
        assert_eq!(got, DEPOSIT + PAID + u128::from(LOCKS));
    }
}
