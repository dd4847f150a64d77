//! Connections at the operator's door: few, and whoever comes when all places are taken gets the place of the one that came first.
//! So nobody who opens many and says nothing takes the files that the hub's work needs, nor keeps others out.

use axum::serve::Listener;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// An operator, a scraper, a few probes.
pub(super) const GUESTS_MAX: usize = 32;

/// A TCP port with a bound.
#[derive(Debug)]
pub(super) struct Guests {
    listener: TcpListener,
    /// The oldest first. Dropped: that one must go.
    inside: VecDeque<oneshot::Sender<()>>,
}

impl Guests {
    pub(super) fn at(listener: TcpListener) -> Self {
        let inside = VecDeque::new();
        Self { listener, inside }
    }
}

impl Listener for Guests {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        // It waits when the kernel has no more files.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        self.inside.retain(|guest| !guest.is_closed());
        while self.inside.len() >= GUESTS_MAX {
            self.inside.pop_front();
        }
        let (stays, must_go) = oneshot::channel();
        self.inside.push_back(stays);
        (Guest { stream, must_go }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    must_go: oneshot::Receiver<()>,
}

impl Guest {
    fn stays(&mut self, context: &mut Context<'_>) -> io::Result<&mut TcpStream> {
        match Pin::new(&mut self.must_go).poll(context) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(&mut self.stream),
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.stays(context)?;
        Pin::new(stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.stays(context)?;
        Pin::new(stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_comes_last_gets_the_place_of_who_came_first() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut door = Guests::at(listener);
        let address = door.local_addr().unwrap();
        let (mut outside, mut inside) = (Vec::new(), Vec::new());
        for _ in 0..=GUESTS_MAX {
            outside.push(TcpStream::connect(address).await.unwrap());
            inside.push(door.accept().await.0);
        }
        let mut byte = [0];
        let error = inside[0].read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        for (outside, inside) in outside.iter_mut().zip(&mut inside).skip(1) {
            outside.write_all(b"x").await.unwrap();
            assert_eq!(inside.read(&mut byte).await.unwrap(), 1, "nobody else has to go");
        }
        inside.truncate(GUESTS_MAX / 2);
        outside.push(TcpStream::connect(address).await.unwrap());
        inside.push(door.accept().await.0);
        outside[1].write_all(b"x").await.unwrap();
        assert_eq!(inside[1].read(&mut byte).await.unwrap(), 1, "there was room");
    }
}
