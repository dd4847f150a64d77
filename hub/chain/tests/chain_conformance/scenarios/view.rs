//! The chain view.

use crate::contract::{self, topic};
use crate::node::{BOB, Node};
use alloy::primitives::{Address, B256, U256};
use hub_chain::{Chain as _, ChainError, ChainView, Cursor, TxRequest, ViewEvent, ViewOptions};
use serde_json::json;

const K: u64 = 3;

fn options(address: Address) -> ViewOptions {
    ViewOptions {
        address,
        confirmations: K,
        blocks_per_poll_max: 1_000,
    }
}

async fn view(node: &Node, address: Address) -> ChainView {
    let genesis = node.chain.block(0).await.unwrap().unwrap();
    ChainView::new(options(address), Cursor::before(genesis))
}

fn words(events: &[ViewEvent]) -> Vec<B256> {
    let word = |event: &ViewEvent| match event {
        ViewEvent::Log { log, .. } => Some(log.topics[1]),
        _ => None,
    };
    events.iter().filter_map(word).collect()
}

fn reorg_depth(events: &[ViewEvent]) -> Option<u64> {
    events.iter().find_map(|event| match event {
        ViewEvent::Reorg { depth, .. } => Some(*depth),
        _ => None,
    })
}

pub(crate) async fn confirmed_logs_over_a_reorg(node: Node) {
    let to = node.deploy().await;
    let mut view = view(&node, to).await;
    node.run(contract::log(to, 1)).await;
    node.chain.mine(K).await.unwrap();
    // Block 2 has three blocks on top: confirmed.
    assert_eq!(words(&view.poll(&node.chain).await.unwrap()), [topic(1)]);
    assert_eq!(view.confirmed().unwrap().number, 2);
    node.run(contract::log(to, 2)).await;
    node.chain.mine(K - 1).await.unwrap();
    let events = view.poll(&node.chain).await.unwrap();
    assert_eq!(words(&events), [] as [B256; 0], "two blocks on top are not three");
    assert_eq!(reorg_depth(&events), None);
    assert_eq!(view.unconfirmed_logs(&node.chain).await.unwrap().len(), 1);
    assert_eq!(
        (view.latest().unwrap().number, view.confirmed().unwrap().number),
        (8, 5)
    );
    // The log's block and everything above it vanish, and with it the log.
    node.ask("anvil_reorg", json!([K, []])).await;
    let events = view.poll(&node.chain).await.unwrap();
    assert_eq!(reorg_depth(&events), Some(K), "{events:?}");
    assert_eq!(words(&events), [] as [B256; 0]);
    node.chain.resync().await.unwrap();
    node.run(contract::log(to, 3)).await;
    node.chain.mine(K).await.unwrap();
    let events = view.poll(&node.chain).await.unwrap();
    assert_eq!(words(&events), [topic(3)], "the lost log never was confirmed");
    assert_eq!(reorg_depth(&events), None);
    assert!(words(&view.poll(&node.chain).await.unwrap()).is_empty());
    assert_eq!(view.alarm(), None);
}

pub(crate) async fn restart_repeats_and_loses_nothing(node: Node) {
    let to = node.deploy().await;
    let (mut got, mut cursor) = (Vec::new(), view(&node, to).await.cursor());
    node.ask("evm_setAutomine", json!([false])).await;
    for value in 1..=9 {
        node.chain
            .send(TxRequest {
                gas_limit: Some(100_000),
                ..contract::log(to, value)
            })
            .await
            .unwrap();
        if value % 3 == 0 {
            node.chain.mine(1).await.unwrap();
        }
    }
    node.chain.mine(K).await.unwrap();
    // A process that dies after every single log, having stored only that log and its cursor.
    loop {
        let mut view = ChainView::new(
            ViewOptions {
                blocks_per_poll_max: 1,
                ..options(to)
            },
            cursor,
        );
        let events = view.poll(&node.chain).await.unwrap();
        let before = cursor;
        for event in events {
            match event {
                ViewEvent::Log { log, cursor: after } => {
                    got.push(log.topics[1]);
                    cursor = after;
                    break;
                }
                ViewEvent::Confirmed { cursor: after, .. } => cursor = after,
                other => panic!("{other:?}"),
            }
        }
        if cursor == before {
            break;
        }
    }
    assert_eq!(got, (1..=9).map(topic).collect::<Vec<_>>());
}

pub(crate) async fn deep_reorg_is_an_alarm(node: Node) {
    let to = node.deploy().await;
    let mut view = view(&node, to).await;
    node.run(contract::log(to, 1)).await;
    node.chain.mine(K).await.unwrap();
    view.poll(&node.chain).await.unwrap();
    let confirmed = view.confirmed().unwrap();
    node.ask("anvil_reorg", json!([K + 1, []])).await;
    let events = view.poll(&node.chain).await.unwrap();
    let [ViewEvent::DeepReorg(alarm)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((alarm.number, alarm.expected), (confirmed.number, confirmed.hash));
    assert!(alarm.got.is_some_and(|got| got != confirmed.hash));
    assert_eq!(view.alarm(), Some(*alarm));
    // A restart with the stored cursor says the same.
    let mut again = ChainView::new(options(to), view.cursor());
    assert!(matches!(
        again.poll(&node.chain).await.unwrap()[..],
        [ViewEvent::DeepReorg(_)]
    ));
}

pub(crate) async fn dropped_transaction_is_told_and_sent_again(node: Node) {
    node.chain.mine(1).await.unwrap();
    let request = TxRequest {
        to: Some(BOB),
        value: U256::from(1),
        ..TxRequest::default()
    };
    let sent = node.run(request.clone()).await;
    node.ask("anvil_reorg", json!([1, []])).await;
    let error = node.chain.wait(sent.tx_hash, 1).await.unwrap_err();
    assert_eq!(error, ChainError::Dropped { hash: sent.tx_hash });
    // `wait` had the nonce read again: no gap.
    let again = node.chain.send(request).await.unwrap();
    assert_eq!(again.nonce, 0);
    assert!(node.chain.wait(again.hash, 0).await.unwrap().success);
}
