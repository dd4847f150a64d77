//! A node that answers too much, or slowly, or compressed: the reader stops at the bound, says why, and goes on.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

mod node;

use alloy::{
    primitives::U64,
    rpc::client::RpcClient,
    transports::{RpcError, TransportError},
};
use node::{KEY, Node, Way};
use node_rpc::{ANSWER_MAX, Asks, Failure, LOGS_MAX, client, words};
use std::{sync::atomic::Ordering, time::Duration};

/// What the buffers of two sockets on loopback hold beside what was read.
const BUFFERS_MAX: usize = 12 << 20;

async fn ask(client: &RpcClient, method: &'static str) -> Result<String, TransportError> {
    client.request(method, ()).await
}

fn is_too_large(error: &TransportError) -> bool {
    matches!(error, RpcError::Transport(error) if Failure::is_too_large(error))
}

/// The answer is refused at the bound, and the next one counts.
async fn stops(scheme: &str, way: Way, (asks, method): (Asks, &'static str), bytes_max: usize) {
    let node = Node::start(way).await;
    let client = client(&node.url(scheme), asks).unwrap();
    let error = ask(&client, method).await.unwrap_err();
    assert!(is_too_large(&error), "{error}");
    let expected = format!(
        "{}: the node's answer exceeds {} MiB and was not read",
        node.address,
        bytes_max >> 20
    );
    assert_eq!(error.to_string(), expected, "no path and no key in it");
    node.ended().await;
    let written = node.written.load(Ordering::Relaxed);
    assert!(written < bytes_max + BUFFERS_MAX, "{written} bytes were taken");
    node.be(Way::Honest);
    assert_eq!(ask(&client, method).await.unwrap(), "0x1");
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_bound() {
    stops("http", Way::Endless, (Asks::State, "eth_call"), ANSWER_MAX).await;
    stops("http", Way::Endless, (Asks::Logs, "eth_call"), ANSWER_MAX).await;
    stops("http", Way::Endless, (Asks::State, "eth_getLogs"), ANSWER_MAX).await;
    stops("http", Way::Endless, (Asks::Logs, "eth_getLogs"), LOGS_MAX).await;
}

#[tokio::test]
async fn a_length_beyond_the_bound_is_not_read_at_all() {
    let node = Node::start(Way::Announced(100 << 20)).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    assert!(is_too_large(&ask(&client, "eth_call").await.unwrap_err()));
    node.ended().await;
    assert!(node.written.load(Ordering::Relaxed) < BUFFERS_MAX);
    // At the bound it is read: what is in it makes no sense.
    node.be(Way::Announced(ANSWER_MAX));
    let error = ask(&client, "eth_call").await.unwrap_err();
    assert!(error.is_deser_error(), "{error}");
    node.be(Way::Announced(ANSWER_MAX + 1));
    assert!(is_too_large(&ask(&client, "eth_call").await.unwrap_err()));
}

#[tokio::test]
async fn a_length_that_is_too_short_ends_the_answer() {
    let node = Node::start(Way::Short).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    assert!(ask(&client, "eth_call").await.unwrap_err().is_deser_error());
    node.be(Way::Honest);
    assert_eq!(ask(&client, "eth_call").await.unwrap(), "0x1");
}

#[tokio::test]
async fn an_endless_error_page_is_an_error_of_its_status() {
    let node = Node::start(Way::EndlessRefusal).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err();
    let status = error.as_transport_err().and_then(|error| error.as_http_error());
    assert_eq!(status.map(|error| error.status), Some(503), "{error}");
    node.ended().await;
    assert!(node.written.load(Ordering::Relaxed) < ANSWER_MAX + BUFFERS_MAX);
}

#[tokio::test]
async fn an_error_page_does_not_tell_the_key() {
    let node = Node::start(Way::Echo).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err().to_string();
    assert!(error.contains("404") && !error.contains("key"), "{error}");
}

#[tokio::test]
async fn an_answer_does_not_tell_the_key() {
    let words = [
        r#""error":{"code":-32000,"message":"no project at PATH"}"#,
        r#""error":{"code":-32000,"message":"KEY is not paid for"}"#,
        r#""error":{"code":-32000,"message":"no","data":{"asked":"PATH"}}"#,
        r#""error":{"code":-32000,"message":"no","data":"\/v3\/KEY"}"#,
        r#""result":"see PATH""#,
        r#""result":{"KEY":1}"#,
        r#""result":{"code":-32000,"message":"KEY is not paid for"}"#,
    ];
    for scheme in ["http", "ws"] {
        for words in words {
            let node = Node::start(Way::Tells(words)).await;
            let client = client(&node.url(scheme), Asks::State).unwrap();
            let answer = client.request::<_, U64>("eth_call", ()).await;
            let error = answer.unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains("...") && !said.contains(KEY), "{scheme}: {said}");
        }
    }
}

/// serde repeats the string that it does not like, and reads letters that are written by their numbers.
#[tokio::test]
async fn what_is_no_answer_does_not_tell_the_key() {
    let bodies = [
        r#""KEY""#,
        r#""\u006bey-0123456789abcdef""#,
        r#""\/v3\/\u006bey-0123456789abcdef""#,
        r#"["KEY"]"#,
        r#"{"jsonrpc":"2.0","id":["KEY"],"result":"0x1"}"#,
        r#"{"jsonrpc":"2.0","id":0,"error":"\u006bey-0123456789abcdef"}"#,
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":"KEY"}}"#,
        r#"{"code":-32000,"message":"\u006bey-0123456789abcdef is not paid for"}"#,
        r#"{"code":-32000,"message":"no","data":{"asked":"\u006bey-0123456789abcdef"}}"#,
        "KEY",
        "\\u006bey-0123456789abcdef",
    ];
    for body in bodies {
        for (scheme, status) in [("http", 200), ("http", 404), ("http", 500), ("ws", 200)] {
            let node = Node::start(Way::Says(status, body)).await;
            let client = client(&node.url(scheme), Asks::State).unwrap();
            let answer = client.request::<_, U64>("eth_call", ()).await;
            let error = answer.unwrap_err();
            let said = format!("{error} {error:?} {}", words(&error));
            assert!(
                !said.contains("0123456789abcdef"),
                "{scheme} {status} {body}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_by_its_place() {
    let node = Node::start(Way::Says(200, "\n \"KEY\"")).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err();
    assert!(error.is_deser_error(), "{error}");
    let said = "the answer is not what was asked for at line 2 column 23";
    assert_eq!(words(&error), said);
    node.be(Way::Says(200, "{"));
    let error = ask(&client, "eth_call").await.unwrap_err();
    let said = "EOF while parsing an object at line 1 column 1";
    assert_eq!(words(&error), said);
}

/// What many keys are made of is left in results: whoever cannot read one has it in the error, but not in its words.
#[tokio::test]
async fn a_result_that_is_not_read_is_not_repeated() {
    for result in [
        r#""result":"0x112233445566778899aabbcc""#,
        r#""result":"112233445566778899aabbcc""#,
    ] {
        for scheme in ["http", "ws"] {
            let node = Node::start(Way::Tells(result)).await;
            let client = client(&node.url(scheme), Asks::State).unwrap();
            let error = client.request::<_, U64>("eth_call", ()).await.unwrap_err();
            assert!(error.is_deser_error(), "{error}");
            let said = words(&error);
            assert!(said.contains("line 1") && !said.contains("1122"), "{said}");
        }
    }
}

#[tokio::test]
async fn the_answer_to_another_request_is_none() {
    let node = Node::start(Way::Astray).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err().to_string();
    assert!(error.contains("another request"), "{error}");
    node.be(Way::Honest);
    assert_eq!(ask(&client, "eth_call").await.unwrap(), "0x1");
}

#[tokio::test]
async fn nobody_else_is_asked_because_a_node_says_so() {
    let other = Node::start(Way::Honest).await;
    let node = Node::start(Way::Elsewhere(other.address)).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err().to_string();
    assert!(
        error.contains("sends elsewhere") && !error.contains("key"),
        "{error}"
    );
    assert_eq!(other.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nothing_is_asked_compressed_or_decompressed() {
    let node = Node::start(Way::Gzip).await;
    let client = client(&node.url("http"), Asks::State).unwrap();
    let error = ask(&client, "eth_call").await.unwrap_err();
    assert!(error.is_deser_error(), "{error}");
    let asked = node.head.lock().unwrap().to_lowercase();
    assert!(
        asked.contains("content-type") && !asked.contains("accept-encoding"),
        "{asked}"
    );
}

#[tokio::test]
async fn who_drips_is_left_when_the_caller_gives_up() {
    for scheme in ["http", "ws"] {
        let node = Node::start(Way::Drip).await;
        let client = client(&node.url(scheme), Asks::State).unwrap();
        let patience = Duration::from_millis(300);
        let answer = tokio::time::timeout(patience, ask(&client, "eth_call")).await;
        assert!(answer.is_err(), "{scheme}: it never ends");
        if scheme == "http" {
            node.ended().await;
            node.be(Way::Honest);
            assert_eq!(ask(&client, "eth_call").await.unwrap(), "0x1");
        }
    }
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_not_read() {
    for (asks, bytes_max) in [(Asks::State, ANSWER_MAX), (Asks::Logs, LOGS_MAX)] {
        for way in [Way::Announced(100 << 20), Way::Endless] {
            stops("ws", way, (asks, "eth_call"), bytes_max).await;
        }
    }
}

#[tokio::test]
async fn many_share_one_websocket_and_each_has_its_answer() {
    let node = Node::start(Way::Honest).await;
    let client = client(&node.url("ws"), Asks::State).unwrap();
    let asked = (0..100).map(|_| ask(&client, "eth_call"));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.unwrap(), "0x1");
    }
    assert_eq!(node.connections.load(Ordering::Relaxed), 1);
    // What hangs up has no answer, and is not asked again by itself.
    node.be(Way::HangUp);
    let error = ask(&client, "eth_call").await.unwrap_err();
    assert!(
        error.to_string().starts_with(&node.address.to_string()),
        "{error}"
    );
    node.be(Way::Honest);
    assert_eq!(ask(&client, "eth_call").await.unwrap(), "0x1");
}

#[tokio::test]
async fn who_is_not_there_is_named_without_the_key() {
    for scheme in ["http", "ws"] {
        let client = client(
            &format!("{scheme}://user:secret@127.0.0.1:1/v3/key?token=1"),
            Asks::State,
        )
        .unwrap();
        let error = ask(&client, "eth_call").await.unwrap_err().to_string();
        assert!(
            error.starts_with("127.0.0.1:1: ") && error.contains("refused"),
            "{error}"
        );
        assert!(!error.contains("key") && !error.contains("secret"), "{error}");
    }
}
