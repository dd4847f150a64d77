//! Strangers at the door (attacks B1, B6, B11).

use crate::world::{Client, PATIENCE, World, eventually, key};
use hub::session::{SessionLimits, Settings};
use protocol_spec::message::SUBPROTOCOL_JSON;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: channelhub.v1+json\r\n";

/// What the hub says to `bytes` before it hangs up or upgrades.
async fn reply_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut reply = Vec::new();
    let read = async {
        while !(reply.starts_with(b"HTTP/1.1 101") && reply.windows(4).any(|end| end == b"\r\n\r\n")) {
            if !matches!(stream.read_buf(&mut reply).await, Ok(1..)) {
                return;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("neither answer nor end");
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn what_is_no_handshake_gets_a_helpful_answer() {
    let world = World::with(
        Settings {
            allowed_hosts: vec!["hub.test".into()],
            allowed_origins: vec!["https://app.test".into()],
            ..Settings::default()
        },
        16,
    )
    .await;
    let get = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}\r\n");
    let table = [
        (get("Host: hub.test\r\n"), "HTTP/1.1 426", "channelhub.v1+json"),
        (
            get(&format!("Host: evil.test\r\n{UPGRADE}")),
            "HTTP/1.1 400",
            "Host",
        ),
        (get(UPGRADE), "HTTP/1.1 400", "Host"),
        (
            get(&format!(
                "Host: hub.test\r\nOrigin: https://evil.test\r\n{UPGRADE}"
            )),
            "HTTP/1.1 403",
            "Origin",
        ),
        (
            get(&format!("Host: hub.test\r\n{UPGRADE}").replace("v1+json", "v9")),
            "HTTP/1.1 400",
            "subprotocol",
        ),
        (
            get(&format!("Host: hub.test\r\nContent-Length: 30\r\n{UPGRADE}")),
            "HTTP/1.1 400",
            "body",
        ),
        (
            get(&format!(
                "Host: hub.test\r\nTransfer-Encoding: chunked\r\n{UPGRADE}"
            )),
            "HTTP/1.1 400",
            "body",
        ),
        (
            "POST / HTTP/1.1\r\nHost: hub.test\r\n\r\n".into(),
            "HTTP/1.1 400",
            "GET",
        ),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".into(), "HTTP/1.1 400", "GET"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "HTTP/1.1 400", "GET"),
        (
            format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000)),
            "HTTP/1.1 431",
            "8 KiB",
        ),
        (
            get(&format!("Host: hub.test\r\n{UPGRADE}")),
            "HTTP/1.1 101",
            "channelhub.v1+json",
        ),
        (
            get(&format!(
                "Host: hub.test\r\nOrigin: https://app.test\r\n{UPGRADE}"
            )),
            "HTTP/1.1 101",
            "",
        ),
    ];
    for (request, status, word) in table {
        let reply = reply_to(world.address, request.as_bytes()).await;
        assert!(
            reply.starts_with(status) && reply.contains(word),
            "{request}\n--\n{reply}"
        );
    }
}

#[tokio::test]
async fn compression_is_never_negotiated() {
    let world = World::new().await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n{UPGRADE}\r\n"
    );
    let reply = reply_to(world.address, request.as_bytes()).await;
    assert!(
        reply.starts_with("HTTP/1.1 101") && !reply.to_lowercase().contains("extensions"),
        "{reply}"
    );
}

#[tokio::test]
async fn slow_handshakes_are_dropped_and_lock_nobody_out() {
    let world = World::limited(SessionLimits {
        handshakes_per_address_max: 64,
        ..SessionLimits::DEFAULT
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    // The honest client comes from the same address as the 200.
    let mut honest = world.connect().await;
    honest.log_in(&key(5)).await.unwrap();
    let trickle = async {
        for stream in &mut slow {
            let mut byte = [0];
            // One byte now and then does not extend the deadline.
            let _ = stream.write_all(b"T").await;
            assert!(
                matches!(stream.read(&mut byte).await, Ok(0) | Err(_)),
                "dropped without a word"
            );
        }
    };
    timeout(PATIENCE, trickle).await.expect("slow handshakes live on");
    honest
        .log_in(&key(6))
        .await
        .expect("the honest client is still served");
}

#[tokio::test]
async fn too_many_connections_get_503_and_room_comes_back() {
    let world = World::limited(SessionLimits {
        connections_max: 2,
        ..SessionLimits::DEFAULT
    })
    .await;
    let first = world.connect().await;
    let _second = world.connect().await;
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n");
    let reply = reply_to(world.address, request.as_bytes()).await;
    assert!(
        reply.starts_with("HTTP/1.1 503") && reply.contains("Retry-After"),
        "{reply}"
    );
    drop(first);
    let again = async {
        while Client::connect(world.address, SUBPROTOCOL_JSON).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("room never came back");
    eventually("nobody is in the engine's table", || {
        world.engine.outboxes.is_empty()
    })
    .await;
}
