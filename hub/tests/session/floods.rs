//! Those who send too much or read too little (attacks B2, B3, B5).

use crate::world::{Client, Heard, PATIENCE, WRONGLY_SIGNED, World, eventually, key};
use futures::SinkExt;
use hub::session::SessionLimits;
use protocol_spec::{
    ChannelId,
    message::{
        ChannelCall, Empty, ErrorCode, Message, Request, SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON, SubscribeCall,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message as Frame;

fn subscribe() -> Request {
    Request::Subscribe(SubscribeCall {
        channel_id: ChannelId([9; 32]),
        after: None,
    })
}

#[tokio::test]
async fn a_ping_flood_is_limited_and_ended() {
    let world = World::new().await;
    let mut client = world.logged_in(5).await;
    for _ in 0..1000 {
        if client.socket.feed(Frame::Ping(vec![1].into())).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    let mut limited = false;
    let code = loop {
        match client.hear().await {
            Heard::Message(Message::Response {
                result: Err(error), ..
            }) => {
                limited |= error.is(ErrorCode::RateLimited);
            }
            Heard::Message(_) => {}
            Heard::Closed(code) => break code,
        }
    };
    assert!(limited, "it is told why");
    assert_eq!(code, 1008);
}

#[tokio::test]
async fn too_many_messages_are_refused_then_the_connection_ends() {
    let world = World::limited(SessionLimits {
        messages_per_s: 1,
        messages_burst: 10,
        ..SessionLimits::DEFAULT
    })
    .await;
    let mut client = world.logged_in(5).await;
    let mut refused = 0;
    for _ in 0..20 {
        if let Err(error) = client.call(Request::Ping(Empty {})).await {
            assert!(error.is(ErrorCode::RateLimited) && error.data.retry_after_ms.is_some());
            refused += 1;
        }
    }
    assert!(
        (8..=10).contains(&refused),
        "{refused} of 20 beyond a burst of 10"
    );
    for _ in 0..500 {
        let id = 1000;
        let call = Box::new(Request::Ping(Empty {}));
        let frame = Frame::text(protocol_spec::message::json::encode(&Message::Request {
            id,
            call,
        }));
        if client.socket.send(frame).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await, 1008);
}

/// Attack B2: what costs the hub more than it costs the sender ends early, and a new connection is no new start.
#[tokio::test]
async fn wrong_signatures_end_the_connection_and_its_signer_waits() {
    let world = World::new().await;
    let mut client = world.logged_in(5).await;
    let wrong = || {
        Request::Channel(ChannelCall {
            channel_id: WRONGLY_SIGNED,
        })
    };
    for _ in 0..16 {
        let error = client.call(wrong()).await.unwrap_err();
        assert_eq!(error.data.name, "SignatureInvalid", "a few are only refused");
    }
    for _ in 0..20 {
        client.send(wrong()).await;
    }
    let mut told = false;
    let code = loop {
        match client.hear().await {
            Heard::Message(Message::Response { id: None, result }) => {
                told |= result.unwrap_err().is(ErrorCode::RateLimited);
            }
            Heard::Message(_) => {}
            Heard::Closed(code) => break code,
        }
    };
    assert_eq!((told, code), (true, 1008));
    let mut again = world.connect().await;
    let error = again.log_in(&key(5)).await.unwrap_err();
    assert!(
        error.is(ErrorCode::Busy) && error.data.retry_after_ms.is_some(),
        "{error:?}"
    );
    world
        .logged_in(6)
        .await
        .call(Request::Ping(Empty {}))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_endless_message_of_empty_fragments_is_closed_with_1009() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: channelhub.v1+json\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let flood = tokio::spawn(async move {
        writer.write_all(&[0x01, 0x80, 0, 0, 0, 0]).await.unwrap();
        let fragments = [0x00, 0x80, 0, 0, 0, 0].repeat(1000);
        while writer.write_all(&fragments).await.is_ok() {}
    });
    let mut heard = Vec::new();
    // The end may be a reset: the flood does not stop for the close frame.
    let read = async { while matches!(reader.read_buf(&mut heard).await, Ok(1..)) {} };
    timeout(PATIENCE, read)
        .await
        .expect("the endless message goes on");
    let close = heard
        .windows(4)
        .any(|window| window[0] == 0x88 && window[2..] == 1009_u16.to_be_bytes());
    assert!(close, "closed with 1009");
    timeout(PATIENCE, flood)
        .await
        .expect("the hub still reads")
        .unwrap();
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_are_dropped_and_memory_stays_bounded() {
    const READERS: usize = 60;
    let world = World::limited(SessionLimits {
        write_deadline_s: 1,
        ..SessionLimits::DEFAULT
    })
    .await;
    let before = resident_kib();
    let mut stuck = Vec::new();
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(world.address).await.unwrap();
        let mut client = Client::over(stream, world.address, SUBPROTOCOL_BORSH)
            .await
            .unwrap();
        client.log_in(&key(5)).await.unwrap();
        client.send(subscribe()).await;
        stuck.push(client);
    }
    let mut peak = 0;
    let watched = async {
        while world.gone.lock().unwrap().len() < READERS {
            peak = peak.max(resident_kib());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, watched).await.expect("stuck readers live on");
    assert!(world.engine.outboxes.is_empty());
    let growth = peak.saturating_sub(before) / 1024;
    // 512 batches of 8 small events each, 60 times: about 200 MiB if every outbox is full at once.
    assert!(growth < 400, "{growth} MiB");
    // Somebody who reads is served meanwhile.
    let mut honest = world.connect().await;
    honest.log_in(&key(6)).await.unwrap();
    println!("{READERS} stuck readers dropped, {growth} MiB at the peak");
}

#[tokio::test]
async fn a_reader_dropped_by_the_engine_is_told() {
    let world = World::new().await;
    let mut client = world.logged_in(5).await;
    world.engine.outboxes.clear();
    assert_eq!(client.closed().await, 1013);
    eventually("the engine hears of the end", || {
        world.gone.lock().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn silence_is_pinged_and_then_ended() {
    let world = World::limited(SessionLimits {
        ping_after_s: 1,
        idle_timeout_s: 2,
        ..SessionLimits::DEFAULT
    })
    .await;
    let mut silent = world.connect().await;
    let mut alive = Client::connect(world.address, SUBPROTOCOL_JSON).await.unwrap();
    // `alive` answers pings because somebody polls it; `silent` is not polled for longer than the timeout.
    let polled = timeout(std::time::Duration::from_secs(5), alive.hear()).await;
    assert!(polled.is_err(), "nothing but pings: {polled:?}");
    assert_eq!(silent.closed().await, 1008);
}
