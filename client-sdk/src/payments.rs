//! The stream of received payments.

use crate::{ReceivedPayment, StreamError};
use futures::Stream;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Received payments in the order of the hub's log. Survives reconnects; each position comes once.
/// Ends after an error or when the client stops. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Payments {
    receiver: mpsc::Receiver<Result<ReceivedPayment, StreamError>>,
}

impl Payments {
    pub(crate) fn new(receiver: mpsc::Receiver<Result<ReceivedPayment, StreamError>>) -> Self {
        Self { receiver }
    }

    /// The next payment; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<ReceivedPayment, StreamError>> {
        self.receiver.recv().await
    }
}

impl Stream for Payments {
    type Item = Result<ReceivedPayment, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context)
    }
}
