//! When everything is quiet: does it all add up? In the book, in the vouchers, in the SDK, and at last on the chain.

use super::{
    bank::{Bank, DEPOSIT, ENDOWMENT, VAULT, fee},
    book::{Book, Order, State},
    oracle::Oracle,
};
use client_sdk::ChannelHandle;
use protocol_spec::{Amount, ChannelId, Side};
use std::collections::{BTreeMap, BTreeSet};

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
    let receipts = book.received(person);
    sums.received = receipts.iter().map(|payment| payment.receipt.amount.0).sum();
    if book.forgets_receipts() && !book.is_hub_restored() {
        sums.received = sums.received.max(delivered_to(book, person));
    }
    sums
}

/// Every delivered payment was received exactly once, whole, for the published fee; nothing else was received.
pub(super) fn payments(book: &Book, people: usize, oracle: &Oracle) {
    let mut receipts = BTreeMap::new();
    // The hub may have forgotten that it was paid, and delivers again when it is paid again.
    let doubtful = book.orders().into_iter().filter(|order| order.doubtful);
    let doubtful: BTreeSet<_> = doubtful
        .filter_map(|order| Some((order.payer_mark(book)?, order.id)))
        .collect();
    for person in 0..people {
        if book.is_reliable(person) {
            positions(book, person, oracle);
        }
        for payment in book.received(person) {
            let key = (payment.receipt.payer, payment.receipt.payment_id);
            let before = receipts.insert(key, (person, payment.receipt.amount));
            if let Some((_, other)) = before
                && !doubtful.contains(&key)
            {
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
        match book.is_restorer(order.payer) {
            true => judge_lost(&order, receipt, book, oracle),
            false => judge(&order, receipt, book, oracle),
        }
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

fn positions(book: &Book, person: usize, oracle: &Oracle) {
    let (mut epoch, mut expected) = (None, 1);
    for payment in book.read(person) {
        let cursor = &payment.cursor;
        // The log of a restored hub is another one.
        if epoch.replace(cursor.epoch) != Some(cursor.epoch) {
            expected = 1;
        }
        if book.forgets_receipts() {
            expected = cursor.position.max(expected);
        }
        if cursor.position != expected || !payment.backed {
            oracle.violation(format!(
                "event {expected} of person {person} has position {}, backed: {}",
                cursor.position, payment.backed
            ));
        }
        expected += 1;
    }
}

fn judge(order: &Order, receipt: Option<(usize, Amount)>, book: &Book, oracle: &Oracle) {
    let what = match (order.state, receipt) {
        (State::Open, _) => "O8: it was never answered",
        (State::Bounced, _) if order.last && book.is_hub_restored() => {
            "O8: it bounced, although all that was forgotten has lapsed"
        }
        (State::Bounced | State::Refused, None) => return,
        // The payee holds the voucher, and the hub forgot what the payer had paid: its own loss.
        (State::Bounced, Some(_)) if order.doubtful => return,
        (State::Bounced | State::Refused, Some(_)) => "O4: it bounced and was received",
        // The hub forgot it before the payee had a voucher: it owes that, and only the payer can prove it.
        (State::Delivered { .. }, None) if order.doubtful => return,
        // Its voucher counts, below: its payee spent less by the amount.
        (State::Delivered { .. }, None) if book.forgets_receipts() => return,
        (State::Delivered { .. }, None) => "O4: it was delivered and not received",
        (State::Delivered { fee: kept }, Some((person, amount))) => match () {
            () if Some(person) != order.payee => "O4: somebody else received it",
            () if amount != order.amount => "O4: another amount was received",
            // Of a lock whose payment the hub forgot it does not know what to give back: it keeps the fee that was granted.
            () if order.locked && order.doubtful && kept <= order.fee_max => return,
            () if kept != fee(amount) => "O4: the fee is not the published one",
            () => return,
        },
    };
    oracle.violation(format!("{what}: {order:?}, received {receipt:?}"));
}

/// Whoever lost its database may pay again what had arrived: then that bounces, and the first one was received.
fn judge_lost(order: &Order, receipt: Option<(usize, Amount)>, book: &Book, oracle: &Oracle) {
    let what = match (order.state, receipt) {
        (State::Open, _) => "O8: it was never answered",
        (State::Delivered { .. }, None) if book.forgets_receipts() => return,
        (State::Delivered { .. }, None) => "O4: it was delivered and not received",
        (State::Refused, Some(_)) => "O4: the hub does not know it, and it was received",
        (_, Some((person, amount))) if Some(person) != order.payee || amount != order.amount => {
            "O4: somebody else received it, or another amount"
        }
        _ => return,
    };
    oracle.violation(format!("{what}: {order:?}, received {receipt:?}"));
}

/// What a person spent, by the vouchers of both sides and by its book; who lost its database has only vouchers.
fn spent(book: &Book, person: usize, channel: ChannelId, oracle: &Oracle) -> (i128, Sums) {
    let [by_client, by_hub] = [Side::Client, Side::Hub].map(|payer| oracle.paid(channel, payer).0);
    let sums = match book.is_restorer(person) {
        false => sums(book, person),
        true => Sums {
            paid: by_client,
            fees: 0,
            received: by_hub,
        },
    };
    (signed(by_client) - signed(by_hub), sums)
}

pub(super) fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

impl Sums {
    fn spent(&self) -> i128 {
        signed(self.paid + self.fees) - signed(self.received)
    }
}

/// What a person spent by the vouchers is what its book says; where books are incomplete it may be less: it has vouchers of payments
/// whose receipts were forgotten.
fn agrees(book: &Book, by_vouchers: i128, by_book: i128) -> bool {
    by_vouchers == by_book || (book.is_incomplete() && by_vouchers < by_book)
}

/// True when every book says what the vouchers say: nothing that was paid is still on its way into one. Where
/// receipts are forgotten, every client says it.
pub(super) fn add_up(book: &Book, channels: &[(usize, ChannelHandle)], oracle: &Oracle) -> bool {
    channels.iter().all(|(person, channel)| {
        let (by_vouchers, sums) = spent(book, *person, channel.id(), oracle);
        let by_client = channel.view().map(|view| {
            let (settled, withdrawn) = (view.balance.settled.0, view.balance.withdrawn.0);
            signed(DEPOSIT) - signed(settled + withdrawn)
        });
        let is_told = !book.forgets_receipts() || by_client == Some(by_vouchers);
        is_told && agrees(book, by_vouchers, sums.spent())
    })
}

/// The SDK's own account of each channel, and the vouchers that were seen, say what the book says (O3, O4). Gives the tokens
/// that everybody must have after the closes, by its client's newest evidence (O6).
pub(super) async fn channels(
    bank: &Bank,
    book: &Book,
    channels: &[(usize, ChannelHandle)],
    oracle: &Oracle,
) -> anyhow::Result<BTreeMap<usize, u128>> {
    let mut claims = BTreeMap::new();
    for (person, channel) in channels {
        let Some(view) = channel.view() else {
            oracle.violation(format!("person {person} does not know its channel"));
            continue;
        };
        let (by_vouchers, sums) = spent(book, *person, channel.id(), oracle);
        let (settled, withdrawn) = (view.balance.settled.0, view.balance.withdrawn.0);
        claims.insert(*person, ENDOWMENT - DEPOSIT + settled + withdrawn);
        let expected = signed(DEPOSIT) - sums.spent();
        if !agrees(book, signed(DEPOSIT) - signed(settled + withdrawn), sums.spent()) {
            oracle.violation(format!(
                "O4: the book of person {person} says {expected}, its client {settled} and {withdrawn} withdrawn",
            ));
        }
        let state = bank.channel(channel.id()).await?;
        let total = i128::try_from(state.total)?;
        let client = state.clientNet - by_vouchers;
        if client < 0 || client > total {
            oracle.violation(format!(
                "O3: the client's share of {} is {client} of {total}",
                channel.id()
            ));
        }
        if !agrees(book, by_vouchers, sums.spent()) {
            oracle.violation(format!(
                "O4: person {person} spent {by_vouchers} by its vouchers, {} by its book",
                sums.spent()
            ));
        }
    }
    Ok(claims)
}

/// After all channels are settled, everybody's tokens are what the book says, and the contract holds the vault alone (O7).
/// Whoever keeps the rules gets what is fair, the hub included (O6): what foes do may cost them, and nobody else.
pub(super) async fn tokens(
    bank: &Bank,
    book: &Book,
    claims: &BTreeMap<usize, u128>,
    people: usize,
    oracle: &Oracle,
) -> anyhow::Result<()> {
    let (mut fees, mut exact) = (0, true);
    for person in 0..people {
        if book.is_foe(person) {
            exact = false;
            continue;
        }
        exact &= !book.is_restorer(person);
        let mut sums = match book.account(person).channel {
            Some(channel) => spent(book, person, channel, oracle).1,
            None => Sums::default(),
        };
        fees += sums.fees;
        // What a restored hub owes is not in it.
        if book.has_left(person) && !book.is_hub_restored() {
            sums.received = delivered_to(book, person);
        }
        let expected = ENDOWMENT + sums.received - sums.paid - sums.fees;
        let got = bank.tokens_of(book.account(person).address).await?;
        if let Some(claim) = claims.get(&person)
            && (got < *claim || (got > *claim && book.is_exact()))
        {
            oracle.violation(format!(
                "O6: person {person} has {got} tokens on chain, its client's evidence says {claim}"
            ));
        }
        // What foes paid to somebody who left is in no book; nor is what a hub forgot to tell of.
        let may_have_more = book.is_incomplete() || (book.has_left(person) && !book.is_exact());
        if got < expected || (got > expected && !may_have_more) {
            oracle.violation(format!(
                "O6: person {person} has {got} tokens on chain, its book says {expected}"
            ));
        }
    }
    let vault = vault(bank, oracle).await?;
    let expected = VAULT + fees;
    // A10: what it signed after the copy that it was restored from may be lost to it, and what it was paid then is nobody's.
    let (lost, gained) = oracle.forgotten();
    if vault + lost < expected || (exact && vault > expected + gained) {
        oracle.violation(format!(
            "O6: the hub's vault has {vault}, expected are {expected}; by its restores it may have lost {lost} and gained {gained}"
        ));
    }
    Ok(())
}

/// O7: the contract holds what its channels sum to, and the vault.
pub(super) async fn holdings(bank: &Bank, book: &Book, oracle: &Oracle) -> anyhow::Result<()> {
    let block = bank.height()?;
    let mut owed = bank.vault().await?;
    let own = (0..book.people()).filter_map(|person| book.account(person).channel);
    let strangers = book.strangers().into_iter().map(|stranger| stranger.id);
    for channel in own.chain(strangers) {
        owed += bank.channel(channel).await?.total;
    }
    let held = bank.tokens_of(bank.deployed.adjudicator).await?;
    // Of one block, or of none.
    if bank.height()? == block {
        oracle.check(held == owed, || {
            format!("O7: vault and channels come to {owed}, the contract holds {held}")
        });
    }
    Ok(())
}

/// O7: when all channels are settled the contract holds the hub's vault, and nothing else. Gives the vault.
pub(super) async fn vault(bank: &Bank, oracle: &Oracle) -> anyhow::Result<u128> {
    let (vault, held) = (
        bank.vault().await?,
        bank.tokens_of(bank.deployed.adjudicator).await?,
    );
    if held != vault {
        oracle.violation(format!("O7: the vault says {vault}, the contract holds {held}"));
    }
    Ok(vault)
}

/// By the books of those who paid.
fn delivered_to(book: &Book, person: usize) -> u128 {
    let orders = book.orders().into_iter();
    let delivered = orders.filter(|order| {
        order.payee == Some(person)
            && book.is_reliable(order.payer)
            && matches!(order.state, State::Delivered { .. })
    });
    delivered.map(|order| order.amount.0).sum()
}
