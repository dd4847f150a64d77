//! `wss://` against a real TLS server on loopback, with a certificate authority made for the test.

use crate::common::{Hub, SimulatedTower, attached, builder, eventually, key};
use client_sdk::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_rustls::TlsAcceptor;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A server with a certificate for `name`.
    fn server(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap()
    }
}

/// A mini-hub behind TLS, at `wss://localhost`.
async fn start(authority: &Authority, name: &str) -> Arc<Hub> {
    Hub::start_tls(TlsAcceptor::from(Arc::new(authority.server(name)))).await
}

async fn refused(hub: &Hub, authority: Option<&Authority>) -> CertificateProblem {
    let builder = builder(hub, key(1), MemoryStore::new());
    let builder = match authority {
        Some(authority) => builder.root_certificate_pem(authority.pem.as_bytes()),
        None => builder,
    };
    let start = Instant::now();
    let error = builder.connect().await.unwrap_err();
    // A wrong certificate does not become right by trying again.
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    match error {
        ConnectError::Certificate { host, problem } => {
            assert_eq!(host, "localhost");
            problem
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_hub_with_a_private_authority_is_paid_through_tls() {
    let authority = Authority::new();
    let hub = start(&authority, "localhost").await;
    let config = hub.add_channel(&key(1));
    let builder = builder(&hub, key(1), MemoryStore::new()).root_certificate_pem(authority.pem.as_bytes());
    let (client, _) = attached(&hub, config, builder).await;
    client.pay(Address::repeat_byte(0x77), 10).await.unwrap();
    // It comes back by itself through TLS, too.
    hub.cut_next();
    client.pay(Address::repeat_byte(0x77), 10).await.unwrap();
    assert_eq!(hub.state().delivered.len(), 2);
    client.shutdown().await;
}

#[tokio::test]
async fn an_unknown_authority_is_refused_with_what_to_do() {
    let hub = start(&Authority::new(), "localhost").await;
    let others = Authority::new();
    for trusted in [None, Some(&others)] {
        let problem = refused(&hub, trusted).await;
        assert_eq!(problem, CertificateProblem::UnknownAuthority);
        assert!(
            problem.to_string().contains(".root_certificate_pem("),
            "{problem}"
        );
    }
    assert_eq!(hub.state().requests, 0, "nothing was sent");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_with_its_names() {
    let authority = Authority::new();
    let hub = start(&authority, "other.example").await;
    let problem = refused(&hub, Some(&authority)).await;
    assert!(
        matches!(problem, CertificateProblem::WrongName { .. }),
        "{problem:?}"
    );
    assert!(problem.to_string().contains("other.example"), "{problem}");
    assert_eq!(hub.state().requests, 0, "nothing was sent");
}

#[tokio::test]
async fn a_root_certificate_that_makes_no_sense_is_refused_at_once() {
    let connect = |url: &str, pem: &str| {
        Client::builder(url)
            .signer(key(1))
            .store(MemoryStore::new())
            .trust_hub_chain_view(true)
            .root_certificate_pem(pem)
            .connect()
    };
    let authority = Authority::new();
    for (url, pem) in [
        ("wss://localhost:1", "no certificate"),
        (
            "wss://localhost:1",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        // It would protect nothing.
        ("ws://localhost:1", authority.pem.as_str()),
    ] {
        let error = connect(url, pem).await.unwrap_err();
        assert!(matches!(error, ConnectError::Options(_)), "{url}: {error}");
    }
}

/// A watchtower behind TLS; its URL.
async fn tower(authority: &Authority, tower: Arc<SimulatedTower>) -> String {
    let acceptor = TlsAcceptor::from(Arc::new(authority.server("localhost")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(socket) = acceptor.accept(socket).await {
                tower.clone().serve(socket).await;
            }
        }
    });
    url
}

#[tokio::test]
async fn a_watchtower_is_reached_through_tls_when_its_authority_is_trusted() {
    let (authority, hub) = (Authority::new(), Hub::start().await);
    let posts = Arc::<SimulatedTower>::default();
    let url = tower(&authority, posts.clone()).await;
    let tower = || Tower::http(url.clone(), Address::repeat_byte(0x55));
    let config = hub.add_channel(&key(1));
    let towers = builder(&hub, key(1), MemoryStore::new())
        .tower(tower())
        .tower(tower().root_certificate_pem(authority.pem.as_bytes()));
    let (client, id) = attached(&hub, config, towers).await;
    hub.credit(&id, 5);
    eventually("handed over or refused", || {
        let [stranger, trusted] = client.towers().try_into().unwrap();
        let fault = stranger
            .channels
            .get(&id)
            .and_then(|channel| channel.fault.clone());
        trusted.holds(&id, protocol_spec::Seq(1))
            && fault.is_some_and(|fault| fault.why.contains("no authority that this client trusts"))
    })
    .await;
    assert_eq!(posts.posts.lock().unwrap().len(), 1);
}
