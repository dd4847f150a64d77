//! Looking after transactions when endpoints misbehave.

use super::{Fault, World, coin};
use hub_chain::Chain as _;

/// An endpoint says it has taken a transaction and throws it away, while the others are down.
#[tokio::test]
async fn a_swallowed_transaction_is_handed_to_the_others() {
    let world = World::new().await;
    world.doors[0].set(Fault::SwallowsSends);
    for door in 1..3 {
        world.doors[door].set(Fault::NoSends);
    }
    let sent = world.chain.send(coin()).await.unwrap();
    assert_eq!(world.direct.receipt(sent.hash).await.unwrap(), None);
    for door in 1..3 {
        world.doors[door].set(Fault::None);
    }
    tokio::time::sleep(super::REST).await;
    for door in 1..3 {
        world.heals(door).await;
    }
    assert_eq!(world.chain.tend().await.unwrap().handed_over, 1);
    assert!(world.direct.receipt(sent.hash).await.unwrap().is_some());
    assert_eq!(world.chain.tend().await.unwrap().mined, 1);
}

/// A liar about nonces neither makes us believe that ours was used, nor puts us behind a gap.
#[tokio::test]
async fn one_endpoints_nonces_are_not_believed() {
    let world = World::new().await;
    world.doors[2].set(Fault::WrongNonce);
    let sent = world.chain.send(coin()).await.unwrap();
    assert_eq!(sent.nonce, 1);
    for _ in 0..5 {
        let told = world.chain.tend().await.unwrap();
        assert_eq!((told.sent_again, told.given_up, told.gaps_filled), (0, 0, 0));
        world.direct.mine(1).await.unwrap();
    }
    assert!(world.chain.wait(sent.hash, 1).await.unwrap().success);
}
