//! Paying against a scripted hub on a real socket.

use crate::common::{Cut, Hub, NO_ACKS, attached, builder, connect, eventually, key};
use client_sdk::*;
use std::time::Duration;

const PAYEE: Address = Address::repeat_byte(0x77);

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_delivered_and_change_comes_back_in_both_encodings() {
    for encoding in [Encoding::Binary, Encoding::Json] {
        let hub = Hub::start().await;
        let config = hub.add_channel(&key(1));
        let client = builder(&hub, key(1), MemoryStore::new())
            .encoding(encoding)
            .connect()
            .await
            .unwrap();
        client.attach(config).await.unwrap().wait_live().await.unwrap();
        let paid = client.pay(PAYEE, 100).await.unwrap();
        assert_eq!((paid.amount, paid.fee), (Amount(100), Amount(1)));
        let balance = client.balance();
        assert_eq!(balance.spendable, Amount(1_000_000 - 101));
        assert_eq!((balance.in_flight, balance.queued), (Amount(0), Amount(0)));
        assert_eq!(
            client.payment(paid.payment_id).await.unwrap(),
            PaymentAnswer::Known(PaymentState::Delivered {
                seq: paid.seq,
                fee: Amount(1)
            })
        );
        client.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_payments_share_few_vouchers() {
    let hub = Hub::start().await;
    let (client, _) = connect(&hub, key(1)).await;
    for paid in futures::future::join_all((0..100).map(|_| client.pay(PAYEE, 10))).await {
        paid.unwrap();
    }
    let vouchers = hub.state().vouchers.len();
    assert!(vouchers <= 25, "{vouchers} vouchers");
    assert_eq!(hub.state().delivered.len(), 100);
    assert_eq!(client.balance().spendable, Amount(1_000_000 - 100 * 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_gives_everything_back_with_the_reason() {
    let hub = Hub::start().await;
    let (client, _) = connect(&hub, key(1)).await;
    hub.state().bounce = Some(ReturnReason::UnknownPayee);
    let error = client.pay(PAYEE, 100).await.unwrap_err();
    assert!(matches!(
        error,
        PayError::Bounced {
            reason: ReturnReason::UnknownPayee,
            ..
        }
    ));
    assert_eq!(client.balance().spendable, Amount(1_000_000));
    assert_eq!(client.health(), Health::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_balance_or_the_limit_is_refused_before_signing() {
    let hub = Hub::start().await;
    let config = hub.add_channel(&key(1));
    let client = builder(&hub, key(1), MemoryStore::new())
        .spend_limit(SpendLimit::default())
        .connect()
        .await
        .unwrap();
    client.attach(config).await.unwrap().wait_live().await.unwrap();
    let options = PayOptions {
        fee_max: Some(Amount(0)),
        ..PayOptions::default()
    };
    let too_much = client
        .pay_with(PAYEE, 1_000_001, options.clone())
        .await
        .unwrap_err();
    assert!(matches!(too_much, PayError::InsufficientBalance { .. }));
    let beyond = client
        .pay_with(PAYEE, 500_001, options.clone())
        .await
        .unwrap_err();
    assert!(matches!(
        beyond,
        PayError::SpendLimit {
            kind: LimitKind::PerPayment,
            ..
        }
    ));
    assert!(hub.state().vouchers.is_empty());
    client.pay_with(PAYEE, 500_000, options).await.unwrap();
}

/// The limit of all payments is one of a `Client`: what an earlier one paid does not count, and does not when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_client_gets_back_does_not_widen_the_limit() {
    let hub = Hub::start().await;
    let config = hub.add_channel(&key(1));
    let store = MemoryStore::new();
    let limit = SpendLimit {
        total: Limit::Amount(Amount(100)),
        ..SpendLimit::none()
    };
    let open = || {
        builder(&hub, key(1), store.clone())
            .spend_limit(limit)
            .ack_delay(NO_ACKS)
    };
    let options = PayOptions {
        fee_max: Some(Amount(0)),
        ..PayOptions::default()
    };
    let (client, id) = attached(&hub, config.clone(), open()).await;
    // It comes back, and nothing says yet that this is all.
    hub.state().early_return = Some(Amount(60));
    let (channel, first) = (client.channel(id), options.clone());
    let paying = tokio::spawn(async move { channel.pay_with(PAYEE, 60, first).await });
    eventually("it is back", || client.balance().received == Amount(60)).await;
    client.shutdown().await;
    assert!(paying.await.unwrap().is_err());
    let (client, _) = attached(&hub, config, open()).await;
    // Its acknowledgement settles both.
    client.pay_with(PAYEE, 50, options.clone()).await.unwrap();
    let beyond = client.pay_with(PAYEE, 60, options.clone()).await.unwrap_err();
    assert!(
        matches!(
            beyond,
            PayError::SpendLimit {
                kind: LimitKind::Total,
                ..
            }
        ),
        "{beyond}"
    );
    client.pay_with(PAYEE, 50, options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_one_payment() {
    let hub = Hub::start().await;
    let (client, _) = connect(&hub, key(1)).await;
    let options = PayOptions {
        payment_id: Some(PaymentId([4; 16])),
        ..PayOptions::default()
    };
    let first = client.pay_with(PAYEE, 100, options.clone()).await.unwrap();
    let again = client.pay_with(PAYEE, 100, options.clone()).await.unwrap();
    assert_eq!(first, again);
    let other = client.pay_with(PAYEE, 101, options).await.unwrap_err();
    assert!(matches!(other, PayError::DuplicateId { .. }));
    assert_eq!(hub.state().delivered.len(), 1);
}

/// A8: the connection is cut at every request, before and after the hub handled it; every payment arrives exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_at_any_message_neither_loses_nor_doubles_a_payment() {
    for step in 1..=12 {
        for cut in [Cut::BeforeRequest(step), Cut::AfterRequest(step)] {
            let hub = Hub::start().await;
            hub.state().cut = cut;
            let (client, _) = connect(&hub, key(1)).await;
            let mut payments = 0;
            while payments < 5 || hub.state().requests < step {
                payments += 1;
                client
                    .pay(PAYEE, 10)
                    .await
                    .unwrap_or_else(|error| panic!("{cut:?}: {error}"));
            }
            let delivered = hub.state().delivered.len();
            assert_eq!(delivered, payments, "{cut:?}");
            let spent = 11 * u128::try_from(payments).unwrap();
            assert_eq!(client.balance().spendable, Amount(1_000_000 - spent), "{cut:?}");
            let mut seen = std::collections::HashMap::new();
            for voucher in &hub.state().vouchers {
                let first = seen.entry(voucher.voucher.seq).or_insert_with(|| voucher.clone());
                assert_eq!(first, voucher, "{cut:?}: one seq, other bytes");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_an_answer_is_unknown_and_resolves_later() {
    let hub = Hub::start().await;
    let config = hub.add_channel(&key(1));
    let builder = builder(&hub, key(1), MemoryStore::new())
        .pay_timeout(Duration::from_millis(500))
        .connect_timeout(Duration::from_secs(1))
        .ack_delay(NO_ACKS);
    let (client, _) = attached(&hub, config, builder).await;
    client.pay(PAYEE, 10).await.unwrap();
    // The hub accepts the next voucher and vanishes.
    let next = hub.state().requests + 1;
    hub.state().cut = Cut::AfterRequest(next);
    hub.state().mute = true;
    let error = client.pay(PAYEE, 10).await.unwrap_err();
    let PayError::Unknown { payment_id } = error else {
        panic!("{error}");
    };
    assert!(matches!(
        client.payment(payment_id).await.unwrap(),
        PaymentAnswer::Known(PaymentState::InFlight { .. })
    ));
    hub.state().mute = false;
    hub.state().cut = Cut::Never;
    // The login that is under way when the hub falls silent must run into its time limit first.
    eventually_delivered(&client, payment_id).await;
    assert_eq!(hub.state().delivered.len(), 2);
}

async fn eventually_delivered(client: &Client, id: PaymentId) {
    for _ in 0..500 {
        let state = client.payment(id).await;
        if matches!(state, Ok(PaymentAnswer::Known(PaymentState::Delivered { .. }))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_signing_resumes_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client.redb");
    let hub = Hub::start().await;
    let config = hub.add_channel(&key(1));
    let open = |store| builder(&hub, key(1), store).ack_delay(NO_ACKS);
    let (client, _) = attached(&hub, config.clone(), open(RedbStore::open(&path).unwrap())).await;
    client.pay(PAYEE, 10).await.unwrap();
    // The voucher does not reach the hub, and nobody can log in until the client is dead.
    let next = hub.state().requests + 1;
    hub.state().cut = Cut::BeforeRequest(next);
    hub.state().mute = true;
    let options = PayOptions {
        payment_id: Some(PaymentId([6; 16])),
        ..PayOptions::default()
    };
    let sent = hub.state().vouchers.len();
    let paying = client.pay_with(PAYEE, 10, options.clone());
    let cut = tokio::time::timeout(Duration::from_millis(1), paying).await;
    drop(cut);
    eventually("the frame is stored", || client.balance().in_flight == Amount(12)).await;
    let before = client.evidence().await.unwrap().sent.voucher.unwrap();
    drop(client);
    let mut store = None;
    eventually("the store is released", || {
        store = RedbStore::open(&path).ok();
        store.is_some()
    })
    .await;
    hub.state().mute = false;
    let (client, _) = attached(&hub, config, open(store.unwrap())).await;
    let paid = client.pay_with(PAYEE, 10, options).await.unwrap();
    assert_eq!((paid.seq, paid.fee), (before.voucher.seq, Amount(1)));
    assert_eq!(hub.state().delivered.len(), 2);
    assert_eq!(hub.state().vouchers[sent..], [before]);
}

#[tokio::test(flavor = "multi_thread")]
async fn withdraw_and_close_agree_with_the_hub() {
    let hub = Hub::start().await;
    let (client, id) = connect(&hub, key(1)).await;
    client.pay(PAYEE, 100).await.unwrap();
    hub.credit(&id, 50);
    client.withdraw(1_000).await.unwrap();
    assert_eq!(client.balance().spendable, Amount(1_000_000 - 101 + 50 - 1_000));
    client.pay(PAYEE, 100).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(client.channels()[0].phase, "closed");
}
