//! POSTs without end, at the operator's door and at the clients'.

use super::range::Range;
use hub::ops::desk;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

/// Longest time for an answer: the hub may ask its node first, and the flood waits before it.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// How long nothing is waited for.
const NO_ANSWER: Duration = Duration::from_millis(500);
/// Who floods in one way, at once; together more than the door has places.
const FLOODERS: usize = 8;
/// What the hub may keep for all of them, MiB.
const GROWN_MIB_MAX: u64 = 96;
const NOTHING: &str = r#"{"token":null,"channel":null,"checkpoints":false}"#;
const MIB: usize = 1 << 20;

/// One kind of request, and the status that it must get if it is answered; `None`: nothing can be answered to it.
struct Kind {
    name: &'static str,
    to: SocketAddr,
    head: String,
    body: String,
    /// Announced; more than the body: the rest never comes.
    length: usize,
    status: Option<u16>,
}

impl Kind {
    /// Sends it on a connection of its own; `None`: that was ended without an answer.
    async fn ask(&self) -> Option<u16> {
        let mut stream = TcpStream::connect(self.to).await.ok()?;
        let (head, length) = (&self.head, self.length);
        let head = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        // Refused before it was read, perhaps: the answer counts.
        let _ = stream.write_all(self.body.as_bytes()).await;
        let mut answer = Vec::new();
        let longest = self.status.map_or(NO_ANSWER, |_| ANSWER_MAX);
        let read = timeout(longest, stream.read_to_end(&mut answer)).await;
        let ended = read.is_ok() || self.status.is_none();
        assert!(ended, "{}: neither answered nor ended", self.name);
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1)?.parse().ok()
    }
}

fn kinds(range: &Range) -> Vec<Kind> {
    let token = std::fs::read_to_string(desk::token_file(&range.world.hub_dir.join("data"))).unwrap();
    let (door, clients) = (range.world.ops, range.world.listen);
    let settle = "POST /settle-now HTTP/1.1\r\nContent-Type: application/json\r\n";
    let with = |token: &str| format!("{settle}{}: {token}\r\n", desk::HEADER);
    let kind = |name, to, head, body: String, status| Kind {
        name,
        to,
        head,
        length: body.len(),
        body,
        status: Some(status),
    };
    let mut endless = kind(
        "with the token, a body that never comes",
        door,
        with(&token),
        String::new(),
        0,
    );
    (endless.length, endless.status) = (64, None);
    vec![
        kind(
            "without a token",
            door,
            settle.to_owned(),
            NOTHING.to_owned(),
            403,
        ),
        kind("a wrong token", door, with(&"0".repeat(64)), "x".repeat(MIB), 403),
        kind("with the token", door, with(&token), NOTHING.to_owned(), 200),
        kind("with the token, no JSON", door, with(&token), "{".to_owned(), 400),
        kind("with the token, 1 MiB", door, with(&token), " ".repeat(MIB), 413),
        endless,
        kind(
            "clients' door",
            clients,
            "POST / HTTP/1.1\r\n".to_owned(),
            "x".repeat(MIB),
            400,
        ),
    ]
}

/// H6, B11: the operator's token lets in no flood, neither does its absence; and the clients' door takes no POST.
pub(crate) async fn posts(range: &mut Range) -> String {
    let until = Instant::now() + Duration::from_secs(range.size(3, 20) as u64);
    let (memory, acked) = (range.resident_mib(), range.log.counts().acked);
    let mut flooding: Vec<JoinHandle<_>> = Vec::new();
    for kind in kinds(range).into_iter().map(std::sync::Arc::new) {
        for _ in 0..FLOODERS {
            let kind = kind.clone();
            flooding.push(tokio::spawn(async move {
                let mut statuses: BTreeMap<Option<u16>, usize> = BTreeMap::new();
                while Instant::now() < until {
                    *statuses.entry(kind.ask().await).or_default() += 1;
                }
                (kind, statuses)
            }));
        }
    }
    let mut most = memory;
    while Instant::now() < until {
        most = most.max(range.resident_mib());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let acked = range.log.counts().acked - acked;
    let mut seen: BTreeMap<&str, BTreeMap<Option<u16>, usize>> = BTreeMap::new();
    for flooder in flooding {
        let (kind, statuses) = flooder.await.unwrap();
        for (status, times) in statuses {
            assert!(
                status.is_none() || status == kind.status,
                "{}: {status:?}",
                kind.name
            );
            *seen.entry(kind.name).or_default().entry(status).or_default() += times;
        }
    }
    assert!(acked > 0, "nobody could pay meanwhile");
    let grown = most.saturating_sub(memory);
    assert!(grown < GROWN_MIB_MAX, "{grown} MiB more");
    format!("{seen:?}; {acked} payments meanwhile; at most {grown} MiB more")
}
