//! Endpoints that lie: about logs, blocks, calls and receipts.

use super::{Fault, World, quorum, topics};
use crate::contract::{self, calldata, store, topic, word};
use alloy::primitives::{B256, U256};
use hub_chain::{CallRequest, Chain as _, ChainError};

async fn liar_is_outvoted(world: World, fault: Fault) {
    for value in 0..3 {
        world.log(value).await;
    }
    let to = world.height().await;
    for liar in 0..3 {
        world.doors[liar].set(fault);
        // Whoever is asked first: the liar never decides.
        for _ in 0..3 {
            assert_eq!(world.words(to).await.unwrap(), topics(0..3), "{fault:?} {liar}");
        }
        let status = world.status(liar);
        assert!(status.outvoted <= 1, "outvoted once, then at rest: {status:?}");
        world.heals(liar).await;
    }
    assert!(world.chain.status().iter().any(|status| status.outvoted > 0));
}

#[tokio::test]
async fn a_hidden_log_is_seen_all_the_same() {
    liar_is_outvoted(World::new().await, Fault::HidesLog).await;
}

#[tokio::test]
async fn a_hidden_log_on_anvil_is_seen_all_the_same() {
    if let Some(world) = World::anvil().await {
        liar_is_outvoted(world, Fault::HidesLog).await;
    }
}

#[tokio::test]
async fn an_invented_log_is_not_believed() {
    liar_is_outvoted(World::new().await, Fault::InventsLog).await;
}

/// A liar and a dead endpoint leave one: not enough to decide. The error names who said what.
async fn no_decision(fault: Fault) -> (World, ChainError) {
    let world = World::new().await;
    world.log(1).await;
    world.log(2).await;
    world.chain.head().await.unwrap();
    world.doors[0].set(fault);
    world.doors[2].set(Fault::Status(500));
    let error = world.words(world.height().await).await.unwrap_err();
    assert!(error.is_retryable());
    (world, error)
}

#[tokio::test]
async fn a_hidden_log_that_is_not_outvoted_is_a_disagreement() {
    let (world, error) = no_decision(Fault::HidesLog).await;
    let ChainError::Disagreement { agree: 2, said, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(said[0].said.starts_with("1 logs"), "{error}");
    assert!(said[1].said.starts_with("2 logs"), "{error}");
    assert!(said[2].said.contains("500"), "{error}");
    assert!(said[1].endpoint.starts_with("rpc 2 (127.0.0.1:"), "{error}");
    assert!(!error.to_string().contains("secret-key"), "{error}");
    world.doors[2].set(Fault::None);
    tokio::time::sleep(super::REST).await;
    assert_eq!(world.words(world.height().await).await.unwrap(), topics([1, 2]));
}

#[tokio::test]
async fn an_invented_log_that_is_not_outvoted_is_a_disagreement() {
    let (world, error) = no_decision(Fault::InventsLog).await;
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
    world.doors[0].set(Fault::None);
    tokio::time::sleep(super::REST).await;
    assert_eq!(world.words(world.height().await).await.unwrap(), topics([1, 2]));
}

#[tokio::test]
async fn two_endpoints_that_must_agree_and_do_not() {
    let world = World::with(2, super::quorum(2)).await;
    world.log(1).await;
    let to = world.height().await;
    world.doors[1].set(Fault::HidesLog);
    let error = world.words(to).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
    world.doors[1].set(Fault::None);
    assert_eq!(world.words(to).await.unwrap(), topics([1]));
}

#[tokio::test]
async fn blocks_with_other_hashes_are_not_believed() {
    let world = World::new().await;
    world.direct.mine(3).await.unwrap();
    let real = world.direct.head().await.unwrap();
    for liar in 0..3 {
        world.doors[liar].set(Fault::OtherHashes);
        assert_eq!(world.chain.head().await.unwrap(), real);
        assert_eq!(world.chain.block(real.number).await.unwrap(), Some(real));
        world.heals(liar).await;
    }
    // Two camps of one: no block in common.
    world.doors[0].set(Fault::OtherHashes);
    world.doors[1].set(Fault::Status(500));
    let error = world.chain.head().await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
    let error = world.chain.block(real.number).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
    world.heals(0).await;
}

#[tokio::test]
async fn calls_that_one_endpoint_answers_otherwise_are_not_believed() {
    let world = World::new().await;
    let sent = world.direct.send(store(world.contract, 42)).await.unwrap();
    world.direct.wait(sent.hash, 0).await.unwrap();
    let read = |what: u8| CallRequest {
        to: world.contract,
        data: calldata(what, &[]),
        ..CallRequest::default()
    };
    for liar in 0..3 {
        world.doors[liar].set(Fault::WrongCalls);
        let answer = world.chain.call(read(5)).await.unwrap();
        assert_eq!(answer.to_vec(), word(42));
        world.heals(liar).await;
    }
    // A revert is an answer like any other.
    world.doors[1].set(Fault::WrongCalls);
    let error = world.chain.call(read(2)).await.unwrap_err();
    assert!(matches!(error, ChainError::Reverted { .. }), "{error:?}");
    world.heals(1).await;
    world.doors[0].set(Fault::WrongCalls);
    world.doors[1].set(Fault::Status(500));
    let error = world.chain.call(read(2)).await.unwrap_err();
    assert!(matches!(error, ChainError::Disagreement { .. }), "{error:?}");
}

#[tokio::test]
async fn an_invented_receipt_is_not_believed() {
    let world = World::new().await;
    let hash = B256::repeat_byte(7);
    for liar in 0..3 {
        world.doors[liar].set(Fault::InventsReceipt);
        assert_eq!(world.chain.receipt(hash).await.unwrap(), None, "{liar}");
        assert!(world.status(liar).up, "a receipt that can be read");
        world.heals(liar).await;
    }
    world.doors[0].set(Fault::InventsReceipt);
    world.doors[1].set(Fault::Status(500));
    let error = world.chain.receipt(hash).await.unwrap_err();
    assert!(matches!(error, ChainError::TooFewAnswers { .. }), "{error:?}");
}

/// Also where there is nobody else to ask.
#[tokio::test]
async fn what_was_not_asked_for_is_no_answer() {
    for fault in [Fault::OthersLog, Fault::LaterLog, Fault::OthersReceipt] {
        let world = World::with(1, quorum(1)).await;
        let sent = world.direct.send(contract::log(world.contract, 1)).await.unwrap();
        let receipt = world.direct.wait(sent.hash, 0).await.unwrap();
        assert_eq!(world.chain.receipt(sent.hash).await.unwrap(), Some(receipt));
        let height = world.height().await;
        assert_eq!(world.words(height).await.unwrap(), topics([1]));
        world.doors[0].set(fault);
        let refused = match fault {
            Fault::OthersReceipt => world.chain.receipt(sent.hash).await.map(drop),
            _ => world.words(height).await.map(drop),
        };
        assert!(refused.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn balances_and_code_are_agreed_upon() {
    let world = World::new().await;
    let before = world.chain.balance(world.contract).await.unwrap();
    assert_eq!(before, U256::ZERO);
    let code = world.chain.code_hash(world.contract).await.unwrap();
    assert_ne!(code, topic(0));
    assert_eq!(code, world.direct.code_hash(world.contract).await.unwrap());
}
