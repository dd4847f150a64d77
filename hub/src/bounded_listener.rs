//! A listener for HTTP doors with a bounded number of connections: files are needed for the chain and the disk, too.

use crate::session::Origin;
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::Instant,
};

/// Who has sent nothing for so long is silent: what has come may not have been read yet.
const SILENT: Duration = Duration::from_secs(1);

/// Accepts everybody. With one more than the most at once another one ends: one of the address that holds most of them, so
/// that who floods ends its own and no request that waits for its answer; there the oldest that has sent nothing for a second,
/// else the oldest. Never the newest: nobody is locked out by who holds many open.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    most: usize,
    /// The oldest first.
    open: VecDeque<Open>,
}

/// An open connection. Dropping it ends that.
#[derive(Debug)]
struct Open {
    origin: Origin,
    since: Instant,
    /// It has sent something.
    heard: Arc<AtomicBool>,
    end: oneshot::Sender<()>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, most: usize) -> Self {
        Self {
            listener,
            most,
            open: VecDeque::new(),
        }
    }

    /// The place of the one that ends for a new one from `newest`.
    fn goes(&self, newest: Origin) -> Option<usize> {
        let mut held: HashMap<Origin, usize> = HashMap::new();
        for origin in self.open.iter().map(|open| open.origin).chain([newest]) {
            let count = held.entry(origin).or_default();
            *count = count.saturating_add(1);
        }
        let most = held.values().max();
        let of_most = |open: &Open| held.get(&open.origin) == most;
        let silent = |open: &Open| open.since.elapsed() >= SILENT && !open.heard.load(Ordering::Relaxed);
        let oldest_silent = self.open.iter().position(|open| of_most(open) && silent(open));
        oldest_silent.or_else(|| self.open.iter().position(of_most))
    }
}

impl Listener for BoundedListener {
    type Io = Bounded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Bounded, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let origin = Origin::from(address.ip());
        self.open.retain(|open| !open.end.is_closed());
        while self.open.len() >= self.most.max(1) {
            let Some(place) = self.goes(origin) else { break };
            self.open.remove(place);
        }
        let ((end, ended), heard) = (oneshot::channel(), Arc::<AtomicBool>::default());
        self.open.push_back(Open {
            origin,
            since: Instant::now(),
            heard: Arc::clone(&heard),
            end,
        });
        let bounded = Bounded { stream, heard, ended };
        (bounded, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection. The server reads from it all the time, so it learns at once that it has to go.
#[derive(Debug)]
pub(crate) struct Bounded {
    stream: TcpStream,
    heard: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Bounded {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.ended).poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use axum::{Router, body::Bytes, extract::ConnectInfo, routing::any};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpSocket,
    };

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    /// Its connection stays open.
    const LONG: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn served(most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |peer: ConnectInfo<Peer>, _: Bytes| async move { peer.0.0.to_string() };
        let router = Router::new().route("/", any(answer));
        let service = router.into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(BoundedListener::new(listener, most), service).await });
        address
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// One, of a connection that stays open.
    async fn answer(stream: &mut TcpStream) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"127.0.0.1") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn the_oldest_goes_for_the_newest_and_everybody_is_served() {
        let address = served(3).await;
        let mut idle = Vec::new();
        for part in [
            &b""[..],
            b"GET / HT",
            b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nx",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(part).await.unwrap();
            idle.push(stream);
        }
        let mut asks = TcpStream::connect(address).await.unwrap();
        asks.write_all(ASK).await.unwrap();
        assert!(rest(&mut asks).await.ends_with("127.0.0.1"));
        assert_eq!(rest(&mut idle[0]).await, "", "the oldest was ended");
        // What ended by itself makes room: the second goes on.
        idle[1].write_all(&ASK[8..]).await.unwrap();
        assert!(rest(&mut idle[1]).await.ends_with("127.0.0.1"));
        let mut more = Vec::new();
        for wait in [SILENT, SILENT, Duration::ZERO] {
            more.push(TcpStream::connect(address).await.unwrap());
            tokio::time::sleep(wait).await;
        }
        assert_eq!(rest(&mut more[0]).await, "", "the oldest that has sent nothing");
        for stream in &mut more[1..] {
            stream.write_all(LONG).await.unwrap();
            answer(stream).await;
        }
        let _newest = TcpStream::connect(address).await.unwrap();
        assert_eq!(rest(&mut idle[2]).await, "", "in the middle of a body, too");
    }

    #[tokio::test]
    async fn who_floods_ends_its_own_connections() {
        let address = served(3).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut waits = socket.connect(address).await.unwrap();
        let mut flood = Vec::new();
        for _ in 0..9 {
            flood.push(TcpStream::connect(address).await.unwrap());
        }
        // For the last one.
        assert_eq!(rest(&mut flood[6]).await, "");
        waits.write_all(ASK).await.unwrap();
        assert!(rest(&mut waits).await.ends_with("127.0.0.2"));
    }
}
