//! A stream that counts what it reads: it slows down beyond a byte rate and fails on endless messages.
//!
//! Both must sit below the WebSocket layer, because that layer only returns whole messages: a peer could feed it
//! fragments for ever.

use super::{bucket::Bucket, limits};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    bucket: Bucket,
    pause: Option<Pin<Box<Sleep>>>,
    since_message: usize,
    received: u64,
}

impl<S> Metered<S> {
    /// Wraps `inner`. `bytes_per_s` is also the burst.
    pub(crate) fn new(inner: S, bytes_per_s: u32) -> Self {
        Self {
            inner,
            bucket: Bucket::new(bytes_per_s, bytes_per_s, Instant::now()),
            pause: None,
            since_message: 0,
            received: 0,
        }
    }

    /// Tells that a message is complete.
    pub(crate) fn message_done(&mut self) {
        self.since_message = 0;
    }

    /// Bytes received so far; grows with every sign of life.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The stream below, for the last words after a close.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let count = buffer.filled().len().saturating_sub(before);
        self.received = self
            .received
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.since_message = self.since_message.saturating_add(count);
        if self.since_message > limits::BYTES_PER_MESSAGE_MAX {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a message without end",
            )));
        }
        let wait = self.bucket.charge(count, Instant::now());
        if !wait.is_zero() {
            metrics::counter!("hub_session_throttled_reads_total").increment(1);
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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
