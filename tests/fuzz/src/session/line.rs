//! One connection: bytes and messages out, and what must be true of whatever comes back.

use super::hub::Hub;
use futures::{FutureExt, SinkExt, StreamExt};
use hub::session::login_digest;
use protocol_spec::{
    SignerKey,
    message::{
        Challenge, LoginCall, Message, Notification, Reply, Request, RpcError, SUBPROTOCOL_BORSH,
        SUBPROTOCOL_JSON, binary, json,
    },
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message as Frame, client::IntoClientRequest, http::HeaderValue},
};

/// The hub reads slowly when it is flooded; nobody waits longer for it.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Line {
    socket: WebSocketStream<DuplexStream>,
    pub(super) borsh: bool,
    pub(super) challenge: Option<Challenge>,
    pub(super) ended: bool,
    /// Requests of which it is certain that the hub understood them and has not answered yet.
    waiting: BTreeSet<u64>,
    /// Messages for which an answer without a known id may come.
    odd: usize,
    /// Something went out that was no whole message: what follows it may be taken for a part of it.
    torn: bool,
    next_id: u64,
}

pub(super) type Answer = (Option<u64>, Result<Reply, RpcError>);

impl Line {
    /// A connection after an honest handshake.
    pub(super) async fn open(hub: &mut Hub, borsh: bool) -> Self {
        let name = if borsh {
            SUBPROTOCOL_BORSH
        } else {
            SUBPROTOCOL_JSON
        };
        let mut request = "ws://hub.test/".into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(name));
        let (socket, _) = client_async(request, hub.dial())
            .await
            .expect("an honest handshake");
        Self {
            socket,
            borsh,
            challenge: None,
            ended: false,
            waiting: BTreeSet::new(),
            odd: 0,
            torn: false,
            next_id: 1,
        }
    }

    async fn send(&mut self, frame: Frame) {
        let sent = timeout(PATIENCE, self.socket.send(frame)).await;
        self.ended |= !matches!(sent, Ok(Ok(())));
    }

    fn encoded(&self, message: &Message) -> Vec<u8> {
        match self.borsh {
            true => binary::encode(message),
            false => json::encode(message).into_bytes(),
        }
    }

    /// The bytes of a request under the next id.
    pub(super) fn request(&mut self, call: Request) -> (u64, Vec<u8>) {
        let id = self.next_id;
        self.next_id += 1;
        let message = Message::Request {
            id,
            call: Box::new(call),
        };
        (id, self.encoded(&message))
    }

    /// A call, whose answer must come.
    pub(super) async fn call(&mut self, call: Request) -> u64 {
        let (id, bytes) = self.request(call);
        match self.torn {
            true => self.odd += 1,
            false => drop(self.waiting.insert(id)),
        }
        self.message(bytes).await;
        id
    }

    async fn message(&mut self, bytes: Vec<u8>) {
        let frame = match String::from_utf8(bytes) {
            Ok(text) if !self.borsh => Frame::text(text),
            Ok(text) => Frame::binary(text.into_bytes()),
            Err(error) => Frame::binary(error.into_bytes()),
        };
        self.send(frame).await;
    }

    /// What the hub would read in `bytes`.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Message> {
        match self.borsh {
            true => binary::decode(bytes).ok(),
            false => json::decode(std::str::from_utf8(bytes).ok()?).ok(),
        }
    }

    /// Any message.
    pub(super) async fn odd(&mut self, bytes: Vec<u8>) {
        self.odd += 1;
        self.message(bytes).await;
    }

    /// A control frame, or a message in the wrong kind of frame.
    pub(super) async fn frame(&mut self, frame: Frame) {
        self.odd += 1;
        self.send(frame).await;
    }

    /// A piece of a message: what follows may be taken for the rest of it.
    pub(super) async fn fragment(&mut self, frame: Frame) {
        self.torn = true;
        self.odd += self.waiting.len();
        self.waiting.clear();
        self.frame(frame).await;
    }

    /// Bytes that are no frame.
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.torn = true;
        self.odd += self.waiting.len();
        // Bytes can be frames, of messages as many as they like.
        self.odd += bytes.len();
        self.waiting.clear();
        let written = timeout(PATIENCE, self.socket.get_mut().write_all(bytes)).await;
        self.ended |= !matches!(written, Ok(Ok(())));
    }

    /// What `key` signs to log in; `None` before the challenge came.
    pub(super) fn login(&self, key: &SignerKey) -> Option<LoginCall> {
        let challenge = self.challenge.as_ref()?;
        let name = if self.borsh {
            SUBPROTOCOL_BORSH
        } else {
            SUBPROTOCOL_JSON
        };
        let digest = login_digest(&challenge.hub, challenge.nonce, key.address(), name);
        Some(LoginCall {
            signer: key.address(),
            signature: key.sign(&digest),
        })
    }

    /// Everything that came. The hub speaks its own protocol, answers no request twice, and none that was not asked.
    pub(super) fn hear(&mut self) -> Vec<Message> {
        let mut heard = Vec::new();
        while !self.ended {
            let message = match self.socket.next().now_or_never() {
                None => break,
                Some(Some(Ok(Frame::Text(text)))) => json::decode(&text).expect("the hub's JSON"),
                Some(Some(Ok(Frame::Binary(bytes)))) => binary::decode(&bytes).expect("the hub's Borsh"),
                Some(Some(Ok(Frame::Close(_)) | Err(_)) | None) => {
                    self.ended = true;
                    break;
                }
                Some(Some(Ok(_))) => continue,
            };
            match &message {
                Message::Response { id, .. } => {
                    let asked = id.is_some_and(|id| self.waiting.remove(&id));
                    if !asked {
                        assert!(self.odd > 0, "an answer to nothing: {message:?}");
                        self.odd -= 1;
                    }
                }
                Message::Notification(told) => {
                    if let Notification::Challenge(challenge) = &**told {
                        self.challenge = Some(challenge.clone());
                    }
                }
                Message::Request { .. } => panic!("the hub asks: {message:?}"),
            }
            heard.push(message);
        }
        heard
    }

    /// Asked once nobody has anything to do: every request was answered, or the connection has ended.
    pub(super) fn must_be_answered(&self) {
        assert!(
            self.ended || self.waiting.is_empty(),
            "not answered: {:?}",
            self.waiting
        );
    }
}

/// Bytes instead of a handshake, and whatever comes back.
pub(super) async fn knock(hub: &mut Hub, bytes: &[u8]) {
    let mut stream = hub.dial();
    let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
    hub.settle().await;
    let mut answer = vec![0; 4096];
    if let Some(Ok(count)) = stream.read(&mut answer).now_or_never()
        && count > 0
    {
        assert!(
            answer.starts_with(b"HTTP/1.1 "),
            "the hub speaks HTTP before a handshake"
        );
    }
}
