//! What fails again and again is tried again with growing waits; what works again starts anew. In virtual time.

use crate::common::{Refuse, attached, key, simulated, simulated_builder};
use client_sdk::*;
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
