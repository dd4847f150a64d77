//! JSON-RPC to a node that is not trusted: an answer is read up to a bound and no further.
//!
//! Whoever answers a request decides how much it sends. What is read whole before it is looked at lets one node take all
//! memory, so [`client`] is the only way from a URL to a node, of hub, `settle` and SDK alike. Time is the caller's:
//! dropping a request's future drops its connection (HTTP) or forgets its answer (WebSocket).
//!
//! Nothing is decompressed: a node is not asked to compress, and what it compresses all the same makes no sense.

mod failure;
mod fees;
mod http;
mod secrets;
mod ws;

pub use failure::{Failure, nonsense, transport_cause, words};
pub use fees::market_fees;

use alloy::{
    rpc::{client::RpcClient, json_rpc::RequestPacket},
    transports::{http::reqwest::Url, utils::guess_local_url},
};

const MIB: usize = 1 << 20;

/// Longest answer to anything but `eth_getLogs`, bytes. The longest honest ones are blocks with the hashes of their
/// transactions: 70 bytes each, 2,857 of them in a block of 60M gas.
pub const ANSWER_MAX: usize = 4 * MIB;

/// Longest answer to `eth_getLogs`, bytes. Ranges that hold more are halved, but one block must fit whatever strangers put
/// into it, or nobody could follow the chain: a log of the adjudicator takes at least 1,000 gas and 600 bytes, so that a
/// block of 60M gas fits whatever is in it, and one of 400M gas when a log takes 3,600 gas.
pub const LOGS_MAX: usize = 64 * MIB;

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// Everything but logs.
    State,
    /// Logs, too. Any message of a WebSocket may be as long as those: nobody knows beforehand what it answers.
    Logs,
}

impl Asks {
    /// The most that is read as the answer to a request.
    fn answer_max(self, request: &RequestPacket) -> usize {
        match request.method_names().any(|method| method == "eth_getLogs") {
            true => self.message_max(),
            false => ANSWER_MAX,
        }
    }

    /// The most that is read as one message of a WebSocket.
    fn message_max(self) -> usize {
        match self {
            Self::State => ANSWER_MAX,
            Self::Logs => LOGS_MAX,
        }
    }
}

/// Why a URL is none of a node. It does not repeat the URL, which may hold a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not the URL of a node: http, https, ws or wss, and a host")]
pub struct BadUrl;

/// A client of the node at `url` (http, https, ws, wss). Connects when it is first asked, and again after a failure. Needs
/// a tokio runtime.
///
/// # Errors
/// [`BadUrl`].
pub fn client(url: &str, asks: Asks) -> Result<RpcClient, BadUrl> {
    let (parsed, host) = read(url)?;
    let is_local = guess_local_url(url);
    Ok(match parsed.scheme() {
        "ws" | "wss" => RpcClient::new(ws::Ws::start(parsed, host, asks), is_local),
        _ => RpcClient::new(http::Http::new(parsed, host, asks)?, is_local),
    })
}

/// Whether [`client`] takes it.
///
/// # Errors
/// [`BadUrl`].
pub fn check(url: &str) -> Result<(), BadUrl> {
    read(url).map(drop)
}

/// The URL, and what may be said of it: host, and port if it names one.
fn read(url: &str) -> Result<(Url, String), BadUrl> {
    let parsed: Url = url.parse().map_err(|_| BadUrl)?;
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or(BadUrl)?;
    let host = match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    match parsed.scheme() {
        "http" | "https" | "ws" | "wss" => Ok((parsed, host)),
        _ => Err(BadUrl),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_are_checked_and_not_repeated() {
        for url in [
            "",
            "localhost:8545",
            "ftp://localhost",
            "http://",
            "ws://",
            "/tmp/node.ipc",
            "http://h:99999/key",
        ] {
            assert_eq!(client(url, Asks::State).map(drop), Err(BadUrl), "{url}");
            assert_eq!(check(url), Err(BadUrl), "{url}");
        }
        for url in [
            "http://localhost",
            "https://u:p@node.example/v3/key",
            "ws://[::1]:8546",
            "wss://node.example?key=1",
        ] {
            assert_eq!(client(url, Asks::State).map(drop), Ok(()), "{url}");
        }
    }
}
