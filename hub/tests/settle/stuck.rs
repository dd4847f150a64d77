//! A transaction that is stuck: replaced under the same nonce with higher fees, by the watchtower and by hand.

use crate::{
    cli::Running,
    vouchers::{CLIENT, CLIENT_SIGNER, STRANGER, key},
    world::World,
};
use alloy::providers::Provider as _;
use protocol_spec::{DirectionEvidence, Side};

async fn base_fee(world: &World, gwei: u64) {
    let wei = format!("{:#x}", gwei * 1_000_000_000);
    let _: serde_json::Value = world
        .provider
        .raw_request("anvil_setNextBlockBaseFeePerGas".into(), (wei,))
        .await
        .unwrap();
    world.mine().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchtower_outbids_a_fee_spike_under_the_same_nonce() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let dir = world.subdirectory("tower");
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (5, 450), (0, 0)),
        DirectionEvidence::default(),
    );
    world
        .export(&evidence, STRANGER, &dir.join("alice.json"), &[])
        .exits(0);
    world.empty_dispute(p).await;
    world.automine(false).await;
    let (tower, key_file) = (dir.display().to_string(), world.key_file(STRANGER));
    let args = [
        "watch",
        "--dir",
        &tower,
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
        "--broadcast",
        "--ndjson",
        "--every",
        "1",
        "--bump-after",
        "2",
    ];
    let mut watch = Running::start(&args);
    let sent = watch.expect("sent");
    base_fee(&world, 200).await;
    let bumped = watch.expect("bumped");
    assert_ne!(bumped["transaction"], sent["transaction"]);
    assert!(
        bumped["fee_per_gas_max_wei"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 200_000_000_000
    );
    world.mine().await;
    assert_eq!(watch.expect("mined")["transaction"], bumped["transaction"]);
    watch.kill();
    assert_eq!(world.nonce(key(STRANGER).address()).await, 1);
    let file = world.file(&evidence);
    assert_eq!(
        world.settle("status", &file, &["--json"]).json()["outcomes"][0]["you"],
        "1450"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_nonce_and_gas_limit_are_taken_as_given() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (5, 450), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&evidence);
    let dry = world
        .settle(
            "dispute",
            &file,
            &[
                "--json",
                "--max-fee-gwei",
                "7.5",
                "--priority-fee-gwei",
                "2",
                "--gas-limit",
                "400000",
            ],
        )
        .exits(0)
        .json();
    assert_eq!(
        (&dry["fee_per_gas_max_wei"], &dry["gas_limit"]),
        (&"7500000000".into(), &"400000".into())
    );
    assert_eq!(dry["cost_max_wei"], (7_500_000_000_u64 * 400_000).to_string());
    world
        .settle(
            "dispute",
            &file,
            &["--max-fee-gwei", "1", "--priority-fee-gwei", "2"],
        )
        .exits(2)
        .says("cannot exceed");
    world
        .settle("dispute", &file, &["--gas-limit", "21000"])
        .exits(2)
        .says("is below");
    world
        .settle("dispute", &file, &["--gas-limit", "30000000"])
        .exits(2)
        .says("EIP-7825");
    world
        .settle("dispute", &file, &["--max-fee-gwei", "much"])
        .exits(2);
    world.settle("dispute", &file, &["--json", "--ndjson"]).exits(2);
    world.settle("dispute", &file, &["--table"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_transaction_is_replaced_when_its_nonce_is_named() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (5, 450), (0, 0)),
        DirectionEvidence::default(),
    );
    let file = world.file(&evidence);
    // Stuck by hand: nothing new is sent while it is pending, and it is replaced when its nonce is named.
    world.automine(false).await;
    let key_file = world.key_file(CLIENT_SIGNER);
    let send = |more: &[&str]| {
        world.settle(
            "dispute",
            &file,
            &[&["--json", "--key-file", &key_file, "--broadcast"], more].concat(),
        )
    };
    let stuck = send(&["--max-fee-gwei", "3"]).exits(0).json();
    send(&[]).exits(6).says("replace it with --nonce 0");
    let replacing = send(&[
        "--nonce",
        "0",
        "--max-fee-gwei",
        "30",
        "--priority-fee-gwei",
        "10",
    ])
    .exits(0)
    .json();
    assert_ne!(stuck["transaction"], replacing["transaction"]);
    world.mine().await;
    world.automine(true).await;
    let done = send(&["--wait"]).exits(0).json();
    assert_eq!(
        (&done["resumed"], &done["transaction"]),
        (&true.into(), &replacing["transaction"])
    );
    assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 1);
    world
        .settle("status", &file, &["--from", &key(CLIENT).address().to_string()])
        .exits(2);
}
