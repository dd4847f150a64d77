//! Several nodes behind one transport, none of which is believed alone: what is read counts when enough of them give the
//! same answer. The port over several nodes in `hub/chain` has its own sending queue and no simulation; here every request
//! of [`super::Node`] is put to all nodes as it is.

mod ballot;

use super::exit::SettleError;
use alloy::{
    eips::BlockNumberOrTag,
    providers::{DynProvider, Provider as _},
    rpc::json_rpc::{
        ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{RpcError, TransportError, TransportErrorKind, TransportFut},
};
use ballot::{Answer, Ballot};
use futures::future::join_all;
use serde_json::{Value, json, value::RawValue};
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;

/// A node that takes longer has no vote. Three rounds fit into the time limit of a request.
const PATIENCE: Duration = Duration::from_secs(6);
/// Blocks below the newest that enough nodes have, in which one that they agree about is looked for.
const HEADS_MAX: u64 = 4;

/// The nodes, and how many of them must give the same answer: at least one, at most all.
#[derive(Clone, Debug)]
pub(super) struct Agreeing {
    nodes: Arc<Vec<DynProvider>>,
    agree: usize,
}

impl Agreeing {
    /// # Errors
    /// [`SettleError::Usage`] when `agree` is not from one to the number of nodes.
    pub(super) fn new(nodes: Vec<DynProvider>, agree: usize) -> Result<Self, SettleError> {
        match (1..=nodes.len()).contains(&agree) {
            true => Ok(Self {
                nodes: Arc::new(nodes),
                agree,
            }),
            false => Err(SettleError::Usage(format!(
                "--agree {agree} of {} nodes: name that many by --rpc-url, each once",
                nodes.len()
            ))),
        }
    }

    async fn ask(&self, method: &str, params: &Value) -> Vec<Answer> {
        let asked = self.nodes.iter().map(|node| async move {
            let params = RawValue::from_string(params.to_string()).map_err(RpcError::ser_err)?;
            let request = node.raw_request_dyn(method.to_owned().into(), &params);
            let late = || TransportErrorKind::custom_str("no answer in time");
            let answer = tokio::time::timeout(PATIENCE, request)
                .await
                .map_err(|_| late())??;
            serde_json::from_str(answer.get()).map_err(|error| RpcError::deser_err(error, answer.get()))
        });
        join_all(asked).await
    }

    async fn vote(&self, method: &str, params: &Value) -> Result<Value, TransportError> {
        Ballot::new(method, self.agree).count(self.ask(method, params).await)
    }

    /// The newest block that enough nodes have in common.
    async fn head(&self) -> Result<Value, TransportError> {
        let number = |block: &Value| ballot::number(block.get("number")?);
        let latest = json!([BlockNumberOrTag::Latest, false]);
        let answers = self.ask("eth_getBlockByNumber", &latest).await;
        let top = ballot::nth_highest(&answers, self.agree, number).cloned();
        let mut at = top
            .as_ref()
            .and_then(number)
            .ok_or_else(|| TransportErrorKind::custom_str("not enough nodes told their newest block"))?;
        let mut last = None;
        for _ in 0..HEADS_MAX {
            let params = json!([BlockNumberOrTag::Number(at), false]);
            match self.vote("eth_getBlockByNumber", &params).await {
                Ok(block) if !block.is_null() => return Ok(block),
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
            at = at.saturating_sub(1);
        }
        Err(last.unwrap_or_else(|| TransportErrorKind::custom_str("the nodes have no block in common")))
    }

    async fn answer(&self, method: &str, mut params: Value) -> Result<Value, TransportError> {
        let latest = json!(BlockNumberOrTag::Latest);
        if method == "eth_getBlockByNumber" && params.get(0) == Some(&latest) {
            return self.head().await;
        }
        // "The newest" is another block at each node.
        let pinned = ["eth_call", "eth_estimateGas", "eth_getCode", "eth_getBalance"].contains(&method);
        if let Some(block) = params.get_mut(1).filter(|block| pinned && **block == latest) {
            let head = self.head().await?;
            *block = head.get("number").cloned().unwrap_or(latest);
        }
        self.vote(method, &params).await
    }

    async fn respond(&self, request: &SerializedRequest) -> Result<Response, TransportError> {
        let params = request.params().map_or("[]", RawValue::get);
        let params = serde_json::from_str(params).map_err(RpcError::ser_err)?;
        let payload = match self.answer(request.method(), params).await {
            Ok(value) => {
                ResponsePayload::Success(RawValue::from_string(value.to_string()).map_err(RpcError::ser_err)?)
            }
            Err(RpcError::ErrorResp(said)) => ResponsePayload::Failure(said),
            Err(error) => return Err(error),
        };
        Ok(Response {
            id: request.id().clone(),
            payload,
        })
    }
}

impl Service<RequestPacket> for Agreeing {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            match packet {
                RequestPacket::Single(request) => Ok(ResponsePacket::Single(this.respond(&request).await?)),
                RequestPacket::Batch(requests) => {
                    let mut all = Vec::new();
                    for request in &requests {
                        all.push(this.respond(request).await?);
                    }
                    Ok(ResponsePacket::Batch(all))
                }
            }
        })
    }
}

/// What a node answered that it will not do.
pub(super) type Said = ErrorPayload;
