//! Fifty channels that a real hub has served, left by the real `settle batch` with the hub deleted. Both runs that send are
//! killed at the worst moment, and repeated: every channel is paid what its vouchers are worth, and nothing is sent twice.

use crate::{
    court::{give_bank, open_by_bank, pass},
    people::{DEPOSIT, Person, wallet_key},
    process::Hub,
    run, settle,
    world::{CHALLENGE_PERIOD_S, World},
    write_key,
};
use alloy::{
    providers::{Provider, RootProvider},
    sol_types::SolEvent,
};
use axum::{Json, Router, extract::State, routing::post};
use client_sdk::{Client, RedbStore, SignerKey, save_evidence};
use futures::{StreamExt, stream};
use hub::chain::{Chain, LogQuery};
use protocol_spec::{ChannelId, abi::IAdjudicator};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify};

const COUNT: u128 = 50;
/// Paid by the first channel, and one more by each after it.
const PAID: u128 = 1_000;
/// Received by the first channel, and two more by each after it.
const RECEIVED: u128 = 3_000;
const AT_ONCE: usize = 50;

/// When the door before the node stops answering transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    /// The node has it, and the sender does not know.
    Answer,
    /// The node never gets it.
    Transaction,
}

/// A door before the chain that keeps silent about one transaction, so that its sender can be killed there.
struct Door {
    upstream: RootProvider,
    holds: Holds,
    /// Transactions that pass before.
    left: AtomicUsize,
    reached: Notify,
}

impl Door {
    async fn open(world: &World, holds: Holds, after: usize) -> (String, Arc<Self>) {
        let door = Arc::new(Self {
            upstream: world.bank.provider().clone(),
            holds,
            left: AtomicUsize::new(after),
            reached: Notify::new(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(post(answer)).with_state(door.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, door)
    }
}

async fn answer(State(door): State<Arc<Door>>, Json(request): Json<Value>) -> Json<Value> {
    let method = request["method"].as_str().unwrap().to_owned();
    let sends = method == "eth_sendRawTransaction";
    let passes = |left: usize| left.checked_sub(1);
    let last = sends
        && door
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, passes)
            .is_err();
    if last && door.holds == Holds::Transaction {
        door.reached.notify_one();
        return std::future::pending().await;
    }
    let params = request["params"].clone();
    let asked = door.upstream.raw_request::<_, Value>(method.into(), params).await;
    if last {
        asked.unwrap();
        door.reached.notify_one();
        return std::future::pending().await;
    }
    Json(match asked {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(error) => {
            let error = error.as_error_resp().unwrap().clone();
            json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
        }
    })
}

/// Runs `settle` until the door keeps silent, then SIGKILL. Prints it as it would look by hand.
async fn killed(args: &[&str], dir: &Path, door: &Door) {
    let words = dir.join("killed.txt");
    let file = std::fs::File::create(&words).unwrap();
    let mut child = Command::new(settle())
        .args(args)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let reached = tokio::time::timeout(Duration::from_secs(60), door.reached.notified()).await;
    // SIGKILL.
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let words = std::fs::read_to_string(words).unwrap();
    println!("$ settle {}\n{words}[{status}]\n", args.join(" "));
    reached.expect("it never sent so many transactions");
    assert_eq!(status.code(), None, "it ended by itself");
}

/// What the channel's vouchers are worth.
struct Left {
    id: ChannelId,
    fair: u128,
}

/// Opens a channel that the bank pays for, pays and is paid in it, and keeps its evidence.
async fn live(world: &World, client: &Client, shop: &Person, dir: &Path, number: u128) -> Left {
    let (_, channel) = open_by_bank(world, client).await;
    channel.wait_hub_deposit(1_u128).await.unwrap();
    let (paid, received) = (PAID + number, RECEIVED + 2 * number);
    let sent = channel.pay(shop.channel.id(), paid).await.unwrap();
    let quote = || shop.channel.quote(channel.id(), received);
    while quote().await.unwrap().would_bounce.is_some() {
        // The hub has not seen its own deposit yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut news = channel.payments(None);
    shop.channel.pay(channel.id(), received).await.unwrap();
    assert_eq!(news.next().await.unwrap().unwrap().receipt.amount.0, received);
    let fair = channel.view().unwrap().balance.settled.0;
    assert_eq!(fair, DEPOSIT - paid - sent.fee.0 + received);
    let file = dir.join(format!("{number:02}.json"));
    save_evidence(&channel.evidence().await.unwrap(), &file).unwrap();
    let id = channel.id();
    Left { id, fair }
}

/// Serves `COUNT` channels of one key by a real hub, which is then deleted, with everything that the clients had but their
/// evidence and the key.
async fn served(world: &World, key: &SignerKey, dir: &Path) -> Vec<Left> {
    let mut hub = Hub::spawn(world);
    hub.ready();
    let shop = Person::arrive(world, "shop", world.listen).await;
    world.endow(key.address(), 0).await;
    give_bank(world, DEPOSIT * COUNT).await;
    let store = world.dir.join("client.redb");
    let client = Client::builder(format!("ws://{}", world.listen))
        .signer(key.clone())
        .sender(wallet_key(key))
        .store(RedbStore::open(&store).unwrap())
        .rpc(world.rpc_url.as_str())
        .token(world.deployed.token)
        .chain_poll(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    let lives = (0..COUNT).map(|number| live(world, &client, &shop, dir, number));
    let left = stream::iter(lives).buffered(AT_ONCE).collect().await;
    client.shutdown().await;
    shop.client.shutdown().await;
    hub.kill();
    std::fs::remove_dir_all(&world.hub_dir).unwrap();
    std::fs::remove_file(store).unwrap();
    left
}

/// What the chain has paid to the client, by channel.
async fn paid_out(world: &World, from: u64) -> BTreeMap<ChannelId, u128> {
    let query = LogQuery {
        address: world.deployed.adjudicator,
        from,
        to: world.bank.head().await.unwrap().number,
    };
    let logs = world.bank.logs(query).await.unwrap();
    let closed = logs.iter().filter_map(|log| {
        let topics = log.topics.iter().copied();
        IAdjudicator::Closed::decode_raw_log(topics, &log.data).ok()
    });
    closed
        .map(|closed| (ChannelId(closed.channelId.0), closed.clientBalance.to()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_channels_are_paid_in_full_with_the_hub_deleted_by_batches_that_are_killed_and_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let Some(world) = World::on_anvil(dir.path()).await else {
        return;
    };
    let exits = world.dir.join("exits");
    std::fs::create_dir(&exits).unwrap();
    let key = SignerKey::from_bytes(&rand::random()).unwrap();
    let left = served(&world, &key, &exits).await;
    let fair: u128 = left.iter().map(|left| left.fair).sum();
    let from = world.bank.head().await.unwrap().number;

    let key_file = write_key(&world, "client.key", &key);
    let exits = exits.to_str().unwrap();
    let at = |url| ["--dir", exits, "--rpc-url", url];
    let send = |verb, url| {
        let sends = ["--key-file", key_file.as_str(), "--broadcast", "--wait"];
        [&["batch", verb][..], &at(url)[..], &sends[..]].concat()
    };
    let planned = run(
        &settle(),
        &[&["batch", "plan"][..], &at(&world.rpc_url)[..]].concat(),
    );
    assert!(planned.contains(&fair.to_string()), "not {fair} in all");

    // The node has the 25th dispute when the process dies, and the process was not told.
    let (url, door) = Door::open(&world, Holds::Answer, 24).await;
    killed(&send("dispute", &url), dir.path(), &door).await;
    let disputed = run(&settle(), &send("dispute", &world.rpc_url));
    let earlier = disputed.matches("an earlier run sent it").count();
    assert_eq!(earlier, 25, "{disputed}");
    assert_eq!(nonce(&world, &key).await, 50, "one dispute for each channel");

    pass(&world, CHALLENGE_PERIOD_S + 1).await;
    // It is in the journal, and no node has it.
    let (url, door) = Door::open(&world, Holds::Transaction, 0).await;
    killed(&send("finalize", &url), dir.path(), &door).await;
    assert!(paid_out(&world, from).await.is_empty());
    run(&settle(), &send("finalize", &world.rpc_url));
    assert_eq!(nonce(&world, &key).await, 51, "all in one transaction");

    let got = paid_out(&world, from).await;
    println!("{:<8} {:<66} {:>9} {:>9}", "evidence", "channel", "fair", "got");
    for (number, Left { id, fair }) in left.iter().enumerate() {
        let got = got.get(id).copied().unwrap_or_default();
        println!("{number:02}.json  {:<66} {fair:>9} {got:>9}", id.to_string());
        assert_eq!(got, *fair, "{number:02}.json");
    }
    assert_eq!(world.tokens_of(key.address()).await, fair, "paid in full");
    println!("50 channels: fair {fair}, got {fair}");
}

async fn nonce(world: &World, key: &SignerKey) -> u64 {
    let provider = world.bank.provider();
    provider.get_transaction_count(key.address()).await.unwrap()
}
