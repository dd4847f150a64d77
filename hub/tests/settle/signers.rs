//! `--signer`: a remote signer signs, and one that lies, sleeps or declines changes nothing.
//!
//! Anvil's own account is the honest signer: it shares no code with `settle`. The others are a small process-like server of
//! our own, whose faults are named. `SETTLE_SIGNER=URL SETTLE_SIGNER_KEY=HEX` puts another in anvil's place (clef,
//! web3signer, ganache), which must have that key: tests whose names begin with `anvil`.

use crate::{
    cli::settle,
    vouchers::{CLIENT, HUB, HUB_SIGNER, STRANGER, key},
    world::{World, local},
};
use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxLegacy, TypedTransaction},
    eips::eip2718::Encodable2718 as _,
    network::{Ethereum, NetworkTransactionBuilder as _},
    primitives::{Address, Bytes, U256, hex},
    providers::{Provider as _, RootProvider},
    rpc::types::TransactionRequest,
    signers::SignerSync as _,
};
use axum::{Json, Router, extract::State, routing::post};
use protocol_spec::{DirectionEvidence, Evidence, Package, Side, SignerKey};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The key of anvil's first account, or `SETTLE_SIGNER_KEY`.
fn anvil_key() -> SignerKey {
    let first = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let digits = std::env::var("SETTLE_SIGNER_KEY").unwrap_or(first.to_owned());
    let bytes = hex::decode(digits).unwrap();
    SignerKey::from_bytes(&bytes.try_into().unwrap()).unwrap()
}

/// The world's anvil, or the signer at `SETTLE_SIGNER`.
fn honest(world: &World) -> String {
    std::env::var("SETTLE_SIGNER").unwrap_or(world.url.clone())
}

/// What a signer does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Behaviour {
    /// Returns the bytes, as web3signer does.
    Honest,
    /// Returns an object with them, as clef does.
    Object,
    Chain,
    Nonce,
    Gas,
    Fee,
    Tip,
    Receiver,
    Value,
    Call,
    AccessList,
    AnotherType,
    AnotherKey,
    MoreBytes,
    Garbage,
    Declines,
    Sleeps,
    /// Has methods of its own, and takes typed data as an object.
    Clef,
    /// Takes typed data as an object only.
    Ganache,
    /// Does not know version 4.
    Web3signer,
}

struct Signer {
    keys: Vec<SignerKey>,
    behaviour: Behaviour,
    asked: AtomicUsize,
    /// Signs typed data in its place.
    anvil: Option<String>,
}

/// Starts a signer; its URL.
async fn signer(behaviour: Behaviour, keys: &[SignerKey]) -> (String, Arc<Signer>) {
    signer_before(behaviour, keys, None).await
}

async fn signer_before(
    behaviour: Behaviour,
    keys: &[SignerKey],
    anvil: Option<String>,
) -> (String, Arc<Signer>) {
    let signer = Arc::new(Signer {
        keys: keys.to_vec(),
        behaviour,
        asked: AtomicUsize::new(0),
        anvil,
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(serve)).with_state(signer.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, signer)
}

async fn serve(State(signer): State<Arc<Signer>>, Json(call): Json<Value>) -> Json<Value> {
    let answer = |result: Value| Json(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }));
    let method = call["method"].as_str().unwrap();
    let refuse = |code: i64| {
        let error = json!({ "code": code, "message": "not spoken here" });
        Json(json!({ "jsonrpc": "2.0", "id": call["id"], "error": error }))
    };
    let is_text = call["params"][1].is_string();
    match (signer.behaviour, method) {
        (Behaviour::Clef, method) if method.starts_with("eth_") => return refuse(-32601),
        (Behaviour::Web3signer, "eth_signTypedData_v4") => return refuse(-32601),
        (Behaviour::Ganache, "eth_signTypedData_v4") if is_text => return refuse(-32700),
        (Behaviour::Clef, "account_signTypedData") if is_text => return refuse(-32602),
        (Behaviour::Clef | Behaviour::Ganache | Behaviour::Web3signer, method)
            if method.contains("signTypedData") =>
        {
            signer.asked.fetch_add(1, Ordering::SeqCst);
            let anvil = RootProvider::<Ethereum>::new_http(signer.anvil.as_ref().unwrap().parse().unwrap());
            let asked = anvil.raw_request::<_, Value>("eth_signTypedData_v4".into(), &call["params"]);
            return answer(asked.await.unwrap());
        }
        _ => {}
    }
    if ["eth_accounts", "account_list"].contains(&method) {
        return answer(json!(
            signer.keys.iter().map(SignerKey::address).collect::<Vec<_>>()
        ));
    }
    signer.asked.fetch_add(1, Ordering::SeqCst);
    match signer.behaviour {
        Behaviour::Declines => Json(json!({
            "jsonrpc": "2.0", "id": call["id"], "error": { "code": -32000, "message": "rejected by the person" }
        })),
        Behaviour::Sleeps => std::future::pending().await,
        Behaviour::Garbage => answer(json!("0x02c0")),
        behaviour => match call["method"].as_str().unwrap() {
            "eth_signTransaction" | "account_signTransaction" => {
                answer(signed(behaviour, &signer.keys, &call["params"][0]))
            }
            // The signature of something else by the right key; the honest one is anvil's.
            "eth_signTypedData_v4" => {
                let signature = signer.keys[0].sign(&protocol_spec::Digest([1; 32]));
                answer(json!(format!("0x{}", hex::encode(signature.0))))
            }
            other => panic!("{other}"),
        },
    }
}

/// The transaction asked for, spoiled and signed.
fn signed(behaviour: Behaviour, keys: &[SignerKey], request: &Value) -> Value {
    let from: Address = serde_json::from_value(request["from"].clone()).unwrap();
    let request: TransactionRequest = serde_json::from_value(request.clone()).unwrap();
    let TypedTransaction::Eip1559(mut tx) = request.build_unsigned().unwrap() else {
        panic!("not EIP-1559");
    };
    match behaviour {
        Behaviour::Chain => tx.chain_id += 1,
        Behaviour::Nonce => tx.nonce += 1,
        Behaviour::Gas => tx.gas_limit += 1,
        Behaviour::Fee => tx.max_fee_per_gas += 1,
        Behaviour::Tip => tx.max_priority_fee_per_gas += 1,
        Behaviour::Receiver => tx.to = Address::repeat_byte(9).into(),
        Behaviour::Value => tx.value = U256::from(1),
        Behaviour::Call => tx.input = Bytes::from_static(b"else"),
        Behaviour::AccessList => tx.access_list.0.push(Default::default()),
        _ => {}
    }
    let by = keys.iter().find(|key| key.address() == from).unwrap();
    let by = match behaviour {
        Behaviour::AnotherKey => key(HUB),
        _ => by.clone(),
    };
    let mut raw = sealed(behaviour, tx, &by);
    if behaviour == Behaviour::MoreBytes {
        raw.push(0);
    }
    let raw = format!("0x{}", hex::encode(raw));
    match behaviour {
        Behaviour::Object | Behaviour::Clef => json!({ "raw": raw, "tx": {} }),
        _ => json!(raw),
    }
}

fn sealed(behaviour: Behaviour, tx: TxEip1559, by: &SignerKey) -> Vec<u8> {
    if behaviour == Behaviour::AnotherType {
        let legacy = TxLegacy {
            chain_id: Some(tx.chain_id),
            nonce: tx.nonce,
            gas_price: tx.max_fee_per_gas,
            gas_limit: tx.gas_limit,
            to: tx.to,
            value: tx.value,
            input: tx.input,
        };
        let signature = local(by).sign_hash_sync(&legacy.signature_hash()).unwrap();
        return legacy.into_signed(signature).encoded_2718();
    }
    let signature = local(by).sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718()
}

/// The client holds voucher 5 and the hub disputes with an old one.
async fn disputed(world: &World) -> Evidence {
    world.stale_dispute().await;
    world.received(5, 900)
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_signs_for_a_watchtower_whose_key_settle_never_sees() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let (tower, account) = (world.subdirectory("tower"), anvil_key().address().to_string());
    let (newest, url) = (disputed(&world).await, honest(&world));
    world.fund(anvil_key().address()).await;
    let (file, signer) = (
        world.named("me.json", &newest),
        world.key_file(crate::vouchers::CLIENT_SIGNER),
    );
    let out = tower.join("alice.json").display().to_string();
    let export = [
        "export",
        "--evidence",
        &file,
        "--key-file",
        &signer,
        "--submitter",
        &account,
        "--out",
        &out,
    ];
    settle(&export).exits(0);
    let dir = tower.display().to_string();
    let watch = [
        "watch",
        "--dir",
        &dir,
        "--rpc-url",
        &world.url,
        "--signer",
        &url,
        "--signer-address",
        &account,
        "--broadcast",
        "--once",
        "--ndjson",
    ];
    let answered = settle(&watch).exits(0).says("waiting for the signer of");
    assert!(
        answered.events().contains(&"mined".to_owned()),
        "{:?}",
        answered.events()
    );
    world.pass(crate::vouchers::PERIOD_S).await;
    // Anybody may finalize.
    let by_signer = [
        "--signer",
        &url,
        "--signer-address",
        &account,
        "--broadcast",
        "--wait",
    ];
    world.settle("finalize", &out, &by_signer).exits(0);
    assert_eq!(world.balance(world.parties.config.client).await, 1400);
}

/// Anvil hashes the typed data by itself, from the JSON.
#[tokio::test(flavor = "multi_thread")]
async fn anvil_countersigns_a_package_as_typed_data() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let mut parties = crate::vouchers::Parties::new(
        31337,
        world.parties.domain.adjudicator,
        world.parties.config.token,
    );
    parties.config.client_signer = anvil_key().address();
    let evidence = parties.evidence(
        Side::Client,
        parties.paid(Side::Hub, (5, 900), (0, 0)),
        DirectionEvidence::default(),
    );
    let (file, out) = (
        world.named("me.json", &evidence),
        world.dir.path().join("package.json"),
    );
    let submitter = key(STRANGER).address().to_string();
    let path = out.display().to_string();
    let export = |signer: &str, more: &[&str]| {
        let base = [
            "export",
            "--evidence",
            &file,
            "--submitter",
            &submitter,
            "--out",
            &path,
            "--signer",
            signer,
        ];
        settle(&[&base, more].concat())
    };
    for more in [
        &[][..],
        &["--may-dispute", "--deadline", "18446744073709551614"][..],
    ] {
        let account = anvil_key().address().to_string();
        export(&honest(&world), &[&["--signer-address", &account], more].concat()).exits(0);
        let package: Package = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        let accept = &package.countersignature;
        accept.verify(&parties.domain, anvil_key().address()).unwrap();
        assert_eq!(accept.accept.may_dispute, !more.is_empty());
        settle(&["verify", "--evidence", &path]).exits(0);
    }
    // Nothing has changed: nobody is asked again, and the package is the same. Anything else is asked for.
    let (liar, counts) = signer(Behaviour::Honest, &[anvil_key()]).await;
    let before = std::fs::read(&out).unwrap();
    export(&liar, &["--may-dispute", "--deadline", "18446744073709551614"]).exits(0);
    assert_eq!(
        counts.asked.load(Ordering::SeqCst),
        0,
        "one decision is signed once"
    );
    assert_eq!(std::fs::read(&out).unwrap(), before);
    export(&liar, &["--may-dispute"])
        .exits(3)
        .says("something else was signed");
    assert_eq!(counts.asked.load(Ordering::SeqCst), 1);
    assert_eq!(std::fs::read(&out).unwrap(), before);
    std::fs::remove_file(&out).unwrap();
    // The right key, but not over what was asked.
    export(&liar, &[]).exits(3).says("something else was signed");
    assert!(!out.exists());
}

/// Clef, web3signer and ganache name the same things otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn signers_of_other_dialects_are_understood() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let mut parties = crate::vouchers::Parties::new(
        31337,
        world.parties.domain.adjudicator,
        world.parties.config.token,
    );
    parties.config.client_signer = anvil_key().address();
    let received = parties.paid(Side::Hub, (5, 900), (0, 0));
    let evidence = parties.evidence(Side::Client, received, DirectionEvidence::default());
    let file = world.named("me.json", &evidence);
    let submitter = key(STRANGER).address().to_string();
    for behaviour in [Behaviour::Clef, Behaviour::Ganache, Behaviour::Web3signer] {
        let anvil = Some(world.url.clone());
        let (url, counts) = signer_before(behaviour, &[anvil_key()], anvil).await;
        let out = world.dir.path().join(format!("{behaviour:?}.json"));
        let path = out.display().to_string();
        let base = [
            "export",
            "--evidence",
            &file,
            "--submitter",
            &submitter,
            "--out",
            &path,
        ];
        settle(&[&base[..], &["--signer", &url]].concat()).exits(0);
        let package: Package = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        let by = anvil_key().address();
        package.countersignature.verify(&parties.domain, by).unwrap();
        assert_eq!(counts.asked.load(Ordering::SeqCst), 1, "{behaviour:?} signs once");
    }
    let newest = disputed(&world).await;
    let file = world.file(&newest);
    let (url, _) = signer(Behaviour::Clef, &[key(CLIENT)]).await;
    let by_clef = ["--signer", &url, "--broadcast", "--wait"];
    world.settle("submit", &file, &by_clef).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_lies_changes_nothing_and_each_failure_has_its_exit() {
    let Some(world) = World::on_anvil().await else {
        return;
    };
    let newest = disputed(&world).await;
    let file = world.file(&newest);
    let client = key(CLIENT).address();
    let before = world.nonce(client).await;
    let submit = |url: &str, more: &[&str]| {
        let base = ["--signer", url, "--broadcast", "--wait", "--signer-timeout", "1"];
        world.settle("submit", &file, &[&base, more].concat())
    };
    let lies = [
        (Behaviour::Chain, "chain 31338 instead of 31337"),
        (Behaviour::Nonce, "nonce"),
        (Behaviour::Gas, "gas limit"),
        (Behaviour::Fee, "fee per gas"),
        (Behaviour::Tip, "tip per gas"),
        (Behaviour::Receiver, "receiver"),
        (Behaviour::Value, "value 1 instead of 0"),
        (Behaviour::Call, "call 0x656c7365 instead of"),
        (Behaviour::AccessList, "access list"),
        (Behaviour::AnotherType, "another type"),
        (Behaviour::AnotherKey, "another key"),
        (Behaviour::MoreBytes, "more than one"),
        (Behaviour::Garbage, "no transaction"),
    ];
    for (behaviour, says) in lies {
        let (url, liar) = signer(behaviour, &[key(CLIENT)]).await;
        submit(&url, &[]).exits(3).says(says).says("nothing was sent");
        assert_eq!(liar.asked.load(Ordering::SeqCst), 1, "{behaviour:?}");
    }
    let (url, _) = signer(Behaviour::Declines, &[key(CLIENT)]).await;
    submit(&url, &[])
        .exits(10)
        .says("rejected by the person")
        .says("nothing was sent");
    let (url, _) = signer(Behaviour::Sleeps, &[key(CLIENT)]).await;
    submit(&url, &[])
        .exits(10)
        .says("within 1 s")
        .says("nothing was sent");
    submit("http://127.0.0.1:1", &[])
        .exits(10)
        .says("nothing was sent");
    submit("ledger", &[]).exits(2).says("--ledger");
    submit("somewhere", &[]).exits(2).says("--key-file");
    let (url, _) = signer(Behaviour::Honest, &[key(CLIENT), key(HUB_SIGNER)]).await;
    submit(&url, &[]).exits(2).says("--signer-address");
    let stranger = key(STRANGER).address().to_string();
    submit(&url, &["--signer-address", &stranger])
        .exits(3)
        .says("has no key of");
    // After all that nothing has left, and an honest one is enough.
    assert_eq!(world.nonce(client).await, before);
    let address = client.to_string();
    submit(&url, &["--signer-address", &address]).exits(0);
    assert_eq!(world.nonce(client).await, before + 1);
    world.pass(crate::vouchers::PERIOD_S).await;
    let (url, _) = signer(Behaviour::Object, &[key(CLIENT)]).await;
    let by_clef = ["--signer", &url, "--broadcast", "--wait"];
    world.settle("finalize", &file, &by_clef).exits(0);
    assert_eq!(world.balance(client).await, 1400);
}
