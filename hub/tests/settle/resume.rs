//! A run that is killed half-way goes on with the transaction that it wrote down, and never sends a second one.

use crate::{
    cli::{Running, write},
    vouchers::{CLIENT_SIGNER, PERIOD_S, Parties, STRANGER, key},
    world::{World, local},
};
use alloy::{network::EthereumWallet, primitives::TxHash, providers::Provider as _};
use hub::settle::{CheckedEvidence, Intent, Journal, Node, Purpose, Settle, Signed, Transaction, Verb};
use protocol_spec::{Evidence, Side};
use std::path::PathBuf;

fn evidence(p: &Parties) -> Evidence {
    p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 80)),
        p.paid(Side::Client, (2, 80), (3, 300)),
    )
}

fn journal_path(world: &World) -> PathBuf {
    world.dir.path().join("evidence.journal")
}

/// What a run does up to the journal, and then dies. Returns what it signed.
async fn dies_after_the_journal(world: &World, verb: Verb) -> Signed {
    dies_ahead(world, verb, 0).await
}

/// The same with a nonce that is `ahead` of the next.
async fn dies_ahead(world: &World, verb: Verb, ahead: u64) -> Signed {
    let node = Node::connect(&world.url).await.unwrap();
    let checked = CheckedEvidence::check(evidence(&world.parties)).unwrap();
    let settle = Settle::open(node, checked).await.unwrap();
    let sender = key(CLIENT_SIGNER).address();
    let intent = Intent {
        verb,
        sender,
        force: false,
        without_evidence: false,
    };
    let plan = settle.plan(intent).await.unwrap();
    let call: Transaction = plan.transaction();
    let cost = settle.node().simulate(&call).await.unwrap();
    let nonce = settle.node().next_nonce(sender).await.unwrap() + ahead;
    let wallet = EthereumWallet::from(local(&key(CLIENT_SIGNER)));
    let signed = settle.node().sign(&call, &cost, &wallet, nonce).await.unwrap();
    let mut journal = Journal::open(&journal_path(world)).unwrap();
    let chain_id = world.parties.domain.chain_id;
    let purpose = Purpose::of(&plan, world.parties.id());
    journal.record(purpose, &call, chain_id, &signed).unwrap();
    signed
}

async fn known(world: &World, hash: TxHash) -> bool {
    world
        .provider
        .get_transaction_by_hash(hash)
        .await
        .unwrap()
        .is_some()
}

/// A node lost an earlier transaction and would not take it again: what came after it waits for its number.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_behind_a_gap_says_so_and_the_gap_can_be_filled() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let signer = key(CLIENT_SIGNER).address();
    let file = world.file(&evidence(&world.parties));
    world.automine(false).await;
    dies_ahead(&world, Verb::Submit, 1).await;
    let key_file = world.key_file(CLIENT_SIGNER);
    let unwaited = ["--key-file", &key_file, "--broadcast"];
    world
        .settle("dispute", &file, &unwaited)
        .exits(6)
        .says("run this with --nonce 0");
    let fills = [unwaited.as_slice(), &["--nonce", "0"]].concat();
    world.settle("dispute", &file, &fills).exits(0);
    world.mine().await;
    world.automine(true).await;
    assert_eq!(world.nonce(signer).await, 2, "both are in a block");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_exit_killed_at_every_step_is_resumed_with_the_same_transactions() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let signer = key(CLIENT_SIGNER).address();
    let file = world.file(&evidence(p));
    // Killed between the journal and the node: the bytes are sent by the next run.
    let disputed = dies_after_the_journal(&world, Verb::Dispute).await;
    assert!(!known(&world, disputed.hash).await);
    let resumed = world
        .send_as(CLIENT_SIGNER, "dispute", &file, &["--json"])
        .exits(0)
        .says("an earlier dispute")
        .json();
    assert_eq!(resumed["transaction"], disputed.hash.to_string());
    assert_eq!(
        (&resumed["resumed"], &resumed["mined"]["confirmations"]),
        (&true.into(), &"1".into())
    );
    assert_eq!(world.nonce(signer).await, 1);
    // It is reported once; after that there is nothing to do.
    world.send_as(CLIENT_SIGNER, "dispute", &file, &[]).exits(4);

    // Killed between the node and the end of the wait, while nothing is mined.
    world.pass(PERIOD_S).await;
    let finalized = dies_after_the_journal(&world, Verb::Finalize).await;
    world.automine(false).await;
    Node::connect(&world.url)
        .await
        .unwrap()
        .send_raw(&finalized.raw)
        .await
        .unwrap();
    let key_file = world.key_file(CLIENT_SIGNER);
    let unwaited = ["--key-file", &key_file, "--broadcast"];
    world
        .settle("finalize", &file, &unwaited)
        .exits(6)
        .says("is in no block yet");
    world.mine().await;
    world.automine(true).await;
    let done = world
        .send_as(CLIENT_SIGNER, "finalize", &file, &["--json"])
        .exits(0)
        .json();
    assert_eq!(done["transaction"], finalized.hash.to_string());
    assert_eq!(world.nonce(signer).await, 2);
    assert_eq!(world.balance(p.config.client).await, 1220);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_binary_killed_while_it_waits_is_resumed() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let file = world.file(&evidence(&world.parties));
    let key_file = world.key_file(CLIENT_SIGNER);
    world.automine(false).await;
    let args = [
        "dispute",
        "--evidence",
        &file,
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
        "--broadcast",
        "--wait",
        "--ndjson",
    ];
    let mut run = Running::start(&args);
    let pending = run.expect("progress");
    assert_eq!(pending["state"], "pending");
    // A dispute has no deadline; the wait has.
    assert_eq!(pending["seconds_left"], serde_json::Value::Null);
    let rest: u64 = pending["wait_seconds_left"].as_str().unwrap().parse().unwrap();
    assert!((800..=900).contains(&rest), "{rest}");
    run.kill();
    // The next run waits for it; it is mined meanwhile.
    let mut run = Running::start(&args);
    run.expect("progress");
    world.mine().await;
    let done = run.expect_result();
    assert_eq!(
        (&done["transaction"], &done["resumed"]),
        (&pending["transaction"], &true.into())
    );
    world.automine(true).await;
    assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 1);
    assert_eq!(
        world.settle("status", &file, &["--json"]).json()["dispute"]["no"],
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_nonce_was_taken_is_given_up_and_planned_anew() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let file = world.file(&evidence(p));
    let lost = dies_after_the_journal(&world, Verb::Dispute).await;
    // Another program uses the key meanwhile.
    let nothing = protocol_spec::calls::deposit(&p.config, 0);
    world.call(CLIENT_SIGNER, p.domain.adjudicator, 0, &nothing).await;
    let sent = world
        .send_as(CLIENT_SIGNER, "dispute", &file, &["--json"])
        .exits(0)
        .says("took its nonce")
        .json();
    assert_ne!(sent["transaction"], lost.hash.to_string());
    assert!(!known(&world, lost.hash).await);
    assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_corrupt_in_use_or_torn() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let file = world.file(&evidence(&world.parties));
    let signed = dies_after_the_journal(&world, Verb::Dispute).await;
    let path = journal_path(&world);
    let good = std::fs::read_to_string(&path).unwrap();
    let name = path.display().to_string();
    let send = || world.send_as(CLIENT_SIGNER, "dispute", &file, &[]);
    // Any field changed, and it does not belong together any more. Nothing is sent, the file is left as it is.
    let raw = signed.raw.to_string();
    let flipped = format!(
        "{}{}",
        &raw[..raw.len() - 1],
        if raw.ends_with('0') { "1" } else { "0" }
    );
    for bad in [
        good.replace(&raw, &flipped),
        good.replace("\"nonce\":\"0\"", "\"nonce\":\"1\""),
        good.replace("\"chain_id\":\"31337\"", "\"chain_id\":\"1\""),
        good.replace(
            &key(CLIENT_SIGNER).address().to_string().to_lowercase(),
            &key(STRANGER).address().to_string().to_lowercase(),
        ),
        good.replace("journal.v1", "journal.v2"),
        good.replace("\"line\":\"sent\"", "\"line\":\"send\""),
        "hello\n".to_owned(),
        "hello".to_owned(),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&path, &bad).unwrap();
        send().exits(2).says("is corrupt").says(&name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 0);
    }
    // A line without an end is not read to its end.
    std::fs::write(&path, format!("{good}{}", "x".repeat(1 << 20))).unwrap();
    send().exits(2).says("(line 3): a line of more than 1 MiB");
    // In use by another run.
    std::fs::write(&path, &good).unwrap();
    let used = Journal::open(&path).unwrap();
    send().exits(2).says("another settle is using it");
    drop(used);
    // The last line torn by a crash: what it began to say was never sent.
    let lines: Vec<&str> = good.lines().collect();
    assert_eq!(lines.len(), 2);
    let torn = format!("{}\n{}", lines[0], &lines[1][..lines[1].len() / 2]);
    std::fs::write(&path, torn).unwrap();
    send().exits(0);
    let after = std::fs::read_to_string(&path).unwrap();
    assert_eq!(after.lines().count(), 3, "header, sent, ended:\n{after}");
    // A place of its own, and one that cannot be written.
    write(world.dir.path(), "empty.journal", "");
    let elsewhere = world.dir.path().join("empty.journal").display().to_string();
    world
        .send_as(CLIENT_SIGNER, "dispute", &file, &["--journal", &elsewhere])
        .exits(4);
    world
        .send_as(
            CLIENT_SIGNER,
            "dispute",
            &file,
            &["--journal", "/nonexistent/x.journal"],
        )
        .exits(2)
        .says("/nonexistent/x.journal");
}
