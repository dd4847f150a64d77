//! A hub loses its disk: the real `hub`, killed, its data directory deleted, restored from a backup that is some commits
//! older than what its clients hold. Real sockets, real files, a chain that remembers.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "roles/court.rs"]
mod court;
#[path = "backup/passphrase.rs"]
mod passphrase;
#[path = "support/people.rs"]
mod people;
#[path = "support/process.rs"]
mod process;
#[path = "support/world.rs"]
mod world;

use client_sdk::{Client, PayError, RedbStore, SignerKey};
use court::{closed, dispute, pass, purse, rest_of_window, until};
use people::{DEPOSIT, ENDOWMENT, Person};
use process::Hub;
use protocol_spec::{ChannelId, ReturnReason, limits};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use world::{VAULT, World};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `hub` with the world's configuration.
fn hub(world: &World, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hub"));
    let output = command
        .args(args)
        .arg("--config")
        .arg(&world.config)
        .output()
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("$ hub {}\n{stdout}{stderr}", args.join(" "));
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One of the hub's metrics.
fn metric(world: &World, name: &str) -> u64 {
    let mut stream = TcpStream::connect(world.ops).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.split('.').next().unwrap().parse().unwrap()
}

fn verified(world: &World, dir: &Path) -> serde_json::Value {
    let output = hub(world, &["backup", "verify", dir.to_str().unwrap(), "--json"]);
    assert_eq!(code(&output), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until the backup holds what is durable now.
fn exported(world: &World, dir: &Path) {
    let (durable, began) = (metric(world, "hub_durable_record"), Instant::now());
    // Another process writes it: it can only be read again.
    while newest_commit(world, dir).is_none_or(|newest| newest < durable) {
        assert!(began.elapsed() < PATIENCE, "the backup does not follow");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `None`: no backup is complete yet.
fn newest_commit(world: &World, dir: &Path) -> Option<u64> {
    const NOTHING_THERE: i32 = 7;
    let output = hub(world, &["backup", "verify", dir.to_str().unwrap(), "--json"]);
    if code(&output) == NOTHING_THERE {
        return None;
    }
    assert_eq!(code(&output), 0);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    summary["newest_commit"].as_u64()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A world whose hub writes backups to the directory that is returned.
async fn with_backup(dir: &Path) -> (World, PathBuf) {
    let (world, backup) = (World::embedded(dir).await, dir.join("backup"));
    let mut config = fs::read_to_string(&world.config).unwrap();
    config += &format!("[backup]\ndir = \"{}\"\ninterval_ms = 100\n", backup.display());
    fs::write(&world.config, config).unwrap();
    (world, backup)
}

/// The same person on the same store, on another day.
async fn back(world: &World, name: &str, key: SignerKey, id: ChannelId) -> Person {
    let client = Client::builder(format!("ws://{}", world.listen))
        .signer(key.clone())
        .store(RedbStore::open(world.dir.join(format!("{name}.redb"))).unwrap())
        .rpc(world.rpc_url.as_str())
        .token(world.deployed.token)
        .chain_poll(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    let channel = client.channel(id);
    channel.wait_live().await.unwrap();
    Person { key, client, channel }
}

async fn away(person: Person) -> (SignerKey, ChannelId) {
    let (key, id) = (person.key.clone(), person.channel.id());
    person.client.shutdown().await;
    (key, id)
}

/// Pays and waits until the payee has it.
async fn paid(from: &Person, to: &Person, amount: u128) {
    let before = to.settled();
    from.pay(to, amount).await;
    let began = Instant::now();
    while to.settled() < before + amount {
        assert!(began.elapsed() < PATIENCE, "it does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_lost_its_disk_is_restored_and_everything_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let (world, backup) = with_backup(dir.path()).await;
    let mut running = Hub::spawn(&world);
    running.ready();
    let alice = Person::arrive(&world, "alice", world.listen).await;
    let bob = Person::arrive(&world, "bob", world.listen).await;
    let mallory = Person::arrive(&world, "mallory", world.listen).await;
    let dave = Person::arrive(&world, "dave", world.listen).await;
    paid(&alice, &mallory, 100_000).await;
    let stale = mallory.channel.evidence().await.unwrap();
    paid(&mallory, &bob, 90_000).await;
    paid(&alice, &bob, 10_000).await;
    let fair = mallory.settled();
    let mallory_newest = mallory
        .channel
        .evidence()
        .await
        .unwrap()
        .sent
        .voucher
        .unwrap()
        .voucher
        .seq;
    exported(&world, &backup);
    let old = dir.path().join("old-copy");
    copy(&backup, &old);

    // What the copy does not know: both directions of both channels, k commits of it.
    for _ in 0..5 {
        paid(&alice, &bob, 1_000).await;
        paid(&bob, &alice, 300).await;
    }
    let held = [alice.settled(), bob.settled()];
    let (bob_key, bob_id) = away(bob).await;
    let (mallory_key, mallory_id) = away(mallory).await;
    let (_, dave_id) = away(dave).await;
    running.kill();
    fs::rename(world.hub_dir.join("data"), world.hub_dir.join("old-data")).unwrap();
    dispute(&world, &mallory_key, &stale, false).await;

    // Never without a database, never over one, never twice.
    let from = old.to_str().unwrap();
    assert_eq!(code(&hub(&world, &["serve"])), 5);
    // It was written a moment ago, and the hub could not tell that it was killed: the operator says so.
    let young = hub(&world, &["restore", "--from", from]);
    assert!(code(&young) == 7 && stderr(&young).contains("a hub may still be writing it"));
    assert_eq!(code(&hub(&world, &["restore", "--from", from, "--again"])), 0);
    let again = hub(&world, &["restore", "--from", from]);
    assert!(code(&again) == 7 && stderr(&again).contains("never goes over a database"));
    let summary = verified(&world, &old);
    println!(
        "bytes per channel: {}",
        summary["bytes"].as_u64().unwrap() / summary["channels"].as_u64().unwrap()
    );
    let dry = hub(&world, &["accept-loss", "--all"]);
    assert!(code(&dry) == 0 && stderr(&dry).contains("dry run"));

    // (a) It answers the dispute by itself.
    let mut running = Hub::spawn(&world);
    running.ready();
    until(&world, mallory_id, "answer", |state| {
        state.clientSeq >= mallory_newest.0
    })
    .await;

    // (b) Alice is in step again, Bob is not there yet: nothing is signed for him, and her money comes back.
    alice.channel.wait_live().await.unwrap();
    let began = Instant::now();
    let refused = loop {
        match alice.client.pay(bob_key.address(), 500_u128).await {
            Err(PayError::Bounced { reason, .. }) => break reason,
            other => assert!(began.elapsed() < PATIENCE, "{other:?}"),
        }
    };
    assert_eq!((refused, alice.settled()), (ReturnReason::Unavailable, held[0]));
    assert!(metric(&world, "hub_unsynced_channels") >= 2);

    // (c) He comes back with what he holds, and both pay and are paid.
    let bob_key_address = bob_key.address();
    let bob = back(&world, "bob", bob_key, bob_id).await;
    assert_eq!([alice.settled(), bob.settled()], held, "nobody lost a unit");
    // What the hub may have countersigned in the lost part can still be mined: until then nobody spends.
    let held_back = alice.client.pay(bob_key_address, 500_u128).await;
    assert!(
        matches!(
            held_back,
            Err(PayError::Bounced {
                reason: ReturnReason::Unavailable,
                ..
            })
        ),
        "{held_back:?}"
    );
    pass(&world, limits::DEADLINE_AHEAD_MAX_S + limits::LAG_DEFAULT_S + 1).await;
    let began = Instant::now();
    while let Err(error) = alice.client.pay(bob_key_address, 500_u128).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for _ in 0..3 {
        paid(&alice, &bob, 2_000).await;
        paid(&bob, &alice, 700).await;
    }

    // Dave never comes back; the operator takes what is known for the truth, with the hub stopped.
    let in_use = hub(&world, &["accept-loss", "--all"]);
    assert!(code(&in_use) == 7 && stderr(&in_use).contains("in use"));
    exported(&world, &backup);
    running.stop();
    only_the_restored_hub_gets_the_directory(&world);
    let id = dave_id.to_string();
    assert_eq!(code(&hub(&world, &["accept-loss", "--channel", &id, "--yes"])), 0);
    assert_eq!(
        code(&hub(&world, &["accept-loss", "--channel", &id, "--yes"])),
        7,
        "not in doubt any more"
    );
    let running = {
        let mut hub = Hub::spawn(&world);
        hub.ready();
        hub
    };
    alice.channel.wait_live().await.unwrap();

    // Everything on chain is what everybody's own vouchers say.
    let expected = [&alice, &bob].map(Person::settled);
    for person in [&alice, &bob] {
        person.channel.close().await.unwrap();
        closed(&world, person.channel.id()).await;
    }
    for (person, settled) in [&alice, &bob].into_iter().zip(expected) {
        assert_eq!(purse(&world, person).await, ENDOWMENT - DEPOSIT + settled);
    }
    pass(&world, rest_of_window(0)).await;
    closed(&world, mallory_id).await;
    let got = world.tokens_of(mallory_key.address()).await;
    assert_eq!(got, ENDOWMENT - DEPOSIT + fair, "the stale voucher won nothing");
    // Dave's channel is open: his deposit and the hub's reserve are in it. The hub lost nothing either.
    let clients = expected.iter().sum::<u128>() + fair;
    let fees = 3 * DEPOSIT - clients;
    assert_eq!(world.vault().await + world::RESERVE, VAULT + fees);
    for person in [alice, bob] {
        person.client.shutdown().await;
    }
    running.stop();
}

/// The old database comes back, with a directory that belongs to the restored one.
fn only_the_restored_hub_gets_the_directory(world: &World) {
    let config = fs::read_to_string(&world.config).unwrap();
    let old = config.replace("data_dir = \"data\"", "data_dir = \"old-data\"");
    assert_ne!(old, config);
    fs::write(&world.config, old).unwrap();
    let refused = hub(world, &["serve"]);
    assert!(code(&refused) == 5 && stderr(&refused).contains("belongs to another hub's database"));
    fs::write(&world.config, config).unwrap();
}

/// User and system time of a process, milliseconds.
fn cpu_ms(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

/// Payments that three clients get through in some seconds, many under way at once; and the hub's time for them.
async fn load(payers: &[Person], shop: &Person, pid: i32) -> (u64, u64) {
    let (until, before) = (Instant::now() + Duration::from_secs(4), cpu_ms(pid));
    let to = shop.key.address();
    let lanes = payers
        .iter()
        .flat_map(|payer| std::iter::repeat_n(payer, 16))
        .map(|payer| async move {
            let mut done = 0_u64;
            while Instant::now() < until {
                payer.client.pay(to, 1_u128).await.unwrap();
                done += 1;
            }
            done
        });
    let done = futures::future::join_all(lanes).await.into_iter().sum();
    (done, cpu_ms(pid) - before)
}

/// `BACKUP_COST=5` measures: rounds with and without a backup, in turns, at one hub's database.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_backup_costs() {
    let Ok(rounds) = std::env::var("BACKUP_COST") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (world, backup) = with_backup(dir.path()).await;
    let with = fs::read_to_string(&world.config)
        .unwrap()
        .replace("ppm = 1000", "ppm = 0");
    fs::write(&world.config, &with).unwrap();
    let without = with.split("[backup]").next().unwrap().to_owned();
    let mut running = Hub::spawn(&world);
    running.ready();
    let mut payers = Vec::new();
    for number in 0..3 {
        payers.push(Person::arrive(&world, &format!("payer-{number}"), world.listen).await);
    }
    let shop = Person::arrive(&world, "shop", world.listen).await;
    for payer in &payers {
        payer.pay(&shop, 1).await;
    }
    let mut sums = [(0, 0); 2];
    for round in 0..2 * rounds.parse::<usize>().unwrap() {
        running.stop();
        fs::write(&world.config, [&with, &without][round % 2]).unwrap();
        running = Hub::spawn(&world);
        running.ready();
        for person in payers.iter().chain([&shop]) {
            person.channel.wait_live().await.unwrap();
        }
        let (done, cpu) = load(&payers, &shop, running.pid()).await;
        sums[round % 2] = (sums[round % 2].0 + done, sums[round % 2].1 + cpu);
        if round % 2 == 0 {
            let summary = verified(&world, &backup);
            println!(
                "{} bytes at commit {}",
                summary["bytes"], summary["newest_commit"]
            );
        }
    }
    let [(with, with_ms), (without, without_ms)] = sums;
    println!(
        "payments with and without: {with} and {without}, {} per thousand; hub ms per thousand payments: {} and {}",
        with * 1000 / without,
        with_ms * 1000 / with,
        without_ms * 1000 / without
    );
    running.stop();
}
