//! What survives and what ends a connection (attacks A19, B2, B7).

use crate::world::{Client, Heard, World};
use futures::{SinkExt, StreamExt};
use hub::session::Settings;
use protocol_spec::{
    ChannelId,
    limits::MESSAGE_BYTES_MAX,
    message::{ChannelCall, Empty, ErrorCode, Reply, Request, SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON},
};
use tokio_tungstenite::tungstenite::{
    Message as Frame,
    protocol::{
        CloseFrame,
        frame::{
            Frame as RawFrame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

const PING: &str = r#"{"jsonrpc":"2.0","id":77,"method":"ping","params":{}}"#;

async fn still_alive(client: &mut Client) {
    assert!(matches!(
        client.call(Request::Ping(Empty {})).await,
        Ok(Reply::Done(_))
    ));
}

#[tokio::test]
async fn what_cannot_be_read_is_a_typed_error_and_the_connection_survives() {
    let world = World::new().await;
    let deep = "[".repeat(50_000);
    let table: &[(&str, Option<u64>, ErrorCode)] = &[
        ("", None, ErrorCode::ParseError),
        ("{", None, ErrorCode::ParseError),
        (&deep, None, ErrorCode::InvalidRequest),
        ("[]", None, ErrorCode::InvalidRequest),
        (
            r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#,
            Some(7),
            ErrorCode::InvalidRequest,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"dance"}"#,
            Some(7),
            ErrorCode::MethodNotFound,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{"x":1}}"#,
            Some(7),
            ErrorCode::InvalidParams,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{},"x":1}"#,
            None,
            ErrorCode::InvalidRequest,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping","params":{}}"#,
            None,
            ErrorCode::InvalidRequest,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"channel","params":{"channel_id":"0x00","channel_id":"0x00"}}"#,
            Some(7),
            ErrorCode::InvalidParams,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1e400,"method":"ping","params":{}}"#,
            None,
            ErrorCode::ParseError,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"result":{"kind":"done","value":{}}}"#,
            None,
            ErrorCode::InvalidRequest,
        ),
    ];
    let mut client = world.logged_in(5).await;
    for (text, id, code) in table {
        client.text(*text).await;
        let (got_id, error) = client.error().await;
        let shown: String = text.chars().take(80).collect();
        assert!(error.is(*code), "{shown}: {error}");
        assert_eq!(got_id, *id, "{shown}");
        still_alive(&mut client).await;
    }
}

#[tokio::test]
async fn the_wrong_frame_type_is_a_typed_error() {
    let world = World::new().await;
    let mut json = Client::connect(world.address, SUBPROTOCOL_JSON).await.unwrap();
    json.socket
        .send(Frame::binary(PING.as_bytes().to_vec()))
        .await
        .unwrap();
    assert!(json.error().await.1.is(ErrorCode::InvalidRequest));
    still_alive(&mut json).await;
    let mut borsh = Client::connect(world.address, SUBPROTOCOL_BORSH).await.unwrap();
    borsh.text(PING).await;
    assert!(borsh.error().await.1.is(ErrorCode::InvalidRequest));
    let broken = [&[0_u8][..], &42_u64.to_le_bytes(), &[200, 1, 2]].concat();
    borsh.socket.send(Frame::binary(broken)).await.unwrap();
    let (id, error) = borsh.error().await;
    assert!(id == Some(42) && error.is(ErrorCode::ParseError));
    still_alive(&mut borsh).await;
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_is_closed_with_1009() {
    let world = World::new().await;
    let padded = |size: usize| format!("{PING}{}", " ".repeat(size - PING.len()));
    let mut client = world.connect().await;
    client.text(padded(MESSAGE_BYTES_MAX)).await;
    assert!(matches!(client.answer().await, (Some(77), Ok(Reply::Done(_)))));
    client.text(padded(MESSAGE_BYTES_MAX + 1)).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_closed_with_1007() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let frame = RawFrame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    client.socket.send(Frame::Frame(frame)).await.unwrap();
    assert_eq!(client.closed().await, 1007);
}

/// What was asked before may be answered; after the close frame there is nothing.
#[tokio::test]
async fn a_close_frame_is_answered_and_nothing_follows() {
    let world = World::new().await;
    let mut client = world.connect().await;
    for _ in 0..30 {
        client.socket.feed(Frame::text(PING)).await.unwrap();
    }
    let close = CloseFrame {
        code: CloseCode::Normal,
        reason: "enough".into(),
    };
    client.socket.close(Some(close)).await.unwrap();
    assert_eq!(client.closed().await, 1000);
    assert!(client.socket.next().await.is_none());
}

async fn fragments(client: &mut Client, parts: &[&str]) {
    for (index, part) in parts.iter().enumerate() {
        let kind = if index == 0 { Data::Text } else { Data::Continue };
        let last = index + 1 == parts.len();
        let frame = RawFrame::message(part.as_bytes().to_vec(), OpCode::Data(kind), last);
        client.socket.feed(Frame::Frame(frame)).await.unwrap();
    }
    client.socket.flush().await.unwrap();
}

#[tokio::test]
async fn fragments_are_joined_and_their_sum_is_limited() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let (head, tail) = PING.split_at(10);
    fragments(&mut client, &[head, "", tail]).await;
    assert!(matches!(client.answer().await, (Some(77), Ok(Reply::Done(_)))));
    let block = " ".repeat(MESSAGE_BYTES_MAX / 2);
    fragments(&mut client, &[&block, &block, " "]).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_nothing_is_lost_or_answered_twice() {
    let world = World::with(Settings::default(), 4).await;
    let mut client = world.logged_in(5).await;
    world.hold.send(true).unwrap();
    let channel = || {
        Request::Channel(ChannelCall {
            channel_id: ChannelId([9; 32]),
        })
    };
    let mut open: Vec<u64> = Vec::new();
    for _ in 0..12 {
        open.push(client.send(channel()).await);
    }
    // The engine may hold one call in its hands; the queue holds four.
    let mut busy = 0;
    for _ in 0..7 {
        let (id, error) = client.error().await;
        assert!(
            error.is(ErrorCode::Busy) && error.data.retry_after_ms.is_some(),
            "{error}"
        );
        open.retain(|sent| Some(*sent) != id);
        busy += 1;
    }
    world.hold.send(false).unwrap();
    while !open.is_empty() {
        let (id, error) = client.error().await;
        let before = open.len();
        open.retain(|sent| Some(*sent) != id);
        assert_eq!(open.len() + 1, before, "each call is answered once");
        busy += usize::from(error.is(ErrorCode::Busy));
    }
    assert!((7..=8).contains(&busy), "{busy}");
    still_alive(&mut client).await;
    drop(client);
    assert!(!matches!(
        world.connect().await.hear_nothing().await,
        Some(Heard::Closed(_))
    ));
}

impl Client {
    /// `None` when nothing is waiting.
    async fn hear_nothing(&mut self) -> Option<Heard> {
        let moment = std::time::Duration::from_millis(20);
        tokio::time::timeout(moment, self.hear()).await.ok()
    }
}
