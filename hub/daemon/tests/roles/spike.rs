//! Gas becomes a hundred times dearer while the hub's answer to a dispute waits for its block.

use crate::{
    court::{Case, closed, dispute, pass, purse, rest_of_window, state},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use alloy::providers::Provider;
use hub::chain::Chain;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PAID: u128 = 20_000;
const GWEI: u128 = 1_000_000_000;
/// What blocks ask for, from then on.
const SPIKE: u128 = 200 * GWEI;
const PATIENCE: Duration = Duration::from_secs(30);

async fn ask(world: &World, method: &'static str, params: Value) {
    let asked = world
        .bank
        .provider()
        .raw_request::<_, Value>(method.into(), params);
    asked.await.unwrap();
}

/// A block in which nobody pays less.
async fn dear_block(world: &World) {
    ask(
        world,
        "anvil_setNextBlockBaseFeePerGas",
        json!([format!("{SPIKE:#x}")]),
    )
    .await;
    world.bank.mine(1).await.unwrap();
    // What the next one will ask for is announced when the hub looks.
    ask(
        world,
        "anvil_setNextBlockBaseFeePerGas",
        json!([format!("{SPIKE:#x}")]),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Transactions of the hub: in blocks, and with those that wait.
async fn sent(world: &World) -> (u64, u64) {
    let provider = world.bank.provider();
    let mined = provider.get_transaction_count(world.hub).await.unwrap();
    let all = provider.get_transaction_count(world.hub).pending().await.unwrap();
    (mined, all)
}

/// Waits until the hub's `/readyz` says so.
pub(crate) async fn said(world: &World, words: &str) {
    let (began, readyz) = (Instant::now(), || crate::process::get(world.ops, "/readyz"));
    while !readyz().contains(words) {
        assert!(began.elapsed() < PATIENCE, "not {words}: {}", readyz());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn while_the_answer_waits(world: &World, cases: &mut Vec<Case>) {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "spike-shop", world.listen).await;
    let cheat = Person::arrive(world, "spike-cheat", world.listen).await;
    cheat.pay(&shop, PAID).await;
    let old = cheat.channel.evidence().await.unwrap();
    cheat.pay(&shop, PAID).await;
    let (fair, id) = (cheat.settled(), cheat.channel.id());
    // From here on blocks come only when asked for.
    ask(world, "evm_setIntervalMining", json!([0])).await;
    let blocks = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.bank.mine(1).await.unwrap();
    };
    let (before, _) = sent(world).await;
    tokio::join!(dispute(world, &cheat.key, &old, false), blocks);
    let began = Instant::now();
    while sent(world).await.1 == before {
        assert!(began.elapsed() < PATIENCE, "the hub does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..6 {
        dear_block(world).await;
    }
    assert_eq!(
        state(world, id).await.clientSeq,
        1,
        "a day is left: high prices are waited out"
    );
    said(world, "disputes: ok").await;
    pass(world, crate::court::percent_of_window(50)).await;
    said(world, "disputes: 1 without").await;
    assert_eq!(state(world, id).await.clientSeq, 1, "no block came meanwhile");
    let began = Instant::now();
    while state(world, id).await.clientSeq < 2 {
        assert!(began.elapsed() < PATIENCE, "the answer is not raised");
        dear_block(world).await;
    }
    assert_eq!(
        sent(world).await,
        (before + 1, before + 1),
        "one answer, paid for once"
    );
    ask(world, "evm_setIntervalMining", json!([1])).await;
    said(world, "disputes: ok").await;
    let log = std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    for words in [
        "half of a dispute's window has passed",
        "high prices are waited out",
        "a stuck transaction offers more",
    ] {
        let line = log.lines().find(|line| line.contains(words));
        println!("{}", line.unwrap_or_else(|| panic!("{words}: {log}")));
    }
    pass(world, rest_of_window(50)).await;
    closed(world, id).await;
    cases.push(Case {
        name: "gas a hundred times dearer while the answer waits".to_owned(),
        fair: i128::try_from(fair).unwrap(),
        got: i128::try_from(purse(world, &cheat).await - (ENDOWMENT - DEPOSIT)).unwrap(),
    });
    cheat.client.shutdown().await;
    shop.client.shutdown().await;
    hub.stop();
}
