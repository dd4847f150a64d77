//! Transactions that no block takes, that mempools lose, and whose nonces go elsewhere.

use super::quantity;
use crate::contract::{self, word};
use crate::node::{ALICE, BOB, Hand, Node};
use alloy::primitives::{B256, U256};
use alloy::providers::Provider as _;
use hub_chain::{Chain as _, ChainError, Fees, SentTx, Tended, TxReceipt, TxRequest};
use serde_json::json;

const GWEI: u128 = 1_000_000_000;
/// Blocks after which a transaction is stuck: the default.
const N: u64 = 3;

fn coin() -> TxRequest {
    TxRequest {
        to: Some(BOB),
        value: U256::from(1),
        gas_limit: Some(21_000),
        ..TxRequest::default()
    }
}

async fn manual(node: &Node) {
    node.ask("evm_setAutomine", json!([false])).await;
}

/// A block in which nobody pays less than `gwei`.
async fn block_at(node: &Node, gwei: u128) {
    let wei = format!("{:#x}", gwei * GWEI);
    node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
    node.chain.mine(1).await.unwrap();
}

/// `N` blocks at a base fee that nothing of ours pays, with a look at each, until something is raised. Nodes may
/// keep what cannot pay, or throw it out at once (anvil): it is then raised at once too.
async fn spike(node: &Node, gwei: u128) -> Vec<Tended> {
    let mut told = vec![node.chain.tend().await.unwrap()];
    for _ in 0..N {
        block_at(node, gwei).await;
        // What the next block will ask for is announced when the look comes.
        let wei = format!("{:#x}", gwei * GWEI);
        node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
        told.push(node.chain.tend().await.unwrap());
        if told.last().unwrap().replaced > 0 {
            break;
        }
    }
    told
}

async fn keeps_what_cannot_pay(node: &Node) -> bool {
    let version = node.ask("web3_clientVersion", json!([])).await;
    version.as_str().unwrap().contains("embedded")
}

/// Looks and blocks until everything that can be mined is.
async fn settle(node: &Node) {
    for _ in 0..4 {
        node.chain.tend().await.unwrap();
        node.chain.mine(1).await.unwrap();
    }
}

/// The receipt under whatever hash it has now.
async fn landed(node: &Node, sent: SentTx) -> TxReceipt {
    let receipt = node.chain.wait(sent.hash, 0).await.unwrap();
    assert!(receipt.success);
    receipt
}

async fn waiting_fees(node: &Node) -> Vec<(u64, u64, u64)> {
    let block = node.ask("eth_getBlockByNumber", json!(["pending", true])).await;
    let txs = block["transactions"].as_array().unwrap().clone();
    let fees = |tx: &serde_json::Value| {
        let field = |name: &str| quantity(&tx[name]);
        (
            field("nonce"),
            field("maxFeePerGas"),
            field("maxPriorityFeePerGas"),
        )
    };
    txs.iter().map(fees).collect()
}

async fn transaction(node: &Node, hash: B256) -> bool {
    node.provider()
        .get_transaction_by_hash(hash)
        .await
        .unwrap()
        .is_some()
}

pub(crate) async fn stuck_transaction_is_raised_and_mined(node: Node) {
    manual(&node).await;
    let sent = node.chain.send(coin()).await.unwrap();
    assert!(sent.fees.max_fee_per_gas < 100 * GWEI);
    let told = spike(&node, 100).await;
    let replaced: Vec<usize> = told.iter().map(|told| told.replaced).collect();
    if keeps_what_cannot_pay(&node).await {
        assert_eq!(replaced, [0, 0, 0, 1], "after N blocks, not before");
    }
    assert_eq!(replaced.last(), Some(&1));
    assert!(
        told.iter()
            .all(|told| told.waiting == [sent.hash] && told.held == 0)
    );
    assert!(
        !transaction(&node, sent.hash).await,
        "the old one is out of the mempool"
    );
    node.chain.mine(1).await.unwrap();
    // The caller waits for the hash that it knows.
    let receipt = landed(&node, sent).await;
    assert_ne!(receipt.tx_hash, sent.hash);
    assert!(receipt.effective_gas_price >= 100 * GWEI);
    let told = node.chain.tend().await.unwrap();
    assert_eq!((told.mined, told.waiting), (1, vec![]));
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 1);
    assert_eq!(node.chain.send(coin()).await.unwrap().nonce, 1);
}

pub(crate) async fn budget_is_respected_and_the_deadline_presses(node: Node) {
    node.chain.mine(1).await.unwrap();
    manual(&node).await;
    let now_s = node.chain.head().await.unwrap().timestamp_s;
    let sent = node
        .chain
        .send(TxRequest {
            deadline_s: Some(now_s + 100_000),
            fee_budget_wei: Some(21_000 * 500 * GWEI),
            ..coin()
        })
        .await
        .unwrap();
    // The market asks for 200 gwei; the deadline is far, so the spike is waited out.
    let told = spike(&node, 200).await;
    assert_eq!(told.iter().map(|told| told.replaced).sum::<usize>(), 0);
    assert_eq!((told.last().unwrap().held, told.last().unwrap().patient), (0, 1));
    // Most of the time is gone: now it is paid, within the budget.
    node.chain.increase_time(80_000).await.unwrap();
    block_at(&node, 200).await;
    node.ask(
        "anvil_setNextBlockBaseFeePerGas",
        json!([format!("{:#x}", 200 * GWEI)]),
    )
    .await;
    assert_eq!(node.chain.tend().await.unwrap().replaced, 1);
    node.chain.mine(1).await.unwrap();
    let receipt = landed(&node, sent).await;
    assert!(receipt.effective_gas_price >= 200 * GWEI);
    assert!(u128::from(receipt.gas_used) * receipt.effective_gas_price <= 21_000 * 500 * GWEI);
}

pub(crate) async fn budget_is_never_exceeded(node: Node) {
    manual(&node).await;
    let sent = node
        .chain
        .send(TxRequest {
            fee_budget_wei: Some(21_000 * 90 * GWEI),
            ..coin()
        })
        .await
        .unwrap();
    // 60 gwei are within the budget, 100 are not.
    assert_eq!(spike(&node, 60).await.last().unwrap().replaced, 1);
    for _ in 0..3 {
        let told = spike(&node, 100).await;
        assert_eq!(told.iter().map(|told| told.replaced).sum::<usize>(), 0);
        assert_eq!(told.last().unwrap().held, 1);
    }
    let wei = format!("{:#x}", 50 * GWEI);
    node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
    node.chain.tend().await.unwrap();
    let max_fee = waiting_fees(&node).await[0].1;
    assert!(u128::from(max_fee) <= 90 * GWEI, "{max_fee}");
    node.chain.mine(1).await.unwrap();
    let receipt = landed(&node, sent).await;
    assert!(receipt.effective_gas_price <= 90 * GWEI);
}

pub(crate) async fn each_raise_is_at_least_an_eighth(node: Node) {
    manual(&node).await;
    // Far more than the market asks, and still not taken: a tip too low for whoever builds the blocks.
    let sent = node
        .chain
        .send(TxRequest {
            fees: Some(Fees {
                max_fee_per_gas: 30 * GWEI,
                max_priority_fee_per_gas: 2 * GWEI,
            }),
            ..coin()
        })
        .await
        .unwrap();
    let mut fees = (30 * GWEI, 2 * GWEI);
    for round in 0..3 {
        // The blocks cost just above what is offered.
        let asked = fees.0 / GWEI + 1;
        let told = spike(&node, asked).await;
        assert_eq!(told.last().unwrap().replaced, 1, "{round}");
        let waiting = waiting_fees(&node).await;
        assert_eq!(waiting.len(), 1);
        let (nonce, max_fee, tip) = waiting[0];
        assert_eq!(nonce, sent.nonce);
        assert!(u128::from(max_fee) * 8 >= fees.0 * 9 && u128::from(tip) * 8 >= fees.1 * 9);
        fees = (max_fee.into(), tip.into());
    }
    node.chain.mine(1).await.unwrap();
    landed(&node, sent).await;
}

pub(crate) async fn dropped_transaction_is_handed_over_again(node: Node) {
    manual(&node).await;
    let sent = node.chain.send(coin()).await.unwrap();
    node.ask("anvil_dropTransaction", json!([sent.hash])).await;
    assert!(!transaction(&node, sent.hash).await);
    let told = node.chain.tend().await.unwrap();
    assert_eq!((told.handed_over, told.waiting.len(), told.replaced), (1, 1, 0));
    assert!(transaction(&node, sent.hash).await);
    assert_eq!(node.chain.tend().await.unwrap().handed_over, 0);
    node.chain.mine(1).await.unwrap();
    assert_eq!(landed(&node, sent).await.tx_hash, sent.hash);
}

pub(crate) async fn reorg_loses_blocks_and_mempool_and_all_comes_back(node: Node) {
    node.chain.mine(2).await.unwrap();
    manual(&node).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(node.chain.send(coin()).await.unwrap());
    }
    node.chain.mine(1).await.unwrap();
    assert_eq!(node.chain.tend().await.unwrap().mined, 3);
    sent.push(node.chain.send(coin()).await.unwrap());
    node.ask("anvil_reorg", json!([1, []])).await;
    node.chain.resync().await.unwrap();
    let told = node.chain.tend().await.unwrap();
    // The newest was in no block: a node may have kept it.
    assert!(told.handed_over >= 3 && told.waiting.len() == 4, "{told:?}");
    settle(&node).await;
    for sent in sent {
        assert_eq!(landed(&node, sent).await.tx_hash, sent.hash);
    }
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 4);
}

pub(crate) async fn nonce_used_by_another_is_noticed_and_sent_again(node: Node) {
    let to = node.deploy().await;
    manual(&node).await;
    let sent = node
        .chain
        .send(TxRequest {
            gas_limit: Some(100_000),
            ..contract::store(to, 42)
        })
        .await
        .unwrap();
    assert_eq!(sent.nonce, 1);
    // Somebody with the same key takes the nonce.
    let foreign = Hand {
        nonce: 1,
        tip_gwei: 50,
        max_fee_gwei: 500,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&foreign).await.unwrap();
    node.chain.mine(1).await.unwrap();
    assert!(node.chain.receipt(foreign.hash).await.unwrap().is_some());
    let mut told = Vec::new();
    for _ in 0..=N {
        told.push(node.chain.tend().await.unwrap().sent_again);
        node.chain.mine(1).await.unwrap();
    }
    assert_eq!(
        told,
        [0, 0, 0, 1],
        "only when the other is some blocks deep: never two in the race"
    );
    let receipt = landed(&node, sent).await;
    assert_ne!(receipt.tx_hash, sent.hash);
    let stored = node.provider().get_storage_at(to, U256::ZERO).await.unwrap();
    assert_eq!(stored.to_be_bytes::<32>(), word(42));
    assert_eq!(node.chain.tend().await.unwrap().mined, 1);
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 3);
}

pub(crate) async fn gap_left_by_an_earlier_process_is_filled(node: Node) {
    manual(&node).await;
    // The process before sent nonce 0, which waits; we go on behind it.
    let old = Hand::default().sign();
    node.send_raw(&old).await.unwrap();
    let sent = node.chain.send(coin()).await.unwrap();
    assert_eq!(sent.nonce, 1);
    node.ask("anvil_dropTransaction", json!([old.hash])).await;
    let mut told = Vec::new();
    for _ in 0..=N {
        told.push(node.chain.tend().await.unwrap().gaps_filled);
        node.chain.mine(1).await.unwrap();
    }
    assert_eq!(told, [0, 0, 0, 1]);
    landed(&node, sent).await;
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 2);
}

pub(crate) async fn stuck_transaction_of_an_earlier_process_blocks_nobody(node: Node) {
    manual(&node).await;
    // The process before sent nonce 0 in cheaper times, at a price that the nodes' suggestion does not beat by far.
    let old = Hand {
        tip_gwei: 2,
        max_fee_gwei: 40,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&old).await.unwrap();
    let fees = Fees {
        max_fee_per_gas: 900 * GWEI,
        max_priority_fee_per_gas: GWEI,
    };
    let sent = node
        .chain
        .send(TxRequest {
            fees: Some(fees),
            ..coin()
        })
        .await
        .unwrap();
    assert_eq!(sent.nonce, 1);
    let mut unblocked = 0;
    for _ in 0..=2 * N {
        let wei = format!("{:#x}", 100 * GWEI);
        node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
        let told = node.chain.tend().await.unwrap();
        unblocked += told.unblocked + told.gaps_filled;
        block_at(&node, 100).await;
    }
    // A node that throws out what cannot pay leaves a gap instead.
    assert_eq!(unblocked, 1);
    settle(&node).await;
    landed(&node, sent).await;
    assert!(node.chain.receipt(old.hash).await.unwrap().is_none());
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 2);
}

pub(crate) async fn a_poor_or_late_one_holds_up_nobody(node: Node) {
    node.chain.mine(1).await.unwrap();
    manual(&node).await;
    let now_s = node.chain.head().await.unwrap().timestamp_s;
    let poor = TxRequest {
        fee_budget_wei: Some(21_000 * 30 * GWEI),
        deadline_s: Some(now_s + 1),
        ..coin()
    };
    let first = node.chain.send(poor).await.unwrap();
    node.chain.increase_time(10).await.unwrap();
    let told = spike(&node, 100).await;
    assert_eq!(
        told.last().unwrap().replaced,
        0,
        "alone it is worth no more, and too late"
    );
    assert_eq!(told.last().unwrap().held, 1);
    let fees = Fees {
        max_fee_per_gas: 900 * GWEI,
        max_priority_fee_per_gas: GWEI,
    };
    let rich = TxRequest {
        fees: Some(fees),
        ..coin()
    };
    let second = node.chain.send(rich).await.unwrap();
    let replaced = spike(&node, 100)
        .await
        .iter()
        .map(|told| told.replaced)
        .sum::<usize>();
    assert_eq!(replaced, 1);
    node.chain.mine(1).await.unwrap();
    assert_ne!(landed(&node, first).await.tx_hash, first.hash);
    assert_eq!(landed(&node, second).await.tx_hash, second.hash);
}

pub(crate) async fn what_no_block_would_take_is_not_sent(node: Node) {
    manual(&node).await;
    block_at(&node, 100).await;
    let wei = format!("{:#x}", 100 * GWEI);
    node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
    let poor = TxRequest {
        fee_budget_wei: Some(21_000 * 50 * GWEI),
        ..coin()
    };
    let error = node.chain.send(poor).await.unwrap_err();
    assert!(matches!(error, ChainError::TooDear { .. }), "{error}");
    assert_eq!(
        node.chain.send(coin()).await.unwrap().nonce,
        0,
        "its nonce is free"
    );
}

/// One has lost its nonce and may not cost what it would cost now: the others are looked after all the same.
pub(crate) async fn one_that_is_too_dear_costs_the_others_nothing(node: Node) {
    manual(&node).await;
    let poor = TxRequest {
        fee_budget_wei: Some(21_000 * 50 * GWEI),
        ..coin()
    };
    node.chain.send(poor).await.unwrap();
    let foreign = Hand {
        tip_gwei: 50,
        max_fee_gwei: 500,
        ..Hand::default()
    }
    .sign();
    node.send_raw(&foreign).await.unwrap();
    node.chain.mine(1).await.unwrap();
    for _ in 0..N {
        node.chain.tend().await.unwrap();
        block_at(&node, 100).await;
    }
    let fees = Fees {
        max_fee_per_gas: 900 * GWEI,
        max_priority_fee_per_gas: GWEI,
    };
    let rich = TxRequest {
        fees: Some(fees),
        ..coin()
    };
    let other = node.chain.send(rich).await.unwrap();
    node.ask("anvil_dropTransaction", json!([other.hash])).await;
    let wei = format!("{:#x}", 100 * GWEI);
    node.ask("anvil_setNextBlockBaseFeePerGas", json!([wei])).await;
    let told = node.chain.tend().await.unwrap();
    assert_eq!((told.held, told.handed_over, told.failed), (1, 1, 0), "{told:?}");
    node.chain.mine(1).await.unwrap();
    landed(&node, other).await;
}

pub(crate) async fn those_behind_a_stuck_one_are_left_alone(node: Node) {
    manual(&node).await;
    let cheap = Fees {
        max_fee_per_gas: 20 * GWEI,
        max_priority_fee_per_gas: GWEI,
    };
    let dear = Fees {
        max_fee_per_gas: 900 * GWEI,
        max_priority_fee_per_gas: GWEI,
    };
    let mut sent = Vec::new();
    for fees in [cheap, dear, dear] {
        let fees = Some(fees);
        sent.push(node.chain.send(TxRequest { fees, ..coin() }).await.unwrap());
    }
    let told = spike(&node, 100).await;
    assert_eq!(
        told.last().unwrap().replaced,
        1,
        "only the first waits for better fees"
    );
    settle(&node).await;
    let mut changed = Vec::new();
    for sent in sent {
        changed.push(landed(&node, sent).await.tx_hash != sent.hash);
    }
    assert_eq!(changed, [true, false, false]);
}
