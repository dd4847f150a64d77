//! Complete exits and defences on anvil, checked by token balances.

use crate::{
    cli::settle_env,
    vouchers::{CLIENT, CLIENT_SIGNER, HUB, PERIOD_S, STRANGER, key},
    world::{VAULT_REST, World},
};
use protocol_spec::{DirectionEvidence, Side, calls};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_leaves_with_the_hub_gone() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 80)),
        p.paid(Side::Client, (2, 80), (3, 300)),
    );
    let file = world.file(&evidence);

    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    assert_eq!(status["state"], "open");
    assert_eq!(status["token"]["decimals"], 2);
    assert_eq!(status["outcomes"][0]["client"], "1000");
    assert_eq!(status["outcomes"][1]["name"], "with_my_evidence");
    assert_eq!(status["outcomes"][1]["you"], "1220");
    assert_eq!(status["outcomes"][2]["you"], "1220");
    let table = world.settle("status", &file, &[]).exits(0).stdout;
    assert!(
        table.contains("1220 (12.2 TUSD)") && table.contains("if my evidence is submitted"),
        "{table}"
    );

    let dry = world.settle("dispute", &file, &["--json"]).exits(0).json();
    assert_eq!(
        (&dry["broadcast"], &dry["after"]["client"]),
        (&false.into(), &"1220".into())
    );
    assert_eq!(world.settle("status", &file, &["--json"]).json()["state"], "open");
    world.settle("finalize", &file, &[]).exits(4);

    let sent = world
        .send_as(CLIENT_SIGNER, "dispute", &file, &["--json"])
        .exits(0)
        .json();
    assert_eq!(sent["mined"]["confirmations"], "1");
    world
        .settle("dispute", &file, &[])
        .exits(4)
        .says("use `settle submit`");
    world.settle("submit", &file, &[]).exits(4);
    let early = world
        .send_as(STRANGER, "finalize", &file, &["--json"])
        .exits(7)
        .says("too early: final at");
    assert_eq!(early.json()["error"]["kind"], "not_now");

    world.pass(PERIOD_S).await;
    world
        .settle("submit", &file, &[])
        .exits(11)
        .says("deadline has passed");
    // Anybody may finalize.
    world
        .send_as(STRANGER, "finalize", &file, &[])
        .exits(0)
        .says("closed and paid out");
    assert_eq!(world.balance(p.config.client).await, 1220);
    assert_eq!(world.vault().await, 280 + VAULT_REST);
    world.settle("finalize", &file, &[]).exits(4);
    assert_eq!(
        world.settle("status", &file, &["--json"]).exits(0).json()["state"],
        "closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_answers_a_hub_that_disputes_with_nothing() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let older = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (2, 200), (1, 40)),
        DirectionEvidence::default(),
    );
    let newer = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (5, 450), (1, 40)),
        DirectionEvidence::default(),
    );
    let to = p.domain.adjudicator;
    world
        .call(
            HUB,
            to,
            0,
            &calls::dispute(&p.config, Side::Client, &DirectionEvidence::default()),
        )
        .await;

    let file = world.file(&older);
    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    assert_eq!(
        (&status["state"], &status["dispute"]["no"]),
        (&"disputed".into(), &"1".into())
    );
    assert!(status["next"].as_str().unwrap().contains("settle submit"));
    world.settle("dispute", &file, &[]).exits(4);
    world.send_as(CLIENT, "submit", &file, &[]).exits(0);
    world
        .settle("submit", &file, &[])
        .exits(4)
        .says("knows everything");
    world.pass(PERIOD_S / 2).await;
    // Newer evidence during the window, then the older again.
    let file = world.file(&newer);
    world.send_as(CLIENT, "submit", &file, &[]).exits(0);
    let file = world.file(&older);
    world.settle("submit", &file, &[]).exits(4);
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 450 - 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_leaves_and_its_vault_is_credited() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Hub,
        p.paid(Side::Client, (4, 400), (1, 10)),
        p.paid(Side::Hub, (1, 10), (4, 400)),
    );
    let file = world.file(&evidence);
    world.send_as(HUB, "dispute", &file, &[]).exits(0);
    world.pass(PERIOD_S).await;
    world.send_as(HUB, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 610);
    assert_eq!(world.vault().await, 890 + VAULT_REST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_keeps_the_channel_open_and_the_key_may_come_from_the_environment() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 70), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&evidence);
    let secret = hex::encode(key(CLIENT).to_bytes());
    let args = [
        "submit",
        "--evidence",
        &file,
        "--rpc-url",
        &world.url,
        "--key-env",
        "ALICE",
        "--broadcast",
        "--wait=1",
    ];
    let sent = settle_env(&args, &[("ALICE", &secret)])
        .exits(0)
        .says("checkpoint");
    assert!(!sent.stdout.contains(&secret) && !sent.stderr.contains(&secret));
    assert_eq!(world.settle("status", &file, &["--json"]).json()["state"], "open");
    // It is on chain already; the dispute still gets the money out.
    world.send_as(CLIENT, "dispute", &file, &[]).exits(0);
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1070);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payout_that_failed_is_claimed() {
    let Some(world) = World::native_on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 5), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&evidence);
    let to = key(0x55).address().to_string();
    world
        .settle("claim", &file, &["--to", &to])
        .exits(4)
        .says("nothing is left");
    world.send_as(CLIENT_SIGNER, "dispute", &file, &[]).exits(0);
    world.pass(PERIOD_S).await;
    // The client's account refuses money for now.
    world.set_code(p.config.client, "0x60006000fd").await;
    world
        .send_as(CLIENT_SIGNER, "finalize", &file, &[])
        .exits(0)
        .says("settle claim");
    world.set_code(p.config.client, "0x").await;
    assert_eq!(
        world.settle("status", &file, &["--json"]).json()["claimable"],
        "1005"
    );
    // The receiver refuses too: the adjudicator's error in words.
    world.set_code(key(0x56).address(), "0x60006000fd").await;
    let refusing = key(0x56).address().to_string();
    world
        .settle("claim", &file, &["--to", &refusing])
        .exits(8)
        .says("TransferFailed: 1005");
    world.send_as(CLIENT, "claim", &file, &["--to", &to]).exits(0);
    assert_eq!(world.coins(key(0x55).address()).await, 1005);
    world.settle("claim", &file, &["--to", &to]).exits(4);
}
