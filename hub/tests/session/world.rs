//! A session server on loopback, a scripted engine, and clients.

use futures::{SinkExt, StreamExt};
use hub::{
    engine::{Engine, Inbound, Mail, Outboxes, SessionId},
    ops::Shutdown,
    session::{self, Drained, SessionLimits, Settings, login_digest},
};
use protocol_spec::{
    Address, Amount, ChannelId, Digest, PaymentId, Receipt, Reject, Seq, Signature, SignerKey, UnixSeconds,
    VoucherSignature,
    message::{
        Challenge, Cursor, Empty, ErrorCode, Event, HubInfo, LoginCall, LoginReply, Message, Notification,
        Reply, Request, RpcError, SUBPROTOCOL_JSON, SubscribeReply, binary, json,
    },
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error as WsError, Message as Frame, client::IntoClientRequest, http::HeaderValue},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// All logs of all tests, at trace level.
pub(crate) fn logs() -> &'static Mutex<Vec<u8>> {
    static LOGS: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOGS.get_or_init(|| {
        struct Sink;
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                logs().lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_writer(|| Sink)
            .init();
        Mutex::default()
    })
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) shutdown: Shutdown,
    pub(crate) server: JoinHandle<Drained>,
    /// The engine takes calls while this is false.
    pub(crate) hold: watch::Sender<bool>,
    /// Connections the engine was told are gone.
    pub(crate) gone: Arc<Mutex<Vec<SessionId>>>,
}

pub(crate) fn hub_info() -> HubInfo {
    HubInfo {
        server: "hub.test".into(),
        chain_id: 31_337,
        adjudicator: Address::repeat_byte(1),
        hub: Address::repeat_byte(2),
        hub_signer: Address::repeat_byte(3),
        hub_public_key: vec![2; 33],
        tokens: vec![Address::ZERO],
        challenge_period_s: 86_400,
        confirmations: 1,
        now: UnixSeconds(0),
    }
}

pub(crate) fn key(seed: u8) -> SignerKey {
    SignerKey::from_bytes(&[seed; 32]).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), 1024).await
    }

    pub(crate) async fn limited(limits: SessionLimits) -> Self {
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        Self::with(settings, 1024).await
    }

    pub(crate) async fn with(settings: Settings, queue: usize) -> Self {
        logs();
        let listener = session::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (inbound, calls) = mpsc::channel(queue);
        let engine = Engine {
            inbound,
            outboxes: Outboxes::default(),
            info: Arc::new(hub_info()),
        };
        let (hold, held) = watch::channel(false);
        let gone = Arc::default();
        tokio::spawn(run_engine(engine.clone(), calls, held, Arc::clone(&gone)));
        let shutdown = Shutdown::new();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(session::serve_tcp(
            listener,
            engine.clone(),
            settings,
            shutdown.clone(),
        ));
        Self {
            address,
            engine,
            shutdown,
            server,
            hold,
            gone,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address, SUBPROTOCOL_JSON).await.unwrap()
    }

    pub(crate) async fn logged_in(&self, seed: u8) -> Client {
        let mut client = self.connect().await;
        client.log_in(&key(seed)).await.unwrap();
        client
    }
}

/// Waits for `condition` to become true; the patience is only there to end a failing test.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// Calls about it are answered as if their signature was wrong.
pub(crate) const WRONGLY_SIGNED: ChannelId = ChannelId([0xba; 32]);

async fn run_engine(
    engine: Engine,
    mut calls: mpsc::Receiver<Inbound>,
    mut held: watch::Receiver<bool>,
    gone: Arc<Mutex<Vec<SessionId>>>,
) {
    loop {
        let Some(inbound) = calls.recv().await else {
            return;
        };
        // Held with one call in its hands.
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        match inbound {
            Inbound::Gone { session } => gone.lock().unwrap().push(session),
            Inbound::Call {
                session, id, call, ..
            } => {
                let result = match *call {
                    Request::Login(_) => Ok(Reply::Login(LoginReply { channels: vec![] })),
                    Request::Subscribe(_) => {
                        tokio::spawn(flood(engine.clone(), session));
                        let newest = Cursor {
                            epoch: 1,
                            position: 0,
                        };
                        Ok(Reply::Subscribe(SubscribeReply { newest }))
                    }
                    Request::Channel(call) if call.channel_id == WRONGLY_SIGNED => {
                        Err(RpcError::from(&Reject::SignatureInvalid))
                    }
                    Request::Unsubscribe(_) => Ok(Reply::Done(Empty {})),
                    _ => Err(RpcError::of(ErrorCode::UnknownChannel)),
                };
                let answer = Message::Response {
                    id: Some(id),
                    result: result.map(Box::new),
                };
                engine.outboxes.send(session, vec![Mail::Message(answer)]);
            }
        }
    }
}

/// Events until the outbox is full; then the engine drops it, as the port says.
async fn flood(engine: Engine, session: SessionId) {
    loop {
        if !engine.outboxes.send(session, vec![Mail::Message(event()); 8]) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn event() -> Message {
    let receipt = Receipt {
        payment_id: PaymentId([1; 16]),
        invoice: Digest::ZERO,
        payer: Digest([2; 32]),
        payee_channel: ChannelId([3; 32]),
        payee_seq: Seq(1),
        amount: Amount(1),
        at: UnixSeconds(1),
    };
    Message::Notification(Box::new(Notification::Event(Event {
        cursor: Cursor {
            epoch: 1,
            position: 1,
        },
        receipt,
        signature: VoucherSignature::Direct(Signature([1; 65])),
    })))
}

/// A client with its challenge.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) protocol: &'static str,
    pub(crate) challenge: Option<Challenge>,
    next_id: u64,
}

/// What came from the hub.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Message),
    Closed(u16),
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, protocol: &'static str) -> Result<Self, WsError> {
        let stream = TcpStream::connect(address).await?;
        Self::over(stream, address, protocol).await
    }

    pub(crate) async fn over(
        stream: TcpStream,
        address: SocketAddr,
        protocol: &'static str,
    ) -> Result<Self, WsError> {
        let mut request = format!("ws://{address}/").into_client_request()?;
        let name = HeaderValue::from_static(protocol);
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        let (socket, response) = client_async(request, stream).await?;
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], protocol);
        let mut client = Self {
            socket,
            protocol,
            challenge: None,
            next_id: 1,
        };
        client.take_challenge().await;
        Ok(client)
    }

    pub(crate) async fn take_challenge(&mut self) -> Challenge {
        let Heard::Message(Message::Notification(notification)) = self.hear().await else {
            panic!("no challenge")
        };
        let Notification::Challenge(challenge) = *notification else {
            panic!("no challenge")
        };
        self.challenge = Some(challenge.clone());
        challenge
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let item = timeout(PATIENCE, self.socket.next())
                .await
                .expect("the hub is silent");
            return match item {
                Some(Ok(Frame::Text(text))) => Heard::Message(json::decode(&text).unwrap()),
                Some(Ok(Frame::Binary(bytes))) => Heard::Message(binary::decode(&bytes).unwrap()),
                Some(Ok(Frame::Close(close))) => Heard::Closed(close.map_or(1005, |close| close.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Closed(1006),
            };
        }
    }

    /// The next response: id and result. Notifications in between are skipped.
    pub(crate) async fn answer(&mut self) -> (Option<u64>, Result<Reply, RpcError>) {
        loop {
            match self.hear().await {
                Heard::Message(Message::Response { id, result }) => return (id, result.map(|reply| *reply)),
                Heard::Message(Message::Notification(_)) => {}
                other => panic!("expected an answer, got {other:?}"),
            }
        }
    }

    /// The error of the next response.
    pub(crate) async fn error(&mut self) -> (Option<u64>, RpcError) {
        let (id, result) = self.answer().await;
        (id, result.unwrap_err())
    }

    /// Skips messages until the close frame and gives its code.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    pub(crate) async fn text(&mut self, text: impl Into<String>) {
        self.socket.send(Frame::text(text.into())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, call: Request) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let message = Message::Request {
            id,
            call: Box::new(call),
        };
        let frame = match self.protocol {
            SUBPROTOCOL_JSON => Frame::text(json::encode(&message)),
            _ => Frame::binary(binary::encode(&message)),
        };
        self.socket.send(frame).await.unwrap();
        id
    }

    pub(crate) async fn call(&mut self, call: Request) -> Result<Reply, RpcError> {
        let sent = self.send(call).await;
        let (id, result) = self.answer().await;
        assert_eq!(id, Some(sent));
        result
    }

    /// A login by `key` over the newest challenge.
    pub(crate) fn login_call(&self, key: &SignerKey) -> LoginCall {
        let challenge = self.challenge.as_ref().unwrap();
        let digest = login_digest(&challenge.hub, challenge.nonce, key.address(), self.protocol);
        LoginCall {
            signer: key.address(),
            signature: key.sign(&digest),
        }
    }

    pub(crate) async fn log_in(&mut self, key: &SignerKey) -> Result<Reply, RpcError> {
        let call = self.login_call(key);
        self.call(Request::Login(call)).await
    }
}
