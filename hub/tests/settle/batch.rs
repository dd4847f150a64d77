//! `settle batch`: fifty channels of one client with one key.

use crate::{
    cli::{Output, settle},
    vouchers::{CLIENT, CLIENT_SIGNER, HUB, PERIOD_S, Parties, STRANGER, key},
    world::{Erc20, World},
};
use alloy::primitives::U256;
use hub::chain::embedded::{EmbeddedChain, EmbeddedConfig, ServedChain};
use protocol_spec::{Digest, DirectionEvidence, Evidence, Side, calls};

const CHANNELS: u8 = 50;

/// On the embedded chain, which is reached over HTTP by the binary.
pub(crate) async fn world_on_embedded() -> (World, EmbeddedChain, ServedChain) {
    let chain = EmbeddedChain::new(EmbeddedConfig::default());
    let served = chain.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = served.url();
    let world = World::build(chain.provider(), url, None, false).await;
    (world, chain, served)
}

fn parties(world: &World, number: u8) -> Parties {
    let mut parties = Parties::new(
        world.parties.domain.chain_id,
        world.parties.domain.adjudicator,
        world.parties.config.token,
    );
    parties.config.salt = Digest([number; 32]);
    parties
}

/// Opens the channels with 10 each, in which the hub has paid 1 to 50 out of what the client paid it before.
async fn open(world: &World, dir: &str) -> u128 {
    let p = &world.parties;
    let all = U256::from(10 * u128::from(CHANNELS));
    let mint = Erc20::mintCall {
        to: p.config.client,
        amount: all,
    };
    world.call(CLIENT, p.config.token, 0, &mint).await;
    let approve = Erc20::approveCall {
        spender: p.domain.adjudicator,
        amount: all,
    };
    world.call(CLIENT, p.config.token, 0, &approve).await;
    let mut fair = 0;
    for number in 100..100 + CHANNELS {
        let channel = parties(world, number);
        world
            .call(CLIENT, p.domain.adjudicator, 0, &calls::open(&channel.config, 10))
            .await;
        // 10 paid to the hub, and `back` of that returned.
        let back = u128::from(number % 10);
        fair += back;
        let evidence: Evidence = channel.evidence(
            Side::Client,
            channel.paid(Side::Hub, (2, back), (1, 10)),
            channel.paid(Side::Client, (1, 10), (0, 0)),
        );
        world.named(&format!("{dir}/{number}.json"), &evidence);
    }
    fair
}

fn batch(world: &World, verb: &str, dir: &str, args: &[&str]) -> Output {
    let dir = world.dir.path().join(dir).display().to_string();
    let base = ["batch", verb, "--dir", &dir, "--rpc-url", &world.url];
    settle(&[&base, args].concat())
}

async fn fifty(world: &World) {
    let p = &world.parties;
    world.subdirectory("many");
    let fair = open(world, "many").await;
    let key_file = world.key_file(CLIENT_SIGNER);
    let send = ["--key-file", &key_file, "--broadcast", "--wait", "--json"];
    let planned = batch(world, "plan", "many", &["--json"]).exits(0).json();
    assert_eq!(
        planned["channels"].as_array().unwrap().len(),
        usize::from(CHANNELS)
    );
    assert_eq!(planned["totals"][0]["now"], "500");
    assert_eq!(planned["totals"][0]["answered"], fair.to_string());
    let table = batch(world, "plan", "many", &[]).exits(0).stdout;
    assert!(
        table.contains("yours in all") && table.contains("149.json"),
        "{table}"
    );
    batch(world, "finalize", "many", &[]).exits(4);

    // Showing what acknowledges one's own payments loses as it stands; the hub has not disputed. By itself it is not shown.
    // A dry run sends nothing.
    batch(world, "dispute", "many", &[]).exits(0);
    batch(world, "dispute", "many", &["--force"]).exits(0);
    assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 0);
    // One damaged file and one for a stranger's channel do not stop the other fifty.
    world.named("many/damaged.json", &"no evidence");
    let foreign = parties(world, 7).evidence(
        Side::Hub,
        DirectionEvidence::default(),
        DirectionEvidence::default(),
    );
    world.named("many/foreign.json", &foreign);
    let disputed = batch(world, "dispute", "many", &[&send[..], &["--force"]].concat())
        .exits(9)
        .json();
    assert_eq!((&disputed["done"], &disputed["failed"]), (&50.into(), &2.into()));
    for name in ["damaged", "foreign"] {
        std::fs::remove_file(world.dir.path().join(format!("many/{name}.json"))).unwrap();
    }
    assert_eq!(world.nonce(key(CLIENT_SIGNER).address()).await, 50);
    batch(world, "submit", "many", &send).exits(4);
    batch(world, "finalize", "many", &send).exits(7);

    world.pass(PERIOD_S).await;
    let before = world.balance(p.config.client).await;
    let stranger = world.key_file(STRANGER);
    let finalized = ["--key-file", &stranger, "--broadcast", "--wait", "--json"];
    let finalized = batch(world, "finalize", "many", &finalized).exits(0).json();
    assert_eq!(finalized["done"], 50);
    assert_eq!(
        world.nonce(key(STRANGER).address()).await,
        1,
        "all in one transaction"
    );
    assert_eq!(world.balance(p.config.client).await - before, fair);
    batch(world, "finalize", "many", &send).exits(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_channels_are_left_with_one_key_on_anvil() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    fifty(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_channels_are_left_with_one_key_on_the_embedded_chain() {
    let (world, _chain, _served) = world_on_embedded().await;
    fifty(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_killed_goes_on_where_it_was() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    world.subdirectory("few");
    let evidence = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (0, 0)),
        DirectionEvidence::default(),
    );
    world.named("few/a.json", &evidence);
    let key_file = world.key_file(CLIENT);
    let send = ["--key-file", &key_file, "--broadcast", "--json"];
    let nonce = world.nonce(key(CLIENT).address()).await;
    world.automine(false).await;
    let sent = batch(&world, "dispute", "few", &send).exits(0).json();
    // Not waited for: the same again finds it pending, and sends no second one.
    let pending = batch(&world, "dispute", "few", &send).exits(6).json();
    assert_eq!(pending["channels"][0]["error"]["kind"], "unreachable");
    world.mine().await;
    world.automine(true).await;
    let again = batch(&world, "dispute", "few", &send).exits(0).json();
    assert_eq!(
        again["channels"][0]["transaction"],
        sent["channels"][0]["transaction"]
    );
    assert!(
        again["channels"][0]["result"]
            .as_str()
            .unwrap()
            .contains("an earlier run sent it")
    );
    assert_eq!(world.nonce(key(CLIENT).address()).await, nonce + 1);
    // Answers of many disputes: with nothing there, refused; a directory without evidence, too.
    world.subdirectory("none");
    batch(&world, "plan", "none", &[])
        .exits(2)
        .says("there is no *.json");
    batch(&world, "plan", "nowhere", &[]).exits(2);
    batch(&world, "dispute", "few", &["--broadcast"])
        .exits(2)
        .says("--key-file");
    let other = world.key_file(HUB);
    batch(&world, "submit", "few", &["--key-file", &other]).exits(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_files_too_and_shows_nothing_that_loses_money() {
    let (world, _chain, _served) = world_on_embedded().await;
    world.subdirectory("some");
    let file = world.named("some/one.json", &world.received(3, 0));
    let dir = world.dir.path().join("some").display().to_string();
    let run = |verb: &str, args: &[&str]| {
        let base = ["batch", verb, "--rpc-url", &world.url];
        settle(&[&base, args].concat())
    };
    let channels = |output: Output| output.exits(0).json()["channels"].as_array().unwrap().len();
    assert_eq!(channels(run("plan", &["--evidence", &file, "--json"])), 1);
    assert_eq!(
        channels(run("plan", &["--dir", &file, "--dir", &dir, "--json"])),
        1,
        "named twice"
    );
    let warnings = |args: &[&str]| {
        run("plan", &[&["--dir", &file, "--json"], args].concat())
            .exits(0)
            .json()["warnings"]
            .clone()
    };
    assert_eq!(warnings(&[]), serde_json::json!([]));
    let stuck = warnings(&["--stale-after-s", "0"]);
    assert!(
        stuck[0].as_str().unwrap().contains("the node is stuck"),
        "{stuck}"
    );
    run("plan", &[]).exits(2);
    run("plan", &["--dir", "/nonexistent.json"]).exits(2);
    // This evidence would lower what its owner gets: alone it is refused, and a batch does not show it.
    world
        .settle("dispute", &file, &[])
        .exits(5)
        .says("--without-evidence");
    let key_file = world.key_file(CLIENT_SIGNER);
    let send = [
        "--evidence",
        &file,
        "--key-file",
        &key_file,
        "--broadcast",
        "--wait",
    ];
    run("dispute", &send).exits(0);
    run("submit", &send).exits(4);
    let status = world.settle("status", &file, &["--json"]).json();
    assert_eq!(
        (&status["state"], &status["outcomes"][0]["you"]),
        (&"disputed".into(), &"1000".into())
    );
    // Beside the file, as for one in a directory.
    assert!(world.dir.path().join("some/settle.journal").exists());
}
