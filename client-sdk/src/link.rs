//! One connection to the hub: dial, check the hub, log in, then move messages.

use crate::{
    ConnectError, Encoding, HubPin, Network, SignerError, Stream, actor::later, pin::Hub,
    signer::CheckedSigner, task::OwnedTask, tls,
};
use futures::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use protocol_spec::{
    Login, Signature, limits,
    message::{LoginCall, LoginReply, Message, Notification, Reply, Request, binary, json},
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout, timeout_at},
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        http::{HeaderValue, Uri, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

type Socket = WebSocketStream<MaybeTlsStream<Box<dyn Stream>>>;

/// Messages waiting to be written; a hub that reads slower than this loses the connection.
const OUT_QUEUE: usize = 4096;
/// Messages read and not handled yet; beyond that the socket is not read.
const IN_QUEUE: usize = 256;
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
const PING_EVERY: Duration = Duration::from_secs(15);
const IDLE_MAX: Duration = Duration::from_secs(45);
/// How long a connection that was given up may take to write what is queued and say goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// Messages put into one flush.
const FLUSH_MAX: usize = 256;

/// What comes from the hub.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Message),
    /// The connection is gone.
    Closed(String),
}

/// A logged-in connection. Dropping it closes the socket.
pub(crate) struct Link {
    out: mpsc::Sender<Message>,
    pub(crate) input: mpsc::Receiver<Inbound>,
    pub(crate) hub: Hub,
    pub(crate) login: LoginReply,
    pub(crate) signer: CheckedSigner,
    _reader: OwnedTask<()>,
    /// Dropped with the link: from then on the writer has [`CLOSE_MAX`] left.
    _open: oneshot::Sender<Infallible>,
}

impl Link {
    /// Queues a message without waiting. False when the connection is gone or hopelessly slow.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.out.try_send(message).is_ok()
    }
}

/// What [`dial`] needs.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) url: String,
    pub(crate) encoding: Encoding,
    pub(crate) pin: Option<HubPin>,
    pub(crate) server: Option<String>,
    pub(crate) signer: CheckedSigner,
    pub(crate) timeout: Duration,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) tls: Option<Connector>,
}

/// Connects and logs in within the time limit. Whoever is late is named: the hub, or the signer.
pub(crate) async fn dial(mut dial: Dial) -> Result<Link, ConnectError> {
    let deadline = later(dial.timeout);
    let late = |_| unreachable("no answer in time");
    let (socket, hub, statement) = timeout_at(deadline, challenge(&dial)).await.map_err(late)??;
    let digest = statement.digest(&hub.domain);
    let signature = timeout_at(deadline, dial.signer.sign(&digest))
        .await
        .map_err(|_| SignerError::late())??;
    let logging_in = login(dial, socket, hub, signature);
    timeout_at(deadline, logging_in).await.map_err(late)?
}

/// The hub's facts, once they are checked, and what is to be signed for it.
async fn challenge(dial: &Dial) -> Result<(Socket, Hub, Login), ConnectError> {
    let mut socket = open(dial).await?;
    let challenge = match receive(&mut socket).await? {
        Message::Notification(notification) => match *notification {
            Notification::Challenge(challenge) => challenge,
            _ => return Err(unreachable("the first message is not a challenge")),
        },
        _ => return Err(unreachable("the first message is not a challenge")),
    };
    let hub = Hub::check(challenge.hub, dial.pin.as_ref(), dial.server.as_deref())?;
    let statement = Login {
        server: hub.pin.server.clone(),
        nonce: challenge.nonce,
        signer: dial.signer.address(),
        protocol: dial.encoding.subprotocol().to_owned(),
    };
    Ok((socket, hub, statement))
}

async fn login(dial: Dial, mut socket: Socket, hub: Hub, signature: Signature) -> Result<Link, ConnectError> {
    let call = Request::Login(LoginCall {
        signer: dial.signer.address(),
        signature,
    });
    let request = Message::Request {
        id: 0,
        call: Box::new(call),
    };
    socket
        .send(encode(dial.encoding, &request))
        .await
        .map_err(unreachable)?;
    let reply = login_reply(&mut socket).await?;
    let (out, out_queue) = mpsc::channel(OUT_QUEUE);
    let (in_queue, input) = mpsc::channel(IN_QUEUE);
    let (sink, stream) = socket.split();
    let (open, closed) = oneshot::channel();
    tokio::spawn(write_until_closed(
        write_all(sink, out_queue, dial.encoding),
        closed,
    ));
    Ok(Link {
        out,
        input,
        hub,
        login: reply,
        signer: dial.signer,
        _reader: OwnedTask::spawn(read_all(stream, in_queue)),
        _open: open,
    })
}

async fn login_reply(socket: &mut Socket) -> Result<LoginReply, ConnectError> {
    loop {
        if let Message::Response { id, result } = receive(socket).await? {
            return match result {
                Ok(reply) => match *reply {
                    Reply::Login(reply) if id == Some(0) => Ok(reply),
                    _ => Err(unreachable("the answer to login is of another kind")),
                },
                Err(error) => Err(ConnectError::Refused(error)),
            };
        }
    }
}

async fn open(dial: &Dial) -> Result<Socket, ConnectError> {
    let mut request = dial
        .url
        .as_str()
        .into_client_request()
        .map_err(|_| ConnectError::Options("the hub's URL cannot be read"))?;
    let protocol = dial.encoding.subprotocol();
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .max_write_buffer_size(4 * limits::MESSAGE_BYTES_MAX)
        .max_message_size(Some(limits::MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::MESSAGE_BYTES_MAX));
    let (host, port) = endpoint(request.uri())?;
    let host = host.to_owned();
    let stream = dial.network.connect(&host, port).await.map_err(unreachable)?;
    let (socket, response) = client_async_tls_with_config(request, stream, Some(config), dial.tls.clone())
        .await
        .map_err(|error| tls::failed(&host, &error))?;
    let chosen = response.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if chosen.map(HeaderValue::as_bytes) != Some(protocol.as_bytes()) {
        return Err(unreachable("the server does not speak the subprotocol asked for"));
    }
    Ok(socket)
}

/// Host (IPv6 without brackets) and port of the URL.
fn endpoint(url: &Uri) -> Result<(&str, u16), ConnectError> {
    let default = match url.scheme_str() {
        Some("ws") => 80,
        Some("wss") => 443,
        _ => {
            return Err(ConnectError::Options(
                "the hub's URL must begin with ws:// or wss://",
            ));
        }
    };
    let host = url
        .host()
        .ok_or(ConnectError::Options("the hub's URL names no host"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Ok((bare.unwrap_or(host), url.port_u16().unwrap_or(default)))
}

async fn receive(socket: &mut Socket) -> Result<Message, ConnectError> {
    loop {
        let frame = socket
            .next()
            .await
            .ok_or_else(|| unreachable("closed during login"))?;
        if let Some(message) = decode(frame.map_err(unreachable)?).map_err(unreachable)? {
            return Ok(message);
        }
    }
}

fn unreachable(why: impl ToString) -> ConnectError {
    ConnectError::Unreachable(why.to_string())
}

fn encode(encoding: Encoding, message: &Message) -> tungstenite::Message {
    match encoding {
        Encoding::Binary => tungstenite::Message::binary(binary::encode(message)),
        Encoding::Json => tungstenite::Message::text(json::encode(message)),
    }
}

/// `None` for control frames.
fn decode(frame: tungstenite::Message) -> Result<Option<Message>, String> {
    match frame {
        tungstenite::Message::Binary(bytes) => binary::decode(&bytes)
            .map(Some)
            .map_err(|error| error.to_string()),
        tungstenite::Message::Text(text) => json::decode(&text)
            .map(Some)
            .map_err(|(_, error)| error.to_string()),
        tungstenite::Message::Close(_) => Err("the hub closed the connection".to_owned()),
        _ => Ok(None),
    }
}

/// Ends soon after the link is dropped, whatever the network does.
async fn write_until_closed(write: impl Future<Output = ()>, closed: oneshot::Receiver<Infallible>) {
    let patience = async {
        let _ = closed.await;
        sleep(CLOSE_MAX).await;
    };
    tokio::select! {
        biased;
        () = write => {}
        () = patience => {}
    }
}

async fn write_all(
    mut sink: SplitSink<Socket, tungstenite::Message>,
    mut queue: mpsc::Receiver<Message>,
    encoding: Encoding,
) {
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        // The ping first: it is due rarely, and a queue that never runs dry must not delay it.
        let frame = tokio::select! {
            biased;
            _ = ping.tick() => tungstenite::Message::Ping(tungstenite::Bytes::new()),
            message = queue.recv() => match message {
                Some(message) => encode(encoding, &message),
                None => break,
            },
        };
        let write = async {
            sink.feed(frame).await?;
            for _ in 0..FLUSH_MAX {
                let Ok(message) = queue.try_recv() else { break };
                sink.feed(encode(encoding, &message)).await?;
            }
            sink.flush().await
        };
        if !matches!(timeout(WRITE_TIMEOUT, write).await, Ok(Ok(()))) {
            break;
        }
    }
    // The reader sees the end of the socket and reports it.
    let _ = timeout(CLOSE_MAX, sink.close()).await;
}

async fn read_all(mut stream: SplitStream<Socket>, queue: mpsc::Sender<Inbound>) {
    let why = loop {
        let frame = match timeout(IDLE_MAX, stream.next()).await {
            Err(_) => break "the hub is silent".to_owned(),
            Ok(None) => break "the connection ended".to_owned(),
            Ok(Some(Err(error))) => break error.to_string(),
            Ok(Some(Ok(frame))) => frame,
        };
        match decode(frame) {
            Ok(None) => {}
            Ok(Some(message)) => {
                if queue.send(Inbound::Message(message)).await.is_err() {
                    return;
                }
            }
            Err(error) => break error,
        }
    };
    let _ = queue.send(Inbound::Closed(why)).await;
}
