//! A session without the SDK: one connection that acts for many signers.

use super::{keys::Nonces, lane::Lane};
use anyhow::{Context, bail};
use futures::{FutureExt, SinkExt, StreamExt};
use hub::session::{ReadAhead, limits, login_digest};
use protocol_spec::message::{
    Challenge, ChannelCall, ChannelInfo, ErrorCode, LoginCall, Message, Notification, RegisterCall, Reply,
    Request, ResumeCall, RpcError, SUBPROTOCOL_BORSH, binary,
};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Bytes, Message as Frame, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

/// Longest silence while something is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between asking and asking again.
const RETRY: Duration = Duration::from_millis(500);
/// Calls sent before their answers are read.
const AT_ONCE: usize = 32;

/// A connection.
pub(super) struct Wire {
    socket: WebSocketStream<ReadAhead<TcpStream>>,
    challenge: Challenge,
    /// Rings when a wait is over.
    clock: Pin<Box<Sleep>>,
}

impl Wire {
    pub(super) async fn connect(hub: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(hub).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{hub}/").into_client_request()?;
        let name = HeaderValue::from_static(SUBPROTOCOL_BORSH);
        request.headers_mut().insert("Sec-WebSocket-Protocol", name);
        let config = WebSocketConfig::default().read_buffer_size(limits::READ_BUFFER_BYTES);
        let (mut socket, _) = client_async_with_config(request, ReadAhead::new(stream), Some(config)).await?;
        let challenge = loop {
            if let Message::Notification(told) = hear(&mut socket).await?
                && let Notification::Challenge(challenge) = *told
            {
                break challenge;
            }
        };
        let clock = Box::pin(sleep(Duration::ZERO));
        Ok(Self {
            socket,
            challenge,
            clock,
        })
    }

    /// Puts a message into the write buffer.
    pub(super) async fn feed(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        Ok(self.socket.feed(Frame::Binary(bytes)).await?)
    }

    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// The next message, waiting at most so long for it. One clock for all waits: it is set anew only when it has run out or must
    /// ring earlier, and a wait that ends early finds nothing and waits again.
    pub(super) async fn next(&mut self, wait: Duration) -> anyhow::Result<Option<Message>> {
        let now = Instant::now();
        let until = now.checked_add(wait).unwrap_or(now);
        if self.clock.is_elapsed() || until < self.clock.deadline() {
            self.clock.as_mut().reset(until);
        }
        let frame = poll_fn(|context| match self.socket.poll_next_unpin(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => self.clock.as_mut().poll(context).map(|()| None),
        });
        frame.await.map(message).transpose()
    }

    /// The next message that is there already.
    pub(super) fn ready(&mut self) -> anyhow::Result<Option<Message>> {
        self.socket.next().now_or_never().map(message).transpose()
    }

    /// Logs every lane's signer in. Errors: the hub refuses one.
    pub(super) async fn log_in(&mut self, lanes: &[Lane], nonces: &Nonces) -> anyhow::Result<()> {
        let (hub, nonce) = (self.challenge.hub.clone(), self.challenge.nonce);
        let call = |lane: &Lane| {
            let signer = lane.key.address;
            let digest = login_digest(&hub, nonce, signer, SUBPROTOCOL_BORSH);
            let signature = lane.key.sign(&digest, nonces, 0).context("no nonces")?;
            Ok(Request::Login(LoginCall { signer, signature }))
        };
        self.ask_for_all(lanes, call).await.context("login")?;
        Ok(())
    }

    /// Makes the hub serve every lane's channel, as soon as it has seen them open.
    pub(super) async fn register(&mut self, lanes: &[Lane]) -> anyhow::Result<()> {
        let call = |lane: &Lane| {
            Ok(Request::Register(RegisterCall {
                config: lane.config.clone(),
                owner_signature: None,
            }))
        };
        let began = Instant::now();
        for chunk in lanes.chunks(AT_ONCE) {
            while let Err(error) = self.ask_for_all(chunk, call).await {
                let early = error
                    .downcast_ref()
                    .is_some_and(|error: &RpcError| error.is(ErrorCode::NotConfirmed));
                if !early || began.elapsed() > PATIENCE {
                    return Err(error.context("register"));
                }
                sleep(RETRY).await;
            }
        }
        Ok(())
    }

    /// What the hub says of every lane's channel.
    pub(super) async fn channels(&mut self, lanes: &[Lane]) -> anyhow::Result<Vec<ChannelInfo>> {
        let call = |lane: &Lane| Ok(Request::Channel(ChannelCall { channel_id: lane.id }));
        let replies = self.ask_for_all(lanes, call).await?;
        let infos = replies.into_iter().filter_map(|reply| match reply {
            Reply::Channel(info) => Some(*info),
            _ => None,
        });
        Ok(infos.collect())
    }

    /// Shows both newest vouchers of every lane. Returns what the hub has of each.
    pub(super) async fn resume(
        &mut self,
        lanes: &[Lane],
    ) -> anyhow::Result<Vec<protocol_spec::message::ResumeReply>> {
        let call = |lane: &Lane| {
            Ok(Request::Resume(Box::new(ResumeCall {
                channel_id: lane.id,
                sent: lane.newest_voucher(),
                received: lane.theirs.clone(),
                sent_locks: None,
                received_locks: None,
            })))
        };
        let replies = self.ask_for_all(lanes, call).await.context("resume")?;
        let resumed = replies.into_iter().filter_map(|reply| match reply {
            Reply::Resume(reply) => Some(*reply),
            _ => None,
        });
        Ok(resumed.collect())
    }

    /// One call for every lane; the answers in their order.
    async fn ask_for_all(
        &mut self,
        lanes: &[Lane],
        call: impl Fn(&Lane) -> anyhow::Result<Request>,
    ) -> anyhow::Result<Vec<Reply>> {
        let mut all = Vec::with_capacity(lanes.len());
        for chunk in lanes.chunks(AT_ONCE) {
            let mut replies: Vec<Option<Result<Box<Reply>, RpcError>>> = chunk.iter().map(|_| None).collect();
            for (id, lane) in (0_u64..).zip(chunk) {
                let call = Box::new(call(lane)?);
                let bytes = binary::encode(&Message::Request { id, call });
                self.feed(bytes.into()).await?;
            }
            self.flush().await?;
            while replies.iter().any(Option::is_none) {
                if let Message::Response { id: Some(id), result } = hear(&mut self.socket).await?
                    && let Some(slot) = usize::try_from(id).ok().and_then(|id| replies.get_mut(id))
                {
                    *slot = Some(result);
                }
            }
            for result in replies.into_iter().flatten() {
                all.push(*result?);
            }
        }
        Ok(all)
    }
}

async fn hear(socket: &mut WebSocketStream<ReadAhead<TcpStream>>) -> anyhow::Result<Message> {
    let frame = timeout(PATIENCE, socket.next()).await;
    message(frame.context("the hub is silent")?)
}

type Got = Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>;

/// What a frame says; a ping is answered by the library and says nothing.
fn message(frame: Got) -> anyhow::Result<Message> {
    match frame.context("the hub hung up")?? {
        Frame::Binary(bytes) => binary::decode(&bytes).map_err(|error| anyhow::anyhow!("{error}")),
        Frame::Close(why) => bail!("the hub hung up: {why:?}"),
        _ => Ok(Message::Response {
            id: None,
            result: Ok(Box::new(Reply::Done(protocol_spec::message::Empty {}))),
        }),
    }
}
