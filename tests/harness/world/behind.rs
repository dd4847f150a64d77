//! A node that has lost its peers: for a while it knows no block after the one at which it stood still, and answers as of
//! then. What is sent to it still gets through.

use alloy::{
    rpc::json_rpc::{
        ErrorPayload, Request, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{TransportError, TransportErrorKind},
};
use hub::chain::embedded::EmbeddedChain;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tower::Service as _;

/// One node's view of the chain.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    chain: EmbeddedChain,
    /// Until when it stands still, and the newest block that it knows.
    stands: Arc<Mutex<Option<(Instant, u64)>>>,
}

impl Behind {
    pub(super) fn new(chain: EmbeddedChain) -> Self {
        Self {
            chain,
            stands: Arc::default(),
        }
    }

    /// It knows no new block for so long from now, unless it stands still already.
    pub(super) fn stand_still(&self, by: Duration) {
        if self.head().is_none() {
            let head = self.chain.height().ok();
            self.set(head.map(|head| (Instant::now() + by, head)));
        }
    }

    /// It has its peers again.
    pub(super) fn catch_up(&self) {
        self.set(None);
    }

    fn set(&self, stands: Option<(Instant, u64)>) {
        *self.stands.lock().unwrap_or_else(PoisonError::into_inner) = stands;
    }

    /// The newest block it knows, while it stands still.
    fn head(&self) -> Option<u64> {
        let stands = *self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        stands
            .filter(|(until, _)| Instant::now() < *until)
            .map(|(_, head)| head)
    }

    /// What it answers. Errors: none of its own.
    pub(super) async fn call(&self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let (Some(head), Some(request)) = (self.head(), packet.as_single()) else {
            return self.chain.transport().call(packet).await;
        };
        let (method, id) = (request.method_clone(), request.id().clone());
        let payload = match asked(request, head) {
            Asked::Knows(result) => ResponsePayload::Success(to_raw_value(&result).map_err(unreadable)?),
            Asked::Lacks => ResponsePayload::Failure(ErrorPayload {
                code: -32_000,
                message: "header not found".into(),
                data: None,
            }),
            Asked::Chain(params) => {
                let request = Request::new(method.clone(), id.clone(), params);
                let request = request.serialize().map_err(unreadable)?;
                match self.chain.transport().call(request.into()).await? {
                    ResponsePacket::Single(Response {
                        payload: ResponsePayload::Success(result),
                        ..
                    }) => {
                        let result = serde_json::from_str(result.get()).map_err(unreadable)?;
                        let result = told(&method, result, head);
                        ResponsePayload::Success(to_raw_value(&result).map_err(unreadable)?)
                    }
                    refused => return Ok(refused),
                }
            }
        };
        Ok(ResponsePacket::Single(Response { id, payload }))
    }
}

fn unreadable(error: serde_json::Error) -> TransportError {
    TransportErrorKind::custom(error)
}

/// What becomes of a question.
enum Asked {
    /// The node answers it itself.
    Knows(Value),
    /// The node has no such block.
    Lacks,
    /// The chain does, asked in these words.
    Chain(Vec<Value>),
}

/// A question to a node whose newest block is `head`.
fn asked(request: &SerializedRequest, head: u64) -> Asked {
    let newest = Value::from(format!("{head:#x}"));
    let params = request.params().map_or("[]", RawValue::get);
    let mut params: Vec<Value> = serde_json::from_str(params).unwrap_or_default();
    let method = request.method();
    let at = match method {
        "eth_blockNumber" => return Asked::Knows(newest),
        "eth_getLogs" => return logs(params, head),
        "eth_getBlockByNumber" => 0,
        "eth_call"
        | "eth_estimateGas"
        | "eth_getTransactionCount"
        | "eth_getBalance"
        | "eth_getCode"
        | "eth_feeHistory" => 1,
        "eth_getStorageAt" => 2,
        _ => return Asked::Chain(params),
    };
    let tag = params.get(at).map(|block| block.as_str().unwrap_or_default());
    match (number(params.get(at)), tag) {
        (Some(number), _) if number > head && method == "eth_getBlockByNumber" => Asked::Knows(Value::Null),
        (Some(number), _) if number > head => Asked::Lacks,
        // What waits is known to it: it was told.
        (None, Some("pending")) if method == "eth_getTransactionCount" => Asked::Chain(params),
        (None, None | Some("latest" | "pending" | "safe" | "finalized")) => {
            params.resize(params.len().max(at + 1), Value::Null);
            params[at] = newest;
            Asked::Chain(params)
        }
        _ => Asked::Chain(params),
    }
}

fn logs(mut params: Vec<Value>, head: u64) -> Asked {
    if let Some(filter) = params.first_mut().and_then(Value::as_object_mut)
        && !filter.contains_key("blockHash")
    {
        if number(filter.get("fromBlock")).is_some_and(|from| from > head) {
            return Asked::Knows(Value::Array(Vec::new()));
        }
        if number(filter.get("toBlock")).is_none_or(|to| to > head) {
            filter.insert("toBlock".to_owned(), format!("{head:#x}").into());
        }
    }
    Asked::Chain(params)
}

/// An answer of the chain as a node gives it whose newest block is `head`.
fn told(method: &str, mut answer: Value, head: u64) -> Value {
    let newer = |of: &Value, field: &str| number(of.get(field)).is_some_and(|number| number > head);
    match method {
        "eth_getBlockByHash" if newer(&answer, "number") => Value::Null,
        "eth_getTransactionReceipt" if newer(&answer, "blockNumber") => Value::Null,
        "eth_getTransactionByHash" if newer(&answer, "blockNumber") => {
            for field in ["blockNumber", "blockHash", "transactionIndex"] {
                answer[field] = Value::Null;
            }
            answer
        }
        "eth_getLogs" => {
            if let Some(logs) = answer.as_array_mut() {
                logs.retain(|log| !newer(log, "blockNumber"));
            }
            answer
        }
        _ => answer,
    }
}

/// A block's number; `None`: a tag, or nothing.
fn number(of: Option<&Value>) -> Option<u64> {
    let digits = of?.as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{rpc::json_rpc::Id, signers::local::PrivateKeySigner};
    use hub::{
        app::dev,
        chain::{
            AlloyChain, ChainOptions,
            embedded::{DEV_ACCOUNTS, EmbeddedConfig},
        },
    };
    use serde_json::json;

    async fn ask(node: &Behind, method: &'static str, params: Value) -> Result<Value, String> {
        let request = Request::new(method, Id::Number(1), params).serialize().unwrap();
        let ResponsePacket::Single(response) = node.call(request.into()).await.unwrap() else {
            unreachable!("one question");
        };
        match response.payload {
            ResponsePayload::Success(result) => Ok(serde_json::from_str(result.get()).unwrap()),
            ResponsePayload::Failure(failure) => Err(failure.message.into_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stands_still_answers_as_of_then_and_catches_up() {
        let chain = EmbeddedChain::new(EmbeddedConfig::default());
        chain.request("evm_mine", None).unwrap();
        let node = Behind::new(chain.clone());
        node.stand_still(Duration::from_secs(5));
        // Some blocks with logs.
        let signer = PrivateKeySigner::from_bytes(&DEV_ACCOUNTS[0].private_key).unwrap();
        let options = ChainOptions {
            signer: Some(signer),
            ..ChainOptions::default()
        };
        let port = AlloyChain::embedded(&chain, options).await.unwrap();
        let deployed = dev::deploy(&port).await.unwrap();
        dev::fund_vault(&port, deployed, DEV_ACCOUNTS[0].address, 1)
            .await
            .unwrap();
        let truth = Behind::new(chain.clone());
        let last = format!("{:#x}", chain.height().unwrap());
        let block = ask(&truth, "eth_getBlockByNumber", json!([last, false]))
            .await
            .unwrap();
        let sent = &block["transactions"][0];
        let everything = json!([{"fromBlock": "0x0"}]);
        let logs = ask(&truth, "eth_getLogs", everything.clone()).await.unwrap();
        assert!(!logs.as_array().unwrap().is_empty());

        let nothing = || Ok(json!([]));
        for (method, params, expected) in [
            ("eth_blockNumber", json!([]), Ok(json!("0x1"))),
            ("eth_getBlockByNumber", json!([last, false]), Ok(Value::Null)),
            (
                "eth_getBlockByHash",
                json!([block["hash"], false]),
                Ok(Value::Null),
            ),
            ("eth_getTransactionReceipt", json!([sent]), Ok(Value::Null)),
            ("eth_getLogs", json!([{"fromBlock": last}]), nothing()),
            ("eth_getLogs", everything.clone(), nothing()),
            ("eth_getLogs", json!([{"blockHash": block["hash"]}]), nothing()),
            ("eth_getCode", json!([deployed.token, "latest"]), Ok(json!("0x"))),
            (
                "eth_getCode",
                json!([deployed.token, last]),
                Err("header not found".to_owned()),
            ),
            ("eth_chainId", json!([]), Ok(json!("0x7a69"))),
        ] {
            assert_eq!(ask(&node, method, params).await, expected, "{method}");
        }
        let newest = ask(&node, "eth_getBlockByNumber", json!(["latest", false]))
            .await
            .unwrap();
        assert_eq!(newest["number"], "0x1");
        let waits = ask(&node, "eth_getTransactionByHash", json!([sent]))
            .await
            .unwrap();
        assert_eq!((&waits["hash"], &waits["blockNumber"]), (sent, &Value::Null));

        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(ask(&node, "eth_getLogs", everything).await, Ok(logs));
        node.stand_still(Duration::from_secs(5));
        node.catch_up();
        chain.request("evm_mine", None).unwrap();
        let height = json!(format!("{:#x}", chain.height().unwrap()));
        assert_eq!(ask(&node, "eth_blockNumber", json!([])).await, Ok(height));
    }
}
