//! The HTTP door of the embedded chain: JSON-RPC on loopback, for `cast`, wallets and other processes.

use super::EmbeddedChain;
use super::failure::RpcFailure;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Most bytes of one HTTP request.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most requests of one batch.
const BATCH_MAX: usize = 1_000;

/// A running HTTP door; dropping it closes the door.
#[derive(Debug)]
pub struct ServedChain {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl ServedChain {
    /// Where it listens; the port is the real one even if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers what is under way and closes the door.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for ServedChain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens the door; only loopback addresses are accepted, because the control methods need no password.
pub(super) async fn serve(chain: EmbeddedChain, address: SocketAddr) -> io::Result<ServedChain> {
    if !address.ip().is_loopback() {
        let text = format!("the embedded chain serves only loopback addresses, not {address}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/", post(answer))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(chain);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let closing = async move {
            let _ = stopped.await;
        };
        if let Err(error) = axum::serve(listener, router)
            .with_graceful_shutdown(closing)
            .await
        {
            tracing::error!(%error, "the embedded chain's HTTP door failed");
        }
    });
    Ok(ServedChain {
        address,
        stop: Some(stop),
        task,
    })
}

async fn answer(State(chain): State<EmbeddedChain>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_local(&headers) {
        return (
            StatusCode::FORBIDDEN,
            "only loopback hosts may talk to this chain",
        )
            .into_response();
    }
    if !is_json(&headers) {
        return (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type must be application/json",
        )
            .into_response();
    }
    let reply = reply(&chain, &body);
    ([(header::CONTENT_TYPE, "application/json")], reply).into_response()
}

/// A page of another site that resolves to 127.0.0.1 (DNS rebinding) carries its own name here.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.parse::<axum::http::uri::Authority>() {
        Ok(authority) => authority.host().trim_matches(['[', ']']).to_owned(),
        Err(_) => return false,
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers ask before they send JSON across sites, and are not answered.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim() == "application/json")
}

#[derive(serde::Deserialize)]
struct Request<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Reply<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RpcFailure>,
}

impl<'a> Reply<'a> {
    fn new(id: Option<&'a RawValue>, answer: Result<Box<RawValue>, RpcFailure>) -> Self {
        let (result, error) = match answer {
            Ok(result) => (Some(result), None),
            Err(failure) => (None, Some(failure)),
        };
        Self {
            jsonrpc: "2.0",
            id,
            result,
            error,
        }
    }
}

fn reply(chain: &EmbeddedChain, body: &[u8]) -> String {
    let is_batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let text = if is_batch {
        match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(requests) if requests.len() > BATCH_MAX => serde_json::to_string(&Reply::new(
                None,
                Err(RpcFailure::limit(format!(
                    "at most {BATCH_MAX} requests in a batch"
                ))),
            )),
            Ok(requests) => {
                let replies: Vec<_> = requests
                    .into_iter()
                    .map(|raw| reply_one(chain, raw.get().as_bytes()))
                    .collect();
                serde_json::to_string(&replies)
            }
            Err(error) => serde_json::to_string(&Reply::new(None, Err(RpcFailure::parse(error)))),
        }
    } else {
        serde_json::to_string(&reply_one(chain, body))
    };
    text.unwrap_or_else(|error| {
        tracing::error!(%error, "a reply could not be written as JSON");
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"Internal error"}}"#.to_owned()
    })
}

fn reply_one<'a>(chain: &EmbeddedChain, body: &'a [u8]) -> Reply<'a> {
    match serde_json::from_slice::<Request<'a>>(body) {
        Ok(request) => Reply::new(request.id, chain.request(&request.method, request.params)),
        Err(error) => Reply::new(None, Err(RpcFailure::parse(error))),
    }
}
