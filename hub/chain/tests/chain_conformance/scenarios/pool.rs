//! The mempool and the send queue.

use super::{ether, quantity};
use crate::node::{ALICE, BOB, Hand, Node};
use alloy::primitives::{Address, B256, U256, address};
use alloy::providers::Provider as _;
use futures::future::join_all;
use hub_chain::{Chain as _, ChainError, Nonces, TxRequest};
use serde_json::json;
use std::collections::BTreeSet;

const POOR: Address = address!("00000000000000000000000000000000000000b2");

fn words(error: impl std::fmt::Display) -> String {
    error.to_string().to_lowercase()
}

pub(crate) async fn nonce_too_low_and_too_high(node: Node) {
    let first = Hand::default().sign();
    node.send_raw(&first).await.unwrap();
    node.chain.wait(first.hash, 0).await.unwrap();
    let low = node
        .send_raw(
            &Hand {
                value: 2,
                ..Hand::default()
            }
            .sign(),
        )
        .await
        .unwrap_err();
    assert!(words(&low).contains("nonce too low"), "{low}");
    // A gap: it waits until the gap is filled.
    let high = Hand {
        nonce: 2,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&high).await.unwrap();
    assert_eq!(node.chain.receipt(high.hash).await.unwrap(), None);
    assert_eq!(
        node.provider()
            .get_transaction_count(ALICE)
            .pending()
            .await
            .unwrap(),
        1
    );
    let waiting = node
        .provider()
        .get_transaction_by_hash(high.hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.block_number, None);
    node.send_raw(
        &Hand {
            nonce: 1,
            ..Hand::default()
        }
        .sign(),
    )
    .await
    .unwrap();
    assert!(node.chain.wait(high.hash, 0).await.unwrap().success);
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 3);
}

pub(crate) async fn gas_cap(node: Node) {
    let cap = 1_u64 << 24;
    let error = node
        .send_raw(
            &Hand {
                gas_limit: cap + 1,
                ..Hand::default()
            }
            .sign(),
        )
        .await
        .unwrap_err();
    assert!(
        error.as_error_resp().is_some() && words(&error).contains("gas"),
        "{error}"
    );
    let above_block = node
        .send_raw(
            &Hand {
                gas_limit: 30_000_001,
                ..Hand::default()
            }
            .sign(),
        )
        .await;
    assert!(above_block.is_err());
    let scant = node
        .send_raw(
            &Hand {
                gas_limit: 20_999,
                ..Hand::default()
            }
            .sign(),
        )
        .await
        .unwrap_err();
    assert!(words(&scant).contains("gas"), "{scant}");
    let allowed = Hand {
        gas_limit: cap,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&allowed).await.unwrap();
    assert!(node.chain.wait(allowed.hash, 0).await.unwrap().success);
}

pub(crate) async fn cannot_pay(node: Node) {
    let request = TxRequest {
        to: Some(BOB),
        value: ether(10_001),
        ..TxRequest::default()
    };
    let error = node.chain.send(request.clone()).await.unwrap_err();
    assert!(matches!(error, ChainError::InsufficientFunds(_)), "{error}");
    let error = node
        .chain
        .send(TxRequest {
            gas_limit: Some(21_000),
            ..request
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::InsufficientFunds(_)), "{error}");
    // An account that can pay for 21,000 gas, but not for a block of it.
    let poor = json!({"from": POOR, "to": BOB, "value": "0x1", "maxFeePerGas": "0x77359400"});
    node.ask("anvil_setBalance", json!([POOR, "0x5af3107a4000"]))
        .await;
    assert_eq!(
        quantity(&node.ask("eth_estimateGas", json!([poor])).await),
        21_000
    );
    let mut other_chain = Hand::default().sign().raw.to_vec();
    *other_chain.last_mut().unwrap() ^= 1;
    let forged = node
        .rpc(
            "eth_sendRawTransaction",
            json!([alloy::hex::encode_prefixed(other_chain)]),
        )
        .await;
    assert!(
        forged.is_err(),
        "a changed signature is another sender without funds, or none"
    );
    assert!(
        node.rpc("eth_sendRawTransaction", json!(["0x02f8"]))
            .await
            .is_err()
    );
}

pub(crate) async fn waiting_replacing_dropping(node: Node) {
    node.ask("evm_setAutomine", json!([false])).await;
    let cheap = Hand::default().sign();
    node.send_raw(&cheap).await.unwrap();
    assert_eq!(node.chain.receipt(cheap.hash).await.unwrap(), None);
    assert_eq!(
        node.provider()
            .get_transaction_count(ALICE)
            .pending()
            .await
            .unwrap(),
        1
    );
    let nonces = Nonces { used: 0, next: 1 };
    assert_eq!(node.chain.nonces().await.unwrap(), nonces, "one waits");
    let same_fee = node
        .send_raw(
            &Hand {
                value: 2,
                ..Hand::default()
            }
            .sign(),
        )
        .await
        .unwrap_err();
    assert!(words(&same_fee).contains("underpriced"), "{same_fee}");
    let bumped = Hand {
        value: 3,
        tip_gwei: 2,
        max_fee_gwei: 20,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&bumped).await.unwrap();
    // Another sender who pays more goes first (a higher tip: anvil compares `max_fee`, so that is higher too).
    let rich = Hand {
        from: 2,
        tip_gwei: 5,
        max_fee_gwei: 50,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&rich).await.unwrap();
    let dropped = Hand {
        from: 3,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&dropped).await.unwrap();
    node.ask("anvil_dropTransaction", json!([dropped.hash])).await;
    node.chain.mine(1).await.unwrap();
    let block = node
        .provider()
        .get_block_by_number(1.into())
        .await
        .unwrap()
        .unwrap();
    let mined: Vec<B256> = block.transactions.hashes().collect();
    assert_eq!(mined, [rich.hash, bumped.hash]);
    assert_eq!(node.chain.receipt(cheap.hash).await.unwrap(), None);
}

pub(crate) async fn send_queue_50_concurrent(node: Node) {
    let send = |index: u64| {
        let chain = node.chain.clone();
        async move {
            let request = TxRequest {
                to: Some(BOB),
                value: U256::from(index),
                ..TxRequest::default()
            };
            let sent = chain.send(request).await.unwrap();
            (sent.nonce, chain.wait(sent.hash, 0).await.unwrap().success)
        }
    };
    let done = join_all((1..=50).map(send)).await;
    let nonces: BTreeSet<u64> = done.iter().map(|(nonce, _)| *nonce).collect();
    assert_eq!(nonces, (0..50).collect());
    assert!(done.iter().all(|(_, success)| *success));
    assert_eq!(
        node.chain.balance(BOB).await.unwrap(),
        ether(10_000) + U256::from(50 * 51 / 2)
    );
}

pub(crate) async fn send_queue_survives_a_foreign_nonce(node: Node) {
    let request = TxRequest {
        to: Some(BOB),
        value: U256::from(1),
        ..TxRequest::default()
    };
    assert_eq!(node.chain.send(request.clone()).await.unwrap().nonce, 0);
    // Somebody else uses the key behind the queue's back.
    let foreign = Hand {
        nonce: 1,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&foreign).await.unwrap();
    node.chain.wait(foreign.hash, 0).await.unwrap();
    let sent = node.chain.send(request).await.unwrap();
    assert_eq!(sent.nonce, 2);
    assert!(node.chain.wait(sent.hash, 0).await.unwrap().success);
}
