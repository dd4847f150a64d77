//! A person's applications: lanes that pay, and one that listens.

use super::{
    bank,
    book::{Book, Order, State},
    network::Network,
    oracle::Oracle,
    part::Part,
};
use client_sdk::{
    ChannelError, ChannelHandle, Client, Digest, LockOptions, PayError, PayOptions, PaymentAnswer,
    PaymentState, StreamError,
};
use protocol_spec::{
    Reject,
    message::{ErrorCode, PaymentStatus},
};
use rand::Rng as _;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::sleep;

/// Pause of a lane that has nothing to do, or was told to come back later.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest time that somebody takes before a payment.
const LINGER_MS_MAX: u64 = 8_000;

/// What is withdrawn of what can be spent: all of it as often as not, for then the next payment must find nothing.
const PERCENTS: [u128; 4] = [25, 75, 100, 100];

/// Longer than any world lasts.
const INVOICE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the hub needs of a lock's life, and little more.
const LOCK_LIFE: Duration = Duration::from_secs(2 * 3600);

/// Pays what the person's book has open, and after a crash asks again under the same ids.
pub(super) async fn pay(
    client: Client,
    channel: ChannelHandle,
    person: usize,
    (book, network): (Book, Network),
    oracle: Oracle,
) {
    while !book.everybody_is_there() {
        sleep(PAUSE).await;
    }
    // The hub counts its reserves a moment later than the people see them.
    sleep(Duration::from_secs(2)).await;
    let mut asked = BTreeSet::new();
    loop {
        let Some(order) = book.take(person) else {
            sleep(PAUSE).await;
            continue;
        };
        let linger_ms = network.plan(|plan| {
            let strikes = plan.strikes(Part::Linger);
            strikes.then(|| plan.dice(Part::Linger).random_range(0..=LINGER_MS_MAX))
        });
        if let Some(ms) = linger_ms {
            sleep(Duration::from_millis(ms)).await;
        }
        // What nobody can be asked to invoice is paid directly.
        let asks = |payee: &usize| book.invoice(order.number).is_some() || book.writes_invoices(*payee);
        let answer = match order.payee.filter(|payee| order.locked && asks(payee)) {
            // Once by each incarnation: then it only asks what became of it.
            Some(payee) => match asked.insert(order.number) {
                true => pay_locked(&client, &channel, &order, payee, &book).await,
                false => outcome(&client, &order).await,
            },
            None => pay_directly(&channel, &order, &book).await,
        };
        let answer = match answer {
            // Nothing was signed.
            Err(PayError::Refused(Reject::LocksEnded)) => pay_directly(&channel, &order, &book).await,
            answer => answer,
        };
        let answer = match answer {
            // Its database may know nothing of it, or no more than that it is lost; that nothing was signed is said of now.
            Err(
                PayError::Unknown { .. } | PayError::InsufficientBalance { .. } | PayError::SpendLimit { .. },
            ) if book.is_restorer(person) => hub_says(&client, &order).await,
            answer => answer,
        };
        let answer = match answer {
            Ok(paid) => paid,
            Err(PayError::InsufficientBalance { .. } | PayError::SpendLimit { .. }) => State::Refused,
            Err(PayError::Bounced { reason, .. }) => {
                oracle.note(&format!("payment {} bounced: {reason:?}", order.id));
                State::Bounced
            }
            Err(PayError::NotPaid { .. }) => State::Bounced,
            Err(error) => {
                if !matches!(error, PayError::Unknown { .. }) {
                    asked.remove(&order.number);
                }
                // Until the hub has re-synced.
                let frozen = book.is_hub_restored() && matches!(error, PayError::Frozen { .. });
                if book.is_reliable(person) && !frozen && !book.hub_lies() {
                    open(&order, &error, &oracle);
                }
                sleep(PAUSE).await;
                book.put_back(order.number);
                continue;
            }
        };
        if let Err(contradiction) = book.answer(order.number, answer)
            && book.is_reliable(person)
        {
            oracle.violation(contradiction);
        }
    }
}

async fn pay_directly(channel: &ChannelHandle, order: &Order, book: &Book) -> Result<State, PayError> {
    let options = PayOptions {
        payment_id: Some(order.id),
        fee_max: Some(order.fee_max),
        ..PayOptions::default()
    };
    let paid = channel.pay_with(order.payee(book), order.amount, options).await?;
    Ok(State::Delivered { fee: paid.fee })
}

/// Locks, and then asks until the client has settled it: the fee is known only then.
async fn pay_locked(
    client: &Client,
    channel: &ChannelHandle,
    order: &Order,
    payee: usize,
    book: &Book,
) -> Result<State, PayError> {
    let payment_id = order.id;
    let Some(invoice) = book.invoice(order.number) else {
        return Err(PayError::NotSent { payment_id });
    };
    let options = LockOptions {
        payment_id: Some(payment_id),
        fee_max: Some(order.fee_max),
        life: Some(LOCK_LIFE),
    };
    match channel
        .pay_locked(&invoice, book.account(payee).address, options)
        .await
    {
        // Asked before, perhaps before a crash: what became of it?
        Ok(_) | Err(PayError::DuplicateId { .. } | PayError::Unknown { .. }) => {}
        Err(error) => return Err(error),
    }
    outcome(client, order).await
}

/// What the client says of a payment that was asked for.
async fn outcome(client: &Client, order: &Order) -> Result<State, PayError> {
    let payment_id = order.id;
    match client.payment(payment_id).await {
        Ok(PaymentAnswer::Known(PaymentState::Delivered { fee, .. })) => Ok(State::Delivered { fee }),
        Ok(PaymentAnswer::Known(PaymentState::Bounced { reason, .. })) => {
            Err(PayError::Bounced { payment_id, reason })
        }
        Ok(PaymentAnswer::Known(PaymentState::NotPaid { .. })) => Err(PayError::NotPaid { payment_id }),
        _ => Err(PayError::Unknown { payment_id }),
    }
}

/// Asks what became of everything when all is paid out: no payment may be under way then.
pub(super) async fn ask_again(
    client: Client,
    channel: ChannelHandle,
    person: usize,
    book: Book,
    oracle: Oracle,
) {
    while !book.is_settled() || channel.view().is_none_or(|view| view.phase != "closed") {
        sleep(PAUSE).await;
    }
    for order in book.unanswered(person) {
        let payment_id = order.id;
        let state = match client.payment(payment_id).await {
            Ok(PaymentAnswer::Known(state)) => state,
            _ => continue,
        };
        oracle.note(&format!("payment {payment_id} has ended: {state:?}"));
        let answer = match state {
            PaymentState::Delivered { fee, .. } => State::Delivered { fee },
            PaymentState::Bounced { .. } | PaymentState::NotPaid { .. } => State::Bounced,
            PaymentState::Lost => continue,
            PaymentState::Queued | PaymentState::InFlight { .. } => {
                oracle.violation(format!(
                    "O8: payment {payment_id} never ends: {state:?}, channel {}",
                    channel.id()
                ));
                continue;
            }
        };
        if let Err(contradiction) = book.answer(order.number, answer) {
            oracle.violation(contradiction);
        }
    }
    book.set_asked_again(person);
    std::future::pending().await
}

/// What the hub says of a payment of which the client's store has no proof.
async fn hub_says(client: &Client, order: &Order) -> Result<State, PayError> {
    match client.payment(order.id).await {
        Ok(PaymentAnswer::HubSays(PaymentStatus::Accepted { .. })) => Ok(State::Delivered {
            fee: bank::fee(order.amount),
        }),
        Ok(PaymentAnswer::HubSays(PaymentStatus::Bounced { .. })) => Ok(State::Bounced),
        // It never will: the client has gone on after the voucher that was lost.
        Ok(PaymentAnswer::HubSays(PaymentStatus::Unknown {})) => Ok(State::Refused),
        // Also of one in a lock that has not ended.
        _ => Err(PayError::Unknown { payment_id: order.id }),
    }
}

/// Writes the invoices that others need to pay this person by locks.
pub(super) async fn invoice(channel: ChannelHandle, person: usize, book: Book) {
    loop {
        if let Some(order) = book.wants_invoice(person) {
            match channel.invoice(order.amount, INVOICE_LIFE, Digest::ZERO).await {
                Ok(invoice) => {
                    book.set_invoice(order.number, invoice);
                    continue;
                }
                Err(ChannelError::Refused(Reject::LocksEnded)) => book.takes_no_locks(person),
                Err(_) => {}
            }
        }
        sleep(PAUSE).await;
    }
}

/// Errors that leave an order open are asked again; the others have no place in this world.
fn open(order: &Order, error: &PayError, oracle: &Oracle) {
    match error {
        PayError::Unknown { .. }
        | PayError::NotSent { .. }
        | PayError::Offline
        | PayError::ChainStale
        // While a withdrawal of all there was is under way; what is received may pay again.
        | PayError::Refused(Reject::BalanceExceeded { .. })
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
            // Another log: from its beginning.
            Err(StreamError::Epoch { .. } | StreamError::Refused { .. }) if book.is_hub_restored() => {
                payments = channel.payments(None);
            }
            // Its beginning is forgotten: from what is kept.
            Err(StreamError::Refused { error, .. })
                if book.forgets_receipts() && error.code == ErrorCode::CursorTooOld.code() =>
            {
                payments = channel.payments(None);
            }
            Err(_) if book.is_foe(person) => {}
            Err(_) if book.hub_lies() => {
                sleep(PAUSE).await;
                payments = channel.payments(book.cursor(person));
            }
            Err(error) => oracle.violation(format!("the stream of person {person} ends: {error}")),
        }
    }
}

/// Withdraws now and then, some of what can be spent or all of it.
pub(super) async fn withdraw(channel: ChannelHandle, network: Network, oracle: Oracle) {
    loop {
        sleep(Duration::from_secs(1)).await;
        let percent = network.plan(|plan| {
            let strikes = plan.strikes(Part::Withdraw);
            strikes.then(|| PERCENTS[plan.dice(Part::Withdraw).random_range(0..PERCENTS.len())])
        });
        let Some((percent, view)) = percent.zip(channel.view()) else {
            continue;
        };
        let amount = view.balance.spendable.0 * percent / 100;
        if amount > 0 {
            let withdrawn = channel.withdraw(amount).await;
            oracle.note(&format!(
                "withdrawal of {amount} from {}: {withdrawn:?}",
                channel.id()
            ));
        }
    }
}

/// Closes once the book says so.
pub(super) async fn leave(channel: ChannelHandle, person: usize, book: Book, oracle: Oracle) {
    while !book.is_leaving(person) {
        sleep(PAUSE).await;
    }
    while let Err(error) = channel.close().await {
        // The answer was lost, the payout was not.
        if channel.view().is_some_and(|view| view.phase == "closed") {
            break;
        }
        oracle.note(&format!("person {person} cannot leave yet: {error}"));
        sleep(Duration::from_secs(1)).await;
    }
    book.leave(person);
    oracle.note(&format!("person {person} has left"));
    std::future::pending().await
}
