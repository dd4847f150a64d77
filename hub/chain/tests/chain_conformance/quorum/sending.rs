//! One send queue before several endpoints.

use super::{Fault, World, coin};
use crate::{contract::store, node::options};
use alloy::primitives::U256;
use futures::future::join_all;
use hub_chain::{AlloyChain, Chain as _, ChainError, TxRequest};
use std::collections::BTreeSet;

#[tokio::test]
async fn every_endpoint_that_is_up_gets_the_same_bytes() {
    let world = World::new().await;
    world.doors[1].set(Fault::Status(500));
    let sent = world.chain.send(coin()).await.unwrap();
    assert!(world.chain.wait(sent.hash, 0).await.unwrap().success);
    for (door, expected) in [(0, 1), (2, 1)] {
        let asked = world.doors[door].asked();
        assert_eq!(asked.get("eth_sendRawTransaction"), Some(&expected), "{door}");
    }
}

#[tokio::test]
async fn nonces_come_from_one_queue() {
    let world = World::new().await;
    let send = |_| async { world.chain.send(coin()).await.unwrap() };
    let sent = join_all((0..20).map(send)).await;
    let nonces: BTreeSet<u64> = sent.iter().map(|sent| sent.nonce).collect();
    assert_eq!(nonces, (1..21).collect(), "the contract was created with nonce 0");
    for sent in sent {
        assert!(world.chain.wait(sent.hash, 0).await.unwrap().success);
    }
}

#[tokio::test]
async fn sends_work_while_one_endpoint_is_down_lies_or_swallows() {
    let world = World::new().await;
    for fault in [
        Fault::SwallowsSends,
        Fault::NoSends,
        Fault::WrongNonce,
        Fault::Status(429),
        Fault::Hangs,
        Fault::HalfJson,
        Fault::Behind(3),
    ] {
        for door in 0..3 {
            world.doors[door].set(fault);
            let sent = world.chain.send(store(world.contract, 7)).await.unwrap();
            let receipt = world.direct.wait(sent.hash, 0).await.unwrap();
            assert!(receipt.success, "{fault:?} {door}");
            world.heals(door).await;
        }
    }
}

/// The node took it. Handed over again it is refused, because its nonce is used; signed with another nonce it would be
/// executed twice.
#[tokio::test]
async fn what_may_have_arrived_is_not_signed_with_another_nonce() {
    let world = World::new().await;
    let door = &world.doors[0];
    let chain = AlloyChain::connect(&door.url(), options()).await.unwrap();
    let before = world.direct.nonces().await.unwrap();
    door.set(Fault::LosesAnswers);
    let error = chain.send(coin()).await.unwrap_err();
    door.set(Fault::None);
    let after = world.direct.nonces().await.unwrap();
    assert_eq!(
        (after.used, after.next),
        (before.next + 1, before.next + 1),
        "once"
    );
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(chain.send(coin()).await.unwrap().nonce, after.next);
}

#[tokio::test]
async fn a_refusal_of_all_endpoints_is_told_as_it_is() {
    let world = World::new().await;
    let error = world
        .chain
        .send(TxRequest {
            value: U256::from(10).pow(U256::from(25)),
            gas_limit: Some(21_000),
            ..coin()
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::InsufficientFunds(_)), "{error:?}");
    let reverts = TxRequest {
        to: Some(world.contract),
        data: crate::contract::calldata(2, &[1]),
        ..TxRequest::default()
    };
    let error = world.chain.send(reverts).await.unwrap_err();
    assert!(matches!(error, ChainError::Reverted { .. }), "{error:?}");
    // Nothing of that moved the nonce.
    let sent = world.chain.send(coin()).await.unwrap();
    assert_eq!(sent.nonce, 1);
    for door in &world.doors {
        door.set(Fault::Status(500));
    }
    let error = world.chain.send(coin()).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
