//! The way to one node: honest answers of the embedded chain, bent as the bytes say, and a record of what was told.

use super::{
    bend::{Bend, Sent, bent},
    world::World,
};
use alloy::{
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket, RpcError, SerializedRequest},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use serde_json::Value;
use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::sleep;
use tower::Service;

/// More requests than any operation needs.
const REQUESTS_MAX: usize = 3_000;

/// A request, and what was answered.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) method: String,
    pub(super) params: Value,
    /// What was sent.
    body: Vec<u8>,
    pub(super) bent: bool,
    /// Its number, where the way there tells answers apart by it.
    id: Option<Value>,
}

impl Told {
    /// The result, if this was an answer that has one and no error.
    pub(super) fn result(&self) -> Option<Value> {
        let mut answer = self.answer()?;
        let fits = self.id.is_none() || self.id.as_ref() == answer.get("id");
        match answer.get("error") {
            Some(error) if !error.is_null() => None,
            _ => Some(answer.get_mut("result").map_or(Value::Null, Value::take)).filter(|_| fits),
        }
    }

    /// As JSON, if it is that.
    pub(super) fn answer(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[derive(Default)]
struct State {
    bends: Vec<Bend>,
    told: Vec<Told>,
}

/// Shared by all clones.
#[derive(Clone)]
pub(super) struct Wire {
    world: Arc<World>,
    state: Arc<Mutex<State>>,
    /// Whether ids are compared on the way.
    by_id: bool,
}

impl Wire {
    pub(super) fn new(world: Arc<World>, by_id: bool) -> Self {
        Self {
            world,
            by_id,
            state: Arc::default(),
        }
    }

    pub(super) fn client(&self) -> RpcClient {
        RpcClient::new(self.clone(), true)
    }

    /// From here on answers are bent like this, and what was told before is forgotten.
    pub(super) fn begin(&self, bends: Vec<Bend>) {
        let mut state = self.state();
        state.bends = bends;
        state.told.clear();
    }

    /// What was told since [`Self::begin`].
    pub(super) fn told(&self) -> Vec<Told> {
        self.state().told.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The answer to a request, and what of it can be read, which is written down.
    pub(super) fn answer(&self, id: &Value, method: &str, params: &Value) -> Sent {
        let honest = self.world.response(id, method, params);
        let mut state = self.state();
        let number = state.told.len();
        assert!(number < REQUESTS_MAX, "requests without end: {method}");
        let bends: Vec<&Bend> = state.bends.iter().filter(|bend| bend.is_for(number)).collect();
        let (sent, bent) = match bends.is_empty() {
            true => (Sent::Body(honest.into_bytes(), Duration::ZERO), false),
            false => {
                let answer: Value = serde_json::from_str(&honest).unwrap();
                let straight = Sent::Body(serde_json::to_vec(&answer).unwrap(), Duration::ZERO);
                let sent = bent(answer, &bends, &self.world);
                let bent = sent != straight;
                (sent, bent)
            }
        };
        let body = match &sent {
            Sent::Body(body, _) | Sent::Status(_, body) => body.clone(),
            Sent::Lost | Sent::Silence => Vec::new(),
        };
        state.told.push(Told {
            method: method.to_owned(),
            params: params.clone(),
            body,
            bent,
            id: self.by_id.then(|| id.clone()),
        });
        sent
    }

    async fn respond(self, request: SerializedRequest) -> Result<ResponsePacket, TransportError> {
        let id = serde_json::to_value(request.id()).unwrap();
        let params = request.params().map_or("[]", |params| params.get());
        match self.answer(&id, request.method(), &serde_json::from_str(params).unwrap()) {
            Sent::Body(body, after) => {
                if !after.is_zero() {
                    sleep(after).await;
                }
                let text = || String::from_utf8_lossy(&body).into_owned();
                serde_json::from_slice(&body).map_err(|error| RpcError::deser_err(error, text()))
            }
            Sent::Status(status, body) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                Err(TransportErrorKind::http_error(status, text))
            }
            Sent::Lost => Err(TransportErrorKind::custom_str("the connection broke")),
            Sent::Silence => pending().await,
        }
    }
}

impl Service<RequestPacket> for Wire {
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
                RequestPacket::Single(request) => this.respond(request).await,
                RequestPacket::Batch(_) => panic!("the chain port asks one by one"),
            }
        })
    }
}
