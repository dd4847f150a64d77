//! One GET on loopback: enough for `/readyz` and `/metrics`.

use anyhow::{Context, bail};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The body of a 200 answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    timeout(Duration::from_secs(2), fetch(address, path))
        .await
        .context("no answer in 2 s")?
}

async fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    if !head.lines().next().is_some_and(|line| line.contains(" 200 ")) {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// A counter of the hub's metrics; zero when it is not there.
pub(crate) fn counter(metrics: &str, name: &str) -> u64 {
    find(metrics, name).unwrap_or(0)
}

/// A counter of the hub's metrics.
pub(crate) fn find(metrics: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value)
}
