//! Where connections come from.

use std::{io, net::IpAddr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// A source of connections: a TCP port, or a simulated network.
pub trait Listener: Send {
    /// A connection, as a stream of bytes both ways.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection and the address it comes from. Cancel safe. Errors: none could be accepted just now.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, IpAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // It fails only on a socket whose peer is gone, which the first read will tell.
        let _ = stream.set_nodelay(true);
        Ok((stream, address.ip()))
    }
}
