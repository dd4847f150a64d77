//! What honest people do when their hub lies, or is gone: they take what they hold to court, and get at least what that proves.

use super::{
    bank::{Bank, DEPOSIT, ENDOWMENT},
    book::{Book, Order, State},
    court,
    faults::{Kind, Plan},
    network::{Ears as _, Network, Party},
    oracle::Oracle,
    part::Part,
    reckoning::{self, signed},
    watchtower::Guard,
};
use client_sdk::{ChannelHandle, ChannelView};
use protocol_spec::{ChannelId, Seq, Side, SignerKey, abi::Status, calls};
use rand::Rng as _;
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How long somebody may take until its client is up.
const UP_MAX: Duration = Duration::from_secs(150);
const LOOK: Duration = Duration::from_millis(100);
/// How long it may take until the watchtower has what was received: a client tries again at growing intervals.
const HANDED_MAX: Duration = Duration::from_secs(130);

/// What somebody must have when its channel is settled, with the reason.
type Claim = (i128, &'static str);

/// Somebody whose machine is away.
pub(super) struct Away {
    pub(super) person: usize,
    claim: Claim,
    /// The watchtower has all that its client had.
    all: bool,
}

/// Somebody is away from now on, and has nobody but the watchtower, to which everything was handed over.
pub(super) async fn go_away(
    bank: &Bank,
    book: &Book,
    (network, oracle): (&Network, &Oracle),
    people: &[watch::Receiver<Option<ChannelHandle>>],
    guard: &Guard,
) -> anyhow::Result<Option<Away>> {
    let mut guarded = Vec::new();
    for person in 0..people.len() {
        if let Some(id) = book.account(person).channel
            && !matches!(bank.channel(id).await?.status, Status::Closed)
        {
            guarded.push((person, id, guard.holds(id)?.0 > Seq::NONE));
        }
    }
    // Whoever was paid nothing has little to lose.
    let paid = guarded.iter().any(|(.., paid)| *paid);
    guarded.retain(|(.., has)| *has == paid);
    if guarded.is_empty() {
        return Ok(None);
    }
    let drawn = |plan: &mut Plan| plan.dice(Part::Watchtower).random_range(0..guarded.len());
    let (person, id, _) = guarded[network.plan(drawn)];
    let handed = async {
        let channel = up(&people[person]).await;
        let received = channel.view().map_or(Seq::NONE, |view| view.received_seq);
        let _ = channel.wait_towers(received).await;
    };
    // Whether it was is judged by what the watchtower has.
    let _ = timeout(HANDED_MAX, handed).await;
    let view = people[person].borrow().as_ref().and_then(ChannelHandle::view);
    let (seq, paid) = guard.holds(id)?;
    book.go_away(person);
    oracle.cut_power(Party::Person(person), Kind::ClientBefore);
    let received = view.as_ref().map_or(Seq::NONE, |view| view.received_seq);
    let what = format!("person {person} goes away; of {received} its watchtower has {seq}");
    // After a dispute vouchers with locks are not handed over (R28).
    let with_locks = view.is_some_and(|view| !view.balance.incoming.is_zero());
    if seq < received && !(with_locks && oracle.was_disputed(id)) {
        oracle.violation(format!("O2: {what}"));
    }
    oracle.note(&what);
    let (spent, _) = oracle.said_by_client(id);
    let claim = signed(ENDOWMENT + paid.0) - signed(spent + locked(id, network));
    Ok(Some(Away {
        person,
        claim: (claim, "its watchtower's package"),
        all: seq >= received,
    }))
}

/// Everybody whose channel is in no dispute yet starts one with its evidence. Gives what each must have in the end.
pub(super) async fn go_to_court(
    bank: &Bank,
    book: &Book,
    (network, oracle): (&Network, &Oracle),
    away: Option<&Away>,
    people: &[watch::Receiver<Option<ChannelHandle>>],
    keys: &[SignerKey],
) -> anyhow::Result<Vec<(usize, ChannelId, Vec<Claim>)>> {
    let mut claims = Vec::new();
    for (person, key) in keys.iter().enumerate() {
        let Some(id) = book.account(person).channel else {
            continue;
        };
        if let Some(away) = away.filter(|away| away.person == person) {
            claims.push((person, id, vec![away.claim]));
            continue;
        }
        let without = || vec![by_wires(id, network, oracle), by_book(person, book)];
        if matches!(bank.channel(id).await?.status, Status::Closed) {
            claims.push((person, id, without()));
            continue;
        }
        let Ok(channel) = timeout(UP_MAX, up(&people[person])).await else {
            oracle.violation(format!("O8: person {person} cannot start its client"));
            continue;
        };
        let view = channel.view();
        let by_client = view.map(|view| by_client(&view, id, network));
        let claimed = without().into_iter().chain(by_client).collect();
        if bank.is_open(id).await? {
            let evidence = channel.evidence().await?;
            let call = calls::dispute(&evidence.config, Side::Hub, &evidence.received);
            let started = court::start(bank, key, &call).await?;
            oracle.note(&format!("person {person} goes to court: {started}"));
            if started {
                oracle.disputed(id);
            } else if bank.is_open(id).await? {
                oracle.violation(format!(
                    "O6: the court does not take the evidence of person {person}"
                ));
            }
        }
        claims.push((person, id, claimed));
    }
    Ok(claims)
}

async fn up(handle: &watch::Receiver<Option<ChannelHandle>>) -> ChannelHandle {
    loop {
        let channel = handle.borrow().clone();
        if let Some(channel) = channel.filter(|channel| channel.view().is_some()) {
            return channel;
        }
        sleep(LOOK).await;
    }
}

/// By what the client has said itself, heard by others.
fn by_wires(id: ChannelId, network: &Network, oracle: &Oracle) -> Claim {
    let (paid, received) = oracle.said_by_client(id);
    let received = received + network.rogue(|rogue, _| rogue.opened(id)).unwrap_or(0);
    let claim = signed(ENDOWMENT + received) - signed(paid + locked(id, network));
    (claim, "its messages")
}

/// By the answers that its application had.
fn by_book(person: usize, book: &Book) -> Claim {
    let cost = |order: &Order| match order.state {
        State::Delivered { fee } => order.amount.0 + fee.0,
        // Signed, perhaps.
        State::Open => order.amount.0 + order.fee_max.0,
        State::Bounced | State::Refused => 0,
    };
    let orders = book.orders();
    let own = orders.iter().filter(|order| order.payer == person);
    let received = book.received(person);
    let received = received.iter().filter(|payment| payment.backed);
    let received: u128 = received.map(|payment| payment.receipt.amount.0).sum();
    let paid: u128 = own.map(cost).sum();
    (
        signed(ENDOWMENT + received) - signed(paid),
        "what its application was told",
    )
}

/// By its client's own account.
fn by_client(view: &ChannelView, id: ChannelId, network: &Network) -> Claim {
    let balance = &view.balance;
    let locked = balance.locked.0.max(locked(id, network));
    let claim = signed(ENDOWMENT - DEPOSIT + balance.settled.0 + view.withdrawn_on_chain.0) - signed(locked);
    (claim, "its client")
}

fn locked(id: ChannelId, network: &Network) -> u128 {
    network.rogue(|rogue, _| rogue.locked(id)).unwrap_or(0)
}

/// All ask their clients what became of their payments, now that all is paid out.
pub(super) async fn ask_again(book: &Book, oracle: &Oracle, people: impl Iterator<Item = usize>) {
    book.set_settled();
    for person in people {
        let asked = async {
            while !book.has_asked_again(person) {
                sleep(LOOK).await;
            }
        };
        if timeout(UP_MAX, asked).await.is_err() {
            oracle.violation(format!(
                "O8: the client of person {person} does not see the payout"
            ));
        }
    }
}

/// What a person's application wrote down.
fn show(person: usize, book: &Book, oracle: &Oracle) {
    for order in book.orders().iter().filter(|order| order.payer == person) {
        oracle.note(&format!("{order:?}"));
    }
    for payment in book.received(person) {
        oracle.note(&format!("received {payment:?}"));
    }
}

/// O6, when all is paid out.
pub(super) async fn judge(
    bank: &Bank,
    book: &Book,
    oracle: &Oracle,
    away: Option<&Away>,
    claims: &[(usize, ChannelId, Vec<Claim>)],
) -> anyhow::Result<()> {
    for (person, id, claims) in claims {
        let got = signed(bank.tokens_of(book.account(*person).address).await?);
        oracle.note(&format!("person {person} has {got}, of {claims:?}"));
        // Its book may have what its watchtower could not be given.
        let told = away.is_none_or(|away| away.person != *person || away.all);
        let told = told.then(|| by_book(*person, book));
        let claims = || claims.iter().chain(&told);
        if claims().any(|(claim, _)| got < *claim) {
            show(*person, book, oracle);
        }
        for (claim, why) in claims() {
            if got < *claim {
                oracle.violation(format!(
                    "O6: person {person} has {got} tokens on chain, by {why} it is {claim}; channel {id}"
                ));
            }
        }
    }
    reckoning::vault(bank, oracle).await?;
    Ok(())
}
