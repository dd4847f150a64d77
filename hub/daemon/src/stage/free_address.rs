//! Addresses on the loopback that nobody listens on, for hubs that must keep theirs over a restart. Taken into tests by its path.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those that systems give to outgoing connections: one of these could get the port before the hub does.
const FIRST: u32 = 16_384;
const PORTS: u32 = 16_000;

/// How many were tried in this process: none is given out twice, also before its hub listens.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// One that nobody listens on now. Processes begin at different places.
///
/// # Errors
/// The last bind's, when none of the ports is free.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    let start = std::process::id().wrapping_mul(67);
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORTS {
        let next = start.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST.wrapping_add(next % PORTS)).map_err(io::Error::other)?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = error,
        }
    }
    Err(last)
}
