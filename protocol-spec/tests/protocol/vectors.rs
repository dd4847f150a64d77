//! The committed vectors against this crate: field values in, everything derived compared.

use crate::common::name as reject_name;
use alloy_primitives::hex;
use protocol_spec::{
    Accept, Address, Amount, CancelDispute, Channel, Close, Config, Digest, Domain, History, Invoice, Lock,
    LocksOpening, Login, Op, PaymentId, Receipt, Register, Seq, Side, Signature, SignerKey, UnixSeconds,
    Voucher, Withdraw,
    batch::{Tree, batch_digest, root_of},
    channel::{Clock, Delays},
    message::Frame,
    settlement::{Adjudication, Funds},
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Debug, str::FromStr};

type Row = BTreeMap<String, String>;

fn load(name: &str) -> Value {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(name: &str) -> Vec<Row> {
    let table = load(name);
    let count: usize = table["count"].as_str().unwrap().parse().unwrap();
    assert!(count > 0);
    let columns = table
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| *key != "count");
    let cell = |column: &Value, n: usize| column[n].as_str().unwrap().to_owned();
    (0..count)
        .map(|n| {
            columns
                .clone()
                .map(|(key, column)| (key.clone(), cell(column, n)))
                .collect()
        })
        .collect()
}

fn get<T: FromStr<Err: Debug>>(row: &Row, column: &str) -> T {
    row[column].parse().unwrap()
}

fn from<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn domain(row: &Row) -> Domain {
    Domain::new(get(row, "chain_id"), get(row, "adjudicator"))
}

fn words(text: &str) -> Vec<Digest> {
    let bytes = hex::decode(&text[2..]).unwrap();
    bytes
        .chunks(32)
        .map(|word| Digest(word.try_into().unwrap()))
        .collect()
}

fn signature(row: &Row) -> Signature {
    serde_json::from_value(Value::from(row["signature"].as_str())).unwrap()
}

fn check_signed(row: &Row, digest: Digest) {
    assert_eq!(digest, get(row, "digest"));
    let key = SignerKey::from_bytes(&get::<Digest>(row, "key").0).unwrap();
    assert_eq!(key.address(), get::<Address>(row, "signer"));
    assert_eq!(key.sign(&digest), signature(row));
    key.public().verify(&digest, &signature(row)).unwrap();
}

#[test]
fn vectors_of_configs() {
    for row in rows("config") {
        let config = Config {
            client: get(&row, "client"),
            client_signer: get(&row, "client_signer"),
            hub: get(&row, "hub"),
            hub_signer: get(&row, "hub_signer"),
            token: get(&row, "token"),
            challenge_period_s: get(&row, "challenge_period_s"),
            salt: get(&row, "salt"),
        };
        config.check().unwrap();
        assert_eq!(domain(&row).separator(), get(&row, "separator"));
        assert_eq!(config.id(&domain(&row)), get(&row, "channel_id"));
    }
}

#[test]
fn vectors_of_vouchers_and_cooperative_messages() {
    for row in rows("voucher") {
        let voucher = Voucher {
            channel_id: get(&row, "channel_id"),
            seq: get(&row, "seq"),
            paid: get(&row, "paid"),
            ack_seq: get(&row, "ack_seq"),
            ack_paid: get(&row, "ack_paid"),
            locks: get(&row, "locks"),
            history: get(&row, "history"),
        };
        check_signed(&row, voucher.digest(&domain(&row)));
    }
    for row in rows("close") {
        let message = Close {
            channel_id: get(&row, "channel_id"),
            client_deposit: get(&row, "client_deposit"),
            hub_deposit: get(&row, "hub_deposit"),
            client_balance: get(&row, "client_balance"),
            hub_balance: get(&row, "hub_balance"),
            deadline: get(&row, "deadline"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("withdraw") {
        let message = Withdraw {
            channel_id: get(&row, "channel_id"),
            side: if row["side"] == "0" {
                Side::Client
            } else {
                Side::Hub
            },
            total: get(&row, "total"),
            client_seq: get(&row, "client_seq"),
            client_paid: get(&row, "client_paid"),
            hub_seq: get(&row, "hub_seq"),
            hub_paid: get(&row, "hub_paid"),
            deadline: get(&row, "deadline"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("cancel_dispute") {
        let message = CancelDispute {
            channel_id: get(&row, "channel_id"),
            dispute_no: get(&row, "dispute_no"),
            deadline: get(&row, "deadline"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("accept") {
        let message = Accept {
            voucher: get(&row, "voucher"),
            submitter: get(&row, "submitter"),
            may_dispute: get(&row, "may_dispute"),
            deadline: get(&row, "deadline"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("invoice") {
        let message = Invoice {
            channel_id: get(&row, "channel_id"),
            amount: get(&row, "amount"),
            hash: get(&row, "hash"),
            resolver: get(&row, "resolver"),
            expires_at: get(&row, "expires_at"),
            memo: get(&row, "memo"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
}

#[test]
fn vectors_of_session_messages() {
    for row in rows("receipt") {
        let message = Receipt {
            payment_id: get(&row, "payment_id"),
            invoice: get(&row, "invoice"),
            payer: get(&row, "payer"),
            payee_channel: get(&row, "payee_channel"),
            payee_seq: get(&row, "payee_seq"),
            amount: get(&row, "amount"),
            at: get(&row, "at"),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("login") {
        let message = Login {
            server: row["server"].clone(),
            nonce: get(&row, "nonce"),
            signer: get(&row, "login_signer"),
            protocol: row["protocol"].clone(),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
    for row in rows("register") {
        let message = Register {
            channel_id: get(&row, "channel_id"),
            server: row["server"].clone(),
        };
        check_signed(&row, message.digest(&domain(&row)));
    }
}

#[test]
fn vectors_of_trees_and_locks() {
    for row in rows("batch") {
        let (leaves, index) = (words(&row["leaves"]), get::<usize>(&row, "index"));
        let tree = Tree::new(leaves.clone());
        assert_eq!(tree.root(), get(&row, "root"));
        assert_eq!(tree.proof(index), words(&row["proof"]));
        assert_eq!(
            root_of(&leaves[index], &words(&row["proof"])).unwrap(),
            tree.root()
        );
        check_signed(&row, batch_digest(&domain(&row), &tree.root()));
    }
    let locks: Vec<_> = rows("lock");
    for (set, opening) in rows("lock_set").iter().enumerate() {
        let mut leaves = Vec::new();
        let mine: Vec<_> = locks.iter().filter(|row| row["set"] == set.to_string()).collect();
        for row in &mine {
            let lock = Lock {
                id: get(row, "id"),
                amount: get(row, "amount"),
                expiry: get(row, "expiry"),
                hash: get(row, "hash"),
                resolver: get(row, "resolver"),
            };
            assert_eq!(lock.leaf(), get(row, "leaf"));
            leaves.push(lock.leaf());
        }
        let tree = Tree::new(leaves);
        mine.iter()
            .enumerate()
            .for_each(|(n, row)| assert_eq!(tree.proof(n), words(&row["proof"])));
        let computed = LocksOpening {
            root: tree.root(),
            total: get(opening, "total"),
            max_expiry: get(opening, "max_expiry"),
        };
        assert_eq!(computed.root, get(opening, "root"));
        assert_eq!(computed.commitment(), get(opening, "commitment"));
    }
}

#[test]
fn vectors_of_operations_and_histories() {
    for row in load("op").as_array().unwrap() {
        let op: Op = from(&row["op"]);
        assert_eq!(op.digest(), from(&row["digest"]));
        assert_eq!(
            History::initial(&from(&row["channel_id"]), from(&row["payer"])),
            from(&row["initial"])
        );
        let before: History = from(&row["history_before"]);
        assert_eq!(before.extended(&op), from(&row["history_after"]));
    }
    for row in rows("derived") {
        let payer =
            protocol_spec::Credit::payer_of(&get(&row, "channel_id"), &get::<PaymentId>(&row, "payment_id"));
        assert_eq!(payer, get(&row, "payer"));
    }
}

#[test]
fn vectors_of_refused_signatures() {
    let keys: Vec<_> = rows("voucher")
        .iter()
        .map(|row| SignerKey::from_bytes(&get::<Digest>(row, "key").0).unwrap())
        .collect();
    for row in rows("signature") {
        let key = keys
            .iter()
            .find(|key| key.address() == get::<Address>(&row, "signer"))
            .unwrap();
        let verdict = key.public().verify(&get(&row, "digest"), &signature(&row));
        assert_eq!(
            verdict.err().map_or("", |reject| reject.name()),
            row["error"],
            "{}",
            row["name"]
        );
    }
}

#[test]
fn vectors_of_accept_and_reject_sequences() {
    let world = load("sequence");
    let text = |key: &str| world[key].as_str().unwrap();
    let domain = Domain::new(
        text("chain_id").parse().unwrap(),
        text("adjudicator").parse().unwrap(),
    );
    let at: UnixSeconds = from(&world["now"]);
    let mut hub = Channel::new(from(&world["config"]), &domain, Side::Hub, Delays::default()).unwrap();
    hub.deposit_confirmed(Side::Client, from(&world["client_deposit"]));
    let first: Frame = from(&world["steps"][0]["frame"]);
    let protocol_spec::VoucherSignature::Direct(signature) = &first.voucher.signature else {
        panic!()
    };
    let key = signature.recover(&first.voucher.voucher.digest(&domain)).unwrap();
    for step in world["steps"].as_array().unwrap() {
        let frame: Frame = from(&step["frame"]);
        assert_eq!(frame.voucher.voucher.digest(&domain), from(&step["digest"]));
        let before = hub.to_record();
        let verdict = frame
            .voucher
            .verify(&domain, &key, false)
            .and_then(|verified| hub.accept(&verified, &frame.ops, Clock { now: at, chain: at }));
        let expected = step["expect"].as_str().unwrap();
        match verdict {
            Ok(accepted) => assert_eq!(format!("{accepted:?}"), expected),
            Err(reject) => {
                assert_eq!(reject_name::<()>(Err(reject)), expected, "{}", step["name"]);
                assert_eq!(before, hub.to_record());
            }
        }
    }
}

#[test]
fn vectors_of_settlements() {
    for case in load("settlement").as_array().unwrap() {
        let mut chain = Adjudication::default();
        for step in case["steps"].as_array().unwrap() {
            let payer: Side = from(&step["payer"]);
            let changed = if step["do"] == "submit" {
                let opening: Option<LocksOpening> = from(&step["opening"]);
                chain.submit(payer, &from(&step["voucher"]), opening.as_ref())
            } else {
                chain.resolve(
                    payer,
                    from(&step["leaf"]),
                    from(&step["amount"]),
                    step["in_time"] == true,
                )
            };
            assert_eq!(step["changed"], changed);
        }
        let amount = |key: &str| from::<Amount>(&case[key]);
        let funds = Funds {
            client_deposit: amount("client_deposit"),
            hub_deposit: amount("hub_deposit"),
            client_withdrawn: amount("client_withdrawn"),
            hub_withdrawn: amount("hub_withdrawn"),
        };
        assert_eq!(
            (chain.client.effective(), chain.hub.effective()),
            (amount("client_effective"), amount("hub_effective"))
        );
        assert_eq!(
            chain.balances(&funds),
            (amount("client_balance"), amount("hub_balance"))
        );
    }
    let _ = Seq::NONE;
}
