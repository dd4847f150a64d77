//! What a client takes from its surroundings: the network, the time of day, randomness.

use async_trait::async_trait;
use protocol_spec::UnixSeconds;
use rand::RngCore;
use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// What a client takes from its surroundings. The default is the real world; tests give a simulated one.
///
/// Time that passes is not here: it is tokio's, so a test pauses it. With the same ports, the same input at the same
/// (paused) times and a current-thread runtime, a client does exactly the same. What is left to chance is only the
/// WebSocket handshake key and the masks of its frames, which change bytes on the wire and nothing else.
#[derive(Clone)]
pub struct Ports {
    /// Makes connections to the hub.
    pub network: Arc<dyn Network>,
    /// The time of day.
    pub clock: Arc<dyn Fn() -> UnixSeconds + Send + Sync>,
    /// Payment ids, salts of channels, jitter of retries.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            network: Arc::new(Tcp),
            clock: Arc::new(system_time),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

impl Ports {
    pub(crate) fn now(&self) -> UnixSeconds {
        (self.clock)()
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes byte streams to a host. TLS (for `wss://`) and WebSocket run over what it gives.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Connects to `host`, a name or an IP address (IPv6 without brackets). The caller limits the time.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// Fills bytes that nobody can guess.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        // Payments are small messages that somebody waits for.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

fn system_time() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds(since.unwrap_or_default().as_secs())
}
