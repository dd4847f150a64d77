//! A stream that is read in large pieces, however little its reader has room for.
//!
//! Whoever reads clears its room first, each time it looks whether something came; so the room is to be small. And one
//! read is to take all that a peer sent at once. Both go together here: a piece is read into a buffer that all
//! connections of a thread share, and what the reader has no room for is kept until it asks again.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Read at a time, bytes.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;

thread_local! {
    static PIECE: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE_BYTES].into_boxed_slice());
}

/// See the module.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    /// Read and not given out; nothing of it while nothing comes.
    ahead: Vec<u8>,
    /// So many bytes of it were given out.
    given: usize,
}

impl<S> ReadAhead<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            ahead: Vec::new(),
            given: 0,
        }
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The stream below.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The stream below. What was read ahead is lost.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// What was read ahead, as far as there is room.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.ahead.get(self.given..).unwrap_or_default();
        let some = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(some);
        self.given = self.given.saturating_add(some.len());
        if self.given >= self.ahead.len() {
            (self.ahead, self.given) = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> ReadAhead<S> {
    fn poll_piece(
        &mut self,
        piece: &mut [u8],
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = ReadBuf::new(piece);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let all = piece.filled();
        let (now, later) = all.split_at_checked(buffer.remaining()).unwrap_or((all, &[]));
        buffer.put_slice(now);
        self.ahead.extend_from_slice(later);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            self.give(buffer);
            return Poll::Ready(Ok(()));
        }
        PIECE.with(|piece| match piece.try_borrow_mut() {
            Ok(mut piece) => self.poll_piece(&mut piece, cx, buffer),
            // A stream of this kind inside of another.
            Err(_) => Pin::new(&mut self.inner).poll_read(cx, buffer),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// In any pieces, through any room, one stream of this kind in another or not.
    #[tokio::test]
    async fn bytes_come_in_order_and_none_is_lost() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        for (written, room) in [(1_000, 7), (100_000, 1024), (77, 50_000), (400_000, 100_000)] {
            let (mut writer, reader) = duplex(PIECE_BYTES * 3);
            let sent = bytes.clone();
            let writing = tokio::spawn(async move {
                for some in sent.chunks(written) {
                    writer.write_all(some).await.unwrap();
                }
            });
            let mut reader = ReadAhead::new(ReadAhead::new(reader));
            let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
            loop {
                let count = reader.read(&mut buffer).await.unwrap();
                got.extend_from_slice(&buffer[..count]);
                if count == 0 {
                    break;
                }
            }
            writing.await.unwrap();
            assert!(got == bytes, "{written} at a time into {room}");
            assert_eq!((reader.ahead.capacity(), reader.given), (0, 0), "nothing is kept");
        }
    }

    #[tokio::test]
    async fn one_read_takes_what_is_there_and_the_reader_has_it_at_once() {
        let (mut writer, reader) = duplex(PIECE_BYTES);
        let mut reader = ReadAhead::new(reader);
        let mut buffer = [0; 3];
        writer.write_all(b"0123456789").await.unwrap();
        reader.read_exact(&mut buffer).await.unwrap();
        // All is here, though the peer has gone.
        drop(writer);
        assert_eq!(
            (&buffer, reader.ahead.as_slice()),
            (b"012", b"3456789".as_slice())
        );
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"3456789");
    }
}
