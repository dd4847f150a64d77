//! Own locks: what a resolver opens (the chain is asked, and its "no" is not for ever), and what the hub gives up.

use crate::common::{Hub, Node, Spoil, attached, builder, eventually, key};
use client_sdk::{
    ChannelId, Client, Condition, Digest, LockOptions, LockedPaid, MemoryStore, PayError, PaymentAnswer,
    PaymentId, PaymentState, ReturnReason, SignedInvoice,
};
use protocol_spec::{
    Address, Amount, Invoice, Witness,
    message::{Consent, Notification, Reveal},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::task::JoinHandle;

const RESOLVER: Address = Address::repeat_byte(0x0e);
const PAYMENT: PaymentId = PaymentId([3; 16]);

struct Locked {
    hub: Arc<Hub>,
    node: Arc<Node>,
    store: MemoryStore,
    client: Client,
    id: ChannelId,
    paying: JoinHandle<Result<LockedPaid, PayError>>,
}

/// A client that has locked a payment on a resolver; the hub has its voucher.
async fn locked() -> Locked {
    let hub = Hub::start().await;
    let node = Node::start(hub.clone()).await;
    let config = hub.add_channel(&key(1));
    let store = MemoryStore::new();
    let builder = builder(&hub, key(1), store.clone()).rpc(node.url.clone());
    let (client, id) = attached(&hub, config, builder).await;
    let payee = key(2);
    let condition = Condition::data(RESOLVER, b"deal");
    let invoice = Invoice {
        channel_id: ChannelId([6; 32]),
        amount: Amount(1_000),
        hash: condition.hash,
        resolver: condition.resolver,
        expires_at: hub.clock().now.after(3_600),
        memo: Digest::ZERO,
    };
    let signature = payee.sign(&invoice.digest(&hub.domain));
    let (channel, signer) = (client.channel(id), payee.address());
    let paying = tokio::spawn(async move {
        let invoice = SignedInvoice { invoice, signature };
        let options = LockOptions {
            payment_id: Some(PAYMENT),
            ..LockOptions::default()
        };
        channel.pay_locked(&invoice, signer, options).await
    });
    eventually("the hub has the lock", || {
        !hub.state().channels[&id].channel.received().locks.is_empty()
    })
    .await;
    Locked {
        hub,
        node,
        store,
        client,
        id,
        paying,
    }
}

impl Locked {
    fn reveal(&self, witness: &[u8]) {
        let reveal = Reveal {
            channel_id: self.id,
            lock_id: 1,
            witness: Witness::new(witness.to_vec()).unwrap(),
        };
        let state = self.hub.state();
        let push = state.push.as_ref().unwrap();
        push.send(Notification::Reveal(reveal)).unwrap();
    }
}

/// The own node is behind the hub's, or the escrow is released a block later: the hub tells a witness once.
#[tokio::test]
async fn a_witness_that_the_resolver_does_not_take_yet_is_asked_about_again() {
    let locked = locked().await;
    locked.reveal(b"released");
    let asked = || locked.node.asked.load(Ordering::SeqCst);
    eventually("the resolver has said no", || asked() > 0).await;
    assert!(!locked.paying.is_finished() && locked.client.connected());
    *locked.node.takes.lock().unwrap() = Some(b"released".to_vec());
    eventually("paid", || locked.paying.is_finished()).await;
    let paid = locked.paying.await.unwrap().unwrap();
    assert_eq!(paid.witness.as_bytes(), b"released");
    assert!(asked() <= 3, "asked {} times", asked());
    eventually("the lock is folded", || {
        let state = locked.hub.state();
        state.channels[&locked.id].channel.received().locks.is_empty()
    })
    .await;
}

/// It is signed: whoever is told that the client has stopped might pay again.
#[tokio::test]
async fn a_lock_that_is_signed_when_the_client_stops_is_in_doubt() {
    let world = locked().await;
    world.client.shutdown().await;
    let told = world.paying.await.unwrap();
    let payment_id = PAYMENT;
    assert_eq!(told, Err(PayError::Unknown { payment_id }));
    let again = builder(&world.hub, key(1), world.store).rpc(world.node.url.clone());
    let client = again.connect().await.unwrap();
    let status = client.payment(PAYMENT).await.unwrap();
    let in_flight = matches!(status, PaymentAnswer::Known(PaymentState::InFlight { .. }));
    assert!(in_flight, "{status:?}");
}

/// Of what the hub tells of one lock only the newest is asked about, however often it tells.
#[tokio::test]
async fn many_witnesses_of_one_lock_are_one_question() {
    let locked = locked().await;
    for n in 0..40_u8 {
        locked.reveal(&[n]);
    }
    locked.reveal(b"the last one");
    let asked = || locked.node.asked.load(Ordering::SeqCst);
    eventually("the resolver was asked", || asked() > 0).await;
    *locked.node.takes.lock().unwrap() = Some(b"the last one".to_vec());
    eventually("paid", || locked.paying.is_finished()).await;
    let paid = locked.paying.await.unwrap().unwrap();
    assert_eq!(paid.witness.as_bytes(), b"the last one");
}

/// R10: until the hub has acknowledged that the lock is gone it can make it pay, whatever it has said.
#[tokio::test]
async fn a_lock_that_the_hub_gives_up_is_back_when_that_is_acknowledged() {
    let world = locked().await;
    let (hub, id) = (&world.hub, world.id);
    hub.acknowledge(&id);
    let consent = Consent {
        channel_id: id,
        lock_id: 1,
        reason: ReturnReason::Cancelled,
    };
    {
        let mut state = hub.state();
        let channel = &mut state.channels.get_mut(&id).unwrap().channel;
        channel.consent(1).unwrap();
        let push = state.push.as_ref().unwrap();
        push.send(Notification::Consent(consent)).unwrap();
    }
    eventually("the lock is dropped", || {
        hub.state().channels[&id].channel.received().locks.is_empty()
    })
    .await;
    let known = || world.client.payment(PAYMENT);
    let before = known().await.unwrap();
    assert!(
        matches!(before, PaymentAnswer::Known(PaymentState::InFlight { .. })),
        "{before:?}"
    );
    assert!(!world.paying.is_finished());
    hub.acknowledge(&id);
    let told = world.paying.await.unwrap();
    let reason = ReturnReason::Cancelled;
    assert!(
        matches!(&told, Err(PayError::Bounced { payment_id: PAYMENT, reason: why }) if *why == reason),
        "{told:?}"
    );
    let after = known().await.unwrap();
    assert!(
        matches!(&after, PaymentAnswer::Known(PaymentState::Bounced { reason: why, .. }) if *why == reason),
        "{after:?}"
    );
}

/// The lock is signed, so the chain may still show a witness; the payment's id is what to ask with later.
#[tokio::test]
async fn who_waits_for_a_lock_is_told_its_id_when_the_channel_freezes() {
    let world = locked().await;
    world.hub.state().spoil = Some(Spoil::Signature);
    let other = world.client.pay(Address::repeat_byte(0x77), 10).await;
    assert!(matches!(other, Err(PayError::Unknown { .. })), "{other:?}");
    let told = world.paying.await.unwrap();
    assert!(matches!(told, Err(PayError::Unknown { .. })), "{told:?}");
}
