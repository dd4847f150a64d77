//! `settle watch`: the client is offline, the hub shows old evidence, and the watchtower holds a key for gas only.

use crate::{
    cli::Running,
    vouchers::{CLIENT, HUB, PERIOD_S, STRANGER, key, lock, opening, preimage},
    world::{VAULT_REST, World},
};
use protocol_spec::{DirectionEvidence, Evidence, Side};

/// The command line of a watchtower that runs until it is killed.
fn watching(world: &World, dir: &str) -> Vec<String> {
    let key_file = world.key_file(STRANGER);
    let words = [
        "watch",
        "--dir",
        dir,
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
        "--broadcast",
        "--ndjson",
        "--every",
        "1",
    ];
    words.map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchtower_gets_an_offline_client_its_fair_amount() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let dir = world.subdirectory("tower");
    let newest = world.received(5, 900);
    world
        .export(&newest, STRANGER, &dir.join("alice.json"), &[])
        .exits(0);
    let quiet = world.watch_once(&dir, STRANGER, &[]).exits(0);
    assert_eq!(quiet.events(), ["watching", "guarding", "open", "looked"]);

    world.stale_dispute().await;
    let file = world.file(&newest);
    let status = world.settle("status", &file, &["--json"]).json();
    assert_eq!(
        status["outcomes"][0]["you"], "500",
        "what the hub is about to get away with"
    );
    let answered = world.watch_once(&dir, STRANGER, &[]).exits(0);
    assert_eq!(
        answered.events(),
        [
            "watching", "guarding", "disputed", "sent", "looked", "mined", "looked"
        ]
    );
    assert_eq!(
        world.settle("status", &file, &["--json"]).json()["outcomes"][0]["you"],
        "1400"
    );
    // Nothing more to say, until it is time to pay out.
    assert!(
        !world
            .watch_once(&dir, STRANGER, &[])
            .exits(0)
            .events()
            .contains(&"sent".to_owned())
    );
    world.pass(PERIOD_S).await;
    let paid = world.watch_once(&dir, STRANGER, &[]).exits(0);
    assert_eq!(paid.events().last().unwrap(), "looked");
    assert!(
        paid.events().contains(&"closed".to_owned()),
        "{:?}",
        paid.events()
    );
    assert_eq!(world.balance(p.config.client).await, 1400);
    assert_eq!(world.vault().await, 100 + VAULT_REST);
    // The client's keys sent nothing in all that time but the opening.
    assert_eq!(
        world.nonce(key(crate::vouchers::CLIENT_SIGNER).address()).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_watchtower_takes_newer_packages_and_keeps_the_old_for_bad_ones() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let (tower, file) = (dir.display().to_string(), dir.join("alice.json"));
    let args = watching(&world, &tower);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world
        .export(&world.received(3, 300), STRANGER, &file, &[])
        .exits(0);
    let mut watch = Running::start(&args);
    assert_eq!(watch.expect("guarding")["seq"], "3");
    world
        .export(&world.received(5, 900), STRANGER, &file, &[])
        .exits(0);
    assert_eq!(watch.expect("replaced")["seq"], "5");
    // An older one, garbage, and one for somebody else: reported, and nothing is lost.
    world
        .export(&world.received(4, 600), STRANGER, &file, &[])
        .exits(0);
    assert_eq!(watch.expect("kept")["seq"], "4");
    std::fs::write(&file, "{").unwrap();
    assert!(
        watch.expect("bad_file")["text"]
            .as_str()
            .unwrap()
            .contains("cannot be read")
    );
    world
        .export(&world.received(6, 910), HUB, &dir.join("other.json"), &[])
        .exits(0);
    assert!(
        watch.expect("bad_file")["text"]
            .as_str()
            .unwrap()
            .contains("not for the key")
    );
    std::fs::remove_file(&file).unwrap();
    watch.expect("vanished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchtower_killed_after_it_sent_goes_on_with_the_same_transaction() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let dir = world.subdirectory("tower");
    let (tower, file) = (dir.display().to_string(), dir.join("alice.json"));
    let args = watching(&world, &tower);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world
        .export(&world.received(5, 900), STRANGER, &file, &[])
        .exits(0);
    let mut watch = Running::start(&args);
    watch.expect("guarding");
    // Disputed while nothing is mined: it sends, and is killed before it sees what becomes of that.
    world.automine(false).await;
    let soon = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.mine().await;
    };
    tokio::join!(world.stale_dispute(), soon);
    let sent = watch.expect("sent");
    assert_eq!(sent["command"], "submit");
    watch.kill();
    world
        .export(&world.received(5, 900), STRANGER, &file, &[])
        .exits(0);
    let mut watch = Running::start(&args);
    watch.expect("disputed");
    watch.expect("looked");
    world.mine().await;
    world.automine(true).await;
    let mined = watch.expect("mined");
    assert_eq!(
        mined["transaction"], sent["transaction"],
        "the same transaction, not a second one"
    );
    world.pass(PERIOD_S).await;
    watch.expect("closed");
    watch.kill();
    assert_eq!(world.balance(p.config.client).await, 1400);
    // One to submit, one to finalize.
    assert_eq!(world.nonce(key(STRANGER).address()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_own_key_a_party_also_has_its_locks_resolved_in_time() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let now = world.now().await;
    let locks = vec![lock(1, 20, now + 6000), lock(2, 30, now + 9000)];
    let opening = opening(&locks);
    let mut received = DirectionEvidence {
        voucher: Some(p.direct(Side::Hub, p.voucher((4, 100), (0, 0), opening.commitment()))),
        locks,
        opening: Some(opening),
        witnesses: vec![("1".to_owned(), preimage(1).into())],
    };
    let dir = world.subdirectory("own");
    let put = |received: &DirectionEvidence| {
        let evidence = p.evidence(Side::Client, received.clone(), DirectionEvidence::default());
        world.named("own/me.json", &evidence);
    };
    put(&received);
    world.empty_dispute(p).await;
    world.watch_once(&dir, CLIENT, &[]).exits(0);
    // The second preimage is learnt after the window.
    world.pass(PERIOD_S + 60).await;
    received.witnesses.push(("2".to_owned(), preimage(2).into()));
    put(&received);
    let resolved = world.watch_once(&dir, CLIENT, &[]).exits(0);
    let lines = resolved.lines();
    assert!(
        lines
            .iter()
            .any(|line| line["event"] == "sent" && line["command"] == "resolve"),
        "{lines:#?}"
    );
    world.pass(9000).await;
    world.watch_once(&dir, CLIENT, &[]).exits(0);
    assert_eq!(world.balance(p.config.client).await, 1000 + 100 + 20 + 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_watchtower_cannot_do_it_says() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let tower = dir.display().to_string();
    let key_file = world.key_file(STRANGER);
    let watch = |url: &str, more: &[&str]| {
        let base = [
            "watch",
            "--dir",
            &tower,
            "--rpc-url",
            url,
            "--key-file",
            &key_file,
            "--once",
            "--ndjson",
        ];
        crate::cli::settle(&[&base, more].concat())
    };
    // A package that has ended, and the window with it.
    let soon = (world.now().await + 60).to_string();
    world
        .export(
            &world.received(5, 900),
            STRANGER,
            &dir.join("a.json"),
            &["--deadline", &soon],
        )
        .exits(0);
    world.pass(120).await;
    world.stale_dispute().await;
    let cannot = watch(&world.url, &["--broadcast"]).exits(3);
    assert!(cannot.events().contains(&"cannot".to_owned()));
    world.pass(PERIOD_S / 2 + 60).await;
    // A dry look, with a package that counts.
    world
        .export(&world.received(5, 900), STRANGER, &dir.join("a.json"), &[])
        .exits(0);
    let due = watch(&world.url, &[]).exits(0);
    assert!(
        due.events().contains(&"due".to_owned()) && due.events().contains(&"alarm".to_owned()),
        "{:?}",
        due.events()
    );
    world.pass(PERIOD_S / 2 - 120).await;
    let sent = watch(&world.url, &["--broadcast"]).exits(0);
    assert!(sent.events().contains(&"alarm".to_owned()) && sent.events().contains(&"mined".to_owned()));
    // A newer one after the window.
    world.pass(PERIOD_S).await;
    world
        .export(&world.received(6, 950), STRANGER, &dir.join("a.json"), &[])
        .exits(0);
    let late = watch(&world.url, &["--broadcast"]).exits(11);
    assert!(late.events().contains(&"too_late".to_owned()) && late.events().contains(&"closed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchtower_without_node_directory_or_key_says_so() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let dir = world.subdirectory("tower");
    let (tower, key_file) = (dir.display().to_string(), world.key_file(STRANGER));
    world
        .export(&world.received(5, 900), STRANGER, &dir.join("a.json"), &[])
        .exits(0);
    let watch = |url: &str, more: &[&str]| {
        let base = [
            "watch",
            "--dir",
            &tower,
            "--rpc-url",
            url,
            "--key-file",
            &key_file,
            "--once",
            "--ndjson",
        ];
        crate::cli::settle(&[&base, more].concat())
    };
    // No node, no directory, no key, a literal key.
    assert!(
        watch("http://127.0.0.1:1", &["--broadcast"])
            .exits(6)
            .events()
            .contains(&"unreachable".to_owned())
    );
    let missing = [
        "watch",
        "--dir",
        "/nonexistent",
        "--rpc-url",
        &world.url,
        "--key-file",
        &key_file,
        "--once",
    ];
    crate::cli::settle(&missing).exits(2);
    // What packages are made for is told first, and by a command of its own.
    let address = key(STRANGER).address().to_string();
    let first = watch(&world.url, &[]).lines()[0].clone();
    assert_eq!(
        (&first["event"], &first["address"]),
        (&"watching".into(), &address.to_lowercase().into())
    );
    let told = crate::cli::settle(&["address", "--key-file", &key_file]).exits(0);
    assert_eq!(told.stdout.trim(), address);
    let told = crate::cli::settle(&["address", "--key-file", &key_file, "--json"]).exits(0);
    assert_eq!(told.json()["address"], address.to_lowercase());
    crate::cli::settle(&["address"]).exits(2).says("--key-file");
    let nobody = ["watch", "--dir", &tower, "--rpc-url", &world.url, "--once"];
    crate::cli::settle(&nobody).exits(2).says("key is needed");
    let literal = hex::encode(key(STRANGER).to_bytes());
    crate::cli::settle(&[&nobody[..], &["--key", &literal]].concat())
        .exits(2)
        .says("must not be on the command line");
}

/// A watchtower over `dir` that runs until it is killed.
pub(crate) fn start(world: &World, dir: &std::path::Path, more: &[&str]) -> Running {
    let args = watching(world, &dir.display().to_string());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Running::start(&[&args, more].concat())
}

/// A watchtower over `dir` that takes packages, and where.
pub(crate) fn listening(world: &World, dir: &std::path::Path, more: &[&str]) -> (Running, String) {
    listens(start(world, dir, &[&LISTEN, more].concat()))
}

/// The same with so many files at most.
pub(crate) fn listening_with_files(world: &World, dir: &std::path::Path, files: u32) -> (Running, String) {
    let args = watching(world, &dir.display().to_string());
    let args: Vec<&str> = args.iter().map(String::as_str).chain(LISTEN).collect();
    listens(Running::with_files(files, &args))
}

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

fn listens(mut watch: Running) -> (Running, String) {
    let address = watch.expect("listening")["address"].as_str().unwrap().to_owned();
    (watch, address)
}

/// Status and body of one HTTP request.
pub(crate) async fn http(address: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /packages HTTP/1.1\r\nhost: tower\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_taken_by_post_when_they_are_signed_for_it_and_newer() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let p = &world.parties;
    let dir = world.subdirectory("tower");
    let (mut watch, address) = listening(&world, &dir, &[]);
    let out = world.dir.path().join("out.json");
    let package = |evidence: &Evidence, submitter| {
        world.export(evidence, submitter, &out, &[]).exits(0);
        std::fs::read_to_string(&out).unwrap()
    };
    let newest = package(&world.received(5, 900), STRANGER);
    assert_eq!(http(&address, &newest).await.0, 200);
    assert_eq!(watch.expect("guarding")["seq"], "5");
    assert_eq!(
        http(&address, &newest).await.0,
        200,
        "the same again changes nothing"
    );
    assert_eq!(
        http(&address, &package(&world.received(4, 600), STRANGER))
            .await
            .0,
        409
    );
    assert_eq!(
        http(&address, &package(&world.received(6, 910), HUB)).await.0,
        400
    );
    assert_eq!(http(&address, "{}").await.0, 400);
    assert_eq!(http(&address, &" ".repeat(100_000)).await.0, 413);
    let evidence = serde_json::to_string(&world.received(7, 920)).unwrap();
    assert_eq!(http(&address, &evidence).await.0, 400, "evidence is no package");
    let mut unopened = crate::vouchers::Parties::new(31337, p.domain.adjudicator, p.config.token);
    unopened.config.salt = protocol_spec::Digest([8; 32]);
    let unopened = unopened.evidence(
        Side::Client,
        unopened.paid(Side::Hub, (1, 5), (0, 0)),
        DirectionEvidence::default(),
    );
    let (status, answer) = http(&address, &package(&unopened, STRANGER)).await;
    assert!(status == 400 && answer.contains("not open on chain"), "{answer}");
    // What was posted defends.
    world.stale_dispute().await;
    watch.expect("mined");
    let file = world.file(&world.received(5, 900));
    assert_eq!(
        world.settle("status", &file, &["--json"]).json()["outcomes"][0]["you"],
        "1400"
    );
}
