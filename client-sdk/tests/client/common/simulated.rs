//! The mini-hub without sockets: in-memory streams, virtual time, seeded randomness.

use super::{Hub, builder, session};
use async_trait::async_trait;
use client_sdk::{ClientBuilder, Entropy, Network, Ports, SignerKey, Store, Stream, UnixSeconds};
use protocol_spec::Package;
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Instant,
};

/// What happens to connections from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    Good,
    /// Connecting never ends.
    Hangs,
    /// Refused at once.
    Refused,
    /// Connected, but nobody is there: nothing is read or written on the other side.
    Dead,
}

pub struct SimulatedNetwork {
    hub: Arc<Hub>,
    pub wire: Mutex<Wire>,
    /// When which host was dialled.
    pub dials: Mutex<Vec<(Instant, String, u16)>>,
    /// At [`TOWER`].
    pub tower: Arc<Tower>,
    /// Far ends of dead connections.
    dead: Mutex<Vec<tokio::io::DuplexStream>>,
}

#[async_trait]
impl Network for SimulatedNetwork {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        self.dials
            .lock()
            .unwrap()
            .push((Instant::now(), host.to_owned(), port));
        let (near, far) = tokio::io::duplex(4096);
        if host == TOWER {
            tokio::spawn(self.tower.clone().serve(far));
            return Ok(Box::new(near));
        }
        let wire = *self.wire.lock().unwrap();
        match wire {
            Wire::Good => drop(tokio::spawn(session::serve(self.hub.clone(), far))),
            Wire::Hangs => std::future::pending::<()>().await,
            Wire::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Wire::Dead => self.dead.lock().unwrap().push(far),
        }
        Ok(Box::new(near))
    }
}

/// Host of the simulated watchtower.
pub const TOWER: &str = "tower.example";

/// A watchtower that takes packages by POST, as `settle watch --listen` does.
#[derive(Default)]
pub struct Tower {
    /// What was posted, when.
    pub posts: Mutex<Vec<(Instant, Package)>>,
    /// What is answered instead of taking it.
    pub refusal: Mutex<Option<&'static str>>,
    /// Reads and never answers.
    pub mute: AtomicBool,
}

impl Tower {
    /// One connection, one request.
    pub async fn serve(self: Arc<Self>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        let body = loop {
            let read = stream.read(&mut buffer).await.unwrap_or_default();
            if read == 0 {
                return;
            }
            request.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&request);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_lowercase();
            assert!(head.starts_with("post /packages http/1.1"), "{head}");
            assert!(
                head.contains("host: ") && head.contains("content-type: application/json"),
                "{head}"
            );
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                break body.to_owned();
            }
        };
        let package = serde_json::from_str(&body).unwrap();
        self.posts.lock().unwrap().push((Instant::now(), package));
        if self.mute.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let refusal = *self.refusal.lock().unwrap();
        let (status, text) = refusal.map_or(("200 OK", "guarding\n"), |text| ("409 Conflict", text));
        let length = text.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{text}");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Splitmix: the same seed, the same bytes.
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed >> 56) as u8;
        }
    }
}

/// A hub and the ports that lead to it. Call it in a paused current-thread runtime.
pub fn simulated(seed: u64) -> (Arc<Hub>, Arc<SimulatedNetwork>, Ports) {
    let start = Instant::now();
    let clock: Arc<dyn Fn() -> UnixSeconds + Send + Sync> =
        Arc::new(move || UnixSeconds(1_800_000_000 + start.elapsed().as_secs()));
    let hub = Hub::new(URL.to_owned(), clock.clone());
    let (network, ports) = ports_to(&hub, seed, clock);
    (hub, network, ports)
}

/// Where a simulated hub is.
pub const URL: &str = "ws://hub.example:7000";

/// The ports that lead to a hub.
pub fn ports_to(
    hub: &Arc<Hub>,
    seed: u64,
    clock: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
) -> (Arc<SimulatedNetwork>, Ports) {
    let network = Arc::new(SimulatedNetwork {
        hub: hub.clone(),
        wire: Mutex::new(Wire::Good),
        dials: Mutex::default(),
        tower: Arc::default(),
        dead: Mutex::default(),
    });
    let ports = Ports {
        network: network.clone(),
        clock,
        entropy: Arc::new(Seeded(AtomicU64::new(seed))),
    };
    (network, ports)
}

/// As [`builder`], on simulated ports.
pub fn simulated_builder(hub: &Hub, ports: &Ports, signer: SignerKey, store: impl Store) -> ClientBuilder {
    builder(hub, signer, store).ports(ports.clone())
}
