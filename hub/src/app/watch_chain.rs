//! Readiness follows the chain: a hub that cannot see disputes, or whose answers get into no block, should get no traffic.

use super::RunningHub;
use crate::{chain::QuorumChain, driver::ChainStatus, ops::Readiness};
use protocol_spec::UnixSeconds;
use std::time::{Duration, Instant};

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);
/// So long a node may be silent before the hub is not ready.
const SILENT_MAX: Duration = Duration::from_secs(5);
/// So old the newest block may be.
const HEAD_AGE_MAX_S: u64 = 300;

/// Keeps the conditions `chain` and `disputes` of `readiness` true to the driver's last look, for as long as the hub runs.
pub(super) fn watch_chain(hub: &RunningHub, readiness: Readiness) {
    readiness.fail("chain", "not looked at yet");
    let (chain, mut failed) = (hub.chain.clone(), hub.failed.clone());
    tokio::spawn(async move {
        let mut seen = Instant::now();
        loop {
            if chain.healthy() {
                seen = Instant::now();
            }
            let age_s = age_of(&chain);
            metrics::gauge!("hub_chain_head_age_seconds").set(u32::try_from(age_s).unwrap_or(u32::MAX));
            match () {
                () if seen.elapsed() > SILENT_MAX => {
                    readiness.fail(
                        "chain",
                        format!("not readable for {} s", seen.elapsed().as_secs()),
                    );
                }
                () if age_s > HEAD_AGE_MAX_S => {
                    readiness.fail("chain", format!("its newest block is {age_s} s old"));
                }
                () if chain.head_timestamp() == UnixSeconds(0) => {}
                () => readiness.fulfil("chain"),
            }
            match chain.late_answers() {
                0 => readiness.fulfil("disputes"),
                late => readiness.fail("disputes", late_words(late, chain.unread_disputes())),
            }
            tokio::select! {
                _ = failed.wait_for(Option::is_some) => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    });
}

/// Shows for each node whether it is asked, for as long as the process runs.
pub(super) fn watch_endpoints(chain: QuorumChain) {
    tokio::spawn(async move {
        loop {
            for node in chain.status() {
                metrics::gauge!("hub_chain_node_up", "node" => node.name).set(u8::from(node.up));
            }
            tokio::time::sleep(EVERY).await;
        }
    });
}

fn late_words(late: usize, unread: usize) -> String {
    let words = format!("{late} without the hub's answer on chain after half of the window");
    match unread {
        0 => words,
        _ => format!("{words}; {unread} of them cannot be read: the nodes do not answer, or disagree"),
    }
}

fn age_of(chain: &ChainStatus) -> u64 {
    let now = crate::now::Now::wall().get();
    now.0.saturating_sub(chain.head_timestamp().0)
}
