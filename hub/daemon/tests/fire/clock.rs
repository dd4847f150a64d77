//! The time of day jumps.

use super::{orders::Order, range::Range};
use std::time::Duration;
use tokio::time::sleep;

const DAY_S: i64 = 86_400;

/// D3: a day ahead, a day back, and right again. What the hub does meanwhile is counted; afterwards payments go on.
pub(crate) async fn jumps(range: &mut Range) -> String {
    let seconds = range.size(3, 30);
    let mut seen = Vec::new();
    for (name, jump) in [("a day ahead", DAY_S), ("a day behind", -DAY_S)] {
        range.orders.set(Order::ClockS, jump);
        let before = range.log.counts().acked;
        sleep(Duration::from_secs(seconds as u64)).await;
        seen.push(format!(
            "{name} for {seconds} s: {} acknowledged",
            range.log.counts().acked - before
        ));
        range.hub.must_run();
    }
    range.orders.set(Order::ClockS, 0);
    seen.join(", ")
}
