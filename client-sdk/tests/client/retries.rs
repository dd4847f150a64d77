//! What fails again and again is tried again with growing waits; what works again starts anew. In virtual time.

use crate::common::{Hub, Refuse, attached, key, simulated, simulated_builder};
use client_sdk::*;
use protocol_spec::{UnixSeconds, message::ErrorCode};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PAYEE: Address = Address::repeat_byte(0x77);
/// Between two looks at what is due.
const SWEEP: Duration = Duration::from_millis(200);

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Each wait is a random part of the upper half of a bound that doubles up to `max`.
fn assert_growing(gaps: &[Duration], min: Duration, max: Duration) {
    let mut bound = min;
    for gap in gaps {
        assert!(
            *gap >= bound / 2 && *gap <= bound + SWEEP,
            "{gap:?} of {bound:?} in {gaps:?}"
        );
        bound = (bound * 2).min(max);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_is_repeated_with_growing_waits_until_it_succeeds() {
    let (min, max) = (Duration::from_millis(200), Duration::from_secs(10));
    for refuse in [Refuse::Register, Refuse::Voucher] {
        let (hub, network, ports) = simulated(1);
        let config = hub.add_channel(&key(1));
        let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new())
            .pay_timeout(Duration::from_secs(1000));
        let (client, _) = attached(&hub, config, builder).await;
        for _ in 0..2 {
            hub.state().refuse = Some(refuse);
            hub.state().refused_at.clear();
            if refuse == Refuse::Register {
                hub.cut_next();
            }
            let begin = Instant::now();
            // Two vouchers are under way at once: their refusals are one.
            let patient = async {
                sleep(Duration::from_secs(120)).await;
                let mut times = hub.state().refused_at.clone();
                times.dedup_by_key(|at| at.duration_since(begin).as_millis() / 50);
                assert!(
                    (8..=30).contains(&times.len()),
                    "{refuse:?}: {} times",
                    times.len()
                );
                assert_growing(&gaps(&times), min, max);
                hub.state().refuse = None;
            };
            let second = async {
                sleep(Duration::from_millis(1)).await;
                client.pay(PAYEE, 10).await
            };
            let (paid, also, ()) = tokio::join!(client.pay(PAYEE, 10), second, patient);
            paid.and(also).unwrap();
            // Long enough for the channel to count as well again.
            client.pay(PAYEE, 10).await.unwrap();
            sleep(Duration::from_secs(11)).await;
        }
        assert!(network.dials.lock().unwrap().len() <= 3, "{refuse:?}");
        assert_eq!(hub.state().delivered.len(), 6, "{refuse:?}");
    }
}

/// A hub that starts again has many to serve. Whatever it asks for, the client comes back.
#[tokio::test(start_paused = true)]
async fn a_busy_hub_is_asked_to_resume_no_sooner_than_it_says_within_reason() {
    let (least, most) = (Duration::from_secs(3), Duration::from_secs(10));
    let bound = Duration::from_secs(60);
    for (asked_ms, wanted) in [(3_000, least..=most), (u32::MAX, bound..=bound)] {
        let (hub, _, ports) = simulated(1);
        let config = hub.add_channel(&key(1));
        let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new())
            .pay_timeout(Duration::from_secs(1000));
        let (client, id) = attached(&hub, config, builder).await;
        hub.state().refuse = Some(Refuse::Resume);
        hub.state().retry_after_ms = Some(asked_ms);
        hub.cut_next();
        client.channel(id).quote(PAYEE, 1).await.unwrap_err();
        sleep(5 * bound).await;
        let gaps = gaps(&hub.state().refused_at);
        assert!(gaps.len() >= 3, "{gaps:?}");
        let in_time = |gap: &Duration| gap >= wanted.start() && *gap <= *wanted.end() + SWEEP;
        assert!(gaps.iter().all(in_time), "{gaps:?}");
        hub.state().refuse = None;
        client.pay(PAYEE, 10).await.unwrap();
    }
}

/// The lock has not expired: the merchant, who stays connected, is paid once the hub's clock is right.
#[tokio::test(start_paused = true)]
async fn a_witness_that_the_hub_takes_to_be_late_is_told_again_while_the_lock_lives() {
    let (hub, network, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (client, id) = attached(&hub, config, builder).await;
    let channel = client.channel(id);
    let hour = Duration::from_secs(3600);
    let invoice = channel.invoice(40, hour, Digest::ZERO).await.unwrap();
    hub.state().refuse = Some(Refuse::RevealAsLate);
    let expiry = hub.clock().now.after(2 * 3600);
    hub.lock(&id, Amount(40), &invoice, expiry);
    sleep(Duration::from_secs(10)).await;
    let times = hub.state().refused_at.clone();
    assert!((5..=11).contains(&times.len()), "{} times", times.len());
    assert!(hub.state().revealed.is_empty());
    hub.state().refuse = None;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(hub.state().revealed, [1]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(hub.state().revealed, [1], "what it took is not told again");
    assert_eq!(network.dials.lock().unwrap().len(), 1, "on the same connection");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_hangs_up_after_login_is_dialled_with_growing_waits() {
    let (min, max) = (Duration::from_millis(100), Duration::from_secs(30));
    let (hub, network, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new())
        .reconnect(min, max)
        .pay_timeout(Duration::from_secs(1000));
    let (client, _) = attached(&hub, config, builder).await;
    for _ in 0..2 {
        client.pay(PAYEE, 10).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        hub.state().hang_up = true;
        hub.cut_next();
        network.dials.lock().unwrap().clear();
        let patient = async {
            sleep(Duration::from_secs(300)).await;
            let times: Vec<Instant> = network.dials.lock().unwrap().iter().map(|dial| dial.0).collect();
            assert!((10..=40).contains(&times.len()), "{} times", times.len());
            assert_growing(&gaps(&times), min * 2, max);
            hub.state().hang_up = false;
        };
        let (paid, ()) = tokio::join!(client.pay(PAYEE, 10), patient);
        paid.unwrap();
    }
}

/// What came is one message, sent `times` or more.
fn assert_same_bytes(sent: &[Vec<u8>], times: usize) {
    assert!(sent.len() >= times, "{} times", sent.len());
    assert!(sent.iter().all(|bytes| bytes == &sent[0]), "not the same bytes");
}

/// The signed close holds the channel (R15): given up at the first refusal, it would do so for ten minutes for nothing.
#[tokio::test(start_paused = true)]
async fn what_was_signed_and_refused_is_sent_again_with_the_same_bytes_until_the_hub_signs() {
    for refuse in [Refuse::Close, Refuse::Withdraw] {
        let (hub, _, ports) = simulated(1);
        let config = hub.add_channel(&key(1));
        let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
        let (client, _) = attached(&hub, config, builder).await;
        client.pay(PAYEE, 10).await.unwrap();
        hub.state().refuse = Some(refuse);
        let busy = async {
            sleep(Duration::from_secs(3)).await;
            hub.state().refuse = None;
        };
        let done = async {
            match refuse {
                Refuse::Close => client.close().await,
                _ => client.withdraw(100).await,
            }
        };
        let (done, ()) = tokio::join!(done, busy);
        done.unwrap();
        assert_same_bytes(&hub.state().cooperative, 3);
        assert!(hub.state().cooperative.len() <= 10, "growing waits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_close_goes_on_when_nobody_waits_and_after_a_restart() {
    for restart in [false, true] {
        let (hub, _, ports) = simulated(1);
        let config = hub.add_channel(&key(1));
        let store = MemoryStore::new();
        let builder = || simulated_builder(&hub, &ports, key(1), store.clone());
        let (mut client, id) = attached(&hub, config, builder()).await;
        client.pay(PAYEE, 10).await.unwrap();
        hub.state().refuse = Some(Refuse::Close);
        let refused = client.close().await.unwrap_err();
        assert!(
            matches!(&refused, ChannelError::Hub(error) if error.is(ErrorCode::Busy)),
            "{refused}"
        );
        // Nothing else is signed meanwhile, and nobody waits for that.
        let began = Instant::now();
        client.pay(PAYEE, 10).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(60));
        if restart {
            client.shutdown().await;
            client = builder().connect().await.unwrap();
        }
        hub.state().refuse = None;
        sleep(Duration::from_secs(12)).await;
        assert_eq!(
            client.channel(id).view().unwrap().phase,
            "closed",
            "restart {restart}"
        );
        assert_same_bytes(&hub.state().cooperative, 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_never_signed_lapses_and_a_second_call_waits_for_the_one_under_way() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (client, id) = attached(&hub, config, builder).await;
    hub.state().refuse = Some(Refuse::Close);
    client.close().await.unwrap_err();
    client.close().await.unwrap_err();
    assert_same_bytes(&hub.state().cooperative, 4);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(client.channel(id).view().unwrap().phase, "open");
    let sent = hub.state().cooperative.len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(hub.state().cooperative.len(), sent, "it is over");
    client.pay(PAYEE, 10).await.unwrap();
}

/// A close is announced before it is signed: what the hub had credited meanwhile is in it.
#[tokio::test(start_paused = true)]
async fn a_close_is_announced_first_and_takes_in_what_was_on_its_way() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (client, _) = attached(&hub, config, builder).await;
    hub.state().late_credit = Some(7);
    let began = Instant::now();
    client.close().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let state = hub.state();
    assert_eq!(state.cooperative.len(), 1, "the first close was right");
    assert!(state.prepared.len() >= 2, "asked again after the credit");
    assert!(state.prepared.iter().all(|until| *until == state.prepared[0]));
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_announced_and_never_signed_is_called_off() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (client, _) = attached(&hub, config, builder).await;
    // The numbers never agree.
    hub.state().wrong_numbers = true;
    assert!(matches!(client.close().await, Err(ChannelError::Timeout)));
    sleep(Duration::from_secs(1)).await;
    let prepared = hub.state().prepared.clone();
    assert!(hub.state().cooperative.is_empty(), "nothing was signed");
    assert!(prepared.len() > 2 && prepared[0] > UnixSeconds(0), "{prepared:?}");
    assert_eq!(prepared.last(), Some(&UnixSeconds(0)));
    hub.state().wrong_numbers = false;
    client.close().await.unwrap();
}

const ID: PaymentId = PaymentId([4; 16]);

/// A locked payment, by an invoice that can be paid for `life`.
async fn pay_locked(hub: &Hub, channel: &ChannelHandle, life: u64) -> Result<LockedPaid, PayError> {
    let invoice = protocol_spec::Invoice {
        channel_id: ChannelId([6; 32]),
        amount: Amount(10),
        hash: Condition::preimage(&protocol_spec::Preimage([4; 32])).hash,
        resolver: Address::ZERO,
        expires_at: hub.clock().now.after(life),
        memo: Digest::ZERO,
    };
    let signature = key(2).sign(&invoice.digest(&hub.domain));
    let invoice = SignedInvoice { invoice, signature };
    let options = LockOptions {
        payment_id: Some(ID),
        fee_max: Some(Amount(1)),
        ..LockOptions::default()
    };
    channel.pay_locked(&invoice, key(2).address(), options).await
}

async fn pay(channel: &ChannelHandle) -> Result<Paid, PayError> {
    let options = PayOptions {
        payment_id: Some(ID),
        fee_max: Some(Amount(1)),
        ..PayOptions::default()
    };
    channel.pay_with(PAYEE, 10, options).await
}

/// A locked payment waits no longer than a direct one for a hub that does not take it, and its id is taken meanwhile.
#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_signed_in_time_is_not_sent() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder = simulated_builder(&hub, &ports, key(1), MemoryStore::new());
    let (client, id) = attached(&hub, config, builder).await;
    let channel = client.channel(id);
    hub.state().refuse = Some(Refuse::Register);
    hub.cut_next();
    channel.quote(PAYEE, 1).await.unwrap_err();
    let begin = Instant::now();
    let meanwhile = async {
        sleep(Duration::from_secs(1)).await;
        let status = client.payment(ID).await.unwrap();
        assert_eq!(status, PaymentAnswer::Known(PaymentState::Queued));
        let twice = pay_locked(&hub, &channel, 3_600).await;
        assert_eq!(twice, Err(PayError::DuplicateId { payment_id: ID }));
        let direct = pay(&channel).await;
        assert_eq!(direct, Err(PayError::DuplicateId { payment_id: ID }));
    };
    let (told, ()) = tokio::join!(pay_locked(&hub, &channel, 3_600), meanwhile);
    assert_eq!(told, Err(PayError::NotSent { payment_id: ID }));
    let waited = begin.elapsed();
    let in_time = Duration::from_secs(5)..Duration::from_secs(6);
    assert!(in_time.contains(&waited), "{waited:?}");
    assert_eq!(client.balance().queued, Amount::ZERO);
    // The other way round.
    let meanwhile = async {
        sleep(Duration::from_secs(1)).await;
        let locked = pay_locked(&hub, &channel, 3_600).await;
        assert_eq!(locked, Err(PayError::DuplicateId { payment_id: ID }));
    };
    let (told, ()) = tokio::join!(pay(&channel), meanwhile);
    assert_eq!(told, Err(PayError::NotSent { payment_id: ID }));
    hub.state().refuse = None;
    channel.wait_live().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert!(hub.state().vouchers.is_empty(), "it was signed later");
}

#[tokio::test(start_paused = true)]
async fn an_invoice_that_expires_while_it_waits_is_not_paid() {
    let (hub, _, ports) = simulated(1);
    let config = hub.add_channel(&key(1));
    let builder =
        simulated_builder(&hub, &ports, key(1), MemoryStore::new()).pay_timeout(Duration::from_secs(1000));
    let (client, id) = attached(&hub, config, builder).await;
    let channel = client.channel(id);
    hub.state().refuse = Some(Refuse::Register);
    hub.cut_next();
    channel.quote(PAYEE, 1).await.unwrap_err();
    let patient = async {
        sleep(Duration::from_secs(120)).await;
        hub.state().refuse = None;
    };
    let (told, ()) = tokio::join!(pay_locked(&hub, &channel, 60), patient);
    assert_eq!(told, Err(PayError::Invoice("it has expired")));
    assert!(hub.state().vouchers.is_empty());
    assert_eq!(client.balance().queued, Amount::ZERO);
}
