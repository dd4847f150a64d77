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
        if !book.is_foe(person) {
            positions(person, &received, oracle);
        }
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
        // A foe's book is worth nothing, nor what it says that it received; who has left may not have read its last receipts.
        let unread = |payee: usize| book.is_foe(payee) || (receipt.is_none() && book.has_left(payee));
        if book.is_foe(order.payer) || order.payee.is_some_and(unread) {
            continue;
        }
        judge(&order, receipt, oracle);
    }
    for ((mark, id), (person, amount)) in receipts {
        if book.is_foul(mark, id) || book.is_foe(person) {
            continue;
        }
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
        (State::Bounced | State::Refused, None) => return,
        (State::Bounced | State::Refused, Some(_)) => "O4: it bounced and was received",
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
    channels: &[(usize, ChannelHandle)],
    oracle: &Oracle,
) -> anyhow::Result<()> {
    for (person, channel) in channels {
        let Some(view) = channel.view() else {
            oracle.violation(format!("person {person} does not know its channel"));
            continue;
        };
        let sums = sums(book, *person);
        let expected =
            (DEPOSIT + sums.received).checked_sub(sums.paid + sums.fees + view.balance.withdrawn.0);
        if Some(view.balance.settled.0) != expected {
            oracle.violation(format!(
                "O4: the book of person {person} says {expected:?}, its client {}",
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
        let spent = i128::try_from(sums.paid + sums.fees)? - i128::try_from(sums.received)?;
        if by_client - by_hub != spent {
            oracle.violation(format!(
                "O4: person {person} paid {by_client}, the hub paid it {by_hub}, its book says {spent}"
            ));
        }
    }
    Ok(())
}

/// After all channels are settled, everybody's tokens are what the book says, and the contract holds the vault alone (O7).
/// Whoever keeps the rules gets what is fair, the hub included (O6): what foes do may cost them, and nobody else.
pub(super) async fn tokens(bank: &Bank, book: &Book, people: usize, oracle: &Oracle) -> anyhow::Result<()> {
    let (mut fees, mut exact) = (0, true);
    for person in 0..people {
        if book.is_foe(person) {
            exact = false;
            continue;
        }
        let mut sums = sums(book, person);
        fees += sums.fees;
        if book.has_left(person) {
            sums.received = delivered_to(book, person);
        }
        let expected = ENDOWMENT + sums.received - sums.paid - sums.fees;
        let got = bank.tokens_of(book.account(person).address).await?;
        // What foes paid to somebody who left is in no book.
        let may_have_more = book.has_left(person) && !exact_for(book, people);
        if got < expected || (got > expected && !may_have_more) {
            oracle.violation(format!(
                "O6: person {person} has {got} tokens on chain, its book says {expected}"
            ));
        }
    }
    let (vault, held) = (
        bank.vault().await?,
        bank.tokens_of(bank.deployed.adjudicator).await?,
    );
    let expected = VAULT + fees;
    if vault < expected || (exact && vault > expected) {
        oracle.violation(format!(
            "O6: the hub's vault has {vault}, expected are {expected}"
        ));
    }
    if held != vault {
        oracle.violation(format!("O7: the vault says {vault}, the contract holds {held}"));
    }
    Ok(())
}

/// True when nobody breaks the rules.
fn exact_for(book: &Book, people: usize) -> bool {
    !book.is_foe(people.saturating_sub(1))
}

/// By the books of those who paid.
fn delivered_to(book: &Book, person: usize) -> u128 {
    let orders = book.orders().into_iter();
    let delivered = orders.filter(|order| {
        order.payee == Some(person)
            && !book.is_foe(order.payer)
            && matches!(order.state, State::Delivered { .. })
    });
    delivered.map(|order| order.amount.0).sum()
}
