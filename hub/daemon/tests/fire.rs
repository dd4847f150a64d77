//! The real `hub serve` under fire: sockets, disk, clock and processes misbehave, one after the other, while real SDK
//! clients pay and log in this process what was acknowledged to them. After each case payments must go on; at the end
//! nothing may be lost or doubled, on the wire, in the vouchers and on the chain.
//!
//! `FIRE=full` runs the sizes of the list of attacks instead of a short slice.
//! `FIRE_CASES=B1,C3` runs these cases only; a name that no case has is an error, which lists them all (`range::CASES`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "fire/clock.rs"]
mod clock;
#[path = "fire/disk.rs"]
mod disk;
#[path = "fire/door.rs"]
mod door;
#[path = "support/files.rs"]
mod files;
#[path = "kill_loop/judge.rs"]
mod judge;
#[path = "kill_loop/log.rs"]
mod log;
#[path = "fire/memory.rs"]
mod memory;
#[path = "fire/orders.rs"]
mod orders;
#[path = "kill_loop/people.rs"]
mod people;
#[path = "support/people.rs"]
mod persons;
#[path = "support/process.rs"]
mod process;
#[path = "fire/processes.rs"]
mod processes;
#[path = "fire/range.rs"]
mod range;
#[path = "fire/raw.rs"]
mod raw;
#[path = "fire/sockets.rs"]
mod sockets;
#[path = "support/world.rs"]
mod world;

use range::Range;
use std::time::Duration;
use tokio::time::timeout;

/// Longest time for locks to be paid while the clock jumps: ten times what it takes.
const JUMPS_MAX: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_fire_nothing_acknowledged_is_lost_and_payments_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut range = Range::begin(dir.path()).await;

    range
        .case("-", "nobody attacks", async |range| range.quiet().await)
        .await;
    range
        .case("B1", "slow handshakes", sockets::slow_handshakes)
        .await;
    range.case("B2", "frames of every size", sockets::frames).await;
    range
        .case("B2", "endless messages in fragments", sockets::fragments)
        .await;
    range.case("B5", "pings without end", sockets::pings).await;
    range
        .case("B3", "readers that never read", sockets::stuck_readers)
        .await;
    range
        .case("B7", "JSON that is none, or too much", sockets::garbage)
        .await;
    range
        .case("B11", "HTTP that is no handshake", sockets::smuggling)
        .await;
    range
        .case("B8", "logins with wrong signatures", sockets::wrong_logins)
        .await;
    range.case("H6", "POSTs at both doors", door::posts).await;
    range.case("C5", "slow syncs", disk::slow_syncs).await;
    range.case("C3", "a sync fails once", disk::failing_sync).await;
    range.case("C4", "the disk is full", disk::full).await;
    range
        .case("C8", "a second hub on the same data", processes::second_hub)
        .await;
    range
        .case("D1", "stopped, and continued", processes::stopped)
        .await;
    range.case("D3", "the clock jumps", clock::jumps).await;
    range
        .case("H1", "256 file descriptors", processes::few_descriptors)
        .await;
    range
        .case("H1", "too little memory to start", memory::too_little)
        .await;
    range.case("H1", "memory ends", memory::ends).await;
    range
        .case("H5", "SIGTERM under load", processes::terminated)
        .await;
    range
        .case("B9", "everybody comes at once after a kill", processes::storm)
        .await;

    range.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_outlast_a_hub_whose_clock_jumps() {
    let dir = tempfile::tempdir().unwrap();
    let tried = timeout(JUMPS_MAX, clock::locks_outlast_jumps(dir.path())).await;
    tried.expect("everything is paid in the end");
}
