//! A node over sockets that counts what is taken of its answers.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{
            Role,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

/// In its URL.
pub(crate) const KEY: &str = "key-0123456789abcdef";

/// How it answers.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Honest,
    /// Without a length, for ever; over a WebSocket in fragments.
    Endless,
    /// So many bytes, which it names first.
    Announced(usize),
    /// Names a length below that of its answer.
    Short,
    /// With status 503, for ever.
    EndlessRefusal,
    /// With status 404 and the path that was asked for.
    Echo,
    /// With this in place of a result: `PATH` and `KEY` are those of its URL.
    Tells(&'static str),
    /// With this status (no matter over a WebSocket) and this alone, words as in `Tells`.
    Says(u16, &'static str),
    /// With the number of another request.
    Astray,
    /// With status 307, to another one.
    Elsewhere(SocketAddr),
    Gzip,
    /// A byte now and then.
    Drip,
    HangUp,
}

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    /// Bytes that were taken of its answers.
    pub(crate) written: Arc<AtomicUsize>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Of the last request.
    pub(crate) head: Arc<Mutex<String>>,
    way: Arc<Mutex<Way>>,
    ended: Arc<Notify>,
}

/// `{"jsonrpc":"2.0","id":0,"result":"0x1"}`, compressed.
const GZIP: &[u8] = &[
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 202, 42, 206, 207, 43, 42, 72, 86, 178, 82, 50, 210, 51, 80,
    210, 81, 202, 76, 81, 178, 50, 208, 81, 42, 74, 45, 46, 205, 41, 1, 138, 26, 84, 24, 42, 213, 2, 0, 131,
    232, 101, 106, 39, 0, 0, 0,
];

impl Node {
    pub(crate) async fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Self {
            address: listener.local_addr().unwrap(),
            written: Arc::default(),
            connections: Arc::default(),
            head: Arc::default(),
            way: Arc::new(Mutex::new(way)),
            ended: Arc::default(),
        };
        let (connections, ended) = (node.connections.clone(), node.ended.clone());
        let line = Arc::new(Line {
            written: node.written.clone(),
            head: node.head.clone(),
            way: node.way.clone(),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (line, ended) = (line.clone(), ended.clone());
                tokio::spawn(async move {
                    let _ = line.serve(stream).await;
                    ended.notify_one();
                });
            }
        });
        node
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/v3/{KEY}", self.address)
    }

    pub(crate) fn be(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    /// A connection has ended: nobody takes any more of it.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }
}

struct Line {
    written: Arc<AtomicUsize>,
    head: Arc<Mutex<String>>,
    way: Arc<Mutex<Way>>,
}

fn answer(request: &[u8]) -> String {
    let request: Value = serde_json::from_slice(request).unwrap();
    json!({"jsonrpc": "2.0", "id": request["id"], "result": "0x1"}).to_string()
}

fn keyed(words: &str) -> String {
    words.replace("PATH", "/v3/KEY").replace("KEY", KEY)
}

fn told(honest: &str, words: &str) -> String {
    honest.replace(r#""result":"0x1""#, &keyed(words))
}

fn hang_up() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl Line {
    fn way(&self) -> Way {
        *self.way.lock().unwrap()
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let (head, mut body) = read_head(&mut stream).await?;
            self.head.lock().unwrap().clone_from(&head);
            if head.to_lowercase().contains("upgrade: websocket") {
                return self.speak(stream, &head).await;
            }
            let length = header(&head, "content-length").unwrap().parse().unwrap();
            while body.len() < length {
                read_more(&mut stream, &mut body).await?;
            }
            self.answer_http(&mut stream, &answer(&body), &head).await?;
        }
    }

    async fn answer_http(&self, stream: &mut TcpStream, honest: &str, asked: &str) -> io::Result<()> {
        let ok = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        match self.way() {
            Way::Honest => self.write(stream, (ok(honest.len()) + honest).as_bytes()).await,
            Way::Tells(words) => {
                let answer = told(honest, words);
                self.write(stream, (ok(answer.len()) + &answer).as_bytes()).await
            }
            Way::Says(status, words) => {
                let words = keyed(words);
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", words.len());
                self.write(stream, (head + &words).as_bytes()).await
            }
            Way::Astray => {
                let answer = honest.replace(r#""id":"#, r#""id":1"#);
                self.write(stream, (ok(answer.len()) + &answer).as_bytes()).await
            }
            Way::Announced(length) => {
                self.write(stream, ok(length).as_bytes()).await?;
                self.spaces(stream, length).await
            }
            Way::Short => {
                let answer = ok(honest.len() - 1) + honest;
                self.write(stream, answer.as_bytes()).await?;
                hang_up()
            }
            way @ (Way::Endless | Way::EndlessRefusal) => {
                let status = if matches!(way, Way::Endless) { 200 } else { 503 };
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n\r\n");
                self.write(stream, head.as_bytes()).await?;
                self.spaces(stream, usize::MAX).await
            }
            Way::Echo => {
                let path = asked.split(' ').nth(1).unwrap();
                let page = format!("cannot POST {path}");
                let head = format!("HTTP/1.1 404 X\r\ncontent-length: {}\r\n\r\n", page.len());
                self.write(stream, (head + &page).as_bytes()).await
            }
            Way::Elsewhere(address) => {
                let head =
                    format!("HTTP/1.1 307 X\r\nlocation: http://{address}/\r\ncontent-length: 0\r\n\r\n");
                self.write(stream, head.as_bytes()).await
            }
            Way::Gzip => {
                let length = GZIP.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
                self.write(stream, head.as_bytes()).await?;
                self.write(stream, GZIP).await
            }
            Way::Drip => {
                self.write(stream, ok(1_000_000).as_bytes()).await?;
                self.drip(stream).await
            }
            Way::HangUp => hang_up(),
        }
    }

    async fn speak(&self, mut stream: TcpStream, head: &str) -> io::Result<()> {
        let key = derive_accept_key(header(head, "sec-websocket-key").unwrap().as_bytes());
        let accepted = format!(
            "HTTP/1.1 101 X\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {key}\r\n\r\n"
        );
        stream.write_all(accepted.as_bytes()).await?;
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(request) = message else { continue };
            match self.way() {
                Way::Honest => {
                    let answer = Message::text(answer(request.as_bytes()));
                    socket.send(answer).await.map_err(io::Error::other)?;
                }
                Way::Tells(words) => {
                    let answer = Message::text(told(&answer(request.as_bytes()), words));
                    socket.send(answer).await.map_err(io::Error::other)?;
                }
                Way::Says(_, words) => {
                    let answer = Message::text(keyed(words));
                    socket.send(answer).await.map_err(io::Error::other)?;
                }
                Way::Announced(length) => {
                    // The header of one frame of text, with 64 bits of length.
                    let bytes = u64::try_from(length).unwrap().to_be_bytes();
                    let stream = socket.get_mut();
                    self.write(stream, &[&[0x81, 127], &bytes[..]].concat()).await?;
                    self.spaces(stream, length).await?;
                }
                Way::Endless => {
                    let mut kind = Data::Text;
                    loop {
                        let frame = Frame::message(vec![b' '; 1 << 16], OpCode::Data(kind), false);
                        socket
                            .send(Message::Frame(frame))
                            .await
                            .map_err(io::Error::other)?;
                        self.written.fetch_add(1 << 16, Ordering::Relaxed);
                        kind = Data::Continue;
                    }
                }
                Way::Drip => {
                    let stream = socket.get_mut();
                    self.write(stream, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]).await?;
                    self.drip(stream).await?;
                }
                _ => return hang_up(),
            }
        }
        Ok(())
    }

    async fn write(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = stream.write(bytes).await?;
            self.written.fetch_add(taken, Ordering::Relaxed);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    async fn spaces(&self, stream: &mut TcpStream, mut left: usize) -> io::Result<()> {
        let spaces = vec![b' '; 1 << 16];
        while left > 0 {
            let now = left.min(spaces.len());
            self.write(stream, &spaces[..now]).await?;
            left -= now;
        }
        Ok(())
    }

    /// Until nobody takes it.
    async fn drip(&self, stream: &mut TcpStream) -> io::Result<()> {
        loop {
            self.write(stream, b" ").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => hang_up(),
        _ => Ok(()),
    }
}

/// The head of a request, and what came with it of the body.
async fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        read_more(stream, &mut bytes).await?;
    }
}
