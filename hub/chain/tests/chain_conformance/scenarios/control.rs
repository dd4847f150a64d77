//! Time travel, snapshots, reorgs, mining.

use super::{ether, quantity};
use crate::contract::{self, calldata};
use crate::node::{ALICE, BOB, Hand, Node};
use alloy::primitives::{Address, U256, address};
use alloy::providers::Provider as _;
use hub_chain::{CallRequest, Chain as _, TxRequest};
use serde_json::json;
use std::time::Duration;

pub(crate) async fn time_travel(node: Node) {
    node.chain.mine(1).await.unwrap();
    let before = node.chain.head().await.unwrap();
    node.chain.increase_time(3_600).await.unwrap();
    node.chain.mine(1).await.unwrap();
    let after = node.chain.head().await.unwrap();
    let gone = after.timestamp_s - before.timestamp_s;
    assert!((3_600..3_630).contains(&gone), "{gone}");
    let exact = after.timestamp_s + 86_400;
    node.ask("evm_setNextBlockTimestamp", json!([exact])).await;
    node.ask("evm_mine", json!([])).await;
    assert_eq!(node.chain.head().await.unwrap().timestamp_s, exact);
    // Time goes on from there, and never back.
    node.ask("evm_mine", json!([])).await;
    let later = node.chain.head().await.unwrap().timestamp_s;
    assert!((exact..exact + 30).contains(&later), "{later} after {exact}");
    assert!(
        node.rpc("evm_setNextBlockTimestamp", json!([before.timestamp_s]))
            .await
            .is_err()
    );
    node.ask("evm_mine", json!([later + 100])).await;
    assert_eq!(node.chain.head().await.unwrap().timestamp_s, later + 100);
    // A contract sees the block's time.
    let to = node.deploy().await;
    let seen = node
        .chain
        .call(CallRequest {
            to,
            data: calldata(3, &[]),
            ..CallRequest::default()
        })
        .await
        .unwrap();
    assert!(U256::from_be_slice(&seen[32..]) >= U256::from(later + 100));
    // Blocks with a gap between their timestamps.
    let from = node.chain.head().await.unwrap();
    node.ask("anvil_mine", json!(["0x3", "0xa"])).await;
    let to = node.chain.head().await.unwrap();
    assert_eq!(to.number, from.number + 3);
    assert!(
        (20..=35).contains(&(to.timestamp_s - from.timestamp_s)),
        "{from:?} {to:?}"
    );
}

pub(crate) async fn snapshot_and_revert(node: Node) {
    let to = node.deploy().await;
    node.run(contract::store(to, 1)).await;
    let at = node.chain.head().await.unwrap();
    let id = node.ask("evm_snapshot", json!([])).await;
    let lost = node.run(contract::store(to, 2)).await;
    assert_eq!(node.ask("evm_revert", json!([id])).await, true);
    assert_eq!(node.chain.head().await.unwrap(), at);
    assert_eq!(node.chain.receipt(lost.tx_hash).await.unwrap(), None);
    assert_eq!(
        node.provider().get_storage_at(to, U256::ZERO).await.unwrap(),
        U256::from(1)
    );
    assert_eq!(
        node.ask("evm_revert", json!([id])).await,
        false,
        "a snapshot is used up"
    );
    node.chain.resync().await.unwrap();
    assert!(node.run(contract::store(to, 3)).await.success);
}

pub(crate) async fn reorg_drops_transactions(node: Node) {
    node.chain.mine(2).await.unwrap();
    let kept = node.chain.head().await.unwrap();
    let request = TxRequest {
        to: Some(BOB),
        value: ether(1),
        ..TxRequest::default()
    };
    let sent = node.run(request.clone()).await;
    let old = node.chain.head().await.unwrap();
    node.ask("anvil_reorg", json!([1, []])).await;
    let new = node.chain.head().await.unwrap();
    assert_eq!((new.number, new.parent_hash), (old.number, kept.hash));
    assert_ne!(new.hash, old.hash);
    assert_eq!(node.chain.receipt(sent.tx_hash).await.unwrap(), None);
    assert!(
        node.provider()
            .get_transaction_by_hash(sent.tx_hash)
            .await
            .unwrap()
            .is_none(),
        "mempool not empty"
    );
    assert!(
        node.ask("eth_getBlockByHash", json!([old.hash, false]))
            .await
            .is_null()
    );
    assert_eq!(node.chain.balance(BOB).await.unwrap(), ether(10_000));
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 0);
    assert!(node.rpc("anvil_reorg", json!([99, []])).await.is_err());
    node.chain.resync().await.unwrap();
    assert!(node.run(request).await.success);
}

pub(crate) async fn reorg_with_other_transaction(node: Node) {
    node.chain.mine(1).await.unwrap();
    let lost = Hand::default().sign();
    node.send_raw(&lost).await.unwrap();
    node.chain.wait(lost.hash, 0).await.unwrap();
    let other = Hand {
        value: 5,
        ..Hand::default()
    }
    .sign();
    node.ask("anvil_reorg", json!([1, [[other.raw, 0]]])).await;
    let receipt = node.chain.receipt(other.hash).await.unwrap().unwrap();
    assert_eq!(receipt.block_number, node.chain.head().await.unwrap().number);
    assert_eq!(node.chain.receipt(lost.hash).await.unwrap(), None);
}

pub(crate) async fn interval_mining(node: Node) {
    node.ask("evm_setIntervalMining", json!([1])).await;
    let sent = Hand::default().sign();
    node.send_raw(&sent).await.unwrap();
    // Confirmations come by themselves.
    let receipt = node.chain.wait(sent.hash, 2).await.unwrap();
    assert!(node.chain.head().await.unwrap().number >= receipt.block_number + 2);
    node.ask("evm_setIntervalMining", json!([0])).await;
    let stopped = node.chain.head().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(node.chain.head().await.unwrap(), stopped);
}

pub(crate) async fn set_balance_code_and_base_fee(node: Node) {
    let who: Address = address!("00000000000000000000000000000000000000b1");
    node.ask("anvil_setBalance", json!([who, "0xde0b6b3a7640000"]))
        .await;
    assert_eq!(node.chain.balance(who).await.unwrap(), ether(1));
    node.ask("anvil_setCode", json!([who, contract::CREATION.slice(9..)]))
        .await;
    let seen = node
        .chain
        .call(CallRequest {
            to: who,
            data: calldata(3, &[]),
            ..CallRequest::default()
        })
        .await;
    assert_eq!(seen.unwrap().len(), 64);
    node.ask("anvil_setNextBlockBaseFeePerGas", json!(["0x174876e800"]))
        .await;
    let history = node
        .provider()
        .get_fee_history(1, Default::default(), &[50.0])
        .await
        .unwrap();
    assert_eq!(
        history.base_fee_per_gas.last(),
        Some(&100_000_000_000),
        "the next base fee is announced"
    );
    // Offers less than the base fee: refused, or waits.
    let cheap = Hand::default().sign();
    let _ = node.send_raw(&cheap).await;
    node.chain.mine(1).await.unwrap();
    assert_eq!(node.chain.receipt(cheap.hash).await.unwrap(), None);
    let block = node.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(quantity(&block["baseFeePerGas"]), 100_000_000_000);
    let history = node
        .provider()
        .get_fee_history(2, Default::default(), &[])
        .await
        .unwrap();
    assert_eq!(history.base_fee_per_gas.len(), 3);
    assert_eq!(history.base_fee_per_gas[1], 100_000_000_000);
    assert!(
        node.run(TxRequest {
            to: Some(BOB),
            nonce: Some(0),
            ..fees(200)
        })
        .await
        .success
    );
}

fn fees(gwei: u128) -> TxRequest {
    let max_fee_per_gas = gwei * 1_000_000_000;
    let fees = hub_chain::Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: max_fee_per_gas / 10,
    };
    TxRequest {
        fees: Some(fees),
        gas_limit: Some(21_000),
        ..TxRequest::default()
    }
}
