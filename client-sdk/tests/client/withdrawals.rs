//! What was signed of a withdrawal goes on until it is mined or lapses (R12), whoever still waits for it.

use crate::{
    common::{Court, PURSE, Refuse, Silence, eventually},
    court::merchant,
};
use client_sdk::{ChannelError, ChannelHandle, Client, MemoryStore};
use protocol_spec::limits::LAG_DEFAULT_S;
use std::time::Duration;
use tokio::time::sleep;

const AMOUNT: u128 = 5_000;
/// Of a withdrawal.
const LIFE_S: u64 = 15 * 60;
/// So long the hub is left alone with what both have signed.
const PATIENCE_S: u64 = LIFE_S / 3;
const PAYEE: client_sdk::Address = client_sdk::Address::repeat_byte(0x77);

/// Asks for a withdrawal and drops the future when it is signed and has come to the hub as often as said.
async fn given_up(court: &Court, channel: &ChannelHandle, sent: usize) {
    let signed = eventually("it is signed", || {
        let pending = channel.view().unwrap().withdraw_pending;
        pending && court.hub.state().cooperative.len() >= sent
    });
    tokio::select! {
        biased;
        ended = channel.withdraw(AMOUNT) => panic!("{ended:?}"),
        () = signed => {}
    }
    // Its answer is here.
    sleep(Duration::from_millis(100)).await;
}

fn pending(client: &Client) -> bool {
    client.default_channel().unwrap().view().unwrap().withdraw_pending
}

async fn mined(court: &Court, client: &Client) {
    court
        .until("the withdrawal", |state| state.clientWithdrawn == AMOUNT)
        .await;
    assert_eq!(court.paid_out().await, AMOUNT);
    eventually("it is known to be mined", || !pending(client)).await;
}

fn sent_once_or_the_same(court: &Court) -> usize {
    let state = court.hub.state();
    let sent = &state.cooperative;
    assert!(sent.iter().all(|bytes| *bytes == sent[0]), "not the same bytes");
    sent.len()
}

/// Both have signed, and the hub does not hand it in, because it is gone or for reasons of its own: the client does, in time.
#[tokio::test(start_paused = true)]
async fn r12_what_both_have_signed_is_handed_in_by_the_client_when_the_hub_does_not() {
    for (gone, restart) in [(false, false), (true, false), (true, true)] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (mut client, channel) = merchant(&court, court.client(store.clone())).await;
        given_up(&court, &channel, 1).await;
        if gone {
            court.hub_goes(&channel).await;
        }
        if restart {
            client.shutdown().await;
            client = court.client(store).connect().await.unwrap();
        }
        court.pass(PATIENCE_S - 60).await;
        assert_eq!(court.state().await.clientWithdrawn, 0, "it is the hub's to send");
        court.pass(60).await;
        mined(&court, &client).await;
        assert_eq!(sent_once_or_the_same(&court), 1);
        client.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_wants_to_broadcast_does_so_at_once() {
    let court = Court::open().await;
    let builder = court.client(MemoryStore::new()).broadcast(true);
    let (client, channel) = merchant(&court, builder).await;
    channel.withdraw(AMOUNT).await.unwrap();
    mined(&court, &client).await;
    client.shutdown().await;
}

/// What moves too little for the hub to pay the gas.
#[tokio::test(start_paused = true)]
async fn what_the_hub_says_that_it_does_not_send_goes_at_once() {
    let court = Court::open().await;
    court.hub.state().leaves_lying = true;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    channel.withdraw(AMOUNT).await.unwrap();
    mined(&court, &client).await;
    client.shutdown().await;
}

/// The hub alone has both signatures, because its answer was lost: it is asked again, the same bytes, also after a restart.
#[tokio::test(start_paused = true)]
async fn r12_an_answer_that_was_lost_is_asked_for_again() {
    for restart in [false, true] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (mut client, channel) = merchant(&court, court.client(store.clone())).await;
        court.hub.state().silence = Some(Silence::Withdraw);
        given_up(&court, &channel, 1).await;
        if restart {
            client.shutdown().await;
            client = court.client(store).connect().await.unwrap();
        }
        sleep(Duration::from_secs(30)).await;
        assert_eq!(sent_once_or_the_same(&court), 2, "restart: {restart}");
        client.pay(PAYEE, 10_u128).await.unwrap();
        court.pass(PATIENCE_S).await;
        mined(&court, &client).await;
        client.shutdown().await;
    }
}

/// The client alone has what it signed. Until the hub has it nothing is signed beside it, or the hub could never sign it.
#[tokio::test(start_paused = true)]
async fn r12_a_hub_that_comes_back_in_time_gets_what_was_signed_before_anything_else() {
    for restart in [false, true] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (mut client, channel) = merchant(&court, court.client(store.clone())).await;
        court.hub.state().refuse = Some(Refuse::Withdraw);
        given_up(&court, &channel, 1).await;
        court.hub_goes(&channel).await;
        if restart {
            client.shutdown().await;
            client = court.client(store).connect().await.unwrap();
        }
        court.hub.state().refuse = None;
        let before = court.hub.state().vouchers.len();
        let paying = {
            let client = client.clone();
            tokio::spawn(async move { client.pay(PAYEE, 10_u128).await })
        };
        sleep(Duration::from_secs(1)).await;
        court.hub_returns();
        paying.await.unwrap().unwrap();
        assert!(sent_once_or_the_same(&court) >= 2);
        assert!(court.hub.state().vouchers.len() > before);
        court.pass(PATIENCE_S).await;
        mined(&court, &client).await;
        client.shutdown().await;
    }
}

/// It lapses by the chain's time, deadline and lag, and not before; then the sum can be paid.
#[tokio::test(start_paused = true)]
async fn r12_what_the_hub_never_got_lapses() {
    let (court, store) = (Court::open().await, MemoryStore::new());
    let (client, channel) = merchant(&court, court.client(store.clone())).await;
    court.hub.state().refuse = Some(Refuse::Withdraw);
    given_up(&court, &channel, 1).await;
    court.hub_goes(&channel).await;
    client.shutdown().await;
    let client = court.client(store).connect().await.unwrap();
    court.pass(LIFE_S).await;
    court.hub.state().refuse = None;
    court.hub_returns();
    client.default_channel().unwrap().wait_live().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(pending(&client), "it counts as done");
    // What is past its deadline holds up nothing.
    client.pay(PAYEE, 10_u128).await.unwrap();
    let sent = sent_once_or_the_same(&court);
    court.pass(LAG_DEFAULT_S + 30).await;
    eventually("it has lapsed", || !pending(&client)).await;
    assert_eq!(sent_once_or_the_same(&court), sent);
    client.pay(PURSE, 600_000_u128).await.unwrap();
    client.shutdown().await;
}

/// A hub that says no for good holds up nothing: payments go on, and only the sum waits.
#[tokio::test(start_paused = true)]
async fn r12_a_hub_that_says_no_for_good_stops_no_payment() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    court.hub.state().refuse = Some(Refuse::WithdrawForGood);
    let refused = channel.withdraw(AMOUNT).await;
    assert!(matches!(refused, Err(ChannelError::Hub(_))), "{refused:?}");
    client.pay(PAYEE, 10_u128).await.unwrap();
    let again = channel.withdraw(AMOUNT).await;
    assert!(matches!(again, Err(ChannelError::Busy)), "{again:?}");
    court.pass(LIFE_S + LAG_DEFAULT_S + 30).await;
    eventually("it has lapsed", || !pending(&client)).await;
    court.hub.state().refuse = None;
    client.shutdown().await;
}
