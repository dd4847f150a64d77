//! What watchtowers are handed: the newest accepted voucher, countersigned, at a bounded rate, and never at a payment's cost.

use crate::{
    common::{Hub, SimulatedNetwork, TOWER, attached, key, simulated, simulated_builder},
    status::Failing,
};
use async_trait::async_trait;
use client_sdk::*;
use protocol_spec::{DirectionEvidence, Package, Seq, Signature};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};

const PAYEE: Address = Address::repeat_byte(0x77);
const SUBMITTER: Address = Address::repeat_byte(0x55);

/// On a wire that nobody else is on.
fn http() -> Tower {
    Tower::http(format!("http://{TOWER}:8080"), SUBMITTER).believe_plain_http(true)
}

async fn client(
    (hub, ports): (&Hub, &Ports),
    store: impl Store,
    towers: impl IntoIterator<Item = Tower>,
) -> (Client, ChannelId) {
    let config = hub.config(&key(1));
    if !hub.state().channels.contains_key(&config.id(&hub.domain)) {
        hub.add_channel(&key(1));
    }
    let builder = simulated_builder(hub, ports, key(1), store);
    let builder = towers.into_iter().fold(builder, ClientBuilder::tower);
    attached(hub, config, builder).await
}

fn posts(network: &Arc<SimulatedNetwork>) -> Vec<(Instant, Package)> {
    network.tower.posts.lock().unwrap().clone()
}

/// As its reader checks it, and nothing in it that is not the reader's business.
fn assert_good(hub: &Hub, package: &Package, seq: u64) {
    let received = &package.evidence.received;
    let voucher = received.voucher.as_ref().unwrap();
    assert_eq!(voucher.voucher.seq, Seq(seq));
    let verified = voucher
        .clone()
        .verify(&hub.domain, &hub.key.public(), true)
        .unwrap();
    let signed = &package.countersignature;
    assert_eq!(signed.accept.voucher, verified.digest());
    assert_eq!(
        (signed.accept.submitter, signed.accept.may_dispute),
        (SUBMITTER, false)
    );
    signed.verify(&hub.domain, key(1).address()).unwrap();
    assert!(signed.verify(&hub.domain, key(2).address()).is_err());
    assert!(received.locks.is_empty() && received.witnesses.is_empty());
    assert_eq!(package.evidence.sent, DirectionEvidence::default());
    assert_eq!(package.format, "channelhub.package.v1");
}

#[tokio::test(start_paused = true)]
async fn of_many_vouchers_the_newest_is_handed_over_at_a_bounded_rate() {
    let (hub, network, ports) = simulated(1);
    let (client, id) = client((&hub, &ports), MemoryStore::new(), [http()]).await;
    for _ in 0..300 {
        hub.credit(&id, 1);
        sleep(Duration::from_millis(10)).await;
    }
    client.channel(id).wait_towers(Seq(300)).await.unwrap();
    let posts = posts(&network);
    assert!((3..=6).contains(&posts.len()), "{} in 3 s", posts.len());
    for pair in posts.windows(2) {
        assert!(
            pair[1].0 - pair[0].0 >= Duration::from_secs(1),
            "more than one a second"
        );
        assert!(pair[1].1.seq() > pair[0].1.seq());
    }
    assert_good(&hub, &posts.last().unwrap().1, 300);
    let [view] = client.towers().try_into().unwrap();
    let handed = view.channels[&id].handed.unwrap();
    assert_eq!((handed.seq, view.submitter), (Seq(300), SUBMITTER));
    assert!(view.place.contains(TOWER) && view.holds(&id, Seq(300)) && !view.holds(&id, Seq(301)));
}

#[tokio::test(start_paused = true)]
async fn a_tower_that_hangs_or_refuses_holds_up_no_payment_and_is_tried_with_growing_waits() {
    let (hub, network, ports) = simulated(1);
    let (client, id) = client((&hub, &ports), MemoryStore::new(), [http()]).await;
    let mut events = client.events();
    network.tower.mute.store(true, Ordering::SeqCst);
    hub.credit(&id, 5);
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    client.pay(PAYEE, 10).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    sleep(Duration::from_secs(20)).await;
    let why = |client: &Client| client.towers()[0].channels[&id].fault.clone().unwrap().why;
    assert_eq!(why(&client), "no answer in time");
    network.tower.mute.store(false, Ordering::SeqCst);
    *network.tower.refusal.lock().unwrap() = Some("it is full");
    sleep(Duration::from_secs(60)).await;
    network.tower.posts.lock().unwrap().clear();
    sleep(Duration::from_secs(600)).await;
    assert!(
        (9..=21).contains(&posts(&network).len()),
        "{} in 600 s",
        posts(&network).len()
    );
    assert!(
        why(&client).contains("409") && why(&client).contains("it is full"),
        "{}",
        why(&client)
    );
    let mut told = 0;
    while let Ok(event) = events.try_recv() {
        told += usize::from(matches!(event, ClientEvent::TowerFailed { .. }));
    }
    assert_eq!(told, 2, "once for each reason");
    *network.tower.refusal.lock().unwrap() = None;
    let newest = client.channel(id).view().unwrap().received_seq;
    client.channel(id).wait_towers(newest).await.unwrap();
    assert_eq!(client.towers()[0].channels[&id].fault, None);
    assert_good(&hub, &posts(&network).last().unwrap().1, newest.0);
}

#[tokio::test(start_paused = true)]
async fn a_package_is_renewed_at_half_of_its_life_and_handed_over_again_after_a_restart() {
    let (hub, network, ports) = simulated(1);
    let store = MemoryStore::new();
    let tower = || http().life(Duration::from_secs(10_000)).may_dispute(true);
    let (first, id) = client((&hub, &ports), store.clone(), [tower()]).await;
    hub.credit(&id, 5);
    first.channel(id).wait_towers(Seq(1)).await.unwrap();
    sleep(Duration::from_secs(4_900)).await;
    assert_eq!(posts(&network).len(), 1);
    sleep(Duration::from_secs(200)).await;
    let posted = posts(&network);
    assert_eq!(posted.len(), 2);
    let deadline = |package: &Package| package.countersignature.accept.deadline.0;
    assert!((4_990..=5_010).contains(&(deadline(&posted[1].1) - deadline(&posted[0].1))));
    assert!(posted[1].1.countersignature.accept.may_dispute);
    first.shutdown().await;
    let (again, _) = client((&hub, &ports), store, [tower()]).await;
    again.channel(id).wait_towers(Seq(1)).await.unwrap();
    assert_eq!(posts(&network).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn shutdown_hands_over_what_came_last() {
    let (hub, network, ports) = simulated(1);
    let (client, id) = client((&hub, &ports), MemoryStore::new(), [http()]).await;
    hub.credit(&id, 5);
    sleep(Duration::from_millis(500)).await;
    hub.credit(&id, 6);
    // It has just come in: the tower's second is not over.
    sleep(Duration::from_millis(5)).await;
    client.shutdown().await;
    assert_good(&hub, &posts(&network).last().unwrap().1, 2);
}

/// R28: only what was accepted, and that is what is stored.
#[tokio::test(start_paused = true)]
async fn a_voucher_that_could_not_be_stored_is_not_countersigned() {
    let (hub, network, ports) = simulated(1);
    let store = Failing::default();
    let (client, id) = client((&hub, &ports), store.clone(), [http().every(Duration::ZERO)]).await;
    hub.credit(&id, 5);
    client.channel(id).wait_towers(Seq(1)).await.unwrap();
    store.failed.store(true, Ordering::SeqCst);
    hub.credit(&id, 6);
    let stopped = client.channel(id).wait_towers(Seq(2)).await.unwrap_err();
    assert!(matches!(stopped, ChannelError::Stopped(_)), "{stopped}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(posts(&network).len(), 1);
}

fn packages(dir: &Path) -> Vec<Package> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap()
    };
    std::fs::read_dir(dir).unwrap().map(read).collect()
}

#[tokio::test]
async fn a_directory_gets_one_file_per_channel_and_never_an_older_voucher() {
    let hub = Hub::start().await;
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    let config = hub.add_channel(&key(1));
    let tower = || Tower::directory(dir.path(), SUBMITTER).every(Duration::ZERO);
    let builder = |store: MemoryStore| crate::common::builder(&hub, key(1), store).tower(tower());
    let (client, id) = attached(&hub, config.clone(), builder(store.clone())).await;
    hub.credit(&id, 1);
    client.channel(id).wait_towers(Seq(1)).await.unwrap();
    let backup = store.snapshot();
    hub.credit(&id, 2);
    client.channel(id).wait_towers(Seq(2)).await.unwrap();
    let [package] = packages(dir.path()).try_into().unwrap();
    assert_good(&hub, &package, 2);
    client.shutdown().await;
    // Restored from a backup, with the hub forgetful: it must not take the tower back.
    hub.state().channels.clear();
    hub.add_channel(&key(1));
    let restored = builder(backup).connect().await.unwrap();
    crate::common::eventually("the tower refuses", || {
        let towers = restored.towers();
        let channel = towers[0].channels.get(&id);
        channel.is_some_and(|channel| {
            channel
                .fault
                .as_ref()
                .is_some_and(|fault| fault.why.contains("voucher 2 already"))
        })
    })
    .await;
    assert_eq!(packages(dir.path()), [package]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_at_once_and_without_a_tower_nobody_waits() {
    let hub = Hub::start().await;
    let connect = |tower: Tower| {
        crate::common::builder(&hub, key(1), MemoryStore::new())
            .tower(tower)
            .connect()
    };
    for tower in [
        Tower::http("ftp://tower.example", SUBMITTER),
        Tower::http("tower.example", SUBMITTER),
        http().root_certificate_pem("x"),
        Tower::http("https://tower.example", SUBMITTER).root_certificate_pem("x"),
        Tower::http("https://tower.example", Address::ZERO),
        Tower::directory("/tmp", SUBMITTER).root_certificate_pem("x"),
        Tower::directory("/tmp", SUBMITTER).life(Duration::ZERO),
    ] {
        let error = connect(tower.clone()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Options(_)), "{tower:?}: {error}");
    }
    let (client, id) = crate::common::connect(&hub, key(1)).await;
    let error = client.channel(id).wait_towers(Seq(1)).await.unwrap_err();
    assert!(matches!(error, ChannelError::NoTower), "{error}");
}

/// Whoever is between could say that a package was taken.
#[tokio::test]
async fn a_tower_without_tls_elsewhere_is_believed_only_if_the_app_says_so() {
    let hub = Hub::start().await;
    let connect = |tower: Tower| {
        crate::common::builder(&hub, key(1), MemoryStore::new())
            .tower(tower)
            .connect()
    };
    let at = |url: &str| Tower::http(url, SUBMITTER);
    for url in [
        "http://tower.example",
        "http://10.0.0.7:8080/packages",
        "http://0.0.0.0:8080",
        "http://[2001:db8::1]:8080",
        "http://localhost.tower.example",
        "http://127.0.0.1.tower.example",
        "http://127.0.0.1@tower.example",
    ] {
        let error = connect(at(url)).await.unwrap_err().to_string();
        assert!(error.contains("believe_plain_http"), "{url}: {error}");
        connect(at(url).believe_plain_http(true)).await.unwrap();
    }
    for url in [
        "https://tower.example",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:8080",
    ] {
        connect(at(url)).await.unwrap();
    }
}

/// Counts what it signs, by digest.
#[derive(Clone)]
struct Counting(SignerKey, Arc<Mutex<BTreeMap<Digest, usize>>>);

#[async_trait]
impl VoucherSigner for Counting {
    fn address(&self) -> Address {
        self.0.address()
    }

    async fn sign(&self, digest: &Digest) -> Result<Signature, SignerError> {
        *self.1.lock().unwrap().entry(*digest).or_default() += 1;
        Ok(self.0.sign(digest))
    }
}

/// A person who confirms at the signer is asked once for each package, however often it has to be handed over.
#[tokio::test(start_paused = true)]
async fn a_package_that_is_handed_over_again_is_not_signed_again() {
    let (hub, network, ports) = simulated(1);
    let signed = Arc::<Mutex<BTreeMap<Digest, usize>>>::default();
    let config = hub.add_channel(&key(1));
    let builder = crate::common::builder(&hub, key(1), MemoryStore::new())
        .ports(ports.clone())
        .signer(Counting(key(1), signed.clone()))
        .tower(http());
    let (client, id) = attached(&hub, config, builder).await;
    *network.tower.refusal.lock().unwrap() = Some("it is full");
    hub.credit(&id, 5);
    sleep(Duration::from_secs(300)).await;
    assert!(posts(&network).len() > 3, "{} attempts", posts(&network).len());
    *network.tower.refusal.lock().unwrap() = None;
    client.channel(id).wait_towers(Seq(1)).await.unwrap();
    hub.credit(&id, 5);
    client.channel(id).wait_towers(Seq(2)).await.unwrap();
    let posts = posts(&network);
    let distinct: BTreeSet<Digest> = posts
        .iter()
        .map(|(_, package)| package.countersignature.accept.digest(&hub.domain))
        .collect();
    assert_eq!(distinct.len(), 2, "one package for each voucher");
    let signed = signed.lock().unwrap();
    for digest in distinct {
        assert_eq!(signed[&digest], 1, "asked again for the same package");
    }
    assert_good(&hub, &posts.last().unwrap().1, 2);
}
