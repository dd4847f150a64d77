//! A node that hides logs, one that is dead, and two that are honest: a hub that believes what two of them say.

use crate::{
    court::{closed, dispute, pass, purse, rest_of_window, until},
    people::{DEPOSIT, ENDOWMENT, Person},
    process::Hub,
    world::World,
};
use alloy::providers::{Provider, RootProvider};
use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PAID: u128 = 10_000;

#[derive(Clone)]
struct Node {
    upstream: RootProvider,
    hides_logs: bool,
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
    Json(match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(error) => {
            let error = error.as_error_resp().unwrap().clone();
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        }
    })
}

/// A door before the world's chain. Returns its URL.
async fn node(world: &World, hides_logs: bool) -> String {
    let node = Node {
        upstream: world.bank.provider().clone(),
        hides_logs,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(post(answer)).with_state(node);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

pub(crate) async fn one_lies_and_one_is_dead(world: &World) {
    let (liar, honest) = (node(world, true).await, node(world, false).await);
    let dead = {
        // Nobody listens there any more.
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
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
}
