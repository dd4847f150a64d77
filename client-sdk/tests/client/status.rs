//! What is said about payments is true, whatever the hub does and whenever the client stops. In virtual time.

use crate::common::{Hub, HubChannel, Wire, attached, key, simulated, simulated_builder};
use async_trait::async_trait;
use client_sdk::*;
use protocol_spec::{Credit, Op, Seq, message::Notification};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const PAYEE: Address = Address::repeat_byte(0x77);

/// A client of a simulated hub, with its one channel.
async fn client(hub: &Hub, ports: &Ports, store: impl Store) -> (Client, ChannelId) {
    let config = hub.config(&key(1));
    if !hub.state().channels.contains_key(&config.id(&hub.domain)) {
        hub.add_channel(&key(1));
    }
    attached(hub, config, simulated_builder(hub, ports, key(1), store)).await
}

fn frozen(client: &Client) -> Option<FaultKind> {
    match client.health() {
        Health::Good => None,
        Health::Frozen(fault) => Some(fault.kind),
    }
}

/// Fails every commit once told to.
#[derive(Clone, Default)]
pub(crate) struct Failing {
    inner: MemoryStore,
    pub(crate) failed: Arc<AtomicBool>,
}

#[async_trait]
impl Store for Failing {
    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(StoreError::Io("planted".to_owned()));
        }
        self.inner.commit(batch).await
    }
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(table, key).await
    }
    async fn scan(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_payment_is_received_only_when_its_voucher_is_stored() {
    let (hub, _, ports) = simulated(1);
    let store = Failing::default();
    let (client, id) = client(&hub, &ports, store.clone()).await;
    hub.credit(&id, 5);
    let mut stream = client.payments(id, None);
    assert_eq!(stream.next().await.unwrap().unwrap().receipt.amount, Amount(5));
    store.failed.store(true, Ordering::SeqCst);
    // Voucher and receipt come together; the voucher cannot be stored.
    hub.credit_with_receipt(&id, 6);
    let told = stream.next().await;
    assert!(
        matches!(told, None | Some(Err(StreamError::Stopped(_)))),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_credit_is_one_payment_received() {
    for restart in [false, true] {
        let (hub, _, ports) = simulated(1);
        let store = MemoryStore::new();
        let (mut client_now, id) = client(&hub, &ports, store.clone()).await;
        hub.credit(&id, 5);
        let mut stream = client_now.payments(id, None);
        let cursor = stream.next().await.unwrap().unwrap().cursor;
        sleep(Duration::from_secs(1)).await;
        if restart {
            client_now.shutdown().await;
            client_now = client(&hub, &ports, store).await.0;
        }
        // From the cursor again: the same position is not told again, the same receipt at the next one is a lie.
        hub.state().replay = true;
        let mut stream = client_now.payments(id, Some(cursor));
        let told = stream.next().await.unwrap();
        assert!(
            matches!(told, Err(StreamError::Fault(_))),
            "restart {restart}: {told:?}"
        );
        assert_eq!(
            frozen(&client_now),
            Some(FaultKind::BadReceipt),
            "restart {restart}"
        );
    }
}

/// Sends one frame with credits of one unit, numbered `numbers`.
fn credit_many(hub: &Hub, id: &ChannelId, numbers: std::ops::Range<u128>) {
    let credit = |number: u128| {
        let payment_id = PaymentId(number.to_be_bytes());
        Op::Credit(Credit {
            payment_id,
            payer: Credit::payer_of(&ChannelId([5; 32]), &payment_id),
            amount: Amount(1),
            invoice: Digest::ZERO,
        })
    };
    let ops: Vec<Op> = numbers.map(credit).collect();
    let mut state = hub.state();
    let frame = hub.issue(&mut state, id, &ops);
    let push = state.push.as_ref().unwrap();
    push.send(Notification::Voucher(frame)).unwrap();
}

/// Sends the newest `count` events.
fn send_events(hub: &Hub, id: &ChannelId, count: usize) {
    let state = hub.state();
    let events = hub.events(&state, id);
    let push = state.push.as_ref().unwrap();
    for event in &events[events.len() - count..] {
        push.send(Notification::Event(event.clone())).unwrap();
    }
}

/// A client keeps the newest 16,384 credits in memory. Found by the kill loop: it forgot credits that it had not stored
/// yet, found nothing behind their receipts, and accused the hub.
#[tokio::test(start_paused = true)]
async fn receipts_find_their_credits_also_when_the_memory_for_credits_is_full() {
    let (hub, _, ports) = simulated(1);
    let (client, id) = client(&hub, &ports, MemoryStore::new()).await;
    for frame in 0..64 {
        // One less than memory has room for.
        credit_many(&hub, &id, (frame * 256).max(1)..(frame + 1) * 256);
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.balance().received, Amount(64 * 256 - 1));
    let last = hub.events(&hub.state(), &id).pop().unwrap().cursor;
    let mut stream = client.payments(id, Some(last));
    sleep(Duration::from_secs(1)).await;
    // Two vouchers and their receipts in one breath.
    hub.credit(&id, 2);
    hub.credit(&id, 3);
    send_events(&hub, &id, 2);
    for amount in [2, 3] {
        let told = stream.next().await.unwrap().unwrap();
        assert_eq!(told.receipt.amount, Amount(amount));
    }
    assert_eq!(frozen(&client), None);
}

#[tokio::test(start_paused = true)]
async fn a_return_before_its_acknowledgement_is_a_bounce_also_after_a_restart() {
    for restart in [false, true] {
        let (hub, _, ports) = simulated(1);
        let store = MemoryStore::new();
        let (mut client_now, id) = client(&hub, &ports, store.clone()).await;
        let options = PayOptions {
            payment_id: Some(PaymentId([4; 16])),
            ..PayOptions::default()
        };
        hub.state().early_return = Some(Amount(12));
        let paying = client_now.pay_with(PAYEE, 10, options.clone());
        let early = tokio::time::timeout(Duration::from_secs(1), paying).await;
        assert!(
            early.is_err(),
            "nothing is settled before the acknowledgement: {early:?}"
        );
        assert_eq!(client_now.balance().received, Amount(12), "the return is here");
        if restart {
            drop(client_now);
            sleep(Duration::from_secs(2)).await;
            client_now = client(&hub, &ports, store).await.0;
        }
        hub.acknowledge(&id);
        let error = client_now.pay_with(PAYEE, 10, options).await.unwrap_err();
        assert!(
            matches!(error, PayError::Bounced { .. }),
            "restart {restart}: {error}"
        );
        assert_eq!(client_now.balance().spendable, Amount(1_000_000));
        assert_eq!(frozen(&client_now), None);
    }
}

/// Found by the world: the store failed at the commit in which a bounce was decided, the application was told of the bounce, and
/// after the restart nothing proved it.
#[tokio::test(start_paused = true)]
async fn an_outcome_whose_commit_fails_is_not_told() {
    let (hub, _, ports) = simulated(1);
    let store = Failing::default();
    let (first, id) = client(&hub, &ports, store.clone()).await;
    let options = PayOptions {
        payment_id: Some(PaymentId([4; 16])),
        ..PayOptions::default()
    };
    hub.state().early_return = Some(Amount(12));
    let acknowledging = async {
        sleep(Duration::from_millis(500)).await;
        store.failed.store(true, Ordering::SeqCst);
        hub.acknowledge(&id);
    };
    let (told, ()) = tokio::join!(first.pay_with(PAYEE, 10, options.clone()), acknowledging);
    assert!(matches!(told, Err(PayError::Unknown { .. })), "{told:?}");
    drop(first);
    store.failed.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(2)).await;
    let again = client(&hub, &ports, store).await.0;
    let told = again.pay_with(PAYEE, 10, options).await;
    assert!(matches!(told, Err(PayError::Bounced { .. })), "{told:?}");
}

/// Nor is what opened a lock.
#[tokio::test(start_paused = true)]
async fn a_witness_whose_commit_fails_is_not_told() {
    let (hub, _, ports) = simulated(1);
    let store = Failing::default();
    let (client, id) = client(&hub, &ports, store.clone()).await;
    let witness = protocol_spec::Preimage([4; 32]);
    let invoice = protocol_spec::Invoice {
        channel_id: ChannelId([6; 32]),
        amount: Amount(10),
        hash: Condition::preimage(&witness).hash,
        resolver: Address::ZERO,
        expires_at: hub.clock().now.after(3_600),
        memo: Digest::ZERO,
    };
    let signature = key(2).sign(&invoice.digest(&hub.domain));
    let invoice = SignedInvoice { invoice, signature };
    let revealing = async {
        sleep(Duration::from_millis(500)).await;
        store.failed.store(true, Ordering::SeqCst);
        let reveal = protocol_spec::message::Reveal {
            channel_id: id,
            lock_id: 1,
            witness: witness.into(),
        };
        let state = hub.state();
        let push = state.push.as_ref().unwrap();
        push.send(Notification::Reveal(reveal)).unwrap();
    };
    let channel = client.channel(id);
    let options = LockOptions {
        payment_id: Some(PaymentId([4; 16])),
        ..LockOptions::default()
    };
    let paying = channel.pay_locked(&invoice, key(2).address(), options);
    let (told, ()) = tokio::join!(paying, revealing);
    let payment_id = PaymentId([4; 16]);
    assert_eq!(told, Err(PayError::Unknown { payment_id }));
}

#[tokio::test(start_paused = true)]
async fn a_bounce_that_gives_back_too_little_is_no_bounce() {
    let (hub, _, ports) = simulated(1);
    let (client, id) = client(&hub, &ports, MemoryStore::new()).await;
    hub.state().early_return = Some(Amount(11));
    let acknowledging = async {
        sleep(Duration::from_millis(500)).await;
        hub.acknowledge(&id);
    };
    let options = PayOptions {
        payment_id: Some(PaymentId([4; 16])),
        ..PayOptions::default()
    };
    let (paid, ()) = tokio::join!(client.pay_with(PAYEE, 10, options), acknowledging);
    let Err(PayError::Frozen { fault, .. }) = paid else {
        panic!("{paid:?}");
    };
    assert_eq!(fault.kind, FaultKind::ShortReturn);
    // Nothing about it is proven, so nothing about it is claimed.
    let status = client.payment(PaymentId([4; 16])).await.unwrap();
    assert!(matches!(status, PaymentAnswer::HubSays(_)), "{status:?}");
}

/// The hub's word on what it accepted is worth no more than what was asked: nothing hangs on a wrong one.
#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_an_accepted_voucher_does_no_harm() {
    for lie in [Seq(0), Seq(1_000_000)] {
        let (hub, _, ports) = simulated(1);
        let (client, _) = client(&hub, &ports, MemoryStore::new()).await;
        hub.state().lie = Some(lie);
        client.pay(PAYEE, 10).await.unwrap();
        client
            .withdraw(1_000)
            .await
            .unwrap_or_else(|error| panic!("{lie}: {error}"));
        client.pay(PAYEE, 10).await.unwrap();
        assert_eq!(hub.state().delivered.len(), 2, "{lie}");
    }
}

/// Many ask about one payment at every moment of its life: nobody hears that its outcome is unknown.
#[tokio::test(start_paused = true)]
async fn the_same_id_at_any_moment_has_one_outcome() {
    let (hub, _, ports) = simulated(1);
    let (client, _) = client(&hub, &ports, MemoryStore::new()).await;
    let asking = (0..600).map(|yields| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            let options = PayOptions {
                payment_id: Some(PaymentId([4; 16])),
                ..PayOptions::default()
            };
            client.pay_with(PAYEE, 10, options).await
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut outcomes = Vec::new();
    for answer in asking {
        outcomes.push(answer.await.unwrap());
    }
    let first = outcomes[0].clone().unwrap();
    for outcome in outcomes {
        assert_eq!(outcome, Ok(first.clone()));
    }
    assert_eq!(hub.state().delivered.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_belongs_to_one_channel() {
    let (hub, _, ports) = simulated(1);
    let (client, id) = client(&hub, &ports, MemoryStore::new()).await;
    let mut other = hub.config(&key(1));
    other.salt = Digest([5; 32]);
    let other = client.attach(hub.add_channel_of(other)).await.unwrap();
    other.wait_live().await.unwrap();
    let options = PayOptions {
        payment_id: Some(PaymentId([4; 16])),
        ..PayOptions::default()
    };
    let first = client.channel(id);
    // The first one is not answered yet when the second one comes.
    hub.state().mute = true;
    let (_, second) = tokio::join!(first.pay_with(PAYEE, 10, options.clone()), async {
        sleep(Duration::from_secs(1)).await;
        other.pay_with(PAYEE, 10, options.clone()).await
    });
    assert!(matches!(second, Err(PayError::DuplicateId { .. })), "{second:?}");
}

/// An own voucher that is not the one that was sent: another process uses the key, or the hub made it up.
#[tokio::test(start_paused = true)]
async fn another_own_voucher_of_the_same_seq_freezes_the_channel() {
    let (hub, _, ports) = simulated(1);
    let (client, id) = client(&hub, &ports, MemoryStore::new()).await;
    client.pay(PAYEE, 10).await.unwrap();
    // The own acknowledgement is the newest voucher then.
    sleep(Duration::from_secs(1)).await;
    if let Some(received) = &mut hub.state().channels.get_mut(&id).unwrap().received {
        received.voucher.history = Digest([1; 32]);
    }
    hub.cut_next();
    client.quote(PAYEE, 10).await.unwrap_err();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(frozen(&client), Some(FaultKind::CannotAdopt));
}

/// Two hub vouchers with one seq are the proof of equivocation: the second one is kept beside the first.
#[tokio::test(start_paused = true)]
async fn a_conflicting_voucher_shown_at_resume_is_kept() {
    let (hub, _, ports) = simulated(1);
    let store = MemoryStore::new();
    let (client, id) = client(&hub, &ports, store.clone()).await;
    let before: HubChannel = hub.state().channels[&id].clone();
    hub.credit(&id, 5);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(client.balance().received, Amount(5));
    hub.state().channels.insert(id, before);
    hub.state().push = None;
    hub.credit(&id, 6);
    let second = hub.state().channels[&id].frames[0].voucher.voucher.clone();
    hub.cut_next();
    let _ = client.pay(PAYEE, 10).await;
    assert_eq!(frozen(&client), Some(FaultKind::Conflict));
    sleep(Duration::from_millis(500)).await;
    let (_, fault) = store.scan(Table::Faults).await.unwrap().pop().unwrap();
    let kept = fault.windows(32).any(|bytes| bytes == second.history.0);
    assert!(kept, "the second voucher is not in the store");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_channel_that_cannot_become_live_ends_at_once() {
    let (hub, _, ports) = simulated(1);
    let (client, id) = client(&hub, &ports, MemoryStore::new()).await;
    hub.state().spoil = Some(crate::common::Spoil::Paid);
    client.pay(PAYEE, 10).await.unwrap_err();
    let start = Instant::now();
    let waited = client.channel(id).wait_live().await;
    assert!(matches!(waited, Err(ChannelError::Frozen(_))), "{waited:?}");
    let mut other = hub.config(&key(1));
    other.salt = Digest([5; 32]);
    let other = client.attach(hub.add_channel_of(other)).await.unwrap();
    other.wait_live().await.unwrap();
    other.close().await.unwrap();
    let waited = other.wait_live().await;
    assert!(matches!(waited, Err(ChannelError::Refused(_))), "{waited:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// A hub that refuses for a while and then does not answer, and a node that never answers: `connect` keeps its limits.
#[tokio::test(start_paused = true)]
async fn connect_ends_in_time() {
    let (hub, network, ports) = simulated(1);
    *network.wire.lock().unwrap() = Wire::Refused;
    let start = Instant::now();
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (connected, ()) = tokio::join!(builder.connect(), async {
        sleep(Duration::from_secs(9)).await;
        *network.wire.lock().unwrap() = Wire::Hangs;
    });
    assert!(
        matches!(connected, Err(ConnectError::Unreachable(_))),
        "{connected:?}"
    );
    assert!(
        start.elapsed() <= Duration::from_secs(11),
        "{:?}",
        start.elapsed()
    );
    *network.wire.lock().unwrap() = Wire::Good;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new()).rpc(url);
    let connected = tokio::time::timeout(Duration::from_secs(60), builder.connect()).await;
    assert!(
        matches!(connected, Ok(Err(ConnectError::Chain(_)))),
        "{connected:?}"
    );
}
