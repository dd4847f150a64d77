//! `hub vault` on a chain reached by HTTP: the real binary, checked by what the chain says.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "support/process.rs"]
mod process;
#[path = "vault/tls.rs"]
mod tls;
#[path = "support/world.rs"]
mod world;

use alloy::providers::Provider;
use hub::{app::dev, chain::Chain};
use process::Hub;
use protocol_spec::Address;
use std::process::{Command, Output};
use world::{RESERVE, VAULT, World};

const THERE: Address = Address::repeat_byte(0x77);

/// `hub vault ARGS --config FILE`, which must end with `code`. Returns both streams.
#[track_caller]
fn vault(world: &World, args: &[&str], code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_hub"))
        .arg("vault")
        .args(args)
        .arg("--config")
        .arg(&world.config)
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    assert_eq!(status.code(), Some(code), "{args:?}: {text}");
    let key = std::fs::read_to_string(world.hub_dir.join("keys/owner.key")).unwrap();
    assert!(!text.contains(&key.trim()[..16]), "no key bytes on any stream");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_is_shown_filled_and_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    world.endow(world.hub, 700).await;
    let shown = vault(&world, &["show"], 0);
    let channels = (VAULT / RESERVE).to_string();
    for part in [
        &*VAULT.to_string(),
        &channels,
        "700 (",
        "TST",
        &world.hub.to_string(),
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    let dry = vault(&world, &["deposit", "--amount", "600"], 0);
    assert!(dry.contains("dry run") && dry.contains("approve"), "{dry}");
    assert_eq!(
        (world.vault().await, world.tokens_of(world.hub).await),
        (VAULT, 700)
    );

    let sent = vault(&world, &["deposit", "--amount", "600", "--broadcast"], 0);
    assert!(sent.contains("fundVault") && sent.contains("in block"), "{sent}");
    assert_eq!(
        (world.vault().await, world.tokens_of(world.hub).await),
        (VAULT + 600, 100)
    );

    let dry = vault(
        &world,
        &["withdraw", "--amount", "1000", "--to", &THERE.to_string()],
        0,
    );
    assert!(dry.contains("dry run") && dry.contains("about"), "{dry}");
    assert_eq!(world.tokens_of(THERE).await, 0);
    vault(
        &world,
        &[
            "withdraw",
            "--amount",
            "1000",
            "--to",
            &THERE.to_string(),
            "--broadcast",
        ],
        0,
    );
    assert_eq!(
        (world.vault().await, world.tokens_of(THERE).await),
        (VAULT - 400, 1000)
    );
    vault(&world, &["withdraw", "--amount", "400", "--broadcast"], 0);
    let more = (VAULT + 1).to_string();
    let refused = vault(&world, &["withdraw", "--amount", &more], 7);
    assert!(refused.contains("less than"), "{refused}");
    vault(&world, &["deposit", "--amount", "501"], 7);
    assert_eq!(
        (world.vault().await, world.tokens_of(world.hub).await),
        (VAULT - 800, 500)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_coin_has_a_vault_too() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let native = Address::ZERO.to_string();
    let paid = ["deposit", "--amount", "5000", "--token", &native, "--broadcast"];
    let sent = vault(&world, &paid, 0);
    assert!(!sent.contains("approve") && sent.contains("native"), "{sent}");
    let held = dev::vault_of(
        &world.bank,
        dev::Deployed {
            token: Address::ZERO,
            ..world.deployed
        },
        world.hub,
    );
    assert_eq!(held.await.unwrap(), 5000);
    let taken = [
        "withdraw",
        "--amount",
        "5000",
        "--token",
        &native,
        "--to",
        &THERE.to_string(),
        "--broadcast",
    ];
    vault(&world, &taken, 0);
    assert_eq!(world.bank.balance(THERE).await.unwrap().to::<u128>(), 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_beside_a_running_hub() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let mut hub = Hub::spawn(&world);
    hub.ready();
    vault(&world, &["withdraw", "--amount", "9", "--broadcast"], 0);
    assert_eq!(world.tokens_of(world.hub).await, 9);
    hub.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let more = (VAULT + 1).to_string();
    let nonce = world
        .bank
        .provider()
        .get_transaction_count(world.hub)
        .await
        .unwrap();
    for (args, code, says) in [
        (
            &["withdraw", "--amount", &more, "--broadcast"][..],
            7,
            "less than",
        ),
        (&["deposit", "--amount", "1", "--broadcast"], 7, "less than"),
        (
            &["deposit", "--amount", "0", "--broadcast"],
            2,
            "nothing would move",
        ),
        (&["deposit", "--amount", "1.5", "--broadcast"], 2, "base units"),
        (&["deposit", "--broadcast"], 2, "--amount"),
    ] {
        let text = vault(&world, args, code);
        assert!(text.contains(says), "{says}: {text}");
    }
    let config = std::fs::read_to_string(&world.config).unwrap();
    let with = |from: &str, to: &str| std::fs::write(&world.config, config.replace(from, to)).unwrap();
    with(&world.deployed.adjudicator.to_string(), &THERE.to_string());
    assert!(vault(&world, &["show"], 1).contains("there is no contract"));
    with(&world.rpc_url, "embedded");
    assert!(vault(&world, &["show"], 3).contains("chain.rpc_url"));
    with(
        "[[tokens]]",
        "[[tokens]]\naddress = \"0x00000000000000000000000000000000000000aa\"\nreserve = { initial = \"1\", low_watermark = \"0\" }\n[[tokens]]",
    );
    assert!(vault(&world, &["deposit", "--amount", "1"], 3).contains("--token"));
    assert_eq!(
        world
            .bank
            .provider()
            .get_transaction_count(world.hub)
            .await
            .unwrap(),
        nonce
    );
}
