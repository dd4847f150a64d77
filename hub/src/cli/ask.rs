//! Asks a running hub at its operator's door.

use super::Failure;
use crate::ops::{Config, ConfigError, desk};
use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use std::{io, net::SocketAddr, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;

/// Longest time for an answer: the hub asks its node first.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest answer: about a million channels.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// The answer of the hub that the configuration describes. Errors: it does not run, or says why it cannot answer.
pub(super) async fn ask<T: DeserializeOwned>(
    config: &Path,
    method: &str,
    path: &str,
    body: &str,
) -> Result<T, Failure> {
    let config = Config::load(config)?;
    let door = config.ops.listen;
    if door.port() == 0 {
        let problem = "ops.listen: has port 0, so nobody knows where the hub listens".to_owned();
        return Err(Failure::Config(ConfigError {
            problems: vec![problem],
        }));
    }
    let token = token(&config.data_dir).map_err(Failure::Running)?;
    let answer = timeout(ANSWER_MAX, exchange(door, &token, method, path, body)).await;
    let answer = answer.map_err(|_| anyhow!("the hub at {door} did not answer within a minute"));
    let text = answer.and_then(|answer| answer).map_err(Failure::Running)?;
    let (head, answer) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| Failure::Running(anyhow!("{door} does not speak HTTP")))?;
    match head.split(' ').nth(1) {
        Some("200") => serde_json::from_str(answer)
            .with_context(|| format!("the answer of {door} cannot be read"))
            .map_err(Failure::Running),
        Some("404") => Err(Failure::Running(anyhow!(
            "what listens at {door} is no hub of this version"
        ))),
        _ => Err(Failure::Running(anyhow!("the hub says: {}", answer.trim()))),
    }
}

/// What the running hub wrote at its start.
fn token(data_dir: &Path) -> anyhow::Result<Zeroizing<String>> {
    let path = desk::token_file(data_dir);
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(anyhow!(
                "the hub is not running with this configuration, or still starts: there is no {shown}"
            ));
        }
        Err(error) => {
            return Err(anyhow!(
                "{shown}: {error}; it is a file of mode 600 that belongs to the user who runs the hub: run this as that user"
            ));
        }
    };
    // It becomes a line of the request.
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text),
        false => Err(anyhow!(
            "{shown}: must hold 64 hex digits, as `hub serve` writes it; restart the hub"
        )),
    }
}

/// HTTP/1.0: the body ends with the connection.
async fn exchange(
    door: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<String> {
    let connected = TcpStream::connect(door).await;
    let mut stream = connected.with_context(|| format!("no hub runs at ops.listen = {door}"))?;
    let length = body.len();
    let header = desk::HEADER;
    let request = Zeroizing::new(format!(
        "{method} {path} HTTP/1.0\r\nHost: {door}\r\n{header}: {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}
