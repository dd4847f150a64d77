//! By hand, as README tells it: a client of a real hub on real anvil, the hub stopped and all its files deleted, then
//! the real `settle`; what the client has on chain is read with `cast`. Fifty channels at once, by batches that are killed
//! and repeated. And with nobody at all: clients that are gone for good, whose watchtowers (`settle watch`) beat a cheating
//! hub.
//!
//! The chain tools are those of `npm ci`, or at `ANVIL` and `CAST`; `CHANNELHUB_SKIP_ANVIL=1` skips the test. `settle`
//! is the binary beside `hub`.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing; clippy exempts only functions marked #[test]"
)]

#[path = "../../tests/settle/anvil.rs"]
mod anvil;
#[path = "leave/batch.rs"]
mod batch;
#[path = "../../tests/settle/cli.rs"]
mod cli;
#[path = "roles/court.rs"]
mod court;
#[path = "support/people.rs"]
mod people;
#[path = "support/process.rs"]
mod process;
#[path = "leave/towers.rs"]
mod towers;
#[path = "support/world.rs"]
mod world;

use client_sdk::{SignerKey, save_evidence};
use people::{DEPOSIT, ENDOWMENT, Person};
use process::Hub;
use protocol_spec::Address;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use world::{CHALLENGE_PERIOD_S, World};

/// She gets more than she pays: who only paid would do better to show nothing, and `settle` says so.
const PAID: u128 = 120_000;
const RECEIVED: u128 = 300_000;

/// Runs a program that must succeed, and prints it as it would look by hand. Returns stdout.
fn run(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr),
    );
    let name = program.file_name().unwrap().to_string_lossy();
    println!("$ {name} {}\n{stdout}{stderr}", args.join(" "));
    assert!(output.status.success(), "{name} ended with {}", output.status);
    stdout
}

fn settle() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_hub")).with_file_name("settle");
    assert!(
        path.exists(),
        "no {}: build the workspace, or `cargo build --release -p hub --bin settle`",
        path.display()
    );
    path
}

/// A key file as `settle` takes it. Returns its path.
fn write_key(world: &World, name: &str, key: &SignerKey) -> String {
    let text = hex::encode(key.to_bytes());
    cli::write(&world.dir, name, &text).display().to_string()
}

/// Tokens of an account as `cast` reads them.
fn cast_balance(world: &World, account: Address) -> u128 {
    let (token, account) = (world.deployed.token.to_string(), account.to_string());
    let call = [
        "call",
        &token,
        "balanceOf(address)(uint256)",
        &account,
        "--rpc-url",
        &world.rpc_url,
    ];
    let said = run(&anvil::tool("cast"), &call);
    // "1200000 [1.2e6]"
    said.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_paid_in_full_with_the_hub_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    let mut hub = Hub::spawn(&world);
    hub.ready();
    let alice = Person::arrive(&world, "alice", world.listen).await;
    let shop = Person::arrive(&world, "shop", world.listen).await;
    let paid = alice.pay(&shop, PAID).await;
    let mut back = alice.channel.payments(None);
    shop.pay(&alice, RECEIVED).await;
    let got = back.next().await.unwrap().unwrap().receipt.amount;
    let settled = alice.channel.view().unwrap().balance.settled;
    assert_eq!(settled.0, DEPOSIT - PAID - paid.fee.0 + got.0);
    let evidence = world.dir.join("alice.json");
    save_evidence(&alice.channel.evidence().await.unwrap(), &evidence).unwrap();
    let key = write_key(&world, "alice.key", &alice.key);
    let account = alice.key.address();
    alice.client.shutdown().await;
    shop.client.shutdown().await;

    hub.stop();
    std::fs::remove_dir_all(&world.hub_dir).unwrap();
    let before = cast_balance(&world, account);
    let (settle, evidence) = (settle(), evidence.to_str().unwrap());
    let at = ["--evidence", evidence, "--rpc-url", &world.rpc_url];
    let send = [&at[..], &["--key-file", &key, "--broadcast", "--wait"]].concat();
    run(&settle, &["verify", "--evidence", evidence]);
    run(&settle, &[&["status"], &at[..]].concat());
    run(&settle, &[&["dispute"], &send[..]].concat());
    let window = (CHALLENGE_PERIOD_S + 1).to_string();
    run(
        &anvil::tool("cast"),
        &["rpc", "evm_increaseTime", &window, "--rpc-url", &world.rpc_url],
    );
    run(
        &anvil::tool("cast"),
        &["rpc", "evm_mine", "--rpc-url", &world.rpc_url],
    );
    run(&settle, &[&["finalize"], &send[..]].concat());
    let after = cast_balance(&world, account);
    println!(
        "deposited {DEPOSIT}, paid {PAID} and {} of fees, received {got}: vouchers worth {settled}; \
         cast: {before} before, {after} after, {} paid out",
        paid.fee,
        after - before
    );
    assert_eq!(before, ENDOWMENT - DEPOSIT);
    assert_eq!(after - before, settled.0, "paid in full");
}
