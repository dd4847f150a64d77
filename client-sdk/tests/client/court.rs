//! What R21 asks of a client, on a real adjudicator, with the hub mute or gone.

use crate::common::{Court, DEPOSIT, eventually, key};
use alloy::{primitives::U256, providers::Provider as _};
use client_sdk::{
    ChannelError, ChannelHandle, Client, ClientBuilder, ClientEvent, ConnectError, Defence, Digest,
    MemoryStore, SignedInvoice,
};
use protocol_spec::{abi::Status, limits::ACT_DEFAULT_S};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;

pub(crate) const LIFE_S: u64 = 2 * 3600;
pub(crate) const CREDITED: u128 = 1_000;
pub(crate) const LOCKED: u128 = 40_000;

pub(crate) async fn merchant(court: &Court, builder: ClientBuilder) -> (Client, ChannelHandle) {
    let client = builder.connect().await.unwrap();
    let id = client.attach(court.config.clone()).await.unwrap().id();
    let channel = client.channel(id);
    channel.wait_live().await.unwrap();
    (client, channel)
}

/// Paid before, and a lock of the hub's that pays an invoice: its preimage is told, and the hub does nothing.
pub(crate) async fn locked(court: &Court, channel: &ChannelHandle) -> SignedInvoice {
    court.hub.credit(&court.id(), CREDITED);
    let hour = Duration::from_secs(3600);
    let invoice = channel.invoice(LOCKED, hour, Digest::ZERO).await.unwrap();
    court.lock(&invoice, LIFE_S);
    eventually("the preimage is told", || court.hub.state().revealed == [1]).await;
    invoice
}

/// The first event of a kind; the others before it are dropped.
async fn told<T>(events: &mut Receiver<ClientEvent>, wanted: impl Fn(&ClientEvent) -> Option<T>) -> T {
    let told = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(60), told).await;
    told.expect("the event did not come")
}

fn at_risk(event: &ClientEvent) -> Option<Defence> {
    match event {
        ClientEvent::LockAtRisk { defence, .. } => Some(*defence),
        _ => None,
    }
}

/// Time passes until the dispute is final and paid out.
pub(crate) async fn finalized(court: &Court) {
    let window = court.config.challenge_period_s;
    court.pass(window + 1).await;
    assert!(
        matches!(court.state().await.status, Status::Disputed),
        "R18: not before a re-count fits"
    );
    court.pass(window).await;
    court
        .until("the payout", |state| matches!(state.status, Status::Closed))
        .await;
}

/// What happens when the preimage was told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    /// The hub says nothing about it.
    Mute,
    HubGone,
    /// And the merchant's process is restarted.
    Restarted,
}

/// The client's process alone does all that is left to do.
#[tokio::test(start_paused = true)]
async fn r21_a_lock_that_the_hub_does_not_fold_is_collected_in_time_and_paid_out() {
    for then in [Then::Mute, Then::HubGone, Then::Restarted] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (mut client, channel) = merchant(&court, court.client(store.clone())).await;
        let invoice = locked(&court, &channel).await;
        if then != Then::Mute {
            court.hub_goes(&channel).await;
        }
        if then == Then::Restarted {
            client.shutdown().await;
            client = court.client(store).connect().await.unwrap();
        }
        let mut events = client.events();
        court.pass(LIFE_S - ACT_DEFAULT_S - 60).await;
        assert!(
            matches!(court.state().await.status, Status::Open),
            "nothing is due yet"
        );
        court.pass(60).await;
        assert_eq!(told(&mut events, at_risk).await, Defence::Automatic);
        court
            .until("a dispute in which the lock counts", |state| {
                matches!(state.status, Status::Disputed) && state.hubLocks.counted == LOCKED
            })
            .await;
        told(&mut events, |event| {
            matches!(event, ClientEvent::Defended { .. }).then_some(())
        })
        .await;
        finalized(&court).await;
        assert_eq!(court.paid_out().await, DEPOSIT + CREDITED + LOCKED, "{then:?}");
        let accepted = client.channel(court.id()).accept(&invoice).await.unwrap();
        assert_eq!(accepted.amount.0, LOCKED);
        client.shutdown().await;
    }
}

/// Two locks, of which one expires much later: the dispute that saves the first resolves both.
#[tokio::test(start_paused = true)]
async fn r21_the_dispute_resolves_every_known_lock() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    locked(&court, &channel).await;
    let day = Duration::from_secs(86_400);
    let later = channel.invoice(7_u128, day, Digest([1; 32])).await.unwrap();
    court.lock(&later, 5 * 3600);
    eventually("both are told", || court.hub.state().revealed == [1, 2]).await;
    court.hub_goes(&channel).await;
    court.pass(LIFE_S - ACT_DEFAULT_S).await;
    court
        .until("both count", |state| state.hubLocks.counted == LOCKED + 7)
        .await;
    finalized(&court).await;
    assert_eq!(court.paid_out().await, DEPOSIT + CREDITED + LOCKED + 7);
    client.shutdown().await;
}

/// R4: the hub pays with what the chain does not show. It waits for the chain, and the app is told what is missing.
#[tokio::test(start_paused = true)]
async fn a_voucher_that_the_chain_does_not_cover_is_told_with_its_numbers() {
    let court = Court::open().await;
    let (client, _) = merchant(&court, court.client(MemoryStore::new())).await;
    let mut events = client.events();
    let more = client_sdk::Amount(2 * DEPOSIT);
    let id = court.id();
    let hub = |state: &mut crate::common::State| {
        let entry = state.channels.get_mut(&id).unwrap();
        entry.channel.deposit_confirmed(protocol_spec::Side::Hub, more);
    };
    hub(&mut court.hub.state());
    court.hub.credit(&id, DEPOSIT + 1);
    let (why, deposit) = told(&mut events, |event| match event {
        ClientEvent::VoucherHeld { why, hub_deposit, .. } => Some((why.clone(), *hub_deposit)),
        _ => None,
    })
    .await;
    assert_eq!(deposit, client_sdk::Amount(DEPOSIT), "{why}");
    assert_eq!(client.health(), client_sdk::Health::Good);
    client.shutdown().await;
}

/// Nobody here may send: the event says who must, and nothing is sent.
#[tokio::test(start_paused = true)]
async fn who_cannot_send_is_told_what_to_do() {
    for builder in [
        |court: &Court| court.client(MemoryStore::new()).defend(false),
        |court: &Court| {
            // A sender that is neither the channel's client nor its signer.
            let stranger = crate::common::key(3).to_bytes();
            let stranger = alloy::signers::local::PrivateKeySigner::from_slice(stranger.as_slice());
            court.client(MemoryStore::new()).sender(stranger.unwrap())
        },
    ] {
        let court = Court::open().await;
        let (client, channel) = merchant(&court, builder(&court)).await;
        let mut events = client.events();
        locked(&court, &channel).await;
        court.pass(LIFE_S - ACT_DEFAULT_S).await;
        assert_eq!(told(&mut events, at_risk).await, Defence::ByHand);
        court.pass(60).await;
        assert!(matches!(court.state().await.status, Status::Open));
        client.shutdown().await;
    }
}

/// A lock whose dispute would be due at once is given up: a payer could make every merchant go to court.
#[tokio::test(start_paused = true)]
async fn a_lock_that_leaves_the_hub_no_time_is_given_up() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    let hour = Duration::from_secs(3600);
    let invoice = channel.invoice(LOCKED, hour, Digest::ZERO).await.unwrap();
    court.lock(&invoice, ACT_DEFAULT_S + 60);
    eventually("it is given up", || court.hub.state().consented == [1]).await;
    assert!(court.hub.state().revealed.is_empty());
    client.shutdown().await;
}

/// The client was away when the hub disputed and vanished. It needs no hub to answer.
#[tokio::test(start_paused = true)]
async fn r21_who_starts_while_the_hub_is_away_answers_its_dispute() {
    let (court, store) = (Court::open().await, MemoryStore::new());
    let (client, channel) = merchant(&court, court.client(store.clone())).await;
    court.hub.credit(&court.id(), CREDITED);
    eventually("it is received", || client.balance().received.0 == CREDITED).await;
    court.hub_goes(&channel).await;
    client.shutdown().await;
    court.dispute().await;
    court.pass(court.config.challenge_period_s / 2).await;
    let client = court.client(store).connect().await.unwrap();
    assert!(matches!(client.unreachable(), Some(ConnectError::Unreachable(_))));
    assert!(!client.connected());
    court.until("the answer", |state| state.hubPaid == CREDITED).await;
    court.pass(court.config.challenge_period_s / 2).await;
    court
        .until("the payout", |state| matches!(state.status, Status::Closed))
        .await;
    assert_eq!(court.paid_out().await, DEPOSIT + CREDITED);
    client.shutdown().await;
}

/// Away, or somebody else at its address, which proves nothing: the client starts, says so, and goes on when it is back.
#[tokio::test(start_paused = true)]
async fn a_client_with_channels_starts_without_the_hub_and_connects_when_it_is_back() {
    for renamed in [false, true] {
        let (court, store) = (Court::open().await, MemoryStore::new());
        let (client, channel) = merchant(&court, court.client(store.clone())).await;
        court.hub_goes(&channel).await;
        client.shutdown().await;
        if renamed {
            court.hub.state().renamed = true;
            court.hub_returns();
        }
        let client = court.client(store).connect().await.unwrap();
        match client.unreachable().expect("there is no connection") {
            ConnectError::Pin(mismatch) if renamed => assert_eq!(mismatch.field, "server"),
            ConnectError::Unreachable(_) if !renamed => {}
            other => panic!("{other}"),
        }
        let channel = client.channel(court.id());
        assert!(!channel.view().unwrap().live);
        let mut events = client.events();
        court.hub.state().renamed = false;
        court.hub_returns();
        told(&mut events, |event| {
            (*event == ClientEvent::Connected).then_some(())
        })
        .await;
        channel.wait_live().await.unwrap();
        assert_eq!(client.unreachable(), None);
        client.pay(crate::common::PURSE, 10_u128).await.unwrap();
        client.shutdown().await;
    }
}

/// What goes into a channel that no hub knows is held there: nothing is sent while it is away, and all when it is back in time.
#[tokio::test(start_paused = true)]
async fn nothing_is_paid_into_a_channel_while_the_hub_is_away() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    court.hub_goes(&channel).await;
    let coins = || async {
        court
            .chain
            .provider()
            .get_balance(key(1).address())
            .await
            .unwrap()
    };
    let before = coins().await;
    let refused = client.open(DEPOSIT).await;
    assert!(matches!(refused, Err(ChannelError::Offline)), "{refused:?}");
    assert_eq!(coins().await, before);
    let back = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        court.hub_returns();
    };
    // The scripted hub knows no channel that it was not told of: it is opened, and not taken up.
    let (opened, ()) = tokio::join!(client.open(DEPOSIT), back);
    assert!(matches!(opened, Err(ChannelError::Chain(_))), "{opened:?}");
    assert!(coins().await + U256::from(DEPOSIT) <= before);
    client.shutdown().await;
}

/// What cannot be made leaves no channel behind that will never be there.
#[tokio::test(start_paused = true)]
async fn a_channel_that_cannot_be_opened_is_not_kept() {
    let court = Court::open().await;
    let (client, channel) = merchant(&court, court.client(MemoryStore::new())).await;
    let refused = client.open(u128::MAX).await;
    assert!(matches!(refused, Err(ChannelError::Chain(_))), "{refused:?}");
    let ids: Vec<_> = client.channels().iter().map(|view| view.channel_id).collect();
    assert_eq!(ids, [channel.id()]);
    client.shutdown().await;
}

/// Without channels there is nothing to look after: the same clear error as at the first start, and nothing keeps running.
#[tokio::test(start_paused = true)]
async fn who_has_no_channel_needs_the_hub() {
    let (court, store) = (Court::open().await, MemoryStore::new());
    court
        .client(store.clone())
        .connect()
        .await
        .unwrap()
        .shutdown()
        .await;
    *court.network.wire.lock().unwrap() = crate::common::Wire::Refused;
    for store in [store, MemoryStore::new()] {
        let error = court.client(store).connect().await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    }
    let dials = court.network.dials.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(court.network.dials.lock().unwrap().len(), dials);
}
