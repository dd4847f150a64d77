//! Clients go offline for good, their stores deleted; then the hub shows old states. The SDK has handed packages to
//! watchtowers, by HTTP and by directory, and these answer alone, also after they were killed.

use crate::{
    cli::{Running, write},
    court::{closed, dispute, owner, pass, turned},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::{CHALLENGE_PERIOD_S, World},
};
use client_sdk::{Evidence, SignerKey, Tower};
use protocol_spec::{Address, ChannelId};
use std::path::{Path, PathBuf};

const PAID: u128 = 120_000;
/// In this many payments.
const RECEIPTS: u128 = 6;
const RECEIVED_EACH: u128 = 50_000;

/// A watchtower with a key of its own, which holds money for gas and nothing else.
struct Watch {
    dir: PathBuf,
    address: Address,
    args: Vec<String>,
    running: Option<Running>,
}

impl Watch {
    async fn new(world: &World, name: &str, more: &[&str]) -> Self {
        let key = SignerKey::from_bytes(&rand::random()).unwrap();
        world.endow(key.address(), 0).await;
        let dir = world.dir.join(name);
        std::fs::create_dir(&dir).unwrap();
        let key_file = write(&world.dir, &format!("{name}.key"), &hex::encode(key.to_bytes()));
        let shown = |path: &Path| path.display().to_string();
        let base = [
            "watch",
            "--broadcast",
            "--ndjson",
            "--every",
            "1",
            "--rpc-url",
            &world.rpc_url,
        ];
        let named = [
            "--dir".to_owned(),
            shown(&dir),
            "--key-file".to_owned(),
            shown(&key_file),
        ];
        let args = base
            .iter()
            .chain(more)
            .map(|word| (*word).to_owned())
            .chain(named);
        Self {
            args: args.collect(),
            dir,
            address: key.address(),
            running: None,
        }
    }

    fn start(&mut self) -> &mut Running {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.running.insert(Running::start(&args))
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }
}

/// Somebody who was paid and is gone.
struct Gone {
    name: &'static str,
    id: ChannelId,
    account: Address,
    /// What the hub shows of the channel later.
    old: Evidence,
    received: u128,
    fees: u128,
    fair: u128,
}

/// Pays, is paid, and disappears: the client stopped, its store deleted, its key forgotten.
async fn live(world: &World, name: &'static str, shop: &Person, towers: Vec<Tower>) -> Gone {
    let person = Person::arrive_with(world, name, world.listen, |builder| {
        towers.into_iter().fold(builder, |builder, tower| {
            builder.tower(tower.every(std::time::Duration::from_millis(100)))
        })
    })
    .await;
    let paid = person.pay(shop, PAID).await;
    let old = person.channel.evidence().await.unwrap();
    let mut news = person.channel.payments(None);
    for _ in 0..RECEIPTS {
        shop.pay(&person, RECEIVED_EACH).await;
        news.next().await.unwrap().unwrap();
    }
    let view = person.channel.view().unwrap();
    person.channel.wait_towers(view.received_seq).await.unwrap();
    for tower in person.client.towers() {
        assert!(tower.holds(&view.channel_id, view.received_seq), "{tower:?}");
        assert_eq!(tower.channels[&view.channel_id].fault, None);
    }
    let gone = Gone {
        name,
        id: view.channel_id,
        account: person.key.address(),
        old,
        received: RECEIPTS * RECEIVED_EACH,
        fees: paid.fee.0,
        fair: person.settled(),
    };
    // Not shut down: as a machine that breaks.
    drop(news);
    drop(person);
    std::fs::remove_file(world.dir.join(format!("{name}.redb"))).unwrap();
    gone
}

/// Two are cheated by their first voucher, which acknowledges nothing; one by no evidence at all.
fn bare(person: &Gone) -> bool {
    person.name == "by directory"
}

#[tokio::test(flavor = "multi_thread")]
async fn watchtowers_beat_a_cheating_hub_with_the_clients_offline_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    let mut hub = Hub::spawn(&world);
    hub.ready();
    let mut by_http = Watch::new(&world, "tower-http", &["--listen", "127.0.0.1:0"]).await;
    let mut by_directory = Watch::new(&world, "tower-directory", &[]).await;
    let listening = by_http.start().expect("listening");
    let url = format!("http://{}", listening["address"].as_str().unwrap());
    by_directory.start();
    let http = || Tower::http(url.clone(), by_http.address);
    let directory = || Tower::directory(&by_directory.dir, by_directory.address);

    let shop = Person::arrive(&world, "shop", world.listen).await;
    let people: [Gone; 3] = tokio::join!(
        live(&world, "by HTTP", &shop, vec![http()]),
        live(&world, "by directory", &shop, vec![directory()]),
        live(&world, "by both", &shop, vec![http(), directory()]),
    )
    .into();
    shop.client.shutdown().await;
    hub.kill();

    // One tower is down when the disputes begin; the other is killed as soon as it has sent something.
    by_http.kill();
    for person in &people {
        dispute(&world, &owner(&world), &turned(&person.old), bare(person)).await;
    }
    by_directory.running.as_mut().unwrap().expect("sent");
    by_directory.kill();
    pass(&world, CHALLENGE_PERIOD_S / 2).await;
    by_http.start().expect("looked");
    by_directory.start().expect("looked");
    for person in &people {
        crate::court::until(
            &world,
            person.id,
            "watchtower: show the newest voucher",
            |state| state.hubPaid == person.received,
        )
        .await;
    }
    pass(&world, CHALLENGE_PERIOD_S).await;
    println!(
        "{:<14} {:>9} {:>9} {:>6} {:>9} {:>9} {:>9} {:>9}",
        "watchtower", "deposit", "paid", "fees", "received", "cheated", "fair", "got"
    );
    for person in &people {
        closed(&world, person.id).await;
        let got = world.tokens_of(person.account).await - (ENDOWMENT - DEPOSIT);
        let Gone {
            received, fees, fair, ..
        } = person;
        // What the hub's old state would have left of it.
        let cheated = if bare(person) { DEPOSIT } else { fair - received };
        println!(
            "{:<14} {DEPOSIT:>9} {PAID:>9} {fees:>6} {received:>9} {cheated:>9} {fair:>9} {got:>9}",
            person.name
        );
        assert_eq!(*fair, DEPOSIT - PAID - fees + received);
        assert!(got >= *fair, "{}: {got} of {fair}", person.name);
    }
}
