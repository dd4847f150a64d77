//! A JSON-RPC proxy that stands before a chain and misbehaves on demand.

use crate::contract::topic;
use alloy::providers::{Provider as _, RootProvider};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hub_chain::Endpoint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is wrong with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Answers with an HTTP status.
    Status(u16),
    /// Never answers.
    Hangs,
    /// Breaks off in the middle of its answer.
    HalfJson,
    /// Is on this chain.
    ChainId(u64),
    /// Has not heard of the newest blocks, and answers as if there were none.
    Behind(u64),
    /// Hides the newest log of every answer.
    HidesLog,
    /// Adds a log to every answer.
    InventsLog,
    /// The newest log of every answer is another contract's.
    OthersLog,
    /// It is in a later block than was asked for.
    LaterLog,
    /// Tells what became of another transaction.
    OthersReceipt,
    /// Changes the hash of every block but the first, and where logs and receipts say they are.
    OtherHashes,
    /// Changes what calls return.
    WrongCalls,
    /// Says that a transaction is in a block that is not there.
    InventsReceipt,
    /// Says it has taken transactions, and throws them away.
    SwallowsSends,
    /// Takes transactions without saying so, and does not say which ones it knows.
    LosesAnswers,
    /// Takes no transactions.
    NoSends,
    /// Says that this account's next nonce is far ahead.
    WrongNonce,
}

/// A chain behind a door that misbehaves.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: RootProvider,
    fault: Mutex<Fault>,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Proxy {
    pub(crate) async fn before(upstream: RootProvider) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
        });
        let mut proxy = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            shared,
            server: None,
        };
        proxy.open().await;
        proxy
    }

    /// Opens the door, at the same address as before.
    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let shared = self.shared.clone();
        let router = axum::Router::new().fallback(move |body: String| answer(shared.clone(), body));
        self.server = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        }));
    }

    /// Closes the door: connections are refused.
    pub(crate) async fn close(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        // Connections that are open already are answered by tasks of their own.
        self.set(Fault::Status(502));
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    pub(crate) fn endpoint(&self, place: usize) -> Endpoint {
        Endpoint::url(place, &self.url()).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/secret-key", self.address)
    }

    /// How often each method was asked since the last time.
    pub(crate) fn asked(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

async fn answer(shared: Arc<Shared>, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    *shared.asked.lock().unwrap().entry(method.clone()).or_default() += 1;
    let fault = *shared.fault.lock().unwrap();
    match fault {
        Fault::Hangs => std::future::pending().await,
        Fault::Status(status) => {
            return (StatusCode::from_u16(status).unwrap(), "out of order").into_response();
        }
        _ => {}
    }
    let known = method == "eth_getTransactionByHash";
    if fault == Fault::LosesAnswers && known {
        return (StatusCode::BAD_GATEWAY, "out of order").into_response();
    }
    let mut reply = json!({"jsonrpc": "2.0", "id": request["id"]});
    match respond(&shared.upstream, fault, &method, request["params"].clone()).await {
        Ok(_) if fault == Fault::LosesAnswers && method == "eth_sendRawTransaction" => {
            return (StatusCode::BAD_GATEWAY, "out of order").into_response();
        }
        Ok(result) => reply["result"] = result,
        // As most nodes say of what is in a block.
        Err(_) if fault == Fault::LosesAnswers && method == "eth_sendRawTransaction" => {
            reply["error"] = json!({"code": -32_000, "message": "nonce too low"});
        }
        Err(error) => reply["error"] = error,
    }
    let mut text = reply.to_string();
    if fault == Fault::HalfJson {
        text.truncate(text.len() / 2);
    }
    ([("content-type", "application/json")], text).into_response()
}

async fn forward(upstream: &RootProvider, method: &str, params: Value) -> Result<Value, Value> {
    let answer = upstream.raw_request::<_, Value>(method.to_owned().into(), params);
    answer.await.map_err(|error| match error.as_error_resp() {
        Some(payload) => serde_json::to_value(payload).unwrap(),
        None => json!({"code": -32_603, "message": error.to_string()}),
    })
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

async fn respond(upstream: &RootProvider, fault: Fault, method: &str, params: Value) -> Result<Value, Value> {
    if let Fault::Behind(blocks) = fault {
        return respond_late(upstream, blocks, method, params).await;
    }
    if fault == Fault::SwallowsSends && method == "eth_sendRawTransaction" {
        return Ok(json!(topic(1)));
    }
    if fault == Fault::WrongCalls && method == "eth_call" {
        return Ok(json!(topic(666)));
    }
    if fault == Fault::NoSends && method == "eth_sendRawTransaction" {
        return Err(json!({"code": -32_005, "message": "rate limit"}));
    }
    let hash = params[0].clone();
    let mut result = forward(upstream, method, params).await?;
    match (fault, method) {
        (Fault::ChainId(id), "eth_chainId") => result = json!(format!("{id:#x}")),
        (Fault::HidesLog, "eth_getLogs") => {
            result.as_array_mut().unwrap().pop();
        }
        (Fault::InventsLog, "eth_getLogs") => {
            let logs = result.as_array_mut().unwrap();
            if let Some(mut log) = logs.last().cloned() {
                log["logIndex"] = json!(format!("{:#x}", number(&log["logIndex"]).unwrap() + 1));
                log["topics"][1] = json!(topic(666));
                logs.push(log);
            }
        }
        (Fault::OthersLog | Fault::LaterLog, "eth_getLogs") => {
            if let Some(log) = result.as_array_mut().unwrap().last_mut() {
                let (field, value) = match fault {
                    Fault::OthersLog => ("address", json!(topic(666).to_string().get(..42))),
                    _ => ("blockNumber", json!("0xffff")),
                };
                log[field] = value;
            }
        }
        (Fault::OthersReceipt, "eth_getTransactionReceipt") if result.is_object() => {
            result["transactionHash"] = json!(topic(666));
        }
        (Fault::OtherHashes, "eth_getBlockByNumber") if number(&result["number"]) != Some(0) => {
            result["hash"] = json!(topic(number(&result["number"]).unwrap()));
        }
        (Fault::WrongNonce, "eth_getTransactionCount") => result = json!("0x1000"),
        (Fault::InventsReceipt, "eth_getTransactionReceipt") if result.is_null() => {
            result = json!({
                "transactionHash": hash, "blockHash": topic(1), "blockNumber": "0x1", "transactionIndex": "0x0",
                "status": "0x1", "gasUsed": "0x5208", "cumulativeGasUsed": "0x5208", "effectiveGasPrice": "0x1",
                "from": topic(1).to_string().get(..42), "to": topic(1).to_string().get(..42),
                "contractAddress": null, "logs": [], "type": "0x2",
                "logsBloom": format!("0x{}", "0".repeat(512)),
            });
        }
        _ => {}
    }
    Ok(result)
}

/// A node that has not got the newest `blocks` blocks. It leaves out what it does not know without saying so.
async fn respond_late(
    upstream: &RootProvider,
    blocks: u64,
    method: &str,
    mut params: Value,
) -> Result<Value, Value> {
    let newest = forward(upstream, "eth_blockNumber", json!([])).await?;
    let newest = number(&newest).unwrap().saturating_sub(blocks);
    let hex = json!(format!("{newest:#x}"));
    let pin = |value: &mut Value| {
        let tag = value.as_str().is_some_and(|tag| !tag.starts_with("0x"));
        if tag {
            *value = hex.clone();
        }
        number(value).is_some_and(|number| number > newest)
    };
    match method {
        "eth_blockNumber" => return Ok(hex),
        "eth_getBlockByNumber" if pin(&mut params[0]) => return Ok(Value::Null),
        "eth_call" | "eth_getBalance" | "eth_getCode" if pin(&mut params[1]) => {
            return Err(json!({"code": -32_000, "message": "header not found"}));
        }
        "eth_getLogs" => {
            if pin(&mut params[0]["fromBlock"]) {
                return Ok(json!([]));
            }
            if pin(&mut params[0]["toBlock"]) {
                params[0]["toBlock"] = hex;
            }
        }
        "eth_getTransactionReceipt" => {
            let receipt = forward(upstream, method, params).await?;
            let late = number(&receipt["blockNumber"]).is_some_and(|number| number > newest);
            return Ok(if late { Value::Null } else { receipt });
        }
        _ => {}
    }
    forward(upstream, method, params).await
}
