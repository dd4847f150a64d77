//! A listener for HTTP doors with a bounded number of connections: files are needed for the chain and the disk, too.

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// Accepts everybody. With one more than the most at once the oldest ends: an honest request takes well below a second, so
/// what is old is slow or idle, and nobody is locked out by who holds many open.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    most: usize,
    /// The oldest first. Dropping one ends its connection.
    open: VecDeque<oneshot::Sender<()>>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, most: usize) -> Self {
        Self {
            listener,
            most,
            open: VecDeque::new(),
        }
    }
}

impl Listener for BoundedListener {
    type Io = Bounded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Bounded, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.open.retain(|connection| !connection.is_closed());
        while self.open.len() >= self.most.max(1) {
            self.open.pop_front();
        }
        let (sender, ended) = oneshot::channel();
        self.open.push_back(sender);
        (Bounded { stream, ended }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection. The server reads from it all the time, so it learns at once that it has to go.
#[derive(Debug)]
pub(crate) struct Bounded {
    stream: TcpStream,
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

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
        for _ in 0..3 {
            more.push(TcpStream::connect(address).await.unwrap());
        }
        assert_eq!(rest(&mut idle[2]).await, "", "in the middle of a body, too");
    }
}
