//! The verdict, from the clients' log and the chain. The hub is not asked.

use super::{
    log::Line,
    people::{DEPOSIT, ENDOWMENT, MERCHANTS, PAYERS, People, fee_of},
    world::{VAULT, World},
};
use client_sdk::PaymentId;
use std::collections::HashMap;

const EVERYBODY: usize = PAYERS + MERCHANTS;

/// What the log says of one payment.
#[derive(Clone, Default, Debug)]
struct Payment {
    /// (payer, payee, amount).
    sent: Option<(usize, usize, u128)>,
    fee: Option<u128>,
    bounced: bool,
    not_sent: bool,
    /// (who, amount), once per time.
    credits: Vec<(usize, u128)>,
    events: Vec<(usize, u128)>,
    again: Vec<(usize, u128)>,
}

impl Payment {
    fn receptions(&self) -> [&Vec<(usize, u128)>; 3] {
        [&self.credits, &self.events, &self.again]
    }
}

/// The sums of one person, from the log.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Ledger {
    pub(crate) paid: u128,
    pub(crate) fees: u128,
    pub(crate) received: u128,
}

impl Ledger {
    /// What is left of the deposit.
    pub(crate) fn balance(&self) -> u128 {
        DEPOSIT + self.received - self.paid - self.fees
    }
}

/// What the log adds up to.
#[derive(Default, Debug)]
pub(crate) struct Verdict {
    pub(crate) sent: usize,
    pub(crate) acked: usize,
    pub(crate) bounced: usize,
    pub(crate) credited: usize,
    /// Acknowledged, and missing in a voucher or in a stream.
    pub(crate) lost: usize,
    /// Twice in the vouchers or in one stream.
    pub(crate) doubled: usize,
    /// Without an outcome, received though it bounced or was never sent, or received by somebody else or in another amount.
    pub(crate) wrong: Vec<String>,
    pub(crate) ledgers: Vec<Ledger>,
    /// Payments received by each, by their vouchers.
    pub(crate) received: Vec<usize>,
}

/// Reads the log. `streams_read_again`: the streams were read a second time from the beginning.
pub(crate) fn judge(lines: &[Line], streams_read_again: bool) -> Verdict {
    let mut verdict = Verdict {
        ledgers: vec![Ledger::default(); EVERYBODY],
        received: vec![0; EVERYBODY],
        ..Verdict::default()
    };
    let payments = collect(lines, &mut verdict);
    for (id, payment) in &payments {
        weigh(*id, payment, streams_read_again, &mut verdict);
    }
    verdict
}

fn collect(lines: &[Line], verdict: &mut Verdict) -> HashMap<PaymentId, Payment> {
    let mut payments: HashMap<PaymentId, Payment> = HashMap::new();
    for line in lines {
        match line {
            Line::Sent {
                id,
                payer,
                payee,
                amount,
            } => payments.entry(*id).or_default().sent = Some((*payer, *payee, *amount)),
            Line::Acked { id, fee } => payments.entry(*id).or_default().fee = Some(*fee),
            Line::Bounced { id } => payments.entry(*id).or_default().bounced = true,
            Line::NotSent { id } => payments.entry(*id).or_default().not_sent = true,
            Line::Failed { id, why } => verdict.wrong.push(format!("{id}: {why}")),
            Line::Credit { id, who, amount } => {
                payments.entry(*id).or_default().credits.push((*who, *amount))
            }
            Line::Event { id, who, amount } => payments.entry(*id).or_default().events.push((*who, *amount)),
            Line::Again { id, who, amount } => payments.entry(*id).or_default().again.push((*who, *amount)),
        }
    }
    payments
}

fn weigh(id: PaymentId, payment: &Payment, streams_read_again: bool, verdict: &mut Verdict) {
    let seen = payment.receptions();
    let is_received = seen.iter().any(|times| !times.is_empty());
    verdict.credited += payment.credits.len();
    verdict.doubled += usize::from(seen.iter().any(|times| times.len() > 1));
    for (who, amount) in &payment.credits {
        verdict.ledgers[*who].received += amount;
        verdict.received[*who] += 1;
    }
    let Some((payer, payee, amount)) = payment.sent else {
        return verdict.wrong.push(format!("{id} was received and never sent"));
    };
    verdict.sent += 1;
    verdict.bounced += usize::from(payment.bounced);
    if seen
        .iter()
        .any(|times| times.iter().any(|got| *got != (payee, amount)))
    {
        verdict.wrong.push(format!("{id}: {payment:?}"));
    }
    match payment.fee {
        Some(fee) => {
            verdict.acked += 1;
            let streams = if streams_read_again { 3 } else { 2 };
            verdict.lost += usize::from(seen.iter().take(streams).any(|times| times.is_empty()));
            verdict.ledgers[payer].paid += amount;
            verdict.ledgers[payer].fees += fee;
            if fee != fee_of(amount) {
                verdict
                    .wrong
                    .push(format!("{id} cost {fee}, not {}", fee_of(amount)));
            }
        }
        None if is_received => verdict
            .wrong
            .push(format!("{id} was received and is not acknowledged")),
        None if !payment.bounced && !payment.not_sent => verdict.wrong.push(format!("{id} has no outcome")),
        None => {}
    }
}

/// Everybody's vouchers against the ledgers from the log. Before the channels are closed.
pub(crate) fn vouchers(people: &People, verdict: &Verdict) -> Vec<String> {
    let mut wrong = Vec::new();
    for person in &people.all {
        let (balance, ledger) = (
            person.channel.view().unwrap().balance,
            verdict.ledgers[person.who],
        );
        if balance.settled.0 != ledger.balance() || !balance.in_flight.is_zero() {
            wrong.push(format!(
                "{}: vouchers say {balance:?}, log says {ledger:?}",
                person.name
            ));
        }
    }
    let settled: u128 = people
        .all
        .iter()
        .map(|person| person.channel.view().unwrap().balance.settled.0)
        .sum();
    let fees: u128 = verdict.ledgers.iter().map(|ledger| ledger.fees).sum();
    if settled + fees != EVERYBODY as u128 * DEPOSIT {
        wrong.push(format!(
            "{settled} settled and {fees} of fees are not what was deposited"
        ));
    }
    wrong
}

/// Tokens on chain against the ledgers from the log. After the channels were closed. Returns (clients, vault, wrong).
pub(crate) async fn chain(world: &World, people: &People, verdict: &Verdict) -> (u128, u128, Vec<String>) {
    let (mut wrong, mut all) = (Vec::new(), 0);
    for person in &people.all {
        let expected = ENDOWMENT - DEPOSIT + verdict.ledgers[person.who].balance();
        let has = world.tokens_of(person.address).await;
        all += has;
        if has != expected {
            wrong.push(format!(
                "{} has {has} tokens, its ledger says {expected}",
                person.name
            ));
        }
    }
    let fees: u128 = verdict.ledgers.iter().map(|ledger| ledger.fees).sum();
    let vault = world.vault().await;
    if vault != VAULT + fees {
        wrong.push(format!(
            "the vault has {vault} tokens, not {VAULT} and {fees} of fees"
        ));
    }
    if world.tokens_of(world.deployed.adjudicator).await != vault {
        wrong.push("the adjudicator holds more or less than the vault".to_owned());
    }
    (all, vault, wrong)
}
