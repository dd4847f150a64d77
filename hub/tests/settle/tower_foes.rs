//! What the other side and strangers try on a watchtower: nothing of it turns the tower against whom it guards.

use crate::{
    vouchers::{CLIENT_SIGNER, HUB, HUB_SIGNER, PERIOD_S, STRANGER, key, lock, opening},
    watch::{http, listening, listening_with_files},
    world::World,
};
use alloy::providers::Provider as _;
use protocol_spec::{DirectionEvidence, Evidence, Side};
use serde_json::Value;
use std::path::Path;

/// What the hub received: voucher `seq` of the client, who paid 500 by it and acknowledges nothing.
fn hubs(world: &World, seq: u64) -> Evidence {
    let p = &world.parties;
    let received = p.paid(Side::Client, (seq, 500), (0, 0));
    p.evidence(Side::Hub, received, DirectionEvidence::default())
}

fn package(world: &World, signer: u8, evidence: &Evidence) -> String {
    let out = world.dir.path().join("out.json");
    world.export_as(signer, evidence, STRANGER, &out, &[]).exits(0);
    std::fs::read_to_string(out).unwrap()
}

/// The client's share if nothing more happens.
fn outcome(world: &World) -> Value {
    let file = world.file(&world.received(6, 900));
    world.settle("status", &file, &["--json"]).json()["outcomes"][0]["you"].clone()
}

/// Names of the package files in `dir`.
fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().into_owned()
    });
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_cannot_displace_a_package_by_its_own() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let (mut watch, address) = listening(&world, &dir, &[]);
    let client = package(&world, CLIENT_SIGNER, &world.received(5, 890));
    assert_eq!(http(&address, &client).await.0, 200);
    let guarding = watch.expect("guarding");
    assert_eq!(
        (&guarding["seq"], &guarding["side"]),
        (&"5".into(), &"client".into())
    );
    // A higher number, of the other side's own direction.
    let hub = package(&world, HUB_SIGNER, &hubs(&world, 42));
    assert_eq!(http(&address, &hub).await.0, 200);
    let guarding = watch.expect("guarding");
    assert_eq!(
        (&guarding["seq"], &guarding["side"]),
        (&"42".into(), &"hub".into())
    );
    // Each side's older package is refused, its newer one taken.
    assert_eq!(http(&address, &client).await.0, 200, "the same again");
    let newer = package(&world, CLIENT_SIGNER, &world.received(6, 900));
    assert_eq!(
        http(&address, &newer).await.0,
        200,
        "number 42 is the other side's"
    );
    assert_eq!(watch.expect("replaced")["seq"], "6");
    assert_eq!(http(&address, &client).await.0, 409);
    let id = world.parties.id();
    assert_eq!(
        names(&dir),
        [format!("{id}.client.json"), format!("{id}.hub.json")]
    );

    world.empty_dispute(&world.parties).await;
    watch.expect("mined");
    watch.expect("mined");
    assert_eq!(outcome(&world), "1400", "1000, less 500 paid, and 900 received");
    // Paid out once.
    world.pass(PERIOD_S).await;
    watch.expect("closed");
    watch.kill();
    assert_eq!(world.balance(world.parties.config.client).await, 1400);
    assert_eq!(
        world.nonce(key(STRANGER).address()).await,
        3,
        "two to submit, one to finalize"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_directory_each_side_is_guarded_by_its_own_newest_package() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let put = |name: &str, signer, evidence: &Evidence| {
        let path = dir.join(name);
        world.export_as(signer, evidence, STRANGER, &path, &[]).exits(0);
    };
    put("a.json", CLIENT_SIGNER, &world.received(6, 900));
    put("b.json", HUB_SIGNER, &hubs(&world, 42));
    world.empty_dispute(&world.parties).await;
    let answered = world.watch_once(&dir, STRANGER, &[]).exits(0);
    let sent: Vec<_> = answered
        .events()
        .into_iter()
        .filter(|event| event == "sent")
        .collect();
    assert_eq!(sent.len(), 2, "{:?}", answered.events());
    assert_eq!(outcome(&world), "1400");
    // One channel, although two of it are guarded.
    assert_eq!(answered.lines().last().unwrap()["guarded"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_kept_under_the_name_of_an_earlier_version_goes_on_being_used() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let old = dir.join(format!("{}.json", world.parties.id()));
    world
        .export(&world.received(5, 890), STRANGER, &old, &[])
        .exits(0);
    let (mut watch, address) = listening(&world, &dir, &[]);
    assert_eq!(watch.expect("guarding")["seq"], "5");
    let older = package(&world, CLIENT_SIGNER, &world.received(4, 600));
    assert_eq!(http(&address, &older).await.0, 409);
    let hub = package(&world, HUB_SIGNER, &hubs(&world, 42));
    assert_eq!(http(&address, &hub).await.0, 200);
    watch.expect("guarding");
    let newer = package(&world, CLIENT_SIGNER, &world.received(6, 900));
    assert_eq!(http(&address, &newer).await.0, 200);
    assert_eq!(watch.expect("replaced")["seq"], "6");
    // In its place: beside it, it would be told as outdated for ever.
    let id = world.parties.id();
    assert_eq!(names(&dir), [format!("{id}.hub.json"), format!("{id}.json")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_in_a_package_cannot_be_taken_away_or_added() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let dir = world.subdirectory("tower");
    let (mut watch, address) = listening(&world, &dir, &[]);
    let locks = vec![lock(1, 20, world.now().await + 6000)];
    let opening = opening(&locks);
    let received = DirectionEvidence {
        voucher: Some(p.direct(Side::Hub, p.voucher((6, 900), (1, 500), opening.commitment()))),
        locks,
        opening: Some(opening),
        witnesses: Vec::new(),
    };
    let mine = p.evidence(Side::Client, received, DirectionEvidence::default());
    let out = world.dir.path().join("out.json");
    world
        .export(&mine, STRANGER, &out, &["--rpc-url", &world.url])
        .exits(0);
    let whole = std::fs::read_to_string(&out).unwrap();
    assert_eq!(http(&address, &whole).await.0, 200);
    watch.expect("guarding");
    // Once shown on chain the countersignature is everybody's: without the opening the dispute would end before the locks.
    let mut cut: Value = serde_json::from_str(&whole).unwrap();
    cut["evidence"]["received"]["opening"] = Value::Null;
    let (status, answer) = http(&address, &cut.to_string()).await;
    assert!(status == 409 && answer.contains("permits less"), "{answer}");
    // Lists of locks and what the other side sent are left out of what is kept.
    let mut more: Value = serde_json::from_str(&whole).unwrap();
    more["evidence"]["received"]["locks"] = serde_json::to_value(&mine.received.locks).unwrap();
    assert_eq!(http(&address, &more.to_string()).await.0, 200);
    let kept = std::fs::read(dir.join(format!("{}.client.json", p.id()))).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept, serde_json::from_str::<Value>(&whole).unwrap());
}

/// The adjudicator's code with one byte more: it says of itself what the real one says, and could do anything.
async fn foreign_code(world: &World) {
    let adjudicator = world.parties.domain.adjudicator;
    let code = world.provider.get_code_at(adjudicator).await.unwrap();
    world.set_code(adjudicator, &format!("{code}00")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_adjudicator_that_is_known_or_named_can_make_the_tower_pay() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let posted = package(&world, CLIENT_SIGNER, &world.received(5, 900));
    foreign_code(&world).await;
    let adjudicator = world.parties.domain.adjudicator.to_string();
    let ask = |named: Option<String>| {
        let more: Vec<String> = named
            .into_iter()
            .flat_map(|name| ["--adjudicator".to_owned(), name])
            .collect();
        let (world, dir, posted) = (&world, &dir, &posted);
        async move {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            let (watch, address) = listening(world, dir, &more);
            let answer = http(&address, posted).await;
            watch.kill();
            answer
        }
    };
    let (status, answer) = ask(None).await;
    assert!(
        status == 400 && answer.contains("not the adjudicator that this settle knows"),
        "{answer}"
    );
    let (status, answer) = ask(Some(key(HUB).address().to_string())).await;
    assert!(
        status == 400 && answer.contains("none of those named"),
        "{answer}"
    );
    assert_eq!(names(&dir), [""; 0]);
    assert_eq!(ask(Some(adjudicator.clone())).await.0, 200);
    // The same for what lies in the directory.
    world.stale_dispute().await;
    let refused = world.watch_once(&dir, STRANGER, &[]).exits(3);
    assert!(
        !refused.events().contains(&"sent".to_owned()),
        "{:?}",
        refused.events()
    );
    let named = world
        .watch_once(&dir, STRANGER, &["--adjudicator", &adjudicator])
        .exits(0);
    assert!(
        named.events().contains(&"mined".to_owned()),
        "{:?}",
        named.events()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_side_makes_the_tower_pay_for_has_an_end_and_costs_the_other_side_nothing() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let put = |name: &str, signer, evidence: &Evidence| {
        let path = dir.join(name);
        world.export_as(signer, evidence, STRANGER, &path, &[]).exits(0);
    };
    world.empty_dispute(&world.parties).await;
    let limit = ["--max-gas-per-channel", "200000"];
    let mut sent = 0;
    for seq in 1..=5 {
        put("hub.json", HUB_SIGNER, &hubs(&world, seq));
        let looked = world.watch_once(&dir, STRANGER, &limit);
        sent += looked.events().iter().filter(|event| *event == "sent").count();
        if seq == 5 {
            let said = looked.exits(3);
            assert!(said.stdout.contains("--max-gas-per-channel"), "{}", said.stdout);
        }
    }
    assert!((1..5).contains(&sent), "{sent} were sent");
    // The journal knows after every start what was spent; the client's side is not what it was spent on.
    put("client.json", CLIENT_SIGNER, &world.received(6, 900));
    let looked = world.watch_once(&dir, STRANGER, &limit).exits(3);
    assert!(
        looked.events().contains(&"mined".to_owned()),
        "{:?}",
        looked.events()
    );
    assert_eq!(outcome(&world), "1400");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_mined_and_changed_nothing_is_an_alarm_and_is_shown_again() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let file = dir.join("a.json");
    world
        .export(&world.received(5, 900), STRANGER, &file, &[])
        .exits(0);
    world.stale_dispute().await;
    let before: Value = world
        .provider
        .raw_request("evm_snapshot".into(), ())
        .await
        .unwrap();
    let mut watch = crate::watch::start(&world, &dir, &[]);
    watch.expect("mined");
    // A reorg takes the answer away, and not the dispute.
    let reverted: bool = world
        .provider
        .raw_request("evm_revert".into(), (before,))
        .await
        .unwrap();
    assert!(reverted);
    let alarm = watch.expect("alarm");
    assert!(alarm["text"].as_str().unwrap().contains("changed nothing"));
    watch.expect("sent");
    watch.expect("mined");
    assert_eq!(outcome(&world), "1400");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_many_connections_open_neither_blinds_it_nor_closes_its_door() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let (mut watch, address) = listening_with_files(&world, &dir, 120);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let newest = package(&world, CLIENT_SIGNER, &world.received(5, 900));
    assert_eq!(http(&address, &newest).await.0, 200);
    watch.expect("guarding");
    for _ in 0..300 {
        held.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    world.stale_dispute().await;
    watch.expect("mined");
    assert_eq!(outcome(&world), "1400");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_pay_says_so_and_answers_when_it_is_funded() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let tower = key(STRANGER).address();
    world.empty(tower).await;
    let (mut watch, address) = listening(&world, &dir, &[]);
    let newest = package(&world, CLIENT_SIGNER, &world.received(5, 900));
    assert_eq!(http(&address, &newest).await.0, 200);
    world.stale_dispute().await;
    let cannot = watch.expect("cannot");
    assert!(cannot["text"].as_str().unwrap().contains("fund it"), "{cannot}");
    world.fund(tower).await;
    watch.expect("mined");
    assert_eq!(outcome(&world), "1400");
}
