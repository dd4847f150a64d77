//! When everything is quiet: does it all add up? In the book, in the vouchers, in the SDK, and at last on the chain.

use super::{
    bank::{Bank, DEPOSIT, ENDOWMENT, VAULT, fee},
    book::{Book, Order, State},
    oracle::Oracle,
};
use client_sdk::{ChannelHandle, ReceivedPayment};
use protocol_spec::{Amount, Side};
use std::collections::BTreeMap;

/// What one person's book comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sums {
    paid: u128,
    fees: u128,
    received: u128,
}

fn sums(book: &Book, person: usize) -> Sums {
    let mut sums = Sums::default();
    for order in book.orders() {
        if let State::Delivered { fee } = order.state
            && order.payer == person
        {
            sums.paid += order.amount.0;
            sums.fees += fee.0;
        }
    }
    sums.received = book
        .received(person)
        .iter()
        .map(|payment| payment.receipt.amount.0)
        .sum();
    sums
}

/// Every delivered payment was received exactly once, whole, for the published fee; nothing else was received.
pub(super) fn payments(book: &Book, people: usize, oracle: &Oracle) {
    let mut receipts = BTreeMap::new();
    for person in 0..people {
        let received = book.received(person);
        positions(person, &received, oracle);
        for payment in received {
            let key = (payment.receipt.payer, payment.receipt.payment_id);
            if let Some((_, other)) = receipts.insert(key, (person, payment.receipt.amount)) {
                oracle.violation(format!(
                    "O4: payment {} was received twice: {other}",
                    payment.receipt.payment_id
                ));
            }
        }
    }
    for order in book.orders() {
        let Some(mark) = order.payer_mark(book) else {
            continue;
        };
        let receipt = receipts.remove(&(mark, order.id));
        judge(&order, receipt, oracle);
    }
    for ((_, id), (person, amount)) in receipts {
        oracle.violation(format!(
            "O4: person {person} received {amount} by payment {id} that nobody made"
        ));
    }
}

fn positions(person: usize, received: &[ReceivedPayment], oracle: &Oracle) {
    for (expected, payment) in (1..).zip(received) {
        if payment.cursor.position != expected || !payment.backed {
            oracle.violation(format!(
                "event {expected} of person {person} has position {}, backed: {}",
                payment.cursor.position, payment.backed
            ));
        }
    }
}

fn judge(order: &Order, receipt: Option<(usize, Amount)>, oracle: &Oracle) {
    let what = match (order.state, receipt) {
        (State::Open, _) => "O8: it was never answered",
        (State::Bounced, None) => return,
        (State::Bounced, Some(_)) => "O4: it bounced and was received",
        (State::Delivered { .. }, None) => "O4: it was delivered and not received",
        (State::Delivered { fee: kept }, Some((person, amount))) => match () {
            () if Some(person) != order.payee => "O4: somebody else received it",
            () if amount != order.amount => "O4: another amount was received",
            () if kept != fee(amount) => "O4: the fee is not the published one",
            () => return,
        },
    };
    oracle.violation(format!("{what}: {order:?}, received {receipt:?}"));
}

/// The SDK's own account of each channel, and the vouchers that were seen, say what the book says (O3, O4).
pub(super) async fn channels(
    bank: &Bank,
    book: &Book,
    channels: &[ChannelHandle],
    oracle: &Oracle,
) -> anyhow::Result<()> {
    let mut flow = [0_i128; 2];
    for (person, channel) in channels.iter().enumerate() {
        let Some(view) = channel.view() else {
            oracle.violation(format!("person {person} does not know its channel"));
            continue;
        };
        let sums = sums(book, person);
        let expected = DEPOSIT + sums.received - sums.paid - sums.fees;
        if view.balance.settled.0 != expected {
            oracle.violation(format!(
                "O4: the book of person {person} says {expected}, its client {}",
                view.balance.settled
            ));
        }
        let [by_client, by_hub] = [Side::Client, Side::Hub]
            .map(|payer| i128::try_from(oracle.paid(channel.id(), payer).0).unwrap_or(i128::MAX));
        let state = bank.channel(channel.id()).await?;
        let total = i128::try_from(state.total)?;
        let client = state.clientNet + by_hub - by_client;
        if client < 0 || client > total {
            oracle.violation(format!(
                "O3: the client's share of {} is {client} of {total}",
                channel.id()
            ));
        }
        flow[0] += by_client;
        flow[1] += by_hub;
    }
    let fees: u128 = (0..channels.len()).map(|person| sums(book, person).fees).sum();
    if flow[0] - flow[1] != i128::try_from(fees)? {
        oracle.violation(format!(
            "O4: clients paid {}, the hub paid {}, the fees are {fees}",
            flow[0], flow[1]
        ));
    }
    Ok(())
}

/// After all channels are closed, everybody's tokens are what the book says, and the contract holds the vault alone (O7).
pub(super) async fn tokens(bank: &Bank, book: &Book, people: usize, oracle: &Oracle) -> anyhow::Result<()> {
    let mut fees = 0;
    for person in 0..people {
        let sums = sums(book, person);
        fees += sums.fees;
        let expected = ENDOWMENT + sums.received - sums.paid - sums.fees;
        let got = bank.tokens_of(book.account(person).address).await?;
        if got != expected {
            oracle.violation(format!(
                "O6: person {person} has {got} tokens on chain, its book says {expected}"
            ));
        }
    }
    let (vault, held) = (
        bank.vault().await?,
        bank.tokens_of(bank.deployed.adjudicator).await?,
    );
    if vault != VAULT + fees || held != vault {
        oracle.violation(format!(
            "O7: the vault says {vault}, the contract holds {held}, expected are {}",
            VAULT + fees
        ));
    }
    Ok(())
}
