//! Attacks by those who can reach the port.

use super::{
    files::UPGRADE,
    range::Range,
    raw::{End, Session, frame, pour, upgraded},
};
use protocol_spec::{SignerKey, limits::MESSAGE_BYTES_MAX};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Longest time for the hub to end what it does not want.
const END_MAX: Duration = Duration::from_secs(30);
/// Attackers that get memory for it: the hub may keep so much for each, KiB.
const KIB_PER_ATTACKER: u64 = 1024;
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// B1: one byte a second. Meanwhile somebody honest comes again and again.
pub(crate) async fn slow_handshakes(range: &mut Range) -> String {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    let (count, hub) = (range.size(200, 2_000), range.world.listen);
    for _ in 0..count {
        let mut stream = TcpStream::connect(hub).await.unwrap();
        LEFT.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            for byte in UPGRADE.as_bytes() {
                let dripped = stream.write_all(&[*byte]).await;
                let heard = timeout(Duration::from_secs(1), stream.read(&mut [0; 256])).await;
                if dripped.is_err() || heard.is_ok_and(|read| matches!(read, Ok(0) | Err(_))) {
                    break;
                }
            }
            LEFT.fetch_sub(1, Ordering::SeqCst);
        });
    }
    let (began, mut slowest, mut came) = (Instant::now(), Duration::ZERO, 0);
    while LEFT.load(Ordering::SeqCst) > 0 {
        assert!(
            began.elapsed() < END_MAX,
            "{} slow handshakes are still open",
            LEFT.load(Ordering::SeqCst)
        );
        let connecting = Instant::now();
        drop(upgraded(hub).await.expect("somebody honest is served"));
        slowest = slowest.max(connecting.elapsed());
        came += 1;
        sleep(Duration::from_millis(50)).await;
    }
    format!(
        "{count} sockets, all dropped after {:.1} s; {came} honest handshakes meanwhile, the slowest took {:.0} ms",
        began.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1e3
    )
}

/// B2: messages of all sizes to 64 MiB, each sent as far as the hub takes it.
pub(crate) async fn frames(range: &mut Range) -> String {
    let before = range.resident_mib();
    let mib = 1 << 20;
    let sizes = [
        0,
        1,
        125,
        126,
        65_535,
        MESSAGE_BYTES_MAX,
        MESSAGE_BYTES_MAX + 1,
        mib,
        17 * mib,
        64 * mib,
    ];
    let mut ends = Vec::new();
    for size in sizes {
        let stream = upgraded(range.world.listen).await.unwrap();
        let (chunk, whole) = (vec![b' '; size.min(65_536)], size / 65_536);
        let longest = if size > MESSAGE_BYTES_MAX {
            END_MAX
        } else {
            Duration::from_millis(300)
        };
        let end = pour(stream, frame(TEXT, size), chunk, whole.max(1), longest).await;
        let too_long = size > MESSAGE_BYTES_MAX;
        assert_eq!(end != End::Alive, too_long, "a message of {size} bytes: {end:?}");
        ends.push(format!("{size}: {end:?}"));
    }
    let grown = range.resident_mib().saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more");
    format!("{}; {grown} MiB more", ends.join(", "))
}

/// Attackers who pour the same bytes, all at once, until each is ended.
async fn all_pour(range: &Range, count: usize, first: Vec<u8>, again: Vec<u8>) -> String {
    let before = range.resident_mib();
    let hub = range.world.listen;
    let attackers: Vec<_> = (0..count)
        .map(|_| {
            let (first, again) = (first.clone(), again.clone());
            tokio::spawn(async move {
                match upgraded(hub).await {
                    Ok(stream) => pour(stream, first, again, usize::MAX, END_MAX).await,
                    Err(_) => End::HungUp,
                }
            })
        })
        .collect();
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for attacker in attackers {
        *ends.entry(attacker.await.unwrap()).or_default() += 1;
    }
    assert!(!ends.contains_key(&End::Alive), "some go on: {ends:?}");
    let grown = range.resident_mib().saturating_sub(before);
    assert!(
        grown * 1024 < count as u64 * KIB_PER_ATTACKER + 64 * 1024,
        "{grown} MiB more"
    );
    format!("{count} sockets, ended: {ends:?}; {grown} MiB more")
}

/// B2: a message in empty fragments that never ends.
pub(crate) async fn fragments(range: &mut Range) -> String {
    let first = frame(0x01, 0);
    all_pour(range, range.size(20, 200), first, frame(0x00, 0).repeat(500)).await
}

/// B5: pings.
pub(crate) async fn pings(range: &mut Range) -> String {
    all_pour(range, range.size(20, 200), Vec::new(), frame(PING, 0).repeat(500)).await
}

/// B3: logged in, asking all the time, never reading.
pub(crate) async fn stuck_readers(range: &mut Range) -> String {
    let (count, hub, before) = (range.size(20, 500), range.world.listen, range.resident_mib());
    let began = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..count {
        let key = SignerKey::from_bytes(&rand::random()).unwrap();
        let mut session = Session::connect(hub).await.unwrap();
        session.log_in(&key, &key).await.unwrap();
        readers.push(tokio::spawn(session.ask_and_never_read(4 * END_MAX)));
    }
    let mut most = before;
    let mut dropped = 0;
    for reader in readers {
        while !reader.is_finished() {
            most = most.max(range.resident_mib());
            sleep(Duration::from_millis(20)).await;
        }
        dropped += usize::from(reader.await.unwrap());
    }
    assert_eq!(dropped, count, "dropped");
    let grown = most.saturating_sub(before);
    assert!(
        grown * 1024 < count as u64 * KIB_PER_ATTACKER + 64 * 1024,
        "{grown} MiB more"
    );
    format!(
        "{count} sessions, all dropped after {:.1} s; at most {grown} MiB more",
        began.elapsed().as_secs_f64()
    )
}

/// B7: text that is no message.
pub(crate) async fn garbage(range: &mut Range) -> String {
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_object = r#"{"a":"#.repeat(10_000);
    let texts = [
        "",
        "{",
        "null",
        "[]",
        "NaN",
        "1e400",
        "\u{0}",
        r#""\ud800""#,
        r#"{"jsonrpc":"2.0","id":1e400,"method":"ping","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"login","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":99999999999999999999999999,"method":"ping","params":{}}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"ping","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"\u0000","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"login","params":{"signer":"0x","signature":"0x"}}"#,
        &deep,
        &deep_object,
    ];
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for text in texts {
        let stream = upgraded(range.world.listen).await.unwrap();
        let mut bytes = frame(TEXT, text.len());
        bytes.extend_from_slice(text.as_bytes());
        let end = pour(stream, bytes, Vec::new(), 0, Duration::from_millis(200)).await;
        *ends.entry(end).or_default() += 1;
    }
    format!("{} texts: {ends:?}", texts.len())
}

/// B11: what is no upgrade to a WebSocket.
pub(crate) async fn smuggling(range: &mut Range) -> String {
    let upgrade = UPGRADE
        .strip_prefix("GET / HTTP/1.1\r\nHost: localhost\r\n")
        .unwrap();
    let heads = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\n{upgrade}"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n{upgrade}"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n{upgrade}GET /"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{upgrade}0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: localhost\r\n{upgrade}"),
        format!("GET / HTTP/1.0\r\nHost: localhost\r\n{upgrade}"),
        format!("GET / HTTP/1.1\r\nHost : localhost\r\n{upgrade}"),
        format!(
            "GET / HTTP/1.1\nHost: localhost\n{}",
            upgrade.replace("13\r\n", "8\r\n")
        ),
        format!(
            "GET /{} HTTP/1.1\r\nHost: localhost\r\n{upgrade}",
            "a".repeat(9_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\n{}{upgrade}",
            "X: y\r\n".repeat(200)
        ),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ];
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    for head in &heads {
        let mut stream = TcpStream::connect(range.world.listen).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let ended = timeout(END_MAX, async {
            while matches!(stream.read_buf(&mut heard).await, Ok(1..)) {}
        })
        .await;
        assert!(ended.is_ok(), "kept open: {head}");
        let status = String::from_utf8_lossy(&heard)
            .split(' ')
            .nth(1)
            .unwrap_or("none")
            .to_owned();
        assert!(
            status.starts_with('4'),
            "{head}\n--\n{}",
            String::from_utf8_lossy(&heard)
        );
        *statuses.entry(status).or_default() += 1;
    }
    format!("{} heads, statuses: {statuses:?}", heads.len())
}

/// B8: as many wrong logins as the machine makes, for some seconds; then a right one.
pub(crate) async fn wrong_logins(range: &mut Range) -> String {
    let hub = range.world.listen;
    let until = Instant::now() + Duration::from_secs(range.size(3, 20) as u64);
    let (victim, thief) = (
        SignerKey::from_bytes(&rand::random()).unwrap(),
        SignerKey::from_bytes(&rand::random()).unwrap(),
    );
    let attackers: Vec<_> = (0..16)
        .map(|_| {
            let (victim, thief) = (victim.clone(), thief.clone());
            tokio::spawn(async move {
                let (mut refused, mut turned_away) = (0_u64, 0_u64);
                while Instant::now() < until {
                    let Ok(mut session) = Session::connect(hub).await else {
                        turned_away += 1;
                        sleep(Duration::from_millis(5)).await;
                        continue;
                    };
                    while Instant::now() < until && session.log_in(&victim, &thief).await.is_err() {
                        refused += 1;
                        if session.is_over().await {
                            break;
                        }
                    }
                }
                (refused, turned_away)
            })
        })
        .collect();
    let (mut refused, mut turned_away) = (0, 0);
    for attacker in attackers {
        let (more_refused, more_turned) = attacker.await.unwrap();
        refused += more_refused;
        turned_away += more_turned;
    }
    assert!(refused > 0);
    format!("{refused} logins refused, {turned_away} connections turned away")
}
