//! A session without the SDK: for what an honest client never says.

use client_sdk::SignerKey;
use futures::{SinkExt, StreamExt};
use hub::session::login_digest;
use protocol_spec::message::{
    LoginCall, Message, Notification, Reply, Request, RpcError, SUBPROTOCOL_JSON, json,
};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message as Frame, client::IntoClientRequest, http::HeaderValue},
};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Raw {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl Raw {
    /// Logs in by `key`, in whoever's place.
    pub(crate) async fn log_in(hub: SocketAddr, key: &SignerKey) -> Self {
        let stream = TcpStream::connect(hub).await.unwrap();
        let mut request = format!("ws://{hub}/").into_client_request().unwrap();
        let name = HeaderValue::from_static(SUBPROTOCOL_JSON);
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        let (socket, _) = client_async(request, stream).await.unwrap();
        let mut raw = Self { socket, next_id: 1 };
        let challenge = loop {
            if let Message::Notification(told) = raw.hear().await
                && let Notification::Challenge(challenge) = *told
            {
                break challenge;
            }
        };
        let digest = login_digest(&challenge.hub, challenge.nonce, key.address(), SUBPROTOCOL_JSON);
        let call = LoginCall {
            signer: key.address(),
            signature: key.sign(&digest),
        };
        raw.call(Request::Login(call)).await.unwrap();
        raw
    }

    pub(crate) async fn call(&mut self, call: Request) -> Result<Reply, RpcError> {
        let sent = self.next_id;
        self.next_id += 1;
        let message = Message::Request {
            id: sent,
            call: Box::new(call),
        };
        self.socket
            .send(Frame::text(json::encode(&message)))
            .await
            .unwrap();
        loop {
            if let Message::Response { id, result } = self.hear().await
                && id == Some(sent)
            {
                return result.map(|reply| *reply);
            }
        }
    }

    async fn hear(&mut self) -> Message {
        loop {
            let item = timeout(PATIENCE, self.socket.next()).await;
            if let Frame::Text(text) = item.expect("the hub is silent").unwrap().unwrap() {
                return json::decode(&text).unwrap();
            }
        }
    }
}
