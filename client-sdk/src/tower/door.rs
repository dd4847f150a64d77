//! A watchtower's HTTP endpoint: one POST per package, over the client's own network and TLS.

use crate::{ConnectError, Network, Stream, task::OwnedTask, tls};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use protocol_spec::Package;
use rustls::pki_types::ServerName;
use std::{net::IpAddr, sync::Arc};
use tokio_rustls::TlsConnector;

/// Where `settle watch` takes packages.
const PATH: &str = "/packages";
/// Most of an answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// Most of a refusal's text that is shown, characters.
const WHY_MAX: usize = 200;
/// Most that is buffered of an answer's head, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// An HTTP endpoint.
pub(crate) struct Door {
    network: Arc<dyn Network>,
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Door {
    /// Errors: [`ConnectError::Options`].
    pub(super) fn new(
        url: &str,
        root_certificates: &[Vec<u8>],
        network: Arc<dyn Network>,
    ) -> Result<Self, ConnectError> {
        let unreadable = ConnectError::Options("a watchtower's URL must be http://HOST or https://HOST");
        let uri: Uri = url.parse().map_err(|_| unreadable.clone())?;
        let (secure, default) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(unreadable),
        };
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(unreadable);
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        let tls = match secure {
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| unreadable)?;
                let config = tls::config(root_certificates)?;
                Some((TlsConnector::from(config), name))
            }
            false if root_certificates.is_empty() => None,
            false => {
                return Err(ConnectError::Options(
                    "a root certificate was given for a watchtower, but its URL is not encrypted: it must begin with https://",
                ));
            }
        };
        let path = uri.path_and_query().map_or(PATH, |path| path.as_str());
        Ok(Self {
            network,
            port: uri.port_u16().unwrap_or(default),
            authority: authority.to_string(),
            path: if path == "/" { PATH } else { path }.to_owned(),
            host,
            tls,
        })
    }

    /// True when nobody between can answer in the tower's place: TLS, or this machine.
    pub(super) fn authentic(&self) -> bool {
        let loopback = |host: &str| {
            host.parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
        };
        self.tls.is_some() || self.host.eq_ignore_ascii_case("localhost") || loopback(&self.host)
    }

    /// Posts it. The caller limits the time.
    pub(super) async fn post(&self, package: &Package) -> Result<(), String> {
        let body = serde_json::to_vec(package).map_err(|error| error.to_string())?;
        let stream = self.open().await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let _connection = OwnedTask::spawn(async move { drop(connection.await) });
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let text = text.map_or_else(|_| Bytes::new(), |text| text.to_bytes());
        let why: String = String::from_utf8_lossy(&text)
            .trim()
            .chars()
            .take(WHY_MAX)
            .collect();
        Err(format!("the watchtower answers {status}: {why}"))
    }

    async fn open(&self) -> Result<Box<dyn Stream>, String> {
        let reached = self.network.connect(&self.host, self.port).await;
        let stream = reached.map_err(|error| format!("{}: {error}", self.authority))?;
        match &self.tls {
            None => Ok(stream),
            Some((tls, name)) => match tls.connect(name.clone(), stream).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(tls::in_words(&self.host, &error)),
            },
        }
    }
}
