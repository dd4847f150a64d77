//! The part of the operator's door that asks the running hub: `GET /liquidity` and `POST /settle-now`.
//!
//! What they send costs the coins that pay for disputes. So they are answered on loopback only, whatever
//! `ops.allow_remote` says, and only to who sends the token of this start along: 32 random bytes in a file of `data_dir`
//! that only the hub's user can read. A web page cannot read it, whatever name it came under.

use crate::{
    bounded_listener::Peer,
    driver::{Operator, SettleNow},
};
use axum::{
    Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rand::{TryRngCore, rngs::OsRng};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use zeroize::Zeroizing;

/// Carries the token.
pub const HEADER: &str = "x-hub-operator";
/// The token's file in `data_dir`.
const TOKEN_FILE: &str = "operator.token";
const TOKEN_BYTES: usize = 32;
/// Longest question; a whole one has 200 bytes.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Where the token of the hub with this `data_dir` lies: 64 hex digits.
#[must_use]
pub fn token_file(data_dir: &Path) -> PathBuf {
    data_dir.join(TOKEN_FILE)
}

/// Makes a token and replaces the file of the start before. The new file is never readable by others.
fn write_token(data_dir: &Path) -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    OsRng
        .try_fill_bytes(bytes.as_mut_slice())
        .map_err(io::Error::other)?;
    let token = Zeroizing::new(hex::encode(bytes.as_slice()));
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let path = token_file(data_dir);
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(token)
}

/// Digests are compared, so the time it takes says nothing about the token.
fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[derive(Debug)]
struct Open {
    operator: Operator,
    token: [u8; 32],
}

/// Where the operator's handle lies once the hub runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Open>>);

impl Desk {
    /// The hub runs and has locked its `data_dir`: a new token is written there, and who knows it is answered from now
    /// on. Errors: it cannot be written.
    pub fn open(&self, operator: Operator, data_dir: &Path) -> io::Result<()> {
        let token = digest(write_token(data_dir)?.as_bytes());
        // There is one hub in a process.
        let _ = self.0.set(Open { operator, token });
        Ok(())
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/liquidity", get(liquidity))
            .route("/settle-now", post(settle_now))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .route_layer(from_fn_with_state(self.clone(), guard))
            .with_state(self)
    }

    fn opened(&self) -> Result<&Open, Refused> {
        let starting = || Refused(StatusCode::SERVICE_UNAVAILABLE, "the hub is starting".to_owned());
        self.0.get().ok_or_else(starting)
    }

    fn operator(&self) -> Result<&Operator, Refused> {
        Ok(&self.opened()?.operator)
    }

    fn admit(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Refused> {
        if !peer.to_canonical().is_loopback() {
            return Err(forbidden(format!(
                "asked from {peer}; this is answered on loopback only, so ops.listen must be a loopback address or 0.0.0.0"
            )));
        }
        let Some(sent) = headers.get(HEADER) else {
            return Err(forbidden(format!(
                "the header {HEADER} is missing; use `hub liquidity` and `hub settle-now`"
            )));
        };
        match digest(sent.as_bytes()) == self.opened()?.token {
            true => Ok(()),
            false => Err(forbidden(format!(
                "the header {HEADER} is not the token in {TOKEN_FILE} of this hub's data_dir; each start makes a new one"
            ))),
        }
    }
}

async fn guard(
    State(desk): State<Desk>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    desk.admit(peer, request.headers())?;
    Ok(next.run(request).await)
}

#[derive(Debug)]
struct Refused(StatusCode, String);

fn forbidden(text: String) -> Refused {
    Refused(StatusCode::FORBIDDEN, text)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

fn answer<T: Serialize>(result: Result<T, String>) -> Result<Json<T>, Refused> {
    result
        .map(Json)
        .map_err(|text| Refused(StatusCode::BAD_GATEWAY, text))
}

async fn liquidity(State(desk): State<Desk>) -> Result<impl IntoResponse, Refused> {
    answer(desk.operator()?.liquidity().await)
}

async fn settle_now(
    State(desk): State<Desk>,
    Json(what): Json<SettleNow>,
) -> Result<impl IntoResponse, Refused> {
    answer(desk.operator()?.settle_now(what).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::os::unix::fs::PermissionsExt;

    fn headers(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_str(token).unwrap())])
    }

    #[test]
    fn every_start_writes_a_new_token_that_only_the_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("not/yet");
        let first = write_token(&data).unwrap();
        assert_eq!(first.len(), 2 * TOKEN_BYTES);
        let path = token_file(&data);
        // Left open by somebody, and a start that was cut off.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path.with_extension("part"), "half").unwrap();
        let second = write_token(&data).unwrap();
        assert_ne!(*first, *second);
        assert_eq!(fs::read_to_string(&path).unwrap(), *second);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn only_the_token_from_loopback_is_admitted() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk::default();
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let status = |peer: IpAddr, headers: &HeaderMap| desk.admit(peer, headers).map_err(|no| no.0);
        assert_eq!(status(here, &headers("1")), Err(StatusCode::SERVICE_UNAVAILABLE));
        desk.open(Operator::new().0, dir.path()).unwrap();
        let token = fs::read_to_string(token_file(dir.path())).unwrap();
        for ip in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status(ip.parse().unwrap(), &headers(&token)), Ok(()), "{ip}");
        }
        for ip in ["10.0.0.1", "203.0.113.7", "::ffff:10.0.0.1", "2001:db8::1"] {
            let answer = status(ip.parse().unwrap(), &headers(&token));
            assert_eq!(answer, Err(StatusCode::FORBIDDEN), "{ip}");
        }
        for wrong in ["", "1", &token[1..], &"0".repeat(64), &format!("{token}0")] {
            assert_eq!(
                status(here, &headers(wrong)),
                Err(StatusCode::FORBIDDEN),
                "{wrong}"
            );
        }
        assert_eq!(status(here, &HeaderMap::new()), Err(StatusCode::FORBIDDEN));
    }
}
