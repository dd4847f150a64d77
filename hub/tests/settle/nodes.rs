//! Nodes that are stuck, lie or are dead: what `settle` believes, and that it says so.

use crate::{
    cli::settle,
    vouchers::{STRANGER, key},
    world::World,
};
use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a node before anvil does to a request: it changes it, or answers itself.
type Faulty = Box<dyn Fn(&str, &mut Vec<Value>) -> Option<Value> + Send + Sync>;

struct Before {
    world: Arc<World>,
    faulty: Faulty,
}

async fn answer(State(before): State<Arc<Before>>, Json(mut call): Json<Value>) -> Json<Value> {
    let id = call["id"].clone();
    let method = call["method"].as_str().unwrap().to_owned();
    let mut params = call["params"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default();
    if let Some(result) = (before.faulty)(&method, &mut params) {
        return Json(json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }
    let provider = &before.world.provider;
    use alloy::providers::Provider as _;
    let answer: Result<Value, _> = provider.raw_request(method.into(), json!(params)).await;
    Json(match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => {
            let said = error.as_error_resp().unwrap();
            json!({"jsonrpc": "2.0", "id": id, "error": said})
        }
    })
}

/// Its URL.
async fn before(world: &Arc<World>, faulty: Faulty) -> String {
    let state = Arc::new(Before {
        world: world.clone(),
        faulty,
    });
    serve(Router::new().route("/", post(answer)).with_state(state)).await
}

/// A node before anvil that names this tip for every block, and of which everything else is true. Its URL.
async fn tipping(world: &Arc<World>, tip: u128) -> String {
    let names = move |State(world): State<Arc<World>>, Json(call): Json<Value>| async move {
        use alloy::providers::Provider as _;
        let method = call["method"].as_str().unwrap().to_owned();
        let fees = method == "eth_feeHistory";
        let params = call["params"].clone();
        let mut answer: Result<Value, _> = world.provider.raw_request(method.into(), params).await;
        if let Some(tips) = answer.as_mut().ok().filter(|_| fees) {
            let blocks = tips["gasUsedRatio"].as_array().unwrap().len();
            tips["reward"] = json!(vec![[format!("{tip:#x}")]; blocks]);
        }
        Json(match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": call["id"], "result": result}),
            Err(error) => {
                let said = error.as_error_resp().unwrap();
                json!({"jsonrpc": "2.0", "id": call["id"], "error": said})
            }
        })
    };
    let router = Router::new().route("/", post(names)).with_state(world.clone());
    serve(router).await
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A node that shows nothing after the newest block: whoever asks it alone learns of no dispute.
async fn frozen(world: &Arc<World>) -> String {
    let at = world.block().await;
    let faulty = move |_: &str, params: &mut Vec<Value>| {
        for block in params {
            let later = block.as_str().is_some_and(|block| {
                let number = block.strip_prefix("0x").filter(|digits| digits.len() < 16);
                let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                block == "latest" || block == "pending" || number.is_some_and(|number| number > at)
            });
            if later {
                *block = json!(format!("{at:#x}"));
            }
        }
        None
    };
    before(world, Box::new(faulty)).await
}

/// A node that answers nothing when creation code is to be run.
pub(crate) async fn without_creation(world: &Arc<World>) -> String {
    let faulty = |method: &str, params: &mut Vec<Value>| {
        let creates = method == "eth_call" && params[0]["to"].is_null();
        creates.then(|| json!("0x"))
    };
    before(world, Box::new(faulty)).await
}

const DEAD: &str = "http://127.0.0.1:1";

/// `settle VERB` at these nodes.
pub(crate) fn at(verb: &str, file: &str, urls: &[&str], args: &[&str]) -> crate::cli::Output {
    let nodes: Vec<&str> = urls.iter().flat_map(|url| ["--rpc-url", *url]).collect();
    settle(&[&[verb, "--evidence", file, "--json"], &nodes[..], args].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hides_a_dispute_is_outvoted() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let world = Arc::new(world);
    let liar = frozen(&world).await;
    let newest = world.received(5, 900);
    let dir = world.subdirectory("tower");
    world
        .export(&newest, STRANGER, &dir.join("alice.json"), &[])
        .exits(0);
    world.stale_dispute().await;
    let file = world.file(&newest);
    let state =
        |urls: &[&str], args: &[&str]| at("status", &file, urls, args).exits(0).json()["state"].clone();
    assert_eq!(state(&[&liar], &[]), "open", "what one node can do");
    let honest = world.url.as_str();
    assert_eq!(state(&[&liar, honest, honest], &[]), "disputed");
    assert_eq!(state(&[DEAD, honest, honest], &[]), "disputed");
    assert_eq!(state(&[honest, DEAD], &["--agree", "1"]), "disputed");
    // More liars than --agree bears, and too few that answer.
    at("status", &file, &[honest, DEAD], &[])
        .exits(6)
        .says("must agree");
    at("status", &file, &[honest, DEAD], &["--agree", "3"]).exits(2);
    // And the tower defends through them.
    let (dir, key) = (dir.display().to_string(), world.key_file(STRANGER));
    let nodes = [liar.as_str(), honest, honest].join(",");
    let watch = ["watch", "--dir", &dir, "--rpc-url", &nodes, "--key-file", &key];
    let answered = settle(&[&watch[..], &["--broadcast", "--once", "--ndjson"]].concat()).exits(0);
    assert!(
        answered.events().contains(&"mined".to_owned()),
        "{:?}",
        answered.events()
    );
    let shown = world.settle("status", &file, &["--json"]).json();
    assert_eq!(shown["outcomes"][0]["you"], "1400");
}

/// Wherever it stands among three: the tower pays what the honest ones ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_names_a_tip_does_not_empty_the_towers_account() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let world = Arc::new(world);
    let account = key(STRANGER).address();
    let liar = tipping(&world, world.coins(account).await / 500_000).await;
    let honest = world.url.as_str();
    let dir = world.subdirectory("tower");
    let (tower, key_file) = (dir.display().to_string(), world.key_file(STRANGER));
    world.stale_dispute().await;
    for (at, paid) in [(0, 900), (1, 950), (2, 1_000)] {
        let newest = world.received(5 + at, paid);
        let package = dir.join("alice.json");
        world.export(&newest, STRANGER, &package, &[]).exits(0);
        let mut nodes = vec![honest, honest];
        nodes.insert(usize::try_from(at).unwrap(), liar.as_str());
        let nodes = nodes.join(",");
        let before = world.coins(account).await;
        let watch = [
            "watch",
            "--dir",
            &tower,
            "--rpc-url",
            &nodes,
            "--key-file",
            &key_file,
        ];
        settle(&[&watch[..], &["--broadcast", "--once", "--ndjson"]].concat()).exits(0);
        let spent = before - world.coins(account).await;
        assert!(spent > 0 && spent < before / 100, "{spent} of {before} wei");
        let shown = world.settle("status", &world.file(&newest), &["--json"]).json();
        assert_eq!(shown["outcomes"][0]["you"], (500 + paid).to_string());
    }
    // What it could do alone.
    let file = world.file(&world.received(9, 1_100));
    let alone = at("submit", &file, &[&liar], &[]).exits(0).json();
    let most = alone["cost_max_wei"].as_str().unwrap().parse::<u128>().unwrap();
    assert!(most > world.coins(account).await / 20, "{most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_newest_block_is_old_is_said_to_be_stuck() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let newest = world.received(5, 900);
    let dir = world.subdirectory("tower");
    world
        .export(&newest, STRANGER, &dir.join("alice.json"), &[])
        .exits(0);
    let file = world.file(&newest);
    let stuck = |output: &crate::cli::Output| {
        let warnings = output.json()["warnings"].as_array().unwrap().clone();
        warnings
            .iter()
            .any(|text| text.as_str().unwrap().contains("the node is stuck"))
    };
    for verb in ["status", "plan"] {
        assert!(!stuck(&world.settle(verb, &file, &["--json"]).exits(0)));
        let late = world
            .settle(verb, &file, &["--json", "--stale-after-s", "0"])
            .exits(0);
        assert!(stuck(&late), "{}", late.stdout);
        assert!(late.stderr.contains("the node is stuck"));
    }
    world
        .settle("dispute", &file, &["--stale-after-s", "0"])
        .exits(0)
        .says("the node is stuck");
    world.watch_once(&dir, STRANGER, &[]).exits(0);
    let watch = world
        .watch_once(&dir, STRANGER, &["--stale-after-s", "0"])
        .exits(6);
    assert!(watch.events().contains(&"stale".to_owned()));
    assert_eq!(watch.lines().last().unwrap()["stale"], true);
}
