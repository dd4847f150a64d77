//! A hub that breaks the protocol, and clients and hubs that come back from old backups.

use crate::common::{
    Hub, HubChannel, Node, Refuse, Silence, Spoil, attached, builder, connect, connect_with, eventually, key,
};
use client_sdk::*;
use std::time::Duration;

const PAYEE: Address = Address::repeat_byte(0x77);

fn frozen(client: &Client) -> Option<FaultKind> {
    match client.health() {
        Health::Good => None,
        Health::Frozen(fault) => Some(fault.kind),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_wrong_voucher_freezes_the_channel() {
    let cases = [
        (Spoil::Signature, FaultKind::BadSignature),
        (Spoil::Paid, FaultKind::BadVoucher),
        (Spoil::AckSeq, FaultKind::BadVoucher),
        (Spoil::AckPaid, FaultKind::BadVoucher),
        (Spoil::History, FaultKind::BadVoucher),
    ];
    for (spoil, kind) in cases {
        let hub = Hub::start().await;
        let (client, id) = connect(&hub, key(1)).await;
        client.pay(PAYEE, 10).await.unwrap();
        hub.state().spoil = Some(spoil);
        let error = client.pay(PAYEE, 10).await.unwrap_err();
        assert!(matches!(error, PayError::Unknown { .. }), "{spoil:?}: {error}");
        assert_eq!(frozen(&client), Some(kind), "{spoil:?}");
        let signed = hub.state().vouchers.len();
        let error = client.pay(PAYEE, 10).await.unwrap_err();
        assert!(matches!(error, PayError::Frozen { .. }), "{spoil:?}: {error}");
        // The evidence is what was accepted before.
        let evidence = client.channel(id).evidence().await.unwrap();
        assert_eq!(evidence.received.voucher.unwrap().voucher.seq.0, 1, "{spoil:?}");
        // The hub handles calls in order: had a voucher left before this one, it would be there.
        client.quote(PAYEE, 11).await.unwrap();
        assert_eq!(hub.state().vouchers.len(), signed, "{spoil:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_channel_stays_frozen_after_a_restart() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, _) = connect_with(&hub, key(1), store.clone()).await;
    hub.state().spoil = Some(Spoil::Paid);
    client.pay(PAYEE, 10).await.unwrap_err();
    client.shutdown().await;
    let client = builder(&hub, key(1), store).connect().await.unwrap();
    assert_eq!(frozen(&client), Some(FaultKind::BadVoucher));
    assert!(matches!(
        client.pay(PAYEE, 10).await,
        Err(PayError::Frozen { .. })
    ));
}

/// A wrong voucher is the hub's newest when the channel is resumed: the answer that shows it must not make it live.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_frozen_during_resume_does_not_become_live() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, id) = connect_with(&hub, key(1), store.clone()).await;
    client.pay(PAYEE, 10).await.unwrap();
    client.shutdown().await;
    hub.state().spoil = Some(Spoil::Signature);
    let client = builder(&hub, key(1), store).connect().await.unwrap();
    eventually("the wrong voucher is noticed", || frozen(&client).is_some()).await;
    assert_eq!(frozen(&client), Some(FaultKind::BadSignature));
    // Answered after `resume` was, and a turn later the view shows what came of it.
    client.quote(PAYEE, 10).await.unwrap();
    client.evidence().await.unwrap();
    assert!(!client.channel(id).view().unwrap().live);
}

/// What was under way when it was asked comes again with all that follows, in one frame: taken twice it would be a wrong sum.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_answer_to_resume_is_received_once() {
    let hub = Hub::start().await;
    let (client, _) = connect(&hub, key(1)).await;
    client.pay(PAYEE, 10).await.unwrap();
    let change = client.balance().received;
    hub.state().refuse = Some(Refuse::Voucher);
    let payer = client.clone();
    let paying = tokio::spawn(async move { payer.pay(PAYEE, 10).await });
    eventually("it is refused", || !hub.state().refused_at.is_empty()).await;
    {
        let mut state = hub.state();
        (state.refuse, state.in_one) = (None, true);
        state.credits_at_resume = Some([3, 4]);
    }
    paying.await.unwrap().unwrap();
    assert_eq!(client.balance().received, Amount(2 * change.0 + 3 + 4));
    assert_eq!(client.health(), Health::Good);
    assert_eq!(hub.state().logins, 1, "on the same connection");
}

/// Nobody waits for a hub that has broken the protocol; what the chain can still collect is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_channel_asks_for_no_money_and_lets_nobody_wait_for_it() {
    let hub = Hub::start().await;
    let node = Node::start(hub.clone()).await;
    let config = hub.add_channel(&key(1));
    let builder = builder(&hub, key(1), MemoryStore::new())
        .rpc(node.url.clone())
        .chain_poll(Duration::from_millis(10));
    let (client, id) = attached(&hub, config, builder).await;
    let channel = client.channel(id);
    let (hour, expiry) = (Duration::from_secs(3600), hub.clock().now.after(2 * 3600));
    let resolver = Address::repeat_byte(0x0e);
    let unpaid = channel.invoice(40, hour, Digest::ZERO).await.unwrap();
    let opened = channel.invoice(50, hour, Digest::ZERO).await.unwrap();
    let mut escrows = Vec::new();
    for deal in [b"deal", b"gone"] {
        let condition = Condition::data(resolver, deal);
        let escrow = channel.invoice_on(60, hour, Digest::ZERO, condition);
        escrows.push(escrow.await.unwrap());
    }
    let (locked, missing) = (&escrows[0], &escrows[1]);
    let lock = hub.lock(&id, Amount(50), &opened, expiry);
    eventually("it is opened", || hub.state().revealed == [lock.id]).await;
    hub.lock(&id, Amount(60), locked, expiry);
    channel.held(locked).await.unwrap();
    let waits = |invoice: &SignedInvoice| {
        let (channel, invoice) = (channel.clone(), invoice.clone());
        tokio::spawn(async move { channel.accept(&invoice).await })
    };
    let (paying, collecting) = (waits(&unpaid), waits(&opened));
    let (asking, escrow) = (channel.clone(), missing.clone());
    let holding = tokio::spawn(async move { asking.held(&escrow).await });
    hub.state().spoil = Some(Spoil::Signature);
    client.pay(PAYEE, 10).await.unwrap_err();

    let is_frozen = |error: ChannelError| matches!(error, ChannelError::Frozen(_));
    assert!(is_frozen(paying.await.unwrap().unwrap_err()));
    assert!(is_frozen(holding.await.unwrap().unwrap_err()));
    assert!(is_frozen(channel.accept(&unpaid).await.unwrap_err()));
    assert!(is_frozen(channel.held(missing).await.unwrap_err()));
    let asked = channel.invoice(70, hour, Digest::ZERO).await;
    assert!(is_frozen(asked.unwrap_err()));
    // The witness is kept for the chain.
    *node.takes.lock().unwrap() = Some(b"signed".to_vec());
    let witness = Witness::new(b"signed".to_vec()).unwrap();
    assert!(is_frozen(channel.release(locked, witness).await.unwrap_err()));
    let released = waits(locked);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!collecting.is_finished() && !released.is_finished());
}

/// One that may never come to be does not hide what must be left with the evidence.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_being_opened_hides_no_frozen_one() {
    let hub = Hub::start().await;
    let (client, id) = connect(&hub, key(1)).await;
    hub.state().spoil = Some(Spoil::Signature);
    client.pay(PAYEE, 10).await.unwrap_err();
    hub.state().refuse = Some(Refuse::Register);
    let config = Config {
        salt: Digest([4; 32]),
        ..hub.config(&key(1))
    };
    client.attach(config).await.unwrap();
    eventually("it is there", || client.channels().len() == 2).await;
    assert_eq!(client.default_channel().unwrap().id(), id);
}

/// A hub that is connected but leaves a call unanswered is left and called again.
#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_call_does_not_stall_the_channel() {
    for silence in [
        Silence::Register,
        Silence::Resume,
        Silence::Voucher,
        Silence::Quote,
    ] {
        let hub = Hub::start().await;
        let config = hub.add_channel(&key(1));
        hub.state().silence = Some(silence);
        let builder = builder(&hub, key(1), MemoryStore::new()).call_timeout(Duration::from_millis(300));
        let (client, _) = attached(&hub, config, builder).await;
        let paid = client.pay(PAYEE, 10).await;
        assert!(paid.is_ok(), "{silence:?}: {paid:?}");
        assert_eq!(hub.state().silence, None, "{silence:?} was never reached");
        assert_eq!(hub.state().delivered.len(), 1, "{silence:?}");
    }
}

/// A11: an old copy of the store is started; it adopts its own newest voucher and goes on above it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_old_store_adopts_its_newest_voucher() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, id) = connect_with(&hub, key(1), store.clone()).await;
    client.pay(PAYEE, 10).await.unwrap();
    let backup = store.snapshot();
    hub.credit(&id, 500);
    eventually("the credit", || client.balance().received >= Amount(500)).await;
    for _ in 0..3 {
        client.pay(PAYEE, 10).await.unwrap();
    }
    let balance = client.balance().spendable;
    client.shutdown().await;
    let newest = hub.state().vouchers.iter().map(|v| v.voucher.seq).max().unwrap();
    let client = builder(&hub, key(1), backup).connect().await.unwrap();
    client.channel(id).wait_live().await.unwrap();
    assert_eq!(client.balance().spendable, balance);
    let paid = client.pay(PAYEE, 10).await.unwrap();
    assert!(paid.seq > newest, "{} after {newest}", paid.seq);
    assert_eq!(hub.state().delivered.len(), 5);
    // One seq, one digest, over both lives.
    let mut seen = std::collections::HashMap::new();
    for voucher in &hub.state().vouchers {
        let first = seen.entry(voucher.voucher.seq).or_insert_with(|| voucher.clone());
        assert_eq!(first, voucher);
    }
}

/// A11: the hub may hold a voucher of the lost part that acknowledges, and so ends, any lock it makes now.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_old_store_opens_no_locks_any_more() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, id) = connect_with(&hub, key(1), store.clone()).await;
    let day = Duration::from_secs(24 * 3600);
    let channel = client.channel(id);
    let invoice = channel.invoice(40_u128, day, Digest::ZERO).await.unwrap();
    let backup = store.snapshot();
    client.pay(PAYEE, 10).await.unwrap();
    client.shutdown().await;
    let client = builder(&hub, key(1), backup).connect().await.unwrap();
    let channel = client.channel(id);
    channel.wait_live().await.unwrap();
    let expiry = hub.clock().now.after(12 * 3600);
    let lock = hub.lock(&id, Amount(40), &invoice, expiry);
    eventually("it is given up", || hub.state().consented == [lock.id]).await;
    assert!(hub.state().revealed.is_empty());
    let ended = channel.invoice(41_u128, day, Digest::ZERO).await.unwrap_err();
    assert!(ended.to_string().contains("old backup"), "{ended}");
    let mine = channel.pay_locked(&invoice, key(1).address(), LockOptions::default());
    assert!(matches!(
        mine.await,
        Err(PayError::Refused(protocol_spec::Reject::LocksEnded))
    ));
    client.pay(PAYEE, 10).await.unwrap();
}

/// A10: the hub comes back with an old database; the client stops paying and keeps its evidence.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_hub_is_detected() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, id) = connect_with(&hub, key(1), store.clone()).await;
    client.pay(PAYEE, 10).await.unwrap();
    let old: HubChannel = hub.state().channels[&id].clone();
    client.pay(PAYEE, 10).await.unwrap();
    client.shutdown().await;
    hub.state().channels.insert(id, old);
    let client = builder(&hub, key(1), store).connect().await.unwrap();
    eventually("the roll-back is noticed", || frozen(&client).is_some()).await;
    assert_eq!(frozen(&client), Some(FaultKind::RolledBack));
    assert!(matches!(
        client.pay(PAYEE, 10).await,
        Err(PayError::Frozen { .. })
    ));
    let evidence = client.evidence().await.unwrap();
    assert_eq!(evidence.received.voucher.unwrap().voucher.seq.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hub_is_refused_by_the_pin() {
    let hub = Hub::start().await;
    let store = MemoryStore::new();
    let (client, _) = connect_with(&hub, key(1), store.clone()).await;
    let mut pin = client.pin().clone();
    client.shutdown().await;
    pin.hub_signer = Address::repeat_byte(1);
    let other = builder(&hub, key(1), store.clone()).pin(pin).connect().await;
    assert!(matches!(
        other,
        Err(ConnectError::Pin(PinMismatch {
            field: "hub_signer",
            ..
        }))
    ));
    let named = builder(&hub, key(1), store).server("other").connect().await;
    assert!(matches!(
        named,
        Err(ConnectError::Pin(PinMismatch { field: "server", .. }))
    ));
}

/// A merchant's stream outlives a hub that is busy, or whose engine has just stopped; a lost cursor ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_asked_for_again_when_the_hub_could_not_serve_it() {
    let hub = Hub::start().await;
    let (client, id) = connect(&hub, key(1)).await;
    hub.state().refuse = Some(Refuse::Subscribe);
    let mut stream = client.payments(id, None);
    eventually("it is refused", || hub.state().refused_at.len() >= 2).await;
    hub.state().refuse = None;
    let paid = hub.credit(&id, 5);
    let payment = stream.next().await.unwrap().unwrap();
    assert_eq!(payment.receipt.payment_id, paid);

    hub.state().refuse = Some(Refuse::SubscribeForGood);
    let mut stream = client.payments(id, Some(payment.cursor));
    let end = stream.next().await.unwrap();
    assert!(matches!(end, Err(StreamError::Refused { .. })), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_received_once_in_order_and_from_a_cursor() {
    let hub = Hub::start().await;
    let (client, id) = connect(&hub, key(1)).await;
    let ids: Vec<PaymentId> = (1..=5).map(|n| hub.credit(&id, n)).collect();
    eventually("the credits", || client.balance().received == Amount(15)).await;
    let mut stream = client.payments(id, None);
    let mut cursor = None;
    for payment_id in &ids[..3] {
        let payment = stream.next().await.unwrap().unwrap();
        assert_eq!(payment.receipt.payment_id, *payment_id);
        assert!(payment.backed);
        cursor = Some(payment.cursor);
    }
    drop(stream);
    client.save_cursor(id, cursor.unwrap()).await.unwrap();
    let cursor = client.saved_cursor(id).await.unwrap();
    let mut stream = client.payments(id, cursor);
    let payment = stream.next().await.unwrap().unwrap();
    assert_eq!(payment.receipt.payment_id, ids[3]);
    // Acknowledged by vouchers of its own.
    eventually("the acknowledgement", || {
        hub.state().channels[&id].channel.received().ack_seq.0 == 5
    })
    .await;
}
