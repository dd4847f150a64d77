//! What an operator runs before a hub serves: `hub serve --check`, and `hub deploy` with an account that has no coins.
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
#[path = "support/world.rs"]
mod world;

use process::Hub;
use std::process::{Command, Output};
use world::World;

/// stdout of `hub ARGS`, which must end with `code`, and both streams.
#[track_caller]
fn hub(args: &[&str], code: i32) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_hub"))
        .args(args)
        .output()
        .unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let text = format!("{stdout}{}", String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{args:?}: {text}");
    (stdout, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_whether_the_hub_would_start() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let file = world.config.display().to_string();
    let check = |code| hub(&["serve", "--check", "--config", &file], code);
    let chain = format!("chain_id {}\n", world.identity.chain_id);
    let (data, _) = check(0);
    assert!(data.starts_with(&format!("{chain}database new\n")), "{data}");
    let mut running = Hub::spawn(&world);
    running.ready();
    let (data, _) = check(0);
    assert!(data.contains("database in_use\n"), "{data}");
    running.stop();
    let (data, _) = check(0);
    assert!(data.contains("database good\n"), "{data}");

    let config = std::fs::read_to_string(&world.config).unwrap();
    let with = |from: &str, to: &str| std::fs::write(&world.config, config.replace(from, to)).unwrap();
    // Another contract: the token is one.
    let (adjudicator, token) = (
        world.deployed.adjudicator.to_string(),
        world.deployed.token.to_string(),
    );
    with(&adjudicator, &token);
    let (_, text) = check(5);
    assert!(text.contains("was made for adjudicator"), "{text}");
    with(&adjudicator, "0x7777777777777777777777777777777777777777");
    let (_, text) = check(5);
    assert!(text.contains("there is no contract"), "{text}");
    with(&world.rpc_url, "http://127.0.0.1:1");
    let (_, text) = check(5);
    assert!(text.contains("chain.rpc_url"), "{text}");
    // A volume that is not mounted.
    std::fs::write(&world.config, &config).unwrap();
    let store = world.hub_dir.join("data/store");
    assert!(store.is_dir(), "{}", store.display());
    std::fs::rename(&store, world.hub_dir.join("away")).unwrap();
    let (_, text) = check(5);
    assert!(text.contains("there is no database"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_cannot_be_paid_names_account_and_sum() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::embedded(dir.path()).await;
    let key = dir.path().join("new");
    let made = hub(&["init", "--dir", &key.display().to_string()], 0).0;
    let owner = made.lines().find_map(|line| line.strip_prefix("owner ")).unwrap();
    let reference = format!("file:{}", key.join("keys/owner.key").display());
    let deploy = ["deploy", "--rpc-url", &world.rpc_url, "--key", &reference];
    let (_, text) = hub(&deploy, 0);
    assert!(
        text.contains("send coins to it") && text.contains("dry run"),
        "{text}"
    );
    let (_, text) = hub(&[&deploy[..], &["--broadcast"]].concat(), 7);
    assert!(
        text.contains(owner) && text.contains("holds 0 wei") && text.contains("send coins to it"),
        "{text}"
    );
}
