//! A disk that is slow, that fails once, that is full.

use super::{orders::Order, range::Range};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The process must be gone by then.
const EXIT_MAX: Duration = Duration::from_secs(15);

/// C5: every sync takes longer; commits gather, nobody is told that something failed.
pub(crate) async fn slow_syncs(range: &mut Range) -> String {
    let mut seen = Vec::new();
    for (delay_ms, seconds) in [
        (200, range.size(3, 10)),
        (range.size(1_000, 5_000), range.size(2, 15)),
    ] {
        range.orders.set(Order::DelayMs, i64::try_from(delay_ms).unwrap());
        let (before, syncs) = (range.log.counts().acked, range.orders.get(Order::Syncs));
        sleep(Duration::from_secs(seconds as u64)).await;
        let (acked, synced) = (
            range.log.counts().acked - before,
            range.orders.get(Order::Syncs) - syncs,
        );
        seen.push(format!(
            "{delay_ms} ms each for {seconds} s: {acked} acknowledged, {synced} syncs"
        ));
    }
    range.orders.set(Order::DelayMs, 0);
    seen.join("; ")
}

/// C3: a sync fails once and would then work: the process must end, without another try and without acknowledging what
/// that sync was for.
pub(crate) async fn failing_sync(range: &mut Range) -> String {
    let rounds = range.size(3, 50);
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        range.orders.set(Order::FailSync, i64::try_from(round).unwrap());
        let began = Instant::now();
        let status = range.hub.ended(EXIT_MAX).await.expect("it ends by itself");
        longest = longest.max(began.elapsed());
        assert!(!status.success(), "{status}");
        assert_ne!(range.orders.get(Order::FailedInode), 0, "a sync failed");
        assert_eq!(
            range.orders.get(Order::AfterFailure),
            0,
            "that file was synced again"
        );
        range.again().await;
        let before = range.log.counts().acked;
        range
            .log
            .wait(|counts| counts.failed > 0 || counts.acked > before + 20)
            .await;
    }
    format!(
        "{rounds} times, the n-th sync from then: ended by itself each time, at most {:.1} s later, no file synced again",
        longest.as_secs_f64()
    )
}

/// C4: space runs out after so many bytes.
pub(crate) async fn full(range: &mut Range) -> String {
    let mut seen = Vec::new();
    for kib in [0, 64, 1_024, 8_192].into_iter().take(range.size(2, 4)) {
        range.orders.set(Order::Space, kib * 1_024);
        range.orders.set(Order::Limited, 1);
        let began = Instant::now();
        let status = range
            .hub
            .ended(Duration::from_secs(120))
            .await
            .expect("it ends by itself");
        assert!(!status.success(), "{status}");
        assert!(range.orders.get(Order::Refused) > 0, "a write was refused");
        seen.push(format!(
            "after {kib} KiB: ended in {:.1} s",
            began.elapsed().as_secs_f64()
        ));
        range.again().await;
    }
    seen.join(", ")
}
