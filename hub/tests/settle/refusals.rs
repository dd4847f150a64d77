//! What settle refuses on a live chain, and with which exit code.

use crate::{
    cli::{settle, write},
    vouchers::{CLIENT, CLIENT_SIGNER, PERIOD_S, Parties, STRANGER, key},
    world::World,
};
use alloy::primitives::Address;
use protocol_spec::{Digest, DirectionEvidence, Side, calls};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_chain_wrong_adjudicator_wrong_channel_and_no_node_are_refused() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = |p: &Parties| {
        p.evidence(
            Side::Client,
            p.paid(Side::Hub, (1, 5), (0, 0)),
            DirectionEvidence::default(),
        )
    };
    let (adjudicator, token) = (p.domain.adjudicator, p.config.token);
    let other_chain = world.file(&evidence(&Parties::new(1, adjudicator, token)));
    world
        .settle("status", &other_chain, &[])
        .exits(3)
        .says("the node is on chain 31337");
    let no_contract = world.file(&evidence(&Parties::new(31337, Address::repeat_byte(9), token)));
    world
        .settle("status", &no_contract, &[])
        .exits(3)
        .says("there is no contract");
    let no_adjudicator = world.file(&evidence(&Parties::new(31337, token, token)));
    world
        .settle("status", &no_adjudicator, &[])
        .exits(3)
        .says("no Channel Hub adjudicator");
    let mut unopened = Parties::new(31337, adjudicator, token);
    unopened.config.salt = Digest([8; 32]);
    let unopened = world.file(&evidence(&unopened));
    world
        .settle("dispute", &unopened, &[])
        .exits(3)
        .says("never opened");
    assert_eq!(
        world.settle("status", &unopened, &["--json"]).exits(0).json()["state"],
        "none"
    );
    let file = world.file(&evidence(p));
    settle(&["status", "--evidence", &file, "--rpc-url", "http://127.0.0.1:1"]).exits(6);
    settle(&["status", "--evidence", &file, "--rpc-url", "ftp://secret"]).exits(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_literal_keys_are_refused() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let file = world.file(&p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 5), (0, 0)),
        DirectionEvidence::default(),
    ));
    world
        .send_as(STRANGER, "dispute", &file, &[])
        .exits(3)
        .says("wrong key");
    let from = key(STRANGER).address().to_string();
    world
        .settle("dispute", &file, &["--from", &from])
        .exits(3)
        .says("wrong key");
    let secret = hex::encode(key(CLIENT).to_bytes());
    for option in ["--key", "--private-key", "--key-file", "--key-env"] {
        let refused = world
            .settle("dispute", &file, &[option, &secret, "--broadcast"])
            .exits(2);
        let refused = refused.says("must not be on the command line");
        assert!(!refused.stderr.contains(&secret));
    }
    world
        .settle("dispute", &file, &["--broadcast"])
        .exits(2)
        .says("--key-file");
    let open_to_all = world.key_file(CLIENT);
    std::fs::set_permissions(&open_to_all, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    world
        .settle("dispute", &file, &["--key-file", &open_to_all])
        .exits(2)
        .says("chmod 600");
    let garbage = write(world.dir.path(), "garbage.key", "hello")
        .display()
        .to_string();
    world.settle("dispute", &file, &["--key-file", &garbage]).exits(2);
    // The signer has no coins.
    world.empty(key(CLIENT_SIGNER).address()).await;
    world
        .send_as(CLIENT_SIGNER, "dispute", &file, &[])
        .exits(3)
        .says("fund it");
    assert_eq!(world.settle("status", &file, &["--json"]).json()["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_money_is_refused_unless_forced() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    // The client only paid: its evidence acknowledges that and earns it nothing.
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 0), (6, 600)),
        p.paid(Side::Client, (6, 600), (1, 0)),
    );
    let file = world.file(&evidence);
    let refused = world
        .settle("dispute", &file, &["--json"])
        .exits(5)
        .says("1000 as it stands and 400");
    assert_eq!(refused.json()["error"]["kind"], "would_lose");
    world.settle("submit", &file, &[]).exits(5);
    world.settle("dispute", &file, &["--force"]).exits(0);
    let next = |words: &str| {
        let status = world.settle("status", &file, &["--json"]).exits(0).json();
        assert!(status["next"].as_str().unwrap().contains(words), "{status:#}");
    };
    next("`settle dispute --without-evidence --broadcast`");
    world
        .send_as(CLIENT, "dispute", &file, &["--without-evidence"])
        .exits(0);
    next("nothing to submit, your evidence would lower what you get: wait; `settle finalize");
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(plan["steps"][0]["step"], "wait", "{plan:#}");
    world.pass(PERIOD_S).await;
    world.send_as(CLIENT, "finalize", &file, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000);
}

/// R21: one second before the window ends the other side could show an older voucher, whose locks were given up since.
#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_who_ever_made_a_lock_is_shown_though_it_acknowledges_what_was_paid() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let mut evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 0), (6, 600)),
        p.paid(Side::Client, (6, 600), (1, 0)),
    );
    evidence.never_locked = false;
    let file = world.file(&evidence);
    let next = |words: &str| {
        let status = world.settle("status", &file, &["--json"]).exits(0).json();
        assert!(status["next"].as_str().unwrap().contains(words), "{status:#}");
    };
    next("`settle dispute --broadcast`");
    world.settle("dispute", &file, &[]).exits(0).says("(R21)");
    world
        .send_as(CLIENT, "dispute", &file, &["--without-evidence"])
        .exits(0);
    next("your evidence adds something: `settle submit --broadcast`");
    let plan = world.settle("plan", &file, &["--json"]).exits(0).json();
    assert_eq!(plan["steps"][0]["step"], "submit", "{plan:#}");
    world.settle("submit", &file, &[]).exits(0).says("(R21)");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_older_than_the_chain_and_empty_exits_are_refused() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let newer = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (5, 50), (0, 0)),
        DirectionEvidence::default(),
    );
    let older = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (2, 20), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&newer);
    world.send_as(CLIENT, "submit", &file, &[]).exits(0);
    let file = world.file(&older);
    world
        .settle("dispute", &file, &[])
        .exits(5)
        .says("chain knows voucher 5");
    world.settle("submit", &file, &[]).exits(4);
    // A hub with everything paid away gains nothing from a dispute.
    let spent = p.evidence(
        Side::Hub,
        DirectionEvidence::default(),
        p.paid(Side::Hub, (5, 50), (0, 0)),
    );
    let mut all = p.paid(Side::Client, (1, 0), (9, 500));
    all.witnesses.clear();
    let spent = protocol_spec::Evidence {
        received: all,
        ..spent
    };
    let file = world.file(&spent);
    world.settle("dispute", &file, &[]).exits(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn deposits_that_the_chain_does_not_have_are_pointed_out() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let mut evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (1, 5), (0, 0)),
        DirectionEvidence::default(),
    );
    evidence.deposits.0 = protocol_spec::Amount(1001);
    let file = world.file(&evidence);
    world
        .settle("status", &file, &[])
        .exits(0)
        .says("a reorg took one away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_about_nothing_says_what_may_be_missing() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let mut shop = crate::vouchers::Parties::new(p.domain.chain_id, p.domain.adjudicator, p.config.token);
    shop.config.salt = protocol_spec::Digest([9; 32]);
    world
        .call(CLIENT, p.domain.adjudicator, 0, &calls::open(&shop.config, 0))
        .await;
    let file = |received| {
        let evidence = shop.evidence(Side::Client, received, DirectionEvidence::default());
        world.named("shop.json", &evidence)
    };
    // Who only receives has nothing deposited: what it was paid is in its vouchers.
    world
        .settle("dispute", &file(DirectionEvidence::default()), &[])
        .exits(5)
        .says("this file holds no voucher of the other side");
    world
        .settle("dispute", &file(shop.paid(Side::Hub, (1, 5), (0, 0))), &[])
        .exits(5)
        .says("look for a newer file");
}
