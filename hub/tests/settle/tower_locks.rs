//! Locks and watchtowers: what the adjudicator lets a submitter do, and who collects what the payee had revealed.

use crate::{
    cli::Running,
    locks::locked,
    vouchers::{CLIENT_SIGNER, HUB, PERIOD_S, STRANGER, key, lock},
    world::World,
};
use alloy::{
    network::TransactionBuilder as _, primitives::Address, providers::Provider as _,
    rpc::types::TransactionRequest, sol_types::SolCall as _, sol_types::SolError as _,
};
use hub::settle::CheckedEvidence;
use protocol_spec::{DirectionEvidence, Evidence, Lock, Side, Witness, abi::IAdjudicator, calls};

/// What the adjudicator says to a submitter who knows the preimages: the countersigned voucher, then every lock in it.
async fn resolve_by(
    world: &World,
    sender: Address,
    evidence: &Evidence,
    package: &CheckedEvidence,
) -> String {
    let (mut submissions, resolutions) = calls::evidence(Side::Hub, &evidence.received);
    submissions[0].countersignature = vec![package.accept().unwrap().to_abi()];
    let call = IAdjudicator::submitCall {
        config: evidence.config.to_abi(),
        submissions,
        resolutions,
    };
    let request = TransactionRequest::default()
        .with_from(sender)
        .with_to(evidence.adjudicator)
        .with_input(call.abi_encode());
    let refused = world.provider.call(request).await.unwrap_err();
    refused
        .as_error_resp()
        .unwrap()
        .as_revert_data()
        .unwrap()
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tower_keeps_the_dispute_open_until_the_payees_own_machine_has_resolved() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    // The hub was told both preimages, and converts neither.
    let locks = vec![lock(1, 20, now + 3 * PERIOD_S), lock(2, 30, now + 3 * PERIOD_S)];
    let received = locked(p, locks, &[1, 2]);
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let (tower, own) = (world.subdirectory("tower"), world.subdirectory("own"));
    let out = tower.join("package.json");
    let node = ["--rpc-url", world.url.as_str()];
    world.export(&evidence, STRANGER, &out, &node).exits(0);
    world.empty_dispute(p).await;

    // Only the payee's account or signer: with countersignature, preimages and proofs a submitter is refused.
    let package = CheckedEvidence::from_json(&std::fs::read(&out).unwrap()).unwrap();
    let submitter = key(STRANGER).address();
    let said = resolve_by(&world, submitter, &evidence, &package).await;
    let refusal = IAdjudicator::NotThePayee { sender: submitter };
    assert_eq!(
        said,
        alloy::primitives::Bytes::from(refusal.abi_encode()).to_string()
    );

    // The voucher is shown, and with it the dispute goes on beyond the window: until the locks expire, and no shorter than
    // another period (R18).
    world.watch_once(&tower, STRANGER, &[]).exits(0);
    world.pass(PERIOD_S + 60).await;
    let file = world.file(&evidence);
    let status = world.settle("status", &file, &["--json"]).exits(0).json();
    let (final_at, balance) = (&status["dispute"]["final_at"], &status["outcomes"][0]["you"]);
    assert_eq!(
        (final_at, balance),
        (&(now + 3 * PERIOD_S).to_string().into(), &"1100".into())
    );

    // So a machine of the payee's own that comes only now, with its signer's key, still collects.
    std::fs::copy(&file, own.join("me.json")).unwrap();
    world.watch_once(&own, CLIENT_SIGNER, &[]).exits(0);
    world.pass(2 * PERIOD_S).await;
    world.watch_once(&tower, STRANGER, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 100 + 20 + 30);
}

/// Yes when asked, no in a transaction.
pub(crate) const TWO_FACED: &str = "0x3a1560005260206000f3";

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_are_refused_in_a_transaction_keep_nothing_else_back() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let (yes, no) = (Address::repeat_byte(0x51), Address::repeat_byte(0x52));
    world.set_code(yes, "0x600160005260206000f3").await;
    world.set_code(no, TWO_FACED).await;
    let on = |resolver, lock: Lock| Lock { resolver, ..lock };
    let expiry = now + 3 * PERIOD_S;
    let locks = vec![
        lock(1, 20, expiry),
        on(no, lock(2, 30, expiry)),
        on(yes, lock(3, 50, expiry)),
        on(no, lock(4, 90, expiry)),
    ];
    let mut received = locked(p, locks, &[1]);
    for id in ["2", "3", "4"] {
        let witness = Witness::new(vec![7; 40]).unwrap();
        received.witnesses.push((id.to_owned(), witness));
    }
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let own = world.subdirectory("own");
    std::fs::copy(world.file(&evidence), own.join("me.json")).unwrap();
    world.empty_dispute(p).await;

    let (dir, key_file) = (own.display().to_string(), world.key_file(CLIENT_SIGNER));
    let args = [
        "watch",
        "--dir",
        &dir,
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
    ];
    let watch = Running::start(&[&args[..], &["--broadcast", "--ndjson", "--every", "1"]].concat());
    let file = world.file(&evidence);
    let balance = || world.settle("status", &file, &["--json"]).json()["outcomes"][0]["you"].clone();
    let began = std::time::Instant::now();
    while balance() != "1170" && began.elapsed().as_secs() < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    watch.kill();
    let sent = world.nonce(key(CLIENT_SIGNER).address()).await;
    assert_eq!(balance(), "1170", "{sent} transactions");
    assert!(sent < 8, "{sent} transactions");
}

/// The hub disputes with the client's own voucher, which acknowledges `ack` and shows no locks; nobody answers in the window.
async fn too_late_for(received: impl Fn(&World, u64) -> DirectionEvidence, ack: (u64, u128), words: &str) {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let own = p.paid(Side::Client, (1, 0), ack);
    let received = received(&world, world.now().await + 3 * PERIOD_S);
    let evidence = p.evidence(Side::Client, received, DirectionEvidence::default());
    let tower = world.subdirectory("tower");
    let node = ["--rpc-url", world.url.as_str()];
    world
        .export(&evidence, STRANGER, &tower.join("package.json"), &node)
        .exits(0);
    let dispute = calls::dispute(&p.config, Side::Client, &own);
    world.call(HUB, p.domain.adjudicator, 0, &dispute).await;
    world.pass(PERIOD_S + 60).await;
    let late = world.watch_once(&tower, STRANGER, &[]).exits(11);
    assert!(
        late.stdout.contains(words),
        "stdout lacks {words:?}:\n{}",
        late.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_ends_with_an_acknowledgement_in_place_of_the_voucher_is_told() {
    let with_lock = |world: &World, expiry| locked(&world.parties, vec![lock(1, 20, expiry)], &[]);
    too_late_for(with_lock, (4, 100), "without the locks of voucher 4").await;
    let more_paid = |world: &World, _| world.parties.paid(Side::Hub, (4, 100), (0, 0));
    too_late_for(more_paid, (4, 60), "60 paid on chain, this voucher says 100").await;
}
