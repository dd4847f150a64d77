//! `settle batch` with many keys: disputes answered and locks resolved, one channel's trouble not another's, and a run that
//! is killed between two transactions of one channel.

use crate::{
    batch::world_on_embedded,
    cli::program,
    fleet::{Channel, DEPOSIT, Fleet},
    locks::locked,
    vouchers::{PERIOD_S, STRANGER, key, lock},
    world::World,
};
use protocol_spec::{DirectionEvidence, Evidence, Side};
use serde_json::Value;
use std::process::{Command, Stdio};

/// The client's side: the hub paid 100 and locked `count` units, one each; of each the preimage is known.
fn evidence(channel: &Channel, count: u64, expiry: u64) -> Evidence {
    let p = &channel.parties;
    let known: Vec<u64> = (1..=count).collect();
    let locks = known.iter().map(|id| lock(*id, 1, expiry)).collect();
    p.evidence(
        Side::Client,
        locked(p, locks, &known),
        DirectionEvidence::default(),
    )
}

/// The hub disputes and shows nothing.
async fn hub_disputes(fleet: &Fleet) {
    for channel in &fleet.channels {
        fleet.world.empty_dispute(&channel.parties).await;
    }
}

/// The rows of a batch, by the name of their file.
fn row<'a>(json: &'a Value, name: &str) -> &'a Value {
    let rows = json["channels"].as_array().unwrap();
    let of = |row: &&Value| row["file"].as_str().unwrap().ends_with(name);
    rows.iter()
        .find(of)
        .unwrap_or_else(|| panic!("no {name}: {json}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_many_clients_are_resolved_each_with_its_own_key() {
    let (world, _chain, _served) = world_on_embedded().await;
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::open(world, 4).await;
    let world = &fleet.world;
    fleet.write("exits", |number, channel| {
        evidence(channel, 2 + number as u64, expiry)
    });
    world.named("exits/damaged.json", &"no evidence");
    hub_disputes(&fleet).await;

    // Of the third channel there is no key: said, and no trouble for the others. A dry run sends nothing.
    let three = fleet.keys("three", &[0, 1, 3]);
    let known = ["--keys", three.as_str(), "--json"];
    let send = [&known[..], &["--broadcast", "--wait"]].concat();
    fleet.batch("submit", "exits", &known).exits(9);
    assert_eq!(fleet.sent().await, 0);
    // Nothing to resolve yet; the two that failed were refused alike.
    let early = fleet.batch("resolve", "exits", &send).exits(3).json();
    assert_eq!((&early["done"], &early["nothing_to_do"]), (&0.into(), &3.into()));
    let shown = fleet.batch("submit", "exits", &send).exits(9).json();
    assert_eq!((&shown["done"], &shown["failed"]), (&3.into(), &2.into()));
    let missing = row(&shown, "02.json")["error"]["text"].as_str().unwrap();
    let p = &fleet.channels[2].parties;
    assert!(
        missing.contains("none of the 3 keys is of the account"),
        "{missing}"
    );
    assert!(missing.contains(&p.config.client_signer.to_string()), "{missing}");
    let signer = fleet.channels[3].parties.config.client_signer;
    let sender: protocol_spec::Address = row(&shown, "03.json")["sender"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(sender, signer);
    assert_eq!(fleet.sent().await, 3, "voucher and locks in one transaction");

    // The missing key, beside the others; the file that is damaged is left out by naming the others.
    let all = fleet.keys("three", &[2]);
    std::fs::remove_file(world.dir.path().join("exits/damaged.json")).unwrap();
    let rest = ["--keys", all.as_str(), "--json", "--broadcast", "--wait"];
    let rest = fleet.batch("submit", "exits", &rest).exits(0).json();
    assert_eq!((&rest["done"], &rest["nothing_to_do"]), (&1.into(), &3.into()));

    world.pass(3 * PERIOD_S).await;
    let stranger = world.key_file(STRANGER);
    let finalize = ["--key-file", &stranger, "--keys", &all, "--broadcast", "--wait"];
    fleet.batch("finalize", "exits", &finalize).exits(0);
    assert_eq!(
        world.nonce(key(STRANGER).address()).await,
        1,
        "the first key pays for all"
    );
    for (number, channel) in fleet.channels.iter().enumerate() {
        let locked = 2 + number as u128;
        let got = world.balance(channel.parties.config.client).await;
        assert_eq!(got, DEPOSIT + 100 + locked, "channel {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_files_of_one_channel_the_newest_is_shown_whatever_its_name() {
    let (world, _chain, _served) = world_on_embedded().await;
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::open(world, 2).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel, 3, expiry));
    let p = &fleet.channels[0].parties;
    let older = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 5), (0, 0)),
        DirectionEvidence::default(),
    );
    world.named("exits/00-older.json", &older);
    // The same voucher, and one of its witnesses is not known there yet.
    let mut less = evidence(&fleet.channels[1], 3, expiry);
    less.received.witnesses.pop();
    world.named("exits/00-less.json", &less);
    hub_disputes(&fleet).await;
    let keys = fleet.keys("keys", &[0, 1]);
    let send = ["--keys", keys.as_str(), "--broadcast", "--wait", "--json"];
    let shown = fleet.batch("submit", "exits", &send).exits(9).json();
    assert_eq!((&shown["done"], &shown["failed"]), (&2.into(), &2.into()));
    let unused = row(&shown, "00-older.json")["error"]["text"].as_str().unwrap();
    assert!(unused.contains("exits/00.json, which is used"), "{unused}");
    world.pass(3 * PERIOD_S).await;
    fleet.batch("finalize", "exits", &send).exits(9);
    for (number, channel) in fleet.channels.iter().enumerate() {
        let got = world.balance(channel.parties.config.client).await;
        assert_eq!(got, DEPOSIT + 100 + 3, "channel {number}");
    }
}

/// Kills the program as soon as the sender's pool holds a transaction.
async fn killed(world: &World, arguments: &[String], sender: protocol_spec::Address) {
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let before = world.nonce(sender).await;
    for _ in 0..1000 {
        if world.pending_nonce(sender).await > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // SIGKILL.
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "it ended by itself");
    assert_eq!(world.pending_nonce(sender).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_locks_than_fit_one_transaction_are_resolved_also_by_a_run_that_is_killed_and_repeated() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::open(world, 1).await;
    let world = &fleet.world;
    fleet.write("exits", |_, channel| evidence(channel, 200, expiry));
    hub_disputes(&fleet).await;
    let keys = fleet.keys("keys", &[0]);
    let send = ["--keys", keys.as_str(), "--broadcast", "--wait", "--json"];
    let signer = fleet.channels[0].parties.config.client_signer;

    // 150 of 200 are on their way when it dies; the other 50 need another transaction.
    world.automine(false).await;
    killed(world, &fleet.arguments("submit", "exits", &send), signer).await;
    world.mine().await;
    world.automine(true).await;
    let again = fleet.batch("submit", "exits", &send).exits(0).json();
    assert_eq!(again["done"], 1);
    assert_eq!(world.nonce(signer).await, 2, "nothing was sent twice");
    fleet.batch("submit", "exits", &send).exits(4);
    fleet.batch("resolve", "exits", &send).exits(4);

    world.pass(3 * PERIOD_S).await;
    fleet.batch("finalize", "exits", &send).exits(0);
    let client = fleet.channels[0].parties.config.client;
    assert_eq!(
        world.balance(client).await,
        DEPOSIT + 200,
        "what the channel holds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_one_transaction_and_sends_the_next_until_no_lock_is_left() {
    let (world, _chain, _served) = world_on_embedded().await;
    let expiry = world.now().await + 3 * PERIOD_S;
    let fleet = Fleet::open(world, 1).await;
    fleet.write("exits", |_, channel| {
        let p = &channel.parties;
        let known: Vec<u64> = (1..=170).collect();
        let locks = known.iter().map(|id| lock(*id, 1, expiry)).collect();
        let mut received = locked(p, locks, &known);
        // Paid nothing yet, so that every lock shows in the balance.
        let commitment = received.opening.unwrap().commitment();
        received.voucher = Some(p.direct(Side::Hub, p.voucher((4, 0), (0, 0), commitment)));
        p.evidence(Side::Client, received, DirectionEvidence::default())
    });
    let keys = fleet.keys("keys", &[0]);
    let send = ["--keys", keys.as_str(), "--broadcast", "--json"];
    // A dispute resolves what fits, and says what is left.
    let disputed = fleet.batch("dispute", "exits", &send).exits(0).json();
    let word = row(&disputed, "00.json")["result"].as_str().unwrap();
    assert!(word.contains("more locks remain: then `batch resolve`"), "{word}");
    fleet
        .batch("resolve", "exits", &[&send[..], &["--wait"]].concat())
        .exits(0);
    assert_eq!(fleet.sent().await, 2);
    let world = &fleet.world;
    world.pass(3 * PERIOD_S).await;
    fleet.batch("finalize", "exits", &send).exits(0);
    let client = fleet.channels[0].parties.config.client;
    assert_eq!(world.balance(client).await, DEPOSIT + 170);
}
