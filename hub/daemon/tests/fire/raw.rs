//! Clients that obey no library: bytes on a socket, and sessions without the SDK.

use super::files::UPGRADE;
use futures::{SinkExt, StreamExt};
use hub::session::login_digest;
use protocol_spec::{
    SignerKey,
    message::{Challenge, Empty, LoginCall, Message, Notification, Request, SUBPROTOCOL_BORSH, binary},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Bytes, Message as Frame, client::IntoClientRequest, http::HeaderValue},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum End {
    /// The hub said why, with this code.
    Code(u16),
    /// The hub hung up or reset without a word.
    HungUp,
    /// It did not end.
    Alive,
}

/// A socket on which the upgrade was asked for and answered.
pub(crate) async fn upgraded(hub: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(hub).await?;
    stream.write_all(UPGRADE.as_bytes()).await?;
    let mut heard = Vec::new();
    while !heard.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut heard).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

/// Sends bytes again and again, at most `times`, and reads beside it until the hub ends the connection or `longest` is over.
pub(crate) async fn pour(
    stream: TcpStream,
    first: Vec<u8>,
    again: Vec<u8>,
    times: usize,
    longest: Duration,
) -> End {
    let (mut reader, mut writer) = stream.into_split();
    let pouring = tokio::spawn(async move {
        let mut result = writer.write_all(&first).await;
        for _ in 0..times {
            if result.is_err() {
                break;
            }
            result = writer.write_all(&again).await;
        }
        // Held open: what ends it is the hub.
        writer
    });
    let mut heard = Vec::new();
    let read = timeout(longest, async {
        while matches!(reader.read_buf(&mut heard).await, Ok(1..)) {}
    })
    .await;
    pouring.abort();
    match (close_code(&heard), read) {
        (Some(code), _) => End::Code(code),
        (None, Ok(())) => End::HungUp,
        (None, Err(_)) => End::Alive,
    }
}

/// The code of a close frame among what was heard.
fn close_code(heard: &[u8]) -> Option<u16> {
    let at = heard
        .windows(2)
        .rposition(|two| two[0] == 0x88 && two[1] >= 2 && two[1] < 126)?;
    Some(u16::from_be_bytes([*heard.get(at + 2)?, *heard.get(at + 3)?]))
}

/// The head of a client's frame: masked with zeros.
pub(crate) fn frame(first_byte: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    match length {
        0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes
}

/// A session.
pub(crate) struct Session {
    socket: WebSocketStream<TcpStream>,
    challenge: Challenge,
}

impl Session {
    /// Connects; waits for the challenge.
    pub(crate) async fn connect(hub: SocketAddr) -> Result<Self, String> {
        let opening = async {
            let socket = TcpSocket::new_v4().unwrap();
            // Who does not read is felt soon, not after the megabytes that the kernel would take.
            socket.set_recv_buffer_size(4_096).unwrap();
            let stream = socket.connect(hub).await.map_err(|error| error.to_string())?;
            let mut request = format!("ws://{hub}/").into_client_request().unwrap();
            let name = HeaderValue::from_static(SUBPROTOCOL_BORSH);
            request.headers_mut().insert("Sec-WebSocket-Protocol", name);
            let opened = client_async(request, stream).await;
            let (mut socket, _) = opened.map_err(|error| error.to_string())?;
            let Some(Ok(Frame::Binary(bytes))) = socket.next().await else {
                return Err("no challenge".to_owned());
            };
            match binary::decode(&bytes) {
                Ok(Message::Notification(told)) => match *told {
                    Notification::Challenge(challenge) => Ok(Self { socket, challenge }),
                    other => Err(format!("no challenge: {other:?}")),
                },
                other => Err(format!("no challenge: {other:?}")),
            }
        };
        timeout(PATIENCE, opening)
            .await
            .unwrap_or_else(|_| Err("the hub is silent".to_owned()))
    }

    fn request(id: u64, call: Request) -> Bytes {
        let call = Box::new(call);
        binary::encode(&Message::Request { id, call }).into()
    }

    /// Logs in with `key`; `signed_by` signs the challenge.
    pub(crate) async fn log_in(&mut self, key: &SignerKey, signed_by: &SignerKey) -> Result<(), String> {
        let digest = login_digest(
            &self.challenge.hub,
            self.challenge.nonce,
            key.address(),
            SUBPROTOCOL_BORSH,
        );
        let call = LoginCall {
            signer: key.address(),
            signature: signed_by.sign(&digest),
        };
        let sent = self
            .socket
            .send(Frame::Binary(Self::request(1, Request::Login(call))))
            .await;
        sent.map_err(|error| error.to_string())?;
        let answer = timeout(PATIENCE, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Frame::Binary(bytes))) => match binary::decode(&bytes) {
                        Ok(Message::Response { result, .. }) => {
                            return result.map(drop).map_err(|error| error.to_string());
                        }
                        // A new challenge comes after a refused one.
                        Ok(Message::Notification(told)) => {
                            if let Notification::Challenge(challenge) = *told {
                                self.challenge = challenge;
                            }
                        }
                        other => return Err(format!("{other:?}")),
                    },
                    Some(Ok(_)) => {}
                    ended => return Err(format!("{ended:?}")),
                }
            }
        });
        answer
            .await
            .unwrap_or_else(|_| Err("the hub is silent".to_owned()))
    }

    /// Whether the hub has ended it.
    pub(crate) async fn is_over(&mut self) -> bool {
        match timeout(Duration::from_millis(1), self.socket.next()).await {
            Ok(Some(Ok(Frame::Binary(bytes)))) => {
                if let Ok(Message::Notification(told)) = binary::decode(&bytes)
                    && let Notification::Challenge(challenge) = *told
                {
                    self.challenge = challenge;
                }
                false
            }
            Ok(Some(Ok(Frame::Close(_)) | Err(_)) | None) => true,
            Ok(Some(Ok(_))) | Err(_) => false,
        }
    }

    /// Asks and never reads, until the hub ends the connection; whether it did in this time.
    pub(crate) async fn ask_and_never_read(self, longest: Duration) -> bool {
        let mut stream = self.socket.into_inner();
        let question = Self::request(7, Request::Info(Empty {}));
        let mut bytes = frame(0x82, question.len());
        bytes.extend_from_slice(&question);
        let many = bytes.repeat(64);
        timeout(longest, async { while stream.write_all(&many).await.is_ok() {} })
            .await
            .is_ok()
    }
}
