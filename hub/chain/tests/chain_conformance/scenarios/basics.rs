//! Reading, paying, calling, logs.

use super::{ether, quantity};
use crate::contract::{self, TOPIC, calldata, topic, word};
use crate::node::{ALICE, BOB, Node, key};
use alloy::network::EthereumWallet;
use alloy::primitives::{B256, Bytes, KECCAK256_EMPTY, U256, address};
use alloy::providers::{Provider as _, ProviderBuilder};
use alloy::rpc::types::{Filter, TransactionRequest};
use hub_chain::{CallRequest, Chain as _, ChainError, LogQuery, TxRequest};
use serde_json::json;

pub(crate) async fn identity(node: Node) {
    assert_eq!(node.chain.chain_id().await.unwrap(), 31_337);
    let genesis = node.chain.block(0).await.unwrap().unwrap();
    assert_eq!(node.chain.genesis_hash().await.unwrap(), genesis.hash);
    assert_eq!(genesis.parent_hash, B256::ZERO);
    assert_eq!(node.chain.head().await.unwrap(), genesis);
    assert_eq!(node.chain.block(1).await.unwrap(), None);
    assert_eq!(node.chain.code_hash(ALICE).await.unwrap(), KECCAK256_EMPTY);
    assert_eq!(node.chain.balance(ALICE).await.unwrap(), ether(10_000));
    assert_eq!(node.ask("net_version", json!([])).await, "31337");
    let error = node.rpc("eth_noSuchMethod", json!([])).await.unwrap_err();
    assert_eq!(error.as_error_resp().unwrap().code, -32_601);
}

pub(crate) async fn transfer(node: Node) {
    let request = TxRequest {
        to: Some(BOB),
        value: ether(1),
        ..TxRequest::default()
    };
    let receipt = node.run(request).await;
    assert!(receipt.success);
    assert_eq!((receipt.block_number, receipt.gas_used), (1, 21_000));
    assert_eq!(node.chain.balance(BOB).await.unwrap(), ether(10_001));
    let cost = U256::from(receipt.effective_gas_price) * U256::from(21_000);
    assert_eq!(node.chain.balance(ALICE).await.unwrap(), ether(9_999) - cost);
    assert_eq!(node.provider().get_transaction_count(ALICE).await.unwrap(), 1);
    let tx = node
        .provider()
        .get_transaction_by_hash(receipt.tx_hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (tx.inner.signer(), tx.block_hash),
        (ALICE, Some(receipt.block_hash))
    );
    let block = node
        .provider()
        .get_block_by_number(1.into())
        .full()
        .await
        .unwrap()
        .unwrap();
    let listed: Vec<B256> = block.transactions.hashes().collect();
    assert_eq!(listed, [receipt.tx_hash]);
    assert_eq!(block.header.gas_used, 21_000);
    // The hash is the hash of the header, and the header commits to the transactions.
    assert_eq!(block.header.inner.hash_slow(), block.header.hash);
    let envelopes: Vec<_> = block
        .transactions
        .txns()
        .map(|tx| tx.inner.clone_inner())
        .collect();
    let root = alloy::consensus::proofs::calculate_transaction_root(&envelopes);
    assert_eq!(block.header.transactions_root, root);
}

pub(crate) async fn deploy_and_call(node: Node) {
    let to = node.deploy().await;
    assert_eq!(to, ALICE.create(0));
    let runtime = contract::CREATION.slice(9..);
    assert_eq!(node.provider().get_code_at(to).await.unwrap(), runtime);
    assert_eq!(
        node.chain.code_hash(to).await.unwrap(),
        alloy::primitives::keccak256(&runtime)
    );
    node.run(contract::store(to, 7)).await;
    let read = CallRequest {
        to,
        data: calldata(5, &[]),
        ..CallRequest::default()
    };
    assert_eq!(node.chain.call(read.clone()).await.unwrap(), Bytes::from(word(7)));
    assert_eq!(
        node.provider().get_storage_at(to, U256::ZERO).await.unwrap(),
        U256::from(7)
    );
    // The same state as it was one block earlier.
    assert_eq!(
        node.chain
            .call(CallRequest { at: Some(1), ..read })
            .await
            .unwrap(),
        Bytes::from(word(0))
    );
}

pub(crate) async fn estimate(node: Node) {
    let transfer = TransactionRequest::default()
        .from(ALICE)
        .to(BOB)
        .value(U256::from(1));
    assert_eq!(node.provider().estimate_gas(transfer).await.unwrap(), 21_000);
    let to = node.deploy().await;
    let store = TransactionRequest::default()
        .from(ALICE)
        .to(to)
        .input(calldata(4, &word(9)).into());
    let estimate = node.provider().estimate_gas(store).await.unwrap();
    let request = TxRequest {
        gas_limit: Some(estimate),
        ..contract::store(to, 9)
    };
    let receipt = node.run(request).await;
    assert!(receipt.success, "the estimate of {estimate} did not suffice");
    assert!(
        estimate < receipt.gas_used * 2,
        "{estimate} for {} used",
        receipt.gas_used
    );
    // The same on a contract with an empty slot, with a little less than it takes.
    let fresh = node.deploy().await;
    let scant = TxRequest {
        gas_limit: Some(receipt.gas_used - 1_000),
        ..contract::store(fresh, 9)
    };
    assert!(!node.run(scant).await.success, "too little gas must fail");
}

pub(crate) async fn revert_data(node: Node) {
    let to = node.deploy().await;
    let custom = [0xde, 0xad, 0xbe, 0xef, 0, 1];
    let data = calldata(2, &custom);
    let call = CallRequest {
        to,
        data: data.clone(),
        ..CallRequest::default()
    };
    let error = node.chain.call(call).await.unwrap_err();
    assert_eq!(error.revert_data(), Some(&Bytes::from(custom)), "{error}");
    assert!(!error.is_retryable());
    // Sending finds out by the estimate, and keeps the data too.
    let request = TxRequest {
        to: Some(to),
        data,
        ..TxRequest::default()
    };
    let error = node.chain.send(request.clone()).await.unwrap_err();
    assert_eq!(error.revert_data(), Some(&Bytes::from(custom)), "{error}");
    // With a gas limit given nothing is estimated: the transaction is mined and fails there.
    let receipt = node
        .run(TxRequest {
            gas_limit: Some(100_000),
            ..request
        })
        .await;
    assert!(!receipt.success && receipt.logs.is_empty());
    // A revert with a text is told in words.
    let reason = alloy::sol_types::Revert::from("no such channel");
    let data = calldata(2, &alloy::sol_types::SolError::abi_encode(&reason));
    let error = node
        .chain
        .call(CallRequest {
            to,
            data,
            ..CallRequest::default()
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ChainError::Reverted { message, .. } if message.contains("no such channel")),
        "{error}"
    );
}

pub(crate) async fn logs_and_filters(node: Node) {
    let (to, other) = (node.deploy().await, node.deploy().await);
    node.ask("evm_setAutomine", json!([false])).await;
    let mut sent = Vec::new();
    for (target, value) in [(to, 1), (other, 2), (to, 3)] {
        let request = TxRequest {
            gas_limit: Some(100_000),
            ..contract::log(target, value)
        };
        sent.push(node.chain.send(request).await.unwrap().hash);
    }
    node.chain.mine(1).await.unwrap();
    node.ask("evm_setAutomine", json!([true])).await;
    node.run(contract::log(to, 4)).await;
    let all = node
        .chain
        .logs(LogQuery {
            address: to,
            from: 0,
            to: 4,
        })
        .await
        .unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|log| (log.block_number, log.log_index, log.topics[1]))
        .collect();
    assert_eq!(seen, [(3, 0, topic(1)), (3, 2, topic(3)), (4, 0, topic(4))]);
    assert!(all.iter().all(|log| log.address == to && log.topics[0] == TOPIC));
    assert_eq!(all[1].tx_hash, sent[2]);
    assert_eq!(
        node.chain
            .logs(LogQuery {
                address: to,
                from: 4,
                to: 4
            })
            .await
            .unwrap(),
        all[2..]
    );
    // The receipt and the filter name the same logs.
    let receipt = node.chain.receipt(sent[2]).await.unwrap().unwrap();
    assert_eq!(receipt.logs, all[1..2]);
    let filter = Filter::new()
        .from_block(0)
        .event_signature(TOPIC)
        .topic1(topic(3));
    assert_eq!(node.provider().get_logs(&filter).await.unwrap().len(), 1);
    let either = Filter::new().from_block(0).topic1(vec![topic(2), topic(4)]);
    assert_eq!(node.provider().get_logs(&either).await.unwrap().len(), 2);
    let in_block = Filter::new().at_block_hash(receipt.block_hash);
    assert_eq!(node.provider().get_logs(&in_block).await.unwrap().len(), 3);
    let both = Filter::new().from_block(0).address(vec![to, other]);
    assert_eq!(node.provider().get_logs(&both).await.unwrap().len(), 4);
}

pub(crate) async fn block_tags(node: Node) {
    node.chain.mine(70).await.unwrap();
    for (tag, number) in [
        ("earliest", 0),
        ("latest", 70),
        ("safe", 38),
        ("finalized", 6),
        ("pending", 71),
        ("0x7", 7),
    ] {
        let block = node.ask("eth_getBlockByNumber", json!([tag, false])).await;
        assert_eq!(quantity(&block["number"]), number, "{tag}");
    }
    let head = node.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(
        node.ask("eth_getBlockByHash", json!([head["hash"], false])).await,
        head
    );
    assert!(
        node.ask("eth_getBlockByNumber", json!(["0x48", false]))
            .await
            .is_null()
    );
    assert_eq!(node.chain.head().await.unwrap().number, 70);
    let parent = node.chain.block(69).await.unwrap().unwrap();
    assert_eq!(node.chain.head().await.unwrap().parent_hash, parent.hash);
}

pub(crate) async fn historical_state(node: Node) {
    let who = address!("00000000000000000000000000000000000000b0");
    for _ in 0..3 {
        node.run(TxRequest {
            to: Some(who),
            value: ether(1),
            ..TxRequest::default()
        })
        .await;
    }
    for number in 0..=3_u64 {
        let balance = node.provider().get_balance(who).number(number).await.unwrap();
        assert_eq!(balance, ether(number), "after block {number}");
        assert_eq!(
            node.provider()
                .get_transaction_count(ALICE)
                .number(number)
                .await
                .unwrap(),
            number
        );
    }
    assert!(
        node.provider().get_balance(who).number(9).await.is_err(),
        "there is no block 9"
    );
}

pub(crate) async fn batch_request(node: Node) {
    let mut batch = alloy::rpc::client::BatchRequest::new(node.provider().client());
    let number = batch.add_call::<_, String>("eth_blockNumber", &()).unwrap();
    let wrong = batch.add_call::<_, String>("eth_noSuchMethod", &()).unwrap();
    let chain_id = batch.add_call::<_, String>("eth_chainId", &()).unwrap();
    batch.send().await.unwrap();
    assert_eq!(number.await.unwrap(), "0x0");
    assert_eq!(chain_id.await.unwrap(), "0x7a69");
    assert!(wrong.await.is_err());
}

/// alloy's own machinery (fillers, wallet, watching for the receipt) on the same transport.
pub(crate) async fn alloy_provider_with_fillers(node: Node) {
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(key(2)))
        .connect_provider(node.provider().clone());
    let request = TransactionRequest::default().to(BOB).value(ether(2));
    let receipt = provider
        .send_transaction(request)
        .await
        .unwrap()
        .get_receipt()
        .await
        .unwrap();
    assert!(receipt.status());
    assert_eq!(provider.get_balance(BOB).await.unwrap(), ether(10_002));
}
