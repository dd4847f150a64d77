//! One WebSocket for all requests, made when one comes and made again after a failure. alloy's own asks again, after
//! each failure, whatever had no answer: a node that answers too much would be asked for ever.

use super::{Asks, failure::Failure, secrets::Secrets};
use alloy::{
    rpc::json_rpc::{Id, RequestPacket, Response, ResponsePacket, SerializedRequest},
    transports::{Authorization, TransportError, TransportFut, http::reqwest::Url},
};
use futures::{SinkExt as _, StreamExt as _};
use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};
use tower::Service;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Requests that wait to be sent; more wait for room.
const QUEUE: usize = 64;
/// Most time for a connection, and for one message to be taken by it.
const STEP_MAX: Duration = Duration::from_secs(10);
/// A connection that was silent for so long is asked for a sign of life, and given up after as long again.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// A request, and who waits for its answer.
struct Job {
    request: SerializedRequest,
    reply: oneshot::Sender<Result<Response, Failure>>,
}

/// A node behind a WebSocket. Its task ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Ws {
    jobs: mpsc::Sender<Job>,
    host: Arc<str>,
}

impl Ws {
    pub(crate) fn start(url: Url, host: String, asks: Asks) -> Self {
        let host: Arc<str> = host.into();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let line = Line {
            secrets: Secrets::of(&url),
            url,
            host: host.clone(),
            bytes_max: asks.message_max(),
        };
        tokio::spawn(line.run(queue));
        Self { jobs, host }
    }

    async fn ask(&self, request: SerializedRequest) -> Result<Response, Failure> {
        let gone = || Failure::because(&self.host, "the connection is gone");
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { request, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn respond(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        match packet {
            RequestPacket::Single(request) => Ok(ResponsePacket::Single(self.ask(request).await?)),
            RequestPacket::Batch(requests) => {
                let all = requests.into_iter().map(|request| self.ask(request));
                let all: Result<Vec<Response>, Failure> =
                    futures::future::join_all(all).await.into_iter().collect();
                Ok(ResponsePacket::Batch(all?))
            }
        }
    }
}

impl Service<RequestPacket> for Ws {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().respond(packet))
    }
}

/// The task that owns the connection.
struct Line {
    url: Url,
    secrets: Secrets,
    host: Arc<str>,
    bytes_max: usize,
}

impl Line {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            if job.reply.is_closed() {
                continue;
            }
            let mut waiting = Waiting::default();
            let failure = match self.connect().await {
                Ok(socket) => self.talk(socket, job, &mut queue, &mut waiting).await,
                Err(failure) => {
                    waiting.0.insert(job.request.id().clone(), job.reply);
                    Some(failure)
                }
            };
            match failure {
                Some(failure) => waiting.fail(&failure),
                None => return,
            }
        }
    }

    async fn connect(&self) -> Result<Socket, Failure> {
        let mut url = self.url.clone();
        let authorization = Authorization::extract_from_url(&url);
        // They travel in a header.
        let _ = (url.set_username(""), url.set_password(None));
        let lost = |error: tungstenite::Error| Failure::lost(&self.host, &error);
        let mut request = url.as_str().into_client_request().map_err(lost)?;
        if let Some(value) = authorization.and_then(|authorization| authorization.to_string().parse().ok()) {
            request.headers_mut().insert("authorization", value);
        }
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(self.bytes_max))
            .max_frame_size(Some(self.bytes_max));
        match timeout(STEP_MAX, connect_async_with_config(request, Some(bounds), true)).await {
            Ok(connected) => connected.map(|(socket, _)| socket).map_err(lost),
            Err(_) => Err(Failure::because(&self.host, "no connection in time")),
        }
    }

    /// Until the connection fails; `None` when nobody is left to ask.
    async fn talk(
        &self,
        mut socket: Socket,
        first: Job,
        queue: &mut mpsc::Receiver<Job>,
        waiting: &mut Waiting,
    ) -> Option<Failure> {
        let mut next = Some(first);
        let (mut quiet_since, mut asked) = (Instant::now(), false);
        loop {
            if let Some(job) = next.take() {
                let text = Message::text(job.request.serialized().get());
                waiting.insert(job);
                if let Err(failure) = self.send(&mut socket, text).await {
                    return Some(failure);
                }
            }
            let quiet = quiet_since.checked_add(QUIET_MAX).unwrap_or(quiet_since);
            tokio::select! {
                job = queue.recv() => next = Some(job?),
                message = socket.next() => {
                    (quiet_since, asked) = (Instant::now(), false);
                    if let Err(failure) = self.heard(message, waiting) {
                        return Some(failure);
                    }
                }
                () = sleep_until(quiet) => {
                    let ping = Message::Ping(Default::default());
                    let sent = match asked {
                        true => Err(Failure::because(&self.host, "the connection is dead")),
                        false => self.send(&mut socket, ping).await,
                    };
                    if let Err(failure) = sent {
                        return Some(failure);
                    }
                    (quiet_since, asked) = (Instant::now(), true);
                }
            }
        }
    }

    async fn send(&self, socket: &mut Socket, message: Message) -> Result<(), Failure> {
        match timeout(STEP_MAX, socket.send(message)).await {
            Ok(sent) => sent.map_err(|error| Failure::lost(&self.host, &error)),
            Err(_) => Err(Failure::because(&self.host, "it takes no requests")),
        }
    }

    fn heard(
        &self,
        message: Option<Result<Message, tungstenite::Error>>,
        waiting: &mut Waiting,
    ) -> Result<(), Failure> {
        match message {
            Some(Ok(Message::Text(text))) => match serde_json::from_str::<Response>(&text) {
                Ok(answer) => {
                    waiting.answer(self.secrets.hide_in_one(answer));
                    Ok(())
                }
                Err(_) => Err(Failure::because(&self.host, "the node's answer makes no sense")),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Err(tungstenite::Error::Capacity(_))) => Err(Failure::TooLarge {
                host: self.host.to_string(),
                bytes_max: self.bytes_max,
            }),
            Some(Err(error)) => Err(Failure::lost(&self.host, &error)),
            None | Some(Ok(_)) => Err(Failure::because(&self.host, "the node closed the connection")),
        }
    }
}

/// Who waits for an answer, by its request.
#[derive(Default)]
struct Waiting(HashMap<Id, oneshot::Sender<Result<Response, Failure>>>);

impl Waiting {
    /// Those who gave up make room.
    fn insert(&mut self, job: Job) {
        self.0.retain(|_, reply| !reply.is_closed());
        self.0.insert(job.request.id().clone(), job.reply);
    }

    /// An answer that nobody waits for is dropped.
    fn answer(&mut self, answer: Response) {
        if let Some(reply) = self.0.remove(&answer.id) {
            let _ = reply.send(Ok(answer));
        }
    }

    fn fail(self, failure: &Failure) {
        for reply in self.0.into_values() {
            let _ = reply.send(Err(failure.clone()));
        }
    }
}
