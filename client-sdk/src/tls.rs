//! TLS for `wss://`: whose certificates are trusted, and what is said about those that are not.

use crate::{CertificateProblem, ConnectError};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;
use tokio_tungstenite::{Connector, tungstenite};

/// What a connection to `url` needs; `None` without TLS. `private` are PEM files: when there are any, only they are trusted.
pub(crate) fn connector(url: &str, private: &[Vec<u8>]) -> Result<Option<Connector>, ConnectError> {
    if !url.starts_with("wss:") {
        return match private {
            [] => Ok(None),
            _ => Err(ConnectError::Options(
                "a root certificate was given, but the URL is not encrypted: it must begin with wss://",
            )),
        };
    }
    Ok(Some(Connector::Rustls(config(private)?)))
}

/// Which servers are trusted: those with certificates of `private` authorities (PEM) when there are any, else of the web's.
pub(crate) fn config(private: &[Vec<u8>]) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    if private.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in private {
        add(&mut roots, pem)?;
    }
    // The provider is named: the process may have none installed, or several to choose from.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Unreachable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), ConnectError> {
    let unreadable = ConnectError::Options("a root certificate cannot be read: it must be X.509 in PEM");
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate
            .ok()
            .and_then(|certificate| roots.add(certificate).ok());
        if added.is_none() {
            return Err(unreadable);
        }
        found = true;
    }
    if found { Ok(()) } else { Err(unreadable) }
}

/// A failed handshake with `host`, in words that help.
pub(crate) fn failed(host: &str, error: &tungstenite::Error) -> ConnectError {
    match certificate_error(error) {
        Some(error) => ConnectError::Certificate {
            host: host.to_owned(),
            problem: problem(error),
        },
        None => ConnectError::Unreachable(error.to_string()),
    }
}

/// A failed handshake with `host`, in words.
pub(crate) fn in_words(host: &str, error: &std::io::Error) -> String {
    match io_certificate_error(error).map(problem) {
        Some(problem) => format!("the TLS certificate of {host} is not accepted: {problem}"),
        None => error.to_string(),
    }
}

fn certificate_error(error: &tungstenite::Error) -> Option<&CertificateError> {
    match error {
        tungstenite::Error::Io(error) => io_certificate_error(error),
        _ => None,
    }
}

fn io_certificate_error(error: &std::io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(error) => Some(error),
        _ => None,
    }
}

fn problem(error: &CertificateError) -> CertificateProblem {
    match error {
        // The latter: an authority of a name that is trusted, but with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            CertificateProblem::UnknownAuthority
        }
        CertificateError::NotValidForName => CertificateProblem::WrongName {
            presented: "another name".to_owned(),
        },
        CertificateError::NotValidForNameContext { presented, .. } => CertificateProblem::WrongName {
            presented: presented.join(", "),
        },
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => CertificateProblem::OutOfTime,
        other => CertificateProblem::Other(other.to_string()),
    }
}
