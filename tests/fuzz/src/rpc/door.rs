//! One node behind HTTP, whose URL has a key in it.

use super::{KEY, bend::Sent, wire::Wire, world::World};
use alloy::rpc::client::RpcClient;
use serde_json::Value;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// The node, its client, and their runtime, of all inputs of a thread: a client of HTTP reads the certificates of the machine.
pub(super) struct Door {
    pub(super) runtime: Runtime,
    pub(super) wire: Wire,
    pub(super) client: RpcClient,
}

impl Door {
    pub(super) fn new(world: Arc<World>) -> Self {
        // Where sockets are, time is real: nothing there waits.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let wire = Wire::new(world, true);
        let client = runtime.block_on(async {
            let url = open(wire.clone()).await;
            node_rpc::client(&url, node_rpc::Asks::Logs).unwrap()
        });
        Self {
            runtime,
            wire,
            client,
        }
    }
}

/// Serves until the runtime ends; returns the URL.
async fn open(wire: Wire) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, wire.clone()));
        }
    });
    format!("http://{address}/v3/{KEY}")
}

async fn serve(mut stream: TcpStream, wire: Wire) {
    while let Some(request) = request(&mut stream).await {
        let method = request["method"].as_str().unwrap();
        let (status, body) = match wire.answer(&request["id"], method, &request["params"]) {
            Sent::Body(body, _) => (200, body),
            Sent::Status(status, body) => (status, body),
            Sent::Lost | Sent::Silence => return,
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nlocation: /v3/{KEY}\r\ncontent-length: {length}\r\n\r\n");
        let sent = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        if sent.is_err() || matches!(status, 100 | 204 | 302) {
            return;
        }
    }
}

/// The body of the next POST, which an honest client sends.
async fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(&bytes[..end]).unwrap().to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                return Some(serde_json::from_slice(&bytes[end + 4..]).unwrap());
            }
        }
        let count = stream.read_buf(&mut bytes).await.ok()?;
        if count == 0 {
            return None;
        }
    }
}
