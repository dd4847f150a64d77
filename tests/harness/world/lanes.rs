//! A person's applications: lanes that pay, and one that listens.

use super::{
    book::{Book, Order, State},
    oracle::Oracle,
};
use client_sdk::{ChannelHandle, PayError, PayOptions, StreamError};
use std::time::Duration;
use tokio::time::sleep;

/// Pause of a lane that has nothing to do, or was told to come back later.
const PAUSE: Duration = Duration::from_millis(100);

/// Pays what the person's book has open, and after a crash asks again under the same ids.
pub(super) async fn pay(channel: ChannelHandle, person: usize, book: Book, oracle: Oracle) {
    while !book.everybody_is_there() {
        sleep(PAUSE).await;
    }
    // The hub counts its reserves a moment later than the people see them.
    sleep(Duration::from_secs(2)).await;
    loop {
        let Some(order) = book.take(person) else {
            sleep(PAUSE).await;
            continue;
        };
        let options = PayOptions {
            payment_id: Some(order.id),
            fee_max: Some(order.fee_max),
            ..PayOptions::default()
        };
        let payee = order.payee(&book);
        let answer = match channel.pay_with(payee, order.amount, options).await {
            Ok(paid) => State::Delivered { fee: paid.fee },
            Err(PayError::Bounced { reason, .. }) => {
                oracle.note(&format!("payment {} bounced: {reason:?}", order.id));
                State::Bounced
            }
            Err(error) => {
                open(&order, &error, &oracle);
                sleep(PAUSE).await;
                book.put_back(order.id);
                continue;
            }
        };
        if let Err(contradiction) = book.answer(order.id, answer) {
            oracle.violation(contradiction);
        }
    }
}

/// Errors that leave an order open are asked again; the others have no place in this world.
fn open(order: &Order, error: &PayError, oracle: &Oracle) {
    match error {
        PayError::Unknown { .. }
        | PayError::NotSent { .. }
        | PayError::Offline
        | PayError::ChainStale
        | PayError::Stopped(_) => oracle.note(&format!("payment {} stays open: {error}", order.id)),
        other => oracle.violation(format!("payment {} of {order:?}: {other}", order.id)),
    }
}

/// Writes down every payment received, and goes on after the newest one it has.
pub(super) async fn listen(channel: ChannelHandle, person: usize, book: Book, oracle: Oracle) {
    let mut payments = channel.payments(book.cursor(person));
    while let Some(payment) = payments.next().await {
        match payment {
            Ok(payment) => book.receive(person, payment),
            Err(StreamError::Stopped(_)) => return,
            Err(error) => oracle.violation(format!("the stream of person {person} ends: {error}")),
        }
    }
}
