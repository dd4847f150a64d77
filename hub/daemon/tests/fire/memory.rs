//! Memory that ends.

use super::{
    files,
    process::Hub,
    range::Range,
    raw::{frame, upgraded},
};
use protocol_spec::limits::MESSAGE_BYTES_MAX;
use std::{
    process::Command,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

/// Limits that a start may not survive, MiB.
const STARTS_MIB: [u64; 6] = [2, 4, 8, 16, 24, 32];
/// Enough to start with, MiB.
const START_MIB: u64 = 512;
/// What the hub may still take when the attack begins.
const ROOM_KIB: u64 = 16 * 1024;
const ATTACK_MAX: Duration = Duration::from_secs(60);
const TEXT: u8 = 0x81;
/// What a Rust program says last when it has no memory, of its heap or for a thread.
const LAST_WORDS: [&str; 2] = ["memory allocation of ", "Resource temporarily unavailable"];

/// Without backtraces: Rust's own code for them waits for itself when a panic finds no memory for one.
fn within(mib: u64) -> Command {
    let mut command = files::hub_within(mib);
    command.env_remove("RUST_BACKTRACE");
    command
}

/// H1: a hub with too little memory to start ends by itself.
pub(crate) async fn too_little(range: &mut Range) -> String {
    range.hub.kill();
    let mut seen = Vec::new();
    for mib in STARTS_MIB {
        let mut hub = Hub::spawn_with(&range.world, within(mib));
        let ended = hub.ready_or_ended();
        assert!(
            ended.is_none_or(|status| !status.success()),
            "{mib} MiB: {ended:?}"
        );
        seen.push(match ended {
            Some(status) => format!("{mib} MiB: {status}"),
            None => format!("{mib} MiB: ready"),
        });
    }
    range.again().await;
    seen.join(", ")
}

/// H1: messages of which all but the last byte has come, on more and more sockets, until memory ends. Then the hub ends, and
/// says why; it does not stay and serve nobody.
pub(crate) async fn ends(range: &mut Range) -> String {
    range.hub.kill();
    // Under a limit from the start the allocator does not take a gigabyte of addresses in advance.
    range.again_with(within(START_MIB)).await;
    let before = range.log.counts().acked;
    range
        .log
        .wait(|counts| counts.failed > 0 || counts.acked > before + 50)
        .await;
    let limit = files::data_kib(range.hub.pid()) + ROOM_KIB;
    files::limit_data(range.hub.pid(), limit);
    let (began, mut held) = (Instant::now(), Vec::<TcpStream>::new());
    let ended = loop {
        assert!(began.elapsed() < ATTACK_MAX, "{} sockets hold memory", held.len());
        if let Some(ended) = range.hub.ended(Duration::ZERO).await {
            break ended;
        }
        if let Ok(Ok(mut stream)) = timeout(Duration::from_secs(1), upgraded(range.world.listen)).await {
            let mut most = frame(TEXT, MESSAGE_BYTES_MAX);
            most.resize(most.len() + MESSAGE_BYTES_MAX - 1, b' ');
            if timeout(Duration::from_secs(1), stream.write_all(&most))
                .await
                .is_ok()
            {
                held.push(stream);
            }
        }
        sleep(Duration::from_millis(1)).await;
    };
    let words = range.hub.words();
    let said = LAST_WORDS.iter().any(|last| words.contains(last));
    assert!(!ended.success() && said, "{ended}: {words}");
    let (count, took) = (held.len(), began.elapsed().as_secs_f64());
    drop(held);
    range.again().await;
    format!("{count} sockets with a message of 128 KiB that does not end; after {took:.1} s {ended}")
}
