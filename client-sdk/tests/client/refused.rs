//! Locks whose resolvers change their minds, or say one thing when asked and another in a transaction: what they refuse keeps
//! back neither the voucher nor the other locks.

use crate::{
    common::{Court, DEPOSIT, eventually, key},
    court::merchant,
};
use alloy::providers::Provider as _;
use client_sdk::{Address, ChannelHandle, Client, Condition, Digest, MemoryStore};
use protocol_spec::{Witness, abi::Status, limits::ACT_DEFAULT_S};
use std::time::Duration;

const CREDITED: u128 = 1_000;
const LIFE_S: u64 = 2 * 3600;
const HOUR: Duration = Duration::from_secs(3600);
/// Good locks of each kind, and their amounts.
const GOOD: u64 = 4;
const PREIMAGE: u128 = 100;
const RESOLVED: u128 = 1_000;
const FAIR: u128 = CREDITED + GOOD as u128 * (PREIMAGE + RESOLVED);

/// Who answers, and who does not in the end.
const WILLING: Address = Address::repeat_byte(0x52);
const REFUSING: Address = Address::repeat_byte(0x51);
/// Runtime codes: `check` answers with the word 1; only when asked without a gas price.
const YES: &str = "0x600160005260206000f3";
const TWO_FACED: &str = "0x3a1560005260206000f3";

/// Runtime code: yes before chain time `until`, no from then on.
fn yes_until(until: u64) -> String {
    format!("0x64{until:010x}421060005260206000f3")
}

fn set_code(court: &Court, at: Address, code: &str) {
    let params = serde_json::value::to_raw_value(&(at, code)).unwrap();
    court.chain.request("anvil_setCode", Some(&params)).unwrap();
}

async fn told(court: &Court, id: u64) {
    eventually("the witness is told", || court.hub.state().revealed.contains(&id)).await;
}

/// The lock `id` on that resolver, released to a hub that does nothing.
async fn released(court: &Court, channel: &ChannelHandle, id: u64, (amount, resolver): (u128, Address)) {
    let condition = Condition::data(resolver, &id.to_be_bytes());
    let invoice = channel.invoice_on(amount, HOUR, Digest::ZERO, condition).await;
    let invoice = invoice.unwrap();
    court.lock(&invoice, LIFE_S);
    channel.held(&invoice).await.unwrap();
    let channel = channel.clone();
    tokio::spawn(async move {
        let witness = Witness::new(vec![7; 40]).unwrap();
        channel.release(&invoice, witness).await
    });
    told(court, id).await;
}

/// A merchant that was paid, with good locks behind `bad` ones of a resolver that `refuses` from some time on. The hub is gone.
async fn at_risk(bad: u64, refuses: fn(u64) -> String) -> (Court, Client) {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    court.hub.credit(&court.id(), CREDITED);
    let until = court.hub.clock().now.0 + 1_000;
    set_code(&court, WILLING, YES);
    set_code(&court, REFUSING, &refuses(until));
    // Resolvers are asked at a confirmed block.
    court.pass(20).await;
    court.chain.mine(20).unwrap();
    for id in 1..=bad {
        released(&court, &channel, id, (7, REFUSING)).await;
    }
    for id in (bad + 1..).step_by(2).take(usize::try_from(GOOD).unwrap()) {
        let invoice = channel.invoice(PREIMAGE, HOUR, Digest::ZERO).await.unwrap();
        court.lock(&invoice, LIFE_S);
        told(&court, id).await;
        released(&court, &channel, id + 1, (RESOLVED, WILLING)).await;
    }
    assert!(court.hub.clock().now.0 < until);
    court.hub_goes(&channel).await;
    court.pass(1_000).await;
    (court, client)
}

/// Within two minutes the voucher is shown and what can be collected is, and the payout is fair; with few transactions.
async fn collects(court: &Court, client: Client) {
    court
        .until("the voucher and every good lock", |state| {
            state.hubPaid == CREDITED && state.hubLocks.counted == FAIR - CREDITED
        })
        .await;
    let sent = court
        .chain
        .provider()
        .get_transaction_count(key(1).address())
        .await
        .unwrap();
    assert!(sent <= 8, "{sent} transactions, with the one that opened");
    for _ in 0..2 {
        court.pass(court.config.challenge_period_s).await;
    }
    court
        .until("the payout", |state| matches!(state.status, Status::Closed))
        .await;
    assert_eq!(court.paid_out().await, DEPOSIT + FAIR);
    client.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn r21_locks_that_are_refused_keep_nothing_back_in_the_hubs_dispute() {
    for bad in [1, 90] {
        for refuses in [yes_until, |_| TWO_FACED.to_owned()] {
            let (court, client) = at_risk(bad, refuses).await;
            court.dispute().await;
            collects(&court, client).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn r21_locks_that_are_refused_keep_nothing_back_in_the_own_dispute() {
    for refuses in [yes_until, |_| TWO_FACED.to_owned()] {
        let (court, client) = at_risk(90, refuses).await;
        court.pass(LIFE_S - ACT_DEFAULT_S - 1_000).await;
        collects(&court, client).await;
    }
}
