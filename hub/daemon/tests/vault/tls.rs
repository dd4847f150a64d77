//! A node behind TLS, with a certificate authority made for the test.

use super::world::World;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use std::{path::Path, process::Command, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority in PEM, and a server's side for `localhost` that it vouches for.
fn authority() -> (String, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (pem, config)
}

/// Takes TLS off and passes everything on to `target`. Returns its port.
async fn proxy(config: ServerConfig, target: String) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                // Refused by the other side: that is what some tests are about.
                let Ok(mut front) = acceptor.accept(socket).await else {
                    return;
                };
                let mut back = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
            });
        }
    });
    port
}

/// `hub vault show` with the node at `url`; `trusted`: what the system takes for its authorities.
fn show(world: &World, url: &str, trusted: &Path) -> (bool, String) {
    let config = std::fs::read_to_string(&world.config).unwrap();
    let there = world.config.with_file_name("tls.toml");
    std::fs::write(&there, config.replace(&world.rpc_url, url)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_hub"))
        .args(["vault", "show", "--config"])
        .arg(there)
        .env("SSL_CERT_FILE", trusted)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_behind_https_is_used_when_the_system_trusts_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let ((pem, config), (other, _)) = (authority(), authority());
    let (good, bad) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    std::fs::write(&good, pem).unwrap();
    std::fs::write(&bad, other).unwrap();
    let node = world.rpc_url.strip_prefix("http://").unwrap();
    let port = proxy(config, node.to_owned()).await;
    let url = format!("https://localhost:{port}");
    let (shown, text) = show(&world, &url, &good);
    assert!(shown && text.contains(&super::VAULT.to_string()), "{text}");
    let (shown, text) = show(&world, &url, &bad);
    assert!(!shown && text.contains("certificate"), "{text}");
    // By an address that the certificate does not name.
    let (shown, text) = show(&world, &format!("https://127.0.0.1:{port}"), &good);
    assert!(!shown && text.contains("certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_behind_wss_is_asked_for_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let (pem, config) = authority();
    let trusted = dir.path().join("ca.pem");
    std::fs::write(&trusted, pem).unwrap();
    let node = world.rpc_url.strip_prefix("http://").unwrap();
    let port = proxy(config, node.to_owned()).await;
    // WebSockets trust the public authorities only; a private one is for https.
    let (shown, text) = show(&world, &format!("wss://localhost:{port}"), &trusted);
    assert!(!shown && text.contains("certificate"), "{text}");
}
