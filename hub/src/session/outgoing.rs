//! Writing: encode, keep within the peer's message limit, never wait longer for a reader than the deadline.
//!
//! A turn's messages are encoded as frames into a buffer that all connections of a thread share, and go from there to the
//! stream. tungstenite writes only what is its own: pings, pongs and the close frame.

use super::{codec::Encoding, limits, metered::Metered, read_ahead::ReadAhead};
use crate::engine::Mail;
use futures::{FutureExt, SinkExt};
use protocol_spec::{
    limits::MESSAGE_BYTES_MAX,
    message::{ErrorCode, Message, RpcError},
};
use std::{cell::Cell, io, pin::pin, time::Duration};
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
    /// The peer hangs up. Nothing but the answer to its close frame is sent.
    Closed,
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

thread_local! {
    /// What a thread's connections encode into, one after the other: near at hand, and none of them keeps one at rest.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) struct Writer {
    /// How messages become frames.
    encoding: Encoding,
    /// Longest wait for the reader.
    deadline: Duration,
    /// Frames, or what is not written of them yet. The thread's buffer while there are any; else it takes no memory.
    buffer: Vec<u8>,
    /// tungstenite may have a pong to write, or the rest of one.
    pub(crate) pong_due: bool,
}

impl Writer {
    /// With nothing to write.
    pub(crate) fn new(encoding: Encoding, deadline: Duration) -> Self {
        Self {
            encoding,
            deadline,
            buffer: Vec::new(),
            pong_due: false,
        }
    }

    /// Puts one message into the buffer; waits for the reader only when the buffer is full. True when it waited.
    pub(crate) async fn feed<S>(&mut self, socket: &mut Socket<S>, mail: &Mail) -> Result<bool, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.buffer.capacity() == 0 {
            self.buffer = BUFFER.take();
        }
        put(self.encoding, mail, &mut self.buffer)?;
        match self.buffer.len() > limits::WRITE_BUFFER_BYTES {
            true => self.flush(socket).await,
            false => Ok(false),
        }
    }

    /// Writes a ping and all that tungstenite has to write.
    pub(crate) async fn ping<S>(&self, socket: &mut Socket<S>) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ping = Frame::Ping(Vec::new().into());
        within(self.deadline, socket.send(ping)).await.map(drop)
    }

    /// Writes out all that there is to write. True when it waited.
    pub(crate) async fn flush<S>(&mut self, socket: &mut Socket<S>) -> Result<bool, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.buffer.is_empty() && !self.pong_due {
            return Ok(false);
        }
        let waited = within(self.deadline, self.write(socket)).await?;
        self.pong_due = false;
        let written = std::mem::take(&mut self.buffer);
        // After a pong alone the thread's is where it was.
        if (1..=limits::WRITE_BUFFER_BYTES_MAX).contains(&written.capacity()) {
            BUFFER.set(written);
        }
        Ok(waited)
    }

    /// A frame of tungstenite that is written in part comes first: no other may begin within it. Given up half-way it goes on
    /// where it was.
    async fn write<S>(&mut self, socket: &mut Socket<S>) -> Result<(), WsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.pong_due {
            socket.flush().await?;
        }
        let stream = socket.get_mut();
        while !self.buffer.is_empty() {
            match stream.write(&self.buffer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => drop(self.buffer.drain(..written)),
            }
        }
        stream.flush().await?;
        Ok(())
    }
}

/// True when it waited.
async fn within(deadline: Duration, write: impl Future<Output = Result<(), WsError>>) -> Result<bool, End> {
    let mut write = pin!(write);
    // Nearly always it does not wait: no timer for that.
    let (waited, written) = match write.as_mut().now_or_never() {
        Some(written) => (false, Ok(written)),
        None => (true, timeout(deadline, write).await),
    };
    match written {
        Ok(Ok(())) => Ok(waited),
        Ok(Err(error)) => Err(End::from(&error)),
        Err(_) => Err(End::Stuck),
    }
}

/// Appends the frame of `mail`, or of an error in its place when it exceeds what peers accept.
fn put(encoding: Encoding, mail: &Mail, frames: &mut Vec<u8>) -> Result<(), End> {
    let before = frames.len();
    let bytes = encoding.encode(mail, frames);
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    frames.truncate(before);
    tracing::error!(bytes, "an outgoing message exceeds the limit of the protocol");
    match mail {
        Mail::Message(Message::Response { id, .. }) => {
            let error = RpcError::because(ErrorCode::Internal, "the answer is too large for one message");
            let answer = Message::Response {
                id: *id,
                result: Err(error.with(MESSAGE_BYTES_MAX, bytes)),
            };
            encoding.encode(&Mail::Message(answer), frames);
            Ok(())
        }
        _ => Err(End::Close(CloseCode::Error, "a notification is too large")),
    }
}

/// Ends the connection: what is due, then a bounded while of reading on, because a kernel that closes a socket with unread
/// input resets it, and the reset would overtake the close frame.
pub(crate) async fn hang_up<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<S>,
    mut writer: Writer,
    end: End,
) {
    let last_words = async {
        match end {
            End::Gone | End::Stuck => Ok(()),
            End::Closed => socket.flush().await,
            End::Close(code, reason) => {
                writer.write(&mut socket).await?;
                let reason = reason.into();
                socket.close(Some(CloseFrame { code, reason })).await
            }
        }
    };
    if !matches!(timeout(limits::LINGER, last_words).await, Ok(Ok(()))) || end == End::Stuck {
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
    use futures::StreamExt;
    use protocol_spec::message::{Empty, Reply};
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    #[test]
    fn an_answer_that_is_too_large_becomes_an_error() {
        let huge = RpcError::because(ErrorCode::Internal, "x".repeat(MESSAGE_BYTES_MAX));
        let message = Message::Response {
            id: Some(4),
            result: Err(huge),
        };
        let mut frames = b"before".to_vec();
        put(Encoding::Json, &Mail::Message(message), &mut frames).unwrap();
        let frame = frames.strip_prefix(b"before").unwrap();
        assert!(frame.len() < 1000 && String::from_utf8_lossy(frame).contains("\"id\":4"));
        let small = Message::Response {
            id: Some(4),
            result: Ok(Box::new(Reply::Done(Empty {}))),
        };
        frames.clear();
        put(Encoding::Borsh, &Mail::Message(small), &mut frames).unwrap();
        let length = u8::try_from(frames.len() - 2).unwrap();
        assert_eq!(frames[..2], [0x82, length], "one whole binary frame");
    }

    fn answer(text: &str) -> Mail {
        Mail::Message(Message::Response {
            id: Some(4),
            result: Err(RpcError::because(ErrorCode::Internal, text)),
        })
    }

    /// Both ends of a pipe that takes so many bytes at once.
    async fn pipe(room: usize) -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = duplex(room);
        let near = ReadAhead::new(Metered::new(near, u32::MAX));
        (
            WebSocketStream::from_raw_socket(near, Role::Server, None).await,
            WebSocketStream::from_raw_socket(far, Role::Client, None).await,
        )
    }

    /// The pipe takes a few bytes of the pong only: a message that began there would tear it apart.
    #[tokio::test]
    async fn a_pong_that_is_written_in_part_goes_before_all_else() {
        let (mut socket, mut peer) = pipe(10).await;
        let mut writer = Writer::new(Encoding::Json, Duration::from_secs(10));
        let ping = Frame::Ping(vec![7; 100].into());
        let (sent, heard) = tokio::join!(peer.send(ping.clone()), socket.next());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), ping);
        assert!(socket.next().now_or_never().is_none(), "the pong is under way");
        writer.pong_due = true;
        let answering = async {
            assert!(!writer.feed(&mut socket, &answer("small")).await.unwrap());
            assert!(
                writer.flush(&mut socket).await.unwrap(),
                "it waits for the reader"
            );
        };
        let hearing = async { [peer.next().await, peer.next().await] };
        let ((), heard) = tokio::join!(answering, hearing);
        let [pong, told] = heard.map(|frame| frame.unwrap().unwrap());
        assert_eq!(pong, Frame::Pong(vec![7; 100].into()));
        assert_eq!(
            Encoding::Json.decode(&told).unwrap().unwrap(),
            answer("small").message()
        );
        assert_eq!((writer.pong_due, writer.buffer.capacity()), (false, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_waited_for_once_the_buffer_is_full_and_not_for_long() {
        let (mut socket, mut peer) = pipe(1000).await;
        let mut writer = Writer::new(Encoding::Borsh, Duration::from_secs(10));
        let began = tokio::time::Instant::now();
        let text = "x".repeat(1000);
        let mut fed = 0;
        let end = loop {
            match writer.feed(&mut socket, &answer(&text)).await {
                Ok(waited) => assert!(!waited),
                Err(end) => break end,
            }
            fed += 1;
        };
        assert_eq!((end, fed), (End::Stuck, limits::WRITE_BUFFER_BYTES / 1000 - 1));
        assert_eq!(began.elapsed().as_secs(), 10);
        // A connection may end for another reason in that turn: then what was begun is ended, in case that it reads after all.
        let end = End::Close(CloseCode::Policy, "for that");
        tokio::join!(hang_up(socket, writer, end), async {
            for _ in 0..=fed {
                let told = peer.next().await.unwrap().unwrap();
                let whole = Encoding::Borsh.decode(&told).unwrap().unwrap();
                assert_eq!(whole, answer(&text).message());
            }
            assert!(peer.next().await.unwrap().unwrap().is_close());
        });
    }

    /// What is in the buffer when a connection is ended goes out before the close frame.
    #[tokio::test]
    async fn the_last_words_are_what_was_fed_and_the_close_frame() {
        let (mut socket, mut peer) = pipe(64 * 1024).await;
        let mut writer = Writer::new(Encoding::Borsh, Duration::from_secs(10));
        writer.feed(&mut socket, &answer("why")).await.unwrap();
        let end = End::Close(CloseCode::Policy, "for that");
        tokio::join!(hang_up(socket, writer, end), async {
            let told = peer.next().await.unwrap().unwrap();
            assert_eq!(
                Encoding::Borsh.decode(&told).unwrap().unwrap(),
                answer("why").message()
            );
            let close = peer.next().await.unwrap().unwrap();
            assert!(
                matches!(&close, Frame::Close(Some(close)) if close.code == CloseCode::Policy),
                "{close:?}"
            );
        });
    }
}
