//! The JSON-RPC 2.0 encoding. One object per WebSocket text message; batches are not used.

use super::{ErrorCode, Message, Notification, Reply, Request, RpcError};
use crate::limits;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const METHODS: &[&str] = &[
    "login",
    "register",
    "resume",
    "voucher",
    "quote",
    "payment",
    "subscribe",
    "unsubscribe",
    "withdraw",
    "close",
    "cancel_dispute",
    "channel",
    "info",
    "ping",
    "reveal",
    "consent",
    "capacity",
    "prepare_close",
];

const NOTIFICATIONS: &[&str] = &[
    "challenge",
    "voucher",
    "event",
    "channel",
    "reveal",
    "consent",
    "release",
];

#[derive(Serialize)]
struct Outgoing<'a, T: Serialize> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Reply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RpcError>,
}

/// Encodes a message.
#[must_use]
pub fn encode(message: &Message) -> String {
    // These types have string keys and no maps, so serialisation cannot fail.
    match message {
        Message::Request { id, call } => serde_json::to_string(&Outgoing {
            jsonrpc: "2.0",
            id: Some(*id),
            body: call.as_ref(),
        }),
        Message::Notification(body) => serde_json::to_string(&Outgoing {
            jsonrpc: "2.0",
            id: None,
            body: body.as_ref(),
        }),
        Message::Response { id, result } => serde_json::to_string(&Answer {
            jsonrpc: "2.0",
            id: *id,
            result: result.as_ref().ok().map(AsRef::as_ref),
            error: result.as_ref().err(),
        }),
    }
    .unwrap_or_default()
}

/// Decodes a message. On an error also gives the request's id, if it could be read, so that the answer can carry it.
/// Errors: `MessageTooLarge`, `ParseError`, `InvalidRequest`, `MethodNotFound`, `InvalidParams`.
#[expect(
    clippy::result_large_err,
    reason = "the error becomes an answer at once; a Box would only move it"
)]
pub fn decode(text: &str) -> Result<Message, (Option<u64>, RpcError)> {
    if text.len() > limits::MESSAGE_BYTES_MAX {
        let error = RpcError::of(ErrorCode::MessageTooLarge).with(limits::MESSAGE_BYTES_MAX, text.len());
        return Err((None, error));
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::ParseError
        };
        (None, RpcError::because(code, error.to_string()))
    })?;
    let id = envelope.id;
    envelope.into_message().map_err(|error| (id, error))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    jsonrpc: String,
    #[serde(default)]
    id: Option<u64>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

impl Envelope<'_> {
    fn into_message(self) -> Result<Message, RpcError> {
        if self.jsonrpc != "2.0" {
            return Err(RpcError::of(ErrorCode::InvalidRequest).with("2.0", self.jsonrpc));
        }
        match (self.id, self.method, self.result, self.error) {
            (Some(id), Some(method), None, None) => request(id, method, self.params),
            (None, Some(method), None, None) => {
                known(NOTIFICATIONS, &method)?;
                let body: Notification = typed(&tagged(&method, self.params))?;
                Ok(Message::Notification(Box::new(body)))
            }
            (id, None, Some(result), None) => Ok(Message::Response {
                id,
                result: Ok(Box::new(typed(result.get())?)),
            }),
            (id, None, None, Some(error)) => Ok(Message::Response {
                id,
                result: Err(error),
            }),
            _ => Err(RpcError::of(ErrorCode::InvalidRequest)),
        }
    }
}

fn request(id: u64, method: String, params: Option<&RawValue>) -> Result<Message, RpcError> {
    known(METHODS, &method)?;
    let call: Request = typed(&tagged(&method, params))?;
    Ok(Message::Request {
        id,
        call: Box::new(call),
    })
}

fn known(methods: &[&str], method: &str) -> Result<(), RpcError> {
    if methods.contains(&method) {
        return Ok(());
    }
    // A method as long as the whole message is not sent back.
    let got: String = method.chars().take(64).collect();
    Err(RpcError::of(ErrorCode::MethodNotFound).with(methods.join(" "), got))
}

/// The text that the adjacently tagged enums read. Parsing text, not a tree, keeps duplicate keys an error.
fn tagged(method: &str, params: Option<&RawValue>) -> String {
    let method = serde_json::Value::from(method);
    format!(
        r#"{{"method":{method},"params":{}}}"#,
        params.map_or("{}", RawValue::get)
    )
}

fn typed<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, RpcError> {
    serde_json::from_str(text).map_err(|error| RpcError::because(ErrorCode::InvalidParams, error.to_string()))
}
