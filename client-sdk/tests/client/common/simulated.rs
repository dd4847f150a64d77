//! The mini-hub without sockets: in-memory streams, virtual time, seeded randomness.

use super::{Hub, builder, session};
use async_trait::async_trait;
use client_sdk::{ClientBuilder, Entropy, Network, Ports, SignerKey, Store, Stream, UnixSeconds};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::Instant;

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
    let hub = Hub::new("ws://hub.example:7000".to_owned(), clock.clone());
    let network = Arc::new(SimulatedNetwork {
        hub: hub.clone(),
        wire: Mutex::new(Wire::Good),
        dials: Mutex::default(),
        dead: Mutex::default(),
    });
    let ports = Ports {
        network: network.clone(),
        clock,
        entropy: Arc::new(Seeded(AtomicU64::new(seed))),
    };
    (hub, network, ports)
}

/// As [`builder`], on simulated ports.
pub fn simulated_builder(hub: &Hub, ports: &Ports, signer: SignerKey, store: impl Store) -> ClientBuilder {
    builder(hub, signer, store).ports(ports.clone())
}
