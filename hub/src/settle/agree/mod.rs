//! Several nodes behind one transport, none of which is believed alone: what is read counts when enough of them give the
//! same answer. The port over several nodes in `hub/chain` has its own sending queue and no simulation; here every request
//! of [`super::Node`] is put to the nodes as it is.
//!
//! Who hangs keeps nobody waiting for long. Once those that answered have decided, the others have 250 ms left. A node
//! that is slow rests, then is asked again, and is waited for again when it answers in time; while fewer than `agree`
//! others are prompt, or do not decide it, it is asked and waited for all the same.

mod ballot;
mod member;
mod merge;

use super::exit::SettleError;
use alloy::{
    eips::BlockNumberOrTag,
    providers::DynProvider,
    rpc::json_rpc::{
        ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{RpcError, TransportError, TransportErrorKind, TransportFut},
};
pub(super) use ballot::is_known_already;
use ballot::{Answer, Ballot, HEADS};
use futures::{StreamExt as _, stream::FuturesUnordered};
use member::Member;
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use tower::Service;

/// What the others have left once it is decided.
const GRACE: Duration = Duration::from_millis(250);
/// Blocks below the newest that enough nodes have, in which one that they agree about is looked for.
const HEADS_MAX: u64 = 4;

/// The nodes, and how many of them must give the same answer: at least one, at most all.
#[derive(Clone, Debug)]
pub(super) struct Agreeing {
    nodes: Arc<Vec<Arc<Member>>>,
    agree: usize,
}

impl Agreeing {
    /// # Errors
    /// [`SettleError::Usage`] when `agree` is not from one to the number of nodes.
    pub(super) fn new(nodes: Vec<DynProvider>, agree: usize) -> Result<Self, SettleError> {
        match (1..=nodes.len()).contains(&agree) {
            true => Ok(Self {
                nodes: Arc::new(
                    nodes
                        .into_iter()
                        .map(|node| Arc::new(Member::new(node)))
                        .collect(),
                ),
                agree,
            }),
            false => Err(SettleError::Usage(format!(
                "--agree {agree} of {} nodes: name that many by --rpc-url, each once",
                nodes.len()
            ))),
        }
    }

    /// What the nodes answer; of those that were not waited for, nothing.
    async fn ask(&self, ballot: &Ballot<'_>, method: &str, params: &Value) -> Vec<Answer> {
        let cast = |at: usize, node: &Arc<Member>| {
            let answer = node.clone().ask(method.to_owned(), params.clone());
            async move { (at, answer.await) }
        };
        let nodes = || self.nodes.iter().enumerate();
        let prompt: BTreeSet<usize> = nodes()
            .filter(|(_, node)| node.is_prompt())
            .map(|(at, _)| at)
            .collect();
        let enough = prompt.len() >= self.agree;
        let (now, mut later): (Vec<_>, Vec<_>) =
            nodes().partition(|(_, node)| !enough || ballot.is_for_all() || node.is_ready());
        let mut under_way: FuturesUnordered<_> = now.iter().map(|(at, node)| cast(*at, node)).collect();
        let mut awaited: BTreeSet<usize> = match enough {
            true => prompt,
            false => now.iter().map(|(at, _)| *at).collect(),
        };
        let (mut answers, mut grace) = (BTreeMap::new(), None);
        loop {
            let unheard = self.nodes.len().saturating_sub(answers.len());
            let decided = grace.is_some() || ballot.is_decided(answers.values(), unheard, awaited.is_empty());
            match (decided, awaited.is_empty()) {
                (true, true) => break,
                (true, false) => grace = grace.or_else(|| Instant::now().checked_add(GRACE)),
                (false, true) => {
                    // Those that were to be spared have to decide it.
                    under_way.extend(later.drain(..).map(|(at, node)| cast(at, node)));
                    let unheard = nodes().map(|(at, _)| at);
                    awaited = unheard.filter(|at| !answers.contains_key(at)).collect();
                }
                (false, false) => {}
            }
            let over = async {
                match grace {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = under_way.next() => match answer {
                    Some((at, answer)) => {
                        awaited.remove(&at);
                        answers.insert(at, answer);
                    }
                    None => break,
                },
                () = over => break,
            }
        }
        answers.into_values().collect()
    }

    async fn vote(&self, method: &str, params: &Value) -> Result<Value, TransportError> {
        let ballot = Ballot::new(method, self.agree);
        ballot.count(self.ask(&ballot, method, params).await)
    }

    /// The newest block that enough nodes have in common.
    async fn head(&self) -> Result<Value, TransportError> {
        let latest = json!([BlockNumberOrTag::Latest, false]);
        let ballot = Ballot::new(HEADS, self.agree);
        let answers = self.ask(&ballot, "eth_getBlockByNumber", &latest).await;
        let top = ballot::nth_highest(&answers, self.agree, ballot::height).cloned();
        let mut at = top
            .as_ref()
            .and_then(ballot::height)
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

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used, reason = "test code")]
mod tests;
