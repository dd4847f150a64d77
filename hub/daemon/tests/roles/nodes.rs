//! A node that hides logs, one that is dead, and two that are honest: a hub that believes what two of them say. And a hub
//! that has too few of them to know how a dispute stands: it says so.

use crate::{
    court::{closed, dispute, pass, percent_of_window, purse, rest_of_window, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    spike::said,
    world::World,
};
use alloy::{
    hex,
    providers::{Provider, RootProvider},
    sol_types::SolCall,
};
use axum::{Json, Router, extract::State, routing::post};
use protocol_spec::abi::IAdjudicator;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const PAID: u128 = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Node {
    upstream: RootProvider,
    hides_logs: bool,
    /// Tells of every channel that it is in another state.
    lies_of_channels: Arc<AtomicBool>,
}

async fn answer(State(node): State<Node>, Json(request): Json<Value>) -> Json<Value> {
    let method = request["method"].as_str().unwrap().to_owned();
    let answer = match method.as_str() {
        "eth_getLogs" if node.hides_logs => Ok(json!([])),
        _ => {
            let asked = node
                .upstream
                .raw_request::<_, Value>(method.into(), request["params"].clone());
            asked.await
        }
    };
    let lie = match &answer {
        Ok(Value::String(truth)) if node.lies_of_channels.load(Ordering::Acquire) => {
            let call = hex::encode(IAdjudicator::channelCall::SELECTOR);
            let asked_for = request["params"].to_string().contains(&format!("\"0x{call}"));
            asked_for.then(|| json!(truth.replacen("0000", "0001", 1)))
        }
        _ => None,
    };
    let answer = lie.map_or(answer, Ok);
    Json(match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(error) => {
            let error = error.as_error_resp().unwrap().clone();
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        }
    })
}

/// A door before the world's chain. Returns its URL.
async fn node(world: &World, hides_logs: bool, lies_of_channels: Arc<AtomicBool>) -> String {
    let node = Node {
        upstream: world.bank.provider().clone(),
        hides_logs,
        lies_of_channels,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(post(answer)).with_state(node);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Nobody listens there any more.
async fn dead() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(crate) async fn one_lies_and_one_is_dead(world: &World) {
    let truthful = Arc::<AtomicBool>::default;
    let (liar, honest) = (
        node(world, true, truthful()).await,
        node(world, false, truthful()).await,
    );
    let dead = dead().await;
    let config = std::fs::read_to_string(&world.config).unwrap();
    let real = format!("rpc_url = \"{}\"", world.rpc_url);
    let nodes = format!(
        "rpc_url = \"{liar}\"\nmore_rpc_urls = [\"{dead}\", \"{honest}\", \"{}\"]\nagree = 2",
        world.rpc_url
    );
    std::fs::write(&world.config, config.replace(&real, &nodes)).unwrap();
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "nodes-shop", world.listen).await;
    let cheat = Person::arrive(world, "nodes-cheat", world.listen).await;
    cheat.pay(&shop, PAID).await;
    let old = cheat.channel.evidence().await.unwrap();
    cheat.pay(&shop, PAID).await;
    let (fair, id) = (cheat.settled(), cheat.channel.id());
    // The liar does not tell of this, and nobody else is needed to.
    dispute(world, &cheat.key, &old, false).await;
    until(world, id, "answer", |state| state.clientSeq >= 2).await;
    pass(world, rest_of_window(0)).await;
    closed(world, id).await;
    assert_eq!(purse(world, &cheat).await, ENDOWMENT - DEPOSIT + fair);
    let log = std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("rpc ")).collect();
    for line in said.iter().take(8) {
        println!("{line}");
    }
    assert!(
        said.iter().any(|line| line.contains("rpc 1 ")),
        "the liar is named: {log}"
    );
    assert!(
        said.iter().any(|line| line.contains("rpc 2 ")),
        "the dead one is named: {log}"
    );
    cheat.client.shutdown().await;
    shop.client.shutdown().await;
    hub.stop();
    std::fs::write(&world.config, config).unwrap();
}

/// One of three lies about the channel, one is dead, and two must agree.
pub(crate) async fn a_dispute_that_cannot_be_read_is_told(world: &World) {
    let lies = Arc::<AtomicBool>::default();
    let (liar, dead) = (node(world, false, lies.clone()).await, dead().await);
    let config = std::fs::read_to_string(&world.config).unwrap();
    let real = format!("rpc_url = \"{}\"", world.rpc_url);
    let nodes = format!("{real}\nmore_rpc_urls = [\"{liar}\", \"{dead}\"]\nagree = 2");
    std::fs::write(&world.config, config.replace(&real, &nodes)).unwrap();
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "unread-shop", world.listen).await;
    let cheat = Person::arrive(world, "unread-cheat", world.listen).await;
    cheat.pay(&shop, PAID).await;
    let old = cheat.channel.evidence().await.unwrap();
    cheat.pay(&shop, PAID).await;
    let id = cheat.channel.id();
    lies.store(true, Ordering::Release);
    dispute(world, &cheat.key, &old, false).await;
    let log = || std::fs::read_to_string(world.dir.join("hub.log")).unwrap();
    let began = Instant::now();
    let unread = "disputed channels could not be read";
    while !log().contains(unread) {
        assert!(began.elapsed() < PATIENCE, "{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pass(world, percent_of_window(50) + 2).await;
    said(world, "disputes: 1 without").await;
    said(world, "1 of them cannot be read").await;
    let (alarm, warning) = (
        "the channel cannot be read",
        "chain endpoints disagree: nothing is believed",
    );
    let times = |words: &str| log().lines().filter(|line| line.contains(words)).count();
    assert_eq!(times(alarm), 1, "{}", log());
    let looks = times(warning).max(times(unread));
    let most = usize::try_from(began.elapsed().as_secs()).unwrap() / 2 + 2;
    assert!(looks <= most, "{looks} lines where {most} are enough: {}", log());
    lies.store(false, Ordering::Release);
    until(world, id, "answer", |state| state.clientSeq >= 2).await;
    said(world, "disputes: ok").await;
    cheat.client.shutdown().await;
    shop.client.shutdown().await;
    hub.stop();
    std::fs::write(&world.config, config).unwrap();
}
