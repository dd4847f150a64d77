//! Bad nodes, bad URLs, and websockets.

use crate::contract;
use crate::node::{Node, options};
use alloy::primitives::U256;
use alloy::providers::{Provider as _, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{ErrorPayload, RequestPacket, ResponsePacket, ResponsePayload, SerializedRequest};
use alloy::transports::TransportFut;
use hub_chain::embedded::{EmbeddedChain, EmbeddedConfig};
use hub_chain::{AlloyChain, Chain as _, ChainError, ChainOptions, LogQuery, TxRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

fn impatient() -> ChainOptions {
    ChainOptions {
        request_timeout: Duration::from_millis(300),
        ..options()
    }
}

#[tokio::test]
async fn urls_and_chain_ids_are_checked() {
    for url in [
        "",
        "localhost:8545",
        "ftp://localhost",
        "http://",
        "/tmp/node.ipc",
    ] {
        let error = AlloyChain::connect(url, impatient()).await.unwrap_err();
        assert!(matches!(error, ChainError::Config(_)), "{url:?}: {error}");
    }
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let wrong = ChainOptions {
        chain_id: Some(1),
        ..options()
    };
    let error = AlloyChain::embedded(&chain, wrong).await.unwrap_err();
    assert_eq!(
        error,
        ChainError::Config("the node is on chain 31337, expected 1".to_owned())
    );
    let keyless = AlloyChain::embedded(&chain, ChainOptions::default())
        .await
        .unwrap();
    assert_eq!(keyless.sender(), None);
    assert!(matches!(
        keyless.send(TxRequest::default()).await,
        Err(ChainError::Config(_))
    ));
}

#[tokio::test]
async fn absent_and_silent_nodes_are_retryable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Accepts by its backlog and never answers.
    for scheme in ["http", "ws", "wss", "https"] {
        let error = AlloyChain::connect(&format!("{scheme}://{address}"), impatient())
            .await
            .unwrap_err();
        assert!(matches!(error, ChainError::Timeout { .. }), "{scheme}: {error}");
        assert!(error.is_retryable());
    }
    drop(listener);
    for scheme in ["http", "ws", "wss", "https"] {
        let error = AlloyChain::connect(&format!("{scheme}://{address}"), options())
            .await
            .unwrap_err();
        assert!(error.is_retryable(), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn http_failures_are_sorted() {
    use axum::http::StatusCode;
    let cases = [
        (StatusCode::TOO_MANY_REQUESTS, "slow down", true),
        (StatusCode::SERVICE_UNAVAILABLE, "", true),
        (StatusCode::INTERNAL_SERVER_ERROR, "oops", true),
        (StatusCode::UNAUTHORIZED, "no key", false),
        (StatusCode::OK, "{\"jsonrpc\":\"2.0\",\"id\":0,\"resu", true),
        (StatusCode::OK, "<html>", true),
    ];
    for (status, body, retryable) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(move || async move { (status, body) });
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let error = AlloyChain::connect(&url, impatient()).await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable, "{status} {body:?}: {error:?}");
        assert!(
            !matches!(error, ChainError::Reverted { .. } | ChainError::Rejected { .. }),
            "{error:?}"
        );
        server.abort();
    }
}

#[tokio::test]
async fn anvil_over_websocket() {
    let Some(node) = Node::anvil().await else { return };
    let url = node.url.clone().unwrap().replace("http://", "ws://");
    let chain = AlloyChain::connect(&url, options()).await.unwrap();
    let sent = chain
        .send(TxRequest {
            data: contract::CREATION,
            ..TxRequest::default()
        })
        .await
        .unwrap();
    let to = chain.wait(sent.hash, 0).await.unwrap().contract_address.unwrap();
    let sent = chain.send(contract::store(to, 5)).await.unwrap();
    assert!(chain.wait(sent.hash, 0).await.unwrap().success);
    assert_eq!(
        node.provider().get_storage_at(to, U256::ZERO).await.unwrap(),
        U256::from(5)
    );
}

/// A node like most real ones: no control methods.
async fn answer(body: String) -> String {
    let request: serde_json::Value = serde_json::from_str(&body).unwrap();
    let answer = match request["method"].as_str() {
        Some("eth_chainId") => serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "result": "0x1"}),
        _ => {
            let error = serde_json::json!({"code": -32_601, "message": "the method does not exist"});
            serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        }
    };
    answer.to_string()
}

#[tokio::test]
async fn a_real_node_has_no_time_travel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(answer);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let chain = AlloyChain::connect(&url, options()).await.unwrap();
    assert!(matches!(chain.mine(1).await, Err(ChainError::Unsupported(_))));
    assert!(matches!(
        chain.increase_time(1).await,
        Err(ChainError::Unsupported(_))
    ));
    server.abort();
}

/// A node that has one log in each block, and sends 65 MiB for more blocks than it likes. A block beyond `0x63` is longer.
async fn logs(body: String) -> String {
    use serde_json::{Value, json};
    let request: Value = serde_json::from_str(&body).unwrap();
    let result = match request["method"].as_str() {
        Some("eth_chainId") => json!("0x1"),
        _ => {
            let number = |field: &str| {
                let text = request["params"][0][field].as_str().unwrap();
                u64::from_str_radix(&text[2..], 16).unwrap()
            };
            let (from, to) = (number("fromBlock"), number("toBlock"));
            if to - from >= 4 || to > 0x63 {
                return " ".repeat(65 << 20);
            }
            let hash = |number: u64| format!("{number:#066x}");
            let log = |block: u64| {
                json!({"address": format!("{:#042x}", 1), "topics": [], "data": "0x", "blockHash": hash(block),
                    "blockNumber": format!("{block:#x}"), "transactionHash": hash(block), "transactionIndex": "0x0",
                    "logIndex": "0x0", "removed": false})
            };
            json!((from..=to).map(log).collect::<Vec<_>>())
        }
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string()
}

#[tokio::test]
async fn logs_that_are_too_long_for_one_answer_are_asked_for_in_halves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(logs);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let chain = AlloyChain::connect(&format!("http://{address}/key"), options())
        .await
        .unwrap();
    let query = |from, to| LogQuery {
        address: alloy::primitives::Address::with_last_byte(1),
        from,
        to,
    };
    let found = chain.logs(query(1, 10)).await.unwrap();
    let numbers: Vec<u64> = found.iter().map(|log| log.block_number).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<u64>>());
    // One block alone cannot be halved.
    let error = chain.logs(query(0x64, 0x64)).await.unwrap_err();
    assert!(
        matches!(error, ChainError::TooLarge(_)) && error.is_retryable(),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&format!("{address}: the node's answer exceeds 64 MiB")),
        "{text}"
    );
    assert!(!text.contains("key"), "{text}");
    server.abort();
}

/// A node that wants every block asked for by itself.
fn one_by_one(request: &SerializedRequest) -> ResponsePayload {
    use serde_json::{Value, json, value::to_raw_value};
    let params: Value = serde_json::from_str(request.params().map_or("[]", |params| params.get())).unwrap();
    match request.method() {
        "eth_chainId" => ResponsePayload::Success(to_raw_value("0x1").unwrap()),
        _ if params[0]["fromBlock"] == params[0]["toBlock"] => {
            ResponsePayload::Success(to_raw_value(&json!([])).unwrap())
        }
        _ => ResponsePayload::Failure(ErrorPayload {
            code: -32_000,
            message: "block range is too wide".into(),
            data: None,
        }),
    }
}

/// The logs up to an invented head, and how often the node was asked for them; each answer takes so long.
async fn logs_of_all_blocks(takes: Duration) -> (ChainError, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let node = tower::service_fn(move |packet: RequestPacket| -> TransportFut<'static> {
        let count = count.clone();
        Box::pin(async move {
            let request = packet.as_single().unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(takes).await;
            Ok(ResponsePacket::Single(alloy::rpc::json_rpc::Response {
                id: request.id().clone(),
                payload: one_by_one(request),
            }))
        })
    });
    let provider = RootProvider::new(RpcClient::new(node, true));
    let chain = AlloyChain::with_provider(provider, ChainOptions::default())
        .await
        .unwrap();
    asked.store(0, Ordering::Relaxed);
    let error = chain.logs(LogQuery {
        address: alloy::primitives::Address::with_last_byte(1),
        from: 1,
        to: u64::MAX,
    });
    (error.await.unwrap_err(), asked.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn an_invented_head_keeps_nobody_waiting_for_good() {
    let (error, asked) = logs_of_all_blocks(Duration::ZERO).await;
    assert!(
        matches!(error, ChainError::BadAnswer(_)) && error.is_retryable(),
        "{error}"
    );
    assert_eq!(asked, 40_000);
    let (error, asked) = logs_of_all_blocks(Duration::from_secs(9)).await;
    assert!(matches!(error, ChainError::Timeout { .. }), "{error}");
    assert_eq!(asked, 67, "within 60 limits of 10 s");
}
