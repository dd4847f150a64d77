//! The HTTP side of a handshake: read one request head, judge it, answer it.
//!
//! tungstenite's own acceptor answers a plain GET with silence and has no deadline, so the head is read here with
//! its parser. The caller sets the deadline.

use super::{codec::Encoding, limits};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    handshake::{
        machine::TryParse,
        server::{Request, create_response, write_response},
    },
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

/// Which names a request may carry. Empty lists allow every name.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names {
    /// Allowed `Host` headers, lower case, with the port if it is not the default one.
    pub(crate) hosts: Vec<String>,
    /// Allowed `Origin` headers, lower case. A request without `Origin` is no browser and passes.
    pub(crate) origins: Vec<String>,
}

/// A refused request: status line and a sentence for whoever reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    status: &'static str,
    text: &'static str,
}

impl Refusal {
    const fn new(status: &'static str, text: &'static str) -> Self {
        Self { status, text }
    }

    /// Too many connections.
    pub(crate) const FULL: Self = Self::new(
        "503 Service Unavailable",
        "The hub has too many connections; retry later.",
    );
    /// The hub is about to exit.
    pub(crate) const CLOSING: Self = Self::new(
        "503 Service Unavailable",
        "The hub is shutting down; reconnect later.",
    );
    const UNREADABLE: Self = Self::new(
        "400 Bad Request",
        "This is not an HTTP/1.1 GET request with proper headers.",
    );
    const TOO_LONG: Self = Self::new(
        "431 Request Header Fields Too Large",
        "The request head is longer than 8 KiB.",
    );
    const BODY: Self = Self::new("400 Bad Request", "A WebSocket handshake carries no body.");
    const HOST: Self = Self::new(
        "400 Bad Request",
        "The Host header is missing, repeated, or not a name of this hub.",
    );
    const ORIGIN: Self = Self::new("403 Forbidden", "This Origin may not connect to this hub.");
    const PLAIN: Self = Self::new(
        "426 Upgrade Required",
        "This is a Channel Hub. Connect by WebSocket with subprotocol channelhub.v1+json or channelhub.v1+borsh.",
    );
    const UPGRADE: Self = Self::new(
        "400 Bad Request",
        "The WebSocket handshake is malformed; version 13 with a 16-byte key is needed.",
    );
    const SUBPROTOCOL: Self = Self::new(
        "400 Bad Request",
        "No subprotocol in common; offer channelhub.v1+json or channelhub.v1+borsh in Sec-WebSocket-Protocol.",
    );

    /// Writes the answer.
    pub(crate) async fn write(self, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Self { status, text } = self;
        let extra = match status.get(..3) {
            Some("426") => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            Some("503") => "Retry-After: 5\r\n",
            _ => "",
        };
        let length = text.len().saturating_add(1);
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\n{extra}\r\n{text}\n"
        );
        stream.write_all(answer.as_bytes()).await
    }
}

/// An accepted handshake: what to answer, which encoding, and bytes that came after the head.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) response: Vec<u8>,
    pub(crate) tail: Vec<u8>,
}

/// Reads one request head and judges it. Errors: the peer hung up; inner: the peer is refused.
pub(crate) async fn read_handshake(
    stream: &mut (impl AsyncRead + Unpin),
    names: &Names,
) -> io::Result<Result<Accepted, Refusal>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        let before = head.len();
        let mut limited = (&mut *stream).take(u64::try_from(limits::HEAD_BYTES_MAX).unwrap_or_default());
        if limited.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What does not begin like a GET is refused on its first byte: TLS, HTTP/2, noise.
        if !head.starts_with(b"G") {
            return Ok(Err(Refusal::UNREADABLE));
        }
        let unseen = head.get(before.saturating_sub(3)..).unwrap_or_default();
        if unseen.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(judge(&head, names));
        }
        if head.len() > limits::HEAD_BYTES_MAX {
            return Ok(Err(Refusal::TOO_LONG));
        }
    }
}

fn judge(bytes: &[u8], names: &Names) -> Result<Accepted, Refusal> {
    let Ok(Some((size, request))) = Request::try_parse(bytes) else {
        return Err(Refusal::UNREADABLE);
    };
    if size > limits::HEAD_BYTES_MAX {
        return Err(Refusal::TOO_LONG);
    }
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::BODY);
    }
    check_names(headers, names)?;
    if !headers.contains_key(header::UPGRADE) {
        return Err(Refusal::PLAIN);
    }
    let mut response = create_response(&request).map_err(|_| Refusal::UPGRADE)?;
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let encoding = Encoding::choose(offers.iter().filter_map(|value| value.to_str().ok()))
        .ok_or(Refusal::SUBPROTOCOL)?;
    // No extension is ever accepted: compression would let 1 KiB cost 1 MiB (attack B6).
    response.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(encoding.name()),
    );
    let mut written = Vec::with_capacity(256);
    write_response(&mut written, &response).map_err(|_| Refusal::UPGRADE)?;
    Ok(Accepted {
        encoding,
        response: written,
        tail: bytes.get(size..).unwrap_or_default().to_vec(),
    })
}

fn check_names(headers: &HeaderMap, names: &Names) -> Result<(), Refusal> {
    let host = only(headers, &header::HOST).ok_or(Refusal::HOST)?;
    if !allowed(&names.hosts, host) {
        return Err(Refusal::HOST);
    }
    match headers.contains_key(header::ORIGIN) {
        false => Ok(()),
        true => only(headers, &header::ORIGIN)
            .filter(|origin| allowed(&names.origins, origin))
            .map(|_| ())
            .ok_or(Refusal::ORIGIN),
    }
}

/// The value of a header that occurs exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn allowed(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|entry| entry.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET / HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: channelhub.v1+json\r\n\r\n";

    fn judged(head: &str) -> Result<Encoding, &'static str> {
        let names = Names {
            hosts: vec!["hub".into()],
            origins: vec!["https://app".into()],
        };
        judge(head.as_bytes(), &names)
            .map(|a| a.encoding)
            .map_err(|r| r.status)
    }

    #[test]
    fn heads_are_judged() {
        let swap = |from: &str, to: &str| judged(&GOOD.replace(from, to));
        assert_eq!(judged(GOOD), Ok(Encoding::Json));
        assert_eq!(swap("Host: hub", "Host: HUB"), Ok(Encoding::Json));
        assert_eq!(swap("Host: hub", "Host: evil"), Err("400 Bad Request"));
        assert_eq!(swap("Host: hub\r\n", ""), Err("400 Bad Request"));
        assert_eq!(
            swap("Host: hub", "Host: hub\r\nHost: hub"),
            Err("400 Bad Request")
        );
        assert_eq!(
            swap("Host: hub", "Host: hub\r\nOrigin: https://app"),
            Ok(Encoding::Json)
        );
        assert_eq!(
            swap("Host: hub", "Host: hub\r\nOrigin: https://evil"),
            Err("403 Forbidden")
        );
        assert_eq!(
            swap("Host: hub", "Host: hub\r\nContent-Length: 4"),
            Err("400 Bad Request")
        );
        assert_eq!(
            swap("Host: hub", "Host: hub\r\nTransfer-Encoding: chunked"),
            Err("400 Bad Request")
        );
        assert_eq!(swap("Upgrade: websocket\r\n", ""), Err("426 Upgrade Required"));
        assert_eq!(swap("Version: 13", "Version: 8"), Err("400 Bad Request"));
        assert_eq!(swap("v1+json", "v9+json"), Err("400 Bad Request"));
        assert_eq!(swap("GET /", "GET  / /"), Err("400 Bad Request"));
        assert_eq!(swap("HTTP/1.1", "HTTP/1.0"), Err("400 Bad Request"));
    }

    #[tokio::test]
    async fn a_head_in_single_bytes_is_read_and_the_tail_kept() {
        let (mut peer, mut ours) = tokio::io::duplex(1);
        let task = tokio::spawn(async move { read_handshake(&mut ours, &Names::default()).await });
        peer.write_all(GOOD.as_bytes()).await.unwrap();
        drop(peer);
        assert_eq!(task.await.unwrap().unwrap().unwrap().tail, b"");
        let with_tail = format!("{GOOD}xyz");
        let accepted = read_handshake(&mut with_tail.as_bytes(), &Names::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(accepted.tail, b"xyz");
        assert!(
            !String::from_utf8(accepted.response)
                .unwrap()
                .contains("Extensions")
        );
    }

    #[tokio::test]
    async fn an_endless_head_is_refused() {
        let head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(100_000));
        let refusal = read_handshake(&mut head.as_bytes(), &Names::default())
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(refusal, Refusal::TOO_LONG);
    }
}
