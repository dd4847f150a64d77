//! Writing: encode, keep within the peer's message limit, never wait longer for a reader than the deadline.

use super::{codec::Encoding, limits, metered::Metered, read_ahead::ReadAhead};
use crate::engine::Mail;
use futures::{FutureExt, SinkExt};
use protocol_spec::{
    limits::MESSAGE_BYTES_MAX,
    message::{ErrorCode, Message, RpcError},
};
use std::{pin::pin, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message as Frame,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// The socket of a connection.
pub(crate) type Socket<S> = WebSocketStream<ReadAhead<Metered<S>>>;

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The peer left, or the transport broke. Nothing more is sent.
    Gone,
    /// The peer does not read. Nothing more can be sent.
    Stuck,
    /// The hub hangs up with this code and reason.
    Close(CloseCode, &'static str),
}

impl From<&WsError> for End {
    fn from(error: &WsError) -> Self {
        use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
        match error {
            WsError::Capacity(_) => Self::Close(CloseCode::Size, "message too large"),
            WsError::Io(io) if io.kind() == std::io::ErrorKind::FileTooLarge => {
                Self::Close(CloseCode::Size, "message without end")
            }
            WsError::Utf8(_) => Self::Close(CloseCode::Invalid, "text is not UTF-8"),
            WsError::Protocol(ResetWithoutClosingHandshake) => Self::Gone,
            WsError::Protocol(_) => Self::Close(CloseCode::Protocol, "not the WebSocket protocol"),
            WsError::WriteBufferFull(_) => Self::Stuck,
            _ => Self::Gone,
        }
    }
}

/// The writing half of a connection's rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    /// How messages become frames.
    pub(crate) encoding: Encoding,
    /// Longest wait for the reader.
    pub(crate) deadline: Duration,
}

impl Writer {
    /// Puts one message into the write buffer; waits for the reader only when the buffer is full. True when it waited.
    pub(crate) async fn feed<S>(self, socket: &mut Socket<S>, mail: &Mail) -> Result<bool, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let frame = bounded(self.encoding, mail)?;
        self.within_deadline(socket.feed(frame)).await
    }

    /// Writes a ping and all that is buffered.
    pub(crate) async fn ping<S>(self, socket: &mut Socket<S>) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ping = Frame::Ping(Vec::new().into());
        self.within_deadline(socket.send(ping)).await.map(drop)
    }

    /// Writes out what the buffer holds.
    pub(crate) async fn flush<S>(self, socket: &mut Socket<S>) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.within_deadline(socket.flush()).await.map(drop)
    }

    /// True when it waited.
    async fn within_deadline(self, write: impl Future<Output = Result<(), WsError>>) -> Result<bool, End> {
        let mut write = pin!(write);
        // Nearly always it does not wait: no timer for that.
        let (waited, written) = match write.as_mut().now_or_never() {
            Some(written) => (false, Ok(written)),
            None => (true, timeout(self.deadline, write).await),
        };
        match written {
            Ok(Ok(())) => Ok(waited),
            Ok(Err(error)) => Err(End::from(&error)),
            Err(_) => Err(End::Stuck),
        }
    }
}

/// The frame of `mail`, or of an error in its place when it exceeds what peers accept.
fn bounded(encoding: Encoding, mail: &Mail) -> Result<Frame, End> {
    let frame = encoding.encode(mail);
    if frame.len() <= MESSAGE_BYTES_MAX {
        return Ok(frame);
    }
    tracing::error!(
        bytes = frame.len(),
        "an outgoing message exceeds the limit of the protocol"
    );
    match mail {
        Mail::Message(Message::Response { id, .. }) => {
            let error = RpcError::because(ErrorCode::Internal, "the answer is too large for one message");
            let error = error.with(MESSAGE_BYTES_MAX, frame.len());
            Ok(encoding.encode(&Mail::Message(Message::Response {
                id: *id,
                result: Err(error),
            })))
        }
        _ => Err(End::Close(CloseCode::Error, "a notification is too large")),
    }
}

/// Ends the connection: close frame where there is one to send, then a bounded while of reading on, because a
/// kernel that closes a socket with unread input resets it, and the reset would overtake the close frame.
pub(crate) async fn hang_up<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Socket<S>, end: End) {
    if let End::Close(code, reason) = end {
        let reason = reason.into();
        let close = socket.close(Some(CloseFrame { code, reason }));
        if !matches!(timeout(limits::LINGER, close).await, Ok(Ok(()))) {
            return;
        }
    }
    if end == End::Stuck {
        return;
    }
    linger(&mut socket.into_inner().into_inner().into_inner()).await;
}

/// Says that nothing more comes, then reads on for a bounded while.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let read_on = async {
        stream.shutdown().await?;
        let mut scratch = [0; 4096];
        let mut left = limits::LINGER_BYTES_MAX;
        loop {
            let count = stream.read(&mut scratch).await?;
            left = left.saturating_sub(count);
            if count == 0 || left == 0 {
                return Ok::<_, std::io::Error>(());
            }
        }
    };
    // An error here means that the peer is gone, which is what we wait for.
    let _ = timeout(limits::LINGER, read_on).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol_spec::message::{Empty, Reply};

    #[test]
    fn an_answer_that_is_too_large_becomes_an_error() {
        let huge = RpcError::because(ErrorCode::Internal, "x".repeat(MESSAGE_BYTES_MAX));
        let message = Message::Response {
            id: Some(4),
            result: Err(huge),
        };
        let frame = bounded(Encoding::Json, &Mail::Message(message)).unwrap();
        assert!(frame.len() < 1000 && frame.to_text().unwrap().contains("\"id\":4"));
        let small = Message::Response {
            id: Some(4),
            result: Ok(Box::new(Reply::Done(Empty {}))),
        };
        assert!(
            bounded(Encoding::Borsh, &Mail::Message(small))
                .unwrap()
                .is_binary()
        );
    }
}
