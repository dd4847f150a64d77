//! Receipts of locked payments: each is backed by a lock of its own, whatever the payers call their payments.

use crate::common::{Hub, builder, connect_with, eventually, key};
use client_sdk::{
    Amount, ChannelHandle, ChannelId, Client, Digest, Health, MemoryStore, PaymentId, SignedInvoice,
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// What every payer calls its payment.
const SAME: PaymentId = PaymentId([7; 16]);
const AMOUNTS: [u128; 2] = [40, 50];

async fn invoice(channel: &ChannelHandle, amount: u128) -> SignedInvoice {
    channel.invoice(amount, HOUR, Digest::ZERO).await.unwrap()
}

/// From the earliest on.
async fn reads_both(client: &Client, id: ChannelId) {
    let mut stream = client.payments(id, None);
    for amount in AMOUNTS {
        let payment = stream.next().await.unwrap().unwrap();
        assert_eq!(payment.receipt.payment_id, SAME);
        assert_eq!((payment.receipt.amount, payment.backed), (Amount(amount), true));
    }
    assert_eq!(client.health(), Health::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_who_choose_the_same_payment_id_are_told_apart() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, id) = connect_with(&hub, key(1), store.clone()).await;
    let channel = client.channel(id);
    for amount in AMOUNTS {
        let invoice = invoice(&channel, amount).await;
        let named = (SAME, invoice.invoice.digest(&hub.domain));
        let expiry = hub.clock().now.after(2 * 3600);
        let lock = hub.lock_naming(&id, Amount(amount), &invoice, expiry, named);
        eventually("it is opened", || hub.state().revealed.contains(&lock.id)).await;
        hub.fold(&id, lock.id);
        let paid = channel.accept(&invoice).await.unwrap();
        assert_eq!((paid.payment_id, paid.amount), (SAME, Amount(amount)));
    }
    for _ in 0..2 {
        reads_both(&client, id).await;
    }
    client.shutdown().await;
    let client = builder(&hub, key(1), store).connect().await.unwrap();
    reads_both(&client, id).await;
}

/// The receipt repeats what the payer named: it must say which invoice was paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_does_not_name_its_invoice_is_given_up() {
    let hub = Hub::start().await;
    let (client, id) = connect_with(&hub, key(1), MemoryStore::new()).await;
    let channel = client.channel(id);
    let (mine, other) = (invoice(&channel, 40).await, invoice(&channel, 40).await);
    let expiry = hub.clock().now.after(2 * 3600);
    for named in [Digest::ZERO, other.invoice.digest(&hub.domain)] {
        let lock = hub.lock_naming(&id, Amount(40), &mine, expiry, (SAME, named));
        eventually("it is given up", || hub.state().consented.contains(&lock.id)).await;
    }
    assert!(hub.state().revealed.is_empty(), "a preimage was told");
    let lock = hub.lock(&id, Amount(40), &mine, expiry);
    eventually("the right one is opened", || hub.state().revealed == [lock.id]).await;
    assert_eq!(client.health(), Health::Good);
}
