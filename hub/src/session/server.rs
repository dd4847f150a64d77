//! The accept loop and its end.

use super::{
    bucket::Bucket,
    connection::{Connection, Counters, Shared},
    gate::{Gate, Pending},
    http::{self, Names, Refusal},
    limits::{self, SessionLimits},
    listener::Listener,
    login::Budget,
    metered::Metered,
    outgoing,
    read_ahead::ReadAhead,
};
use crate::{engine::Engine, now::Now, ops::Shutdown};
use futures::future::BoxFuture;
use protocol_spec::limits::MESSAGE_BYTES_MAX;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};

/// What the session server needs beside the engine.
#[derive(Clone, Default, Debug)]
pub struct Settings {
    /// `Host` headers served; empty serves all.
    pub allowed_hosts: Vec<String>,
    /// `Origin` headers served; empty serves all. Requests without one (no browser) are always served.
    pub allowed_origins: Vec<String>,
    /// See [`SessionLimits`].
    pub limits: SessionLimits,
    /// The time told to clients.
    pub now: Now,
}

/// How a shutdown went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were cut off.
    pub cut_off: usize,
}

/// Listens on `address` with room for a storm of reconnects in the kernel's queue.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(limits::SEND_BUFFER_BYTES)?;
    socket.listen(limits::ACCEPT_BACKLOG)
}

/// [`serve`] on a TCP socket, compiled once, here, and not again in every program that serves.
pub fn serve_tcp(
    listener: TcpListener,
    engine: Engine,
    settings: Settings,
    shutdown: Shutdown,
) -> BoxFuture<'static, Drained> {
    Box::pin(serve(listener, engine, settings, shutdown))
}

/// Serves connections until `shutdown`, then lets calls under way finish, closes with 1001 and returns,
/// at the latest [`limits::SHUTDOWN_DEADLINE`] later. Stop the engine only after this has returned.
pub async fn serve(
    mut listener: impl Listener,
    engine: Engine,
    settings: Settings,
    shutdown: Shutdown,
) -> Drained {
    let shared = Arc::new(Shared {
        limits: settings.limits,
        names: Names {
            hosts: settings.allowed_hosts,
            origins: settings.allowed_origins,
        },
        gate: Gate::new(settings.limits),
        offenders: Default::default(),
        budget: Budget::new(Instant::now()),
        next_id: AtomicU64::new(1),
        counters: Counters::new(),
        engine,
        shutdown: shutdown.clone(),
        now: settings.now,
    });
    let mut connections = JoinSet::new();
    tokio::select! {
        biased;
        () = shutdown.triggered() => {}
        () = accept_all(&mut listener, &shared, &mut connections) => {}
    }
    drop(listener);
    tracing::info!(open = shared.gate.open(), "draining sessions");
    shared.gate.abort_pending();
    drain(connections).await
}

async fn accept_all(listener: &mut impl Listener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let rate = shared.limits.accepts_per_s;
    let mut accepts = Bucket::new(rate, rate, Instant::now());
    let sockets = usize::try_from(shared.limits.sockets()).unwrap_or(usize::MAX);
    loop {
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        if let Err(wait) = accepts.take(Instant::now()) {
            sleep(wait).await;
            continue;
        }
        match listener.accept().await {
            // Those who linger are not counted by the gate, but have sockets.
            Ok(_) if connections.len() >= sockets => {
                metrics::counter!("hub_session_turned_away_total").increment(1);
            }
            Ok((stream, address)) => {
                metrics::counter!("hub_session_accepted_total").increment(1);
                let pending = shared.gate.knock(address);
                let ticket = pending.ticket();
                let task = connections.spawn(welcome(stream, Arc::clone(shared), pending));
                Pending::watch(&shared.gate, ticket, task);
            }
            Err(error) => {
                metrics::counter!("hub_session_accept_errors_total").increment(1);
                tracing::warn!(%error, "cannot accept a connection");
                sleep(limits::ACCEPT_ERROR_PAUSE).await;
            }
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        metrics::counter!("hub_session_panics_total").increment(1);
        tracing::error!(%error, "a session panicked");
    }
}

async fn drain(mut connections: JoinSet<()>) -> Drained {
    let everybody = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    // Calls under way, then the close frame, then the lingering read.
    let patience = limits::DRAIN_DEADLINE.saturating_add(limits::LINGER.saturating_mul(2));
    let _ = timeout(patience.saturating_add(Duration::from_millis(200)), everybody).await;
    let cut_off = connections.len();
    connections.shutdown().await;
    Drained { cut_off }
}

/// One connection from TCP to its end.
async fn welcome(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>, pending: Pending) {
    let handshake = timeout(
        limits::HANDSHAKE_DEADLINE,
        shake_hands(&mut stream, &shared, pending),
    );
    let (accepted, admission) = match handshake.await {
        Ok(Ok(Some(both))) => both,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            tracing::debug!(%error, "handshake broken off");
            return;
        }
        Err(_) => {
            metrics::counter!("hub_session_handshakes_timed_out_total").increment(1);
            return;
        }
    };
    let stream = ReadAhead::new(Metered::new(stream, shared.limits.bytes_per_s));
    let socket =
        WebSocketStream::from_partially_read(stream, accepted.tail, Role::Server, Some(web_socket())).await;
    Connection::new(&shared, socket, accepted.encoding, admission)
        .run()
        .await;
}

/// `None`: refused and answered.
async fn shake_hands(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    shared: &Shared,
    pending: Pending,
) -> io::Result<Option<(http::Accepted, super::gate::Admission)>> {
    let refusal = match http::read_handshake(stream, &shared.names).await? {
        Err(refusal) => refusal,
        Ok(_) if shared.shutdown.is_triggered() => Refusal::CLOSING,
        Ok(accepted) => match pending.admit() {
            Some(admission) => {
                stream.write_all(&accepted.response).await?;
                return Ok(Some((accepted, admission)));
            }
            None => Refusal::FULL,
        },
    };
    metrics::counter!("hub_session_handshakes_refused_total").increment(1);
    refusal.write(stream).await?;
    outgoing::linger(stream).await;
    Ok(None)
}

fn web_socket() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_write_buffer_size(limits::WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .accept_unmasked_frames(false)
}
