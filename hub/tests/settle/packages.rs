//! `settle export`: what a watchtower gets, and what it can do with it.

use crate::{
    cli::settle,
    vouchers::{CLIENT, CLIENT_SIGNER, HUB, PERIOD_S, STRANGER, key, lock, opening, preimage},
    world::World,
};
use hub::settle::{CheckedEvidence, Permission, SignedAccept, check_package, countersign, seal_package};
use protocol_spec::{Address, DirectionEvidence, Evidence, Side};
use serde_json::Value;

fn evidence(world: &World) -> Evidence {
    let p = &world.parties;
    p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 80)),
        p.paid(Side::Client, (2, 80), (3, 300)),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_submitter_can_use_a_package_and_only_as_it_permits() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let out = world.dir.path().join("package.json");
    let exported = world
        .export(&evidence(&world), STRANGER, &out, &["--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&exported["seq"], &exported["may_dispute"]),
        (&"3".into(), &false.into())
    );
    let package = out.display().to_string();
    settle(&["verify", "--evidence", &package]).exits(0);
    // Neither preimages nor what the client sent is in it.
    let json: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(json["evidence"]["sent"]["voucher"], Value::Null);
    // It permits to answer a dispute, and not to start one.
    world
        .send_as(STRANGER, "dispute", &package, &[])
        .exits(3)
        .says("does not permit to start");
    world.empty_dispute(p).await;
    world
        .send_as(HUB, "submit", &package, &[])
        .exits(3)
        .says("wrong key");
    world
        .settle(
            "resolve",
            &package,
            &["--from", &key(STRANGER).address().to_string()],
        )
        .exits(3)
        .says("only a submitter");
    world.send_as(STRANGER, "submit", &package, &[]).exits(0);
    world.send_as(STRANGER, "submit", &package, &[]).exits(4);
    world.pass(PERIOD_S).await;
    world.send_as(STRANGER, "finalize", &package, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1220);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_may_permit_a_dispute_and_may_end() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let out = world.dir.path().join("package.json");
    let package = out.display().to_string();
    let past = (world.now().await - 1).to_string();
    world
        .export(
            &evidence(&world),
            STRANGER,
            &out,
            &["--may-dispute", "--deadline", &past],
        )
        .exits(0);
    world
        .send_as(STRANGER, "dispute", &package, &[])
        .exits(11)
        .says("countersignature counted until");
    world
        .export(&evidence(&world), STRANGER, &out, &["--may-dispute"])
        .exits(0);
    // The chain knows the voucher already: the countersigned one is shown again, or it would start nothing.
    let file = world.file(&evidence(&world));
    world.send_as(CLIENT, "submit", &file, &[]).exits(0);
    world.send_as(STRANGER, "dispute", &package, &[]).exits(0);
    world.pass(PERIOD_S).await;
    world.send_as(STRANGER, "finalize", &package, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1220);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_by_another_key_or_of_nothing_is_refused() {
    let p = crate::vouchers::Parties::new(31337, Address::repeat_byte(0xad), Address::repeat_byte(0x70));
    let dir = tempfile::tempdir().unwrap();
    let full = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (0, 0)),
        DirectionEvidence::default(),
    );
    let empty = p.evidence(
        Side::Client,
        DirectionEvidence::default(),
        DirectionEvidence::default(),
    );
    let file = |name: &str, text: &str| crate::cli::write(dir.path(), name, text).display().to_string();
    let evidence = file("e.json", &serde_json::to_string(&full).unwrap());
    let empty = file("empty.json", &serde_json::to_string(&empty).unwrap());
    let key_of = |seed: u8| file(&format!("{seed:x}.key"), &hex::encode(key(seed).to_bytes()));
    let (signer, account) = (key_of(CLIENT_SIGNER), key_of(CLIENT));
    let submitter = key(STRANGER).address().to_string();
    let export = |evidence: &str, key: &str, submitter: &str| {
        settle(&[
            "export",
            "--evidence",
            evidence,
            "--key-file",
            key,
            "--submitter",
            submitter,
        ])
    };
    export(&evidence, &account, &submitter)
        .exits(3)
        .says("by the signer");
    export(&empty, &signer, &submitter).exits(3).says("no voucher");
    export(&evidence, &signer, &Address::ZERO.to_string()).exits(2);
    settle(&["export", "--evidence", &evidence, "--submitter", &submitter])
        .exits(2)
        .says("signer's key is needed");
    // To stdout, and every field of the countersignature changed is found.
    let package = export(&evidence, &signer, &submitter).exits(0).json();
    let again = file("p.json", &package.to_string());
    export(&again, &signer, &submitter)
        .exits(2)
        .says("a package already");
    for (pointer, value) in [
        (
            "/countersignature/accept/submitter",
            Value::from(key(HUB).address().to_string()),
        ),
        ("/countersignature/accept/may_dispute", true.into()),
        ("/countersignature/accept/deadline", "1".into()),
        ("/countersignature/accept/voucher", p.id().to_string().into()),
        ("/evidence/received/voucher/voucher/paid", "301".into()),
    ] {
        let mut changed = package.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let changed = file("changed.json", &changed.to_string());
        settle(&["verify", "--evidence", &changed]).exits(3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_go_into_a_package_as_their_opening_only_and_not_while_one_is_marked() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let locks = vec![lock(1, 20, now + 9000), lock(2, 30, now + 9000)];
    let opening = opening(&locks);
    let received = DirectionEvidence {
        voucher: Some(p.direct(Side::Hub, p.voucher((4, 100), (0, 0), opening.commitment()))),
        locks,
        opening: Some(opening),
        witnesses: vec![("1".to_owned(), preimage(1).into())],
    };
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let out = world.dir.path().join("package.json");
    world
        .export(&evidence, STRANGER, &out, &[])
        .exits(2)
        .says("--rpc-url is needed");
    world
        .export(&evidence, STRANGER, &out, &["--rpc-url", &world.url])
        .exits(0)
        .says("by you only");
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(
        !text.contains(&preimage(1).to_string()),
        "a preimage left the house"
    );
    let checked = CheckedEvidence::from_json(text.as_bytes()).unwrap();
    assert_eq!(
        (checked.received().opening, checked.received().locks.len()),
        (Some(opening), 0)
    );
    // Shown by the submitter, opened by it: the dispute stays open until the client is back to resolve.
    world.empty_dispute(p).await;
    let package = out.display().to_string();
    world.send_as(STRANGER, "submit", &package, &[]).exits(0);
    world.pass(PERIOD_S + 60).await;
    let file = world.file(&evidence);
    let sent = world
        .send_as(CLIENT, "resolve", &file, &["--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&sent["command"], &sent["locks_resolved"]),
        (&"resolve".into(), &1.into())
    );
    world.send_as(CLIENT, "resolve", &file, &[]).exits(4);
    // R28.
    world
        .export(&evidence, STRANGER, &out, &["--rpc-url", &world.url])
        .exits(3)
        .says("R28");
    world.pass(9000).await;
    world.settle("resolve", &file, &[]).exits(11);
    world.send_as(STRANGER, "finalize", &package, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 100 + 20);
}

#[test]
fn a_package_is_countersigned_by_the_hub_too() {
    let p = crate::vouchers::Parties::new(31337, Address::repeat_byte(0xad), Address::repeat_byte(0x70));
    let evidence = p.evidence(
        Side::Hub,
        p.paid(Side::Client, (2, 80), (0, 0)),
        DirectionEvidence::default(),
    );
    let checked = CheckedEvidence::check(evidence).unwrap();
    let permission = Permission {
        submitter: key(STRANGER).address(),
        may_dispute: false,
        deadline: None,
    };
    let signer = key(crate::vouchers::HUB_SIGNER);
    let accept = countersign(&checked, permission, signer.address()).unwrap();
    let signature = signer.sign(&accept.digest(checked.domain()));
    let by_hub = seal_package(&checked, SignedAccept { accept, signature });
    assert!(check_package(by_hub).unwrap().may_submit(key(STRANGER).address()));
    assert!(countersign(&checked, permission, key(CLIENT_SIGNER).address()).is_err());
}

/// Pointers to all values of `value` that are no containers.
fn leaves(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found)),
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found)),
        serde_json::Value::Null => {}
        _ => found.push(at.to_owned()),
    }
}

/// One digit, letter or truth changed.
fn spoiled(value: &serde_json::Value) -> serde_json::Value {
    let next = |last: char| match last {
        '0'..='8' | 'a'..='e' => char::from_u32(u32::from(last) + 1).unwrap(),
        '9' => '0',
        _ => 'a',
    };
    match value {
        serde_json::Value::String(text) => {
            let (head, last) = text.split_at(text.len() - 1);
            format!("{head}{}", next(last.chars().next().unwrap())).into()
        }
        serde_json::Value::Bool(truth) => (!truth).into(),
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_is_changed_in_a_package_is_noticed_but_for_the_deposits_that_nobody_signed() {
    let p = crate::vouchers::Parties::new(31337, Address::repeat_byte(0xad), Address::repeat_byte(0x70));
    let locks = vec![lock(1, 20, 1_900_000_000)];
    let opening = opening(&locks);
    let received = DirectionEvidence {
        voucher: Some(p.direct(Side::Hub, p.voucher((4, 100), (1, 5), opening.commitment()))),
        locks,
        opening: Some(opening),
        witnesses: vec![],
    };
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let checked = CheckedEvidence::check(evidence).unwrap();
    let permission = Permission {
        submitter: key(STRANGER).address(),
        may_dispute: true,
        deadline: Some(protocol_spec::UnixSeconds(1_900_000_000)),
    };
    let accept = countersign(&checked, permission, key(CLIENT_SIGNER).address()).unwrap();
    let signature = key(CLIENT_SIGNER).sign(&accept.digest(checked.domain()));
    let package = serde_json::to_value(seal_package(&checked, SignedAccept { accept, signature })).unwrap();
    let check = |package: &serde_json::Value| CheckedEvidence::from_json(package.to_string().as_bytes());
    check(&package).unwrap();
    let mut all = Vec::new();
    leaves(&package, "", &mut all);
    assert!(all.len() > 25, "{all:?}");
    let mut unnoticed = Vec::new();
    for at in all {
        let mut changed = package.clone();
        let value = changed.pointer_mut(&at).unwrap();
        *value = spoiled(value);
        if check(&changed).is_ok() {
            unnoticed.push(at);
        }
    }
    let unsigned = [
        "/evidence/deposits/0",
        "/evidence/deposits/1",
        "/evidence/never_locked",
    ];
    assert_eq!(unnoticed, unsigned);
}
