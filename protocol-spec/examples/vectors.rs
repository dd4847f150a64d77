//! Writes `protocol-spec/vectors/*.json`. Columns of strings, so that any language (and Foundry) reads them.
//!
//! `cargo run -p protocol-spec --example vectors`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::manual_is_multiple_of,
    reason = "a generator with fixed inputs"
)]

use alloy_primitives::hex;
use protocol_spec::{
    Accept, Address, Amount, CancelDispute, Channel, ChannelId, Close, Config, Credit, Digest, Domain,
    History, Invoice, Lock, LocksOpening, Login, Op, Payee, Payment, PaymentId, Receipt, Register, Return,
    ReturnReason, Seq, Side, SignedVoucher, SignerKey, UnixSeconds, Voucher, VoucherSignature, Withdraw,
    batch::{Tree, batch_digest},
    channel::{Clock, Delays},
    limits,
    message::Frame,
    settlement::{Adjudication, Funds},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A table: column name to values.
#[derive(Default)]
struct Table(BTreeMap<String, Vec<String>>);

impl Table {
    fn row(&mut self, cells: &[(&str, String)]) {
        for (name, value) in cells {
            self.0.entry((*name).to_owned()).or_default().push(value.clone());
        }
    }

    fn write(&self, name: &str) {
        let rows = self.0.values().next().unwrap().len();
        assert!(self.0.values().all(|column| column.len() == rows), "{name}");
        let mut value = serde_json::to_value(&self.0).unwrap();
        value["count"] = json!(rows.to_string());
        write(name, &value);
    }
}

fn write(name: &str, value: &Value) {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(&path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
    println!("{path}");
}

/// Fixed pseudo-random bytes: SHA-256 of a label and a number.
fn bytes(label: &str, n: usize) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(format!("{label} {n}")).into()
}
fn address(label: &str, n: usize) -> Address {
    Address::from_slice(&bytes(label, n)[12..])
}
fn key(n: usize) -> SignerKey {
    SignerKey::from_bytes(&bytes("key", n)).unwrap()
}
fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
fn text(address: Address) -> String {
    hex_of(address.as_slice())
}
fn joined(digests: &[Digest]) -> String {
    hex_of(&digests.iter().flat_map(|digest| digest.0).collect::<Vec<_>>())
}
fn number(label: &str, n: usize, max: u128) -> u128 {
    let wide = u128::from_be_bytes(bytes(label, n)[..16].try_into().unwrap());
    match n % 5 {
        0 => 0,
        1 => max,
        2 => wide % 1_000_000,
        _ => wide % (max + 1),
    }
}
fn amount(label: &str, n: usize) -> Amount {
    Amount(number(label, n, limits::AMOUNT_MAX))
}
fn seq(label: &str, n: usize) -> Seq {
    Seq(number(label, n, limits::SEQ_MAX.into()) as u64)
}
fn time(label: &str, n: usize) -> UnixSeconds {
    UnixSeconds(number(label, n, u64::MAX.into()) as u64)
}

fn domain() -> Domain {
    Domain::new(31_337, address("adjudicator", 0))
}

fn config(n: usize) -> Config {
    Config {
        client: address("client", n),
        client_signer: key(2 * n).address(),
        hub: address("hub", n),
        hub_signer: key(2 * n + 1).address(),
        token: if n % 3 == 0 {
            Address::ZERO
        } else {
            address("token", n)
        },
        challenge_period_s: [3600, 86_400, 2_592_000][n % 3],
        salt: Digest(bytes("salt", n)),
    }
}

fn domains_and_configs() {
    let mut table = Table::default();
    for n in 0..9 {
        let domain = Domain::new([31_337, 1, 8453][n / 3], address("adjudicator", n / 3));
        let config = config(n);
        table.row(&[
            ("chain_id", domain.chain_id.to_string()),
            ("adjudicator", text(domain.adjudicator)),
            ("separator", domain.separator().to_string()),
            ("client", text(config.client)),
            ("client_signer", text(config.client_signer)),
            ("hub", text(config.hub)),
            ("hub_signer", text(config.hub_signer)),
            ("token", text(config.token)),
            ("challenge_period_s", config.challenge_period_s.to_string()),
            ("salt", config.salt.to_string()),
            ("channel_id", config.id(&domain).to_string()),
        ]);
    }
    table.write("config");
}

/// Adds domain, key, digest and signature, writes the table.
fn signed_table(name: &str, rows: Vec<(Vec<(&str, String)>, Digest)>) {
    let mut table = Table::default();
    for (n, (mut cells, digest)) in rows.into_iter().enumerate() {
        let key = key(n % 4);
        cells.extend([
            ("chain_id", domain().chain_id.to_string()),
            ("adjudicator", text(domain().adjudicator)),
            ("digest", digest.to_string()),
            ("key", hex_of(&key.to_bytes()[..])),
            ("signer", text(key.address())),
            ("signature", hex_of(&key.sign(&digest).0)),
        ]);
        table.row(&cells);
    }
    table.write(name);
}

fn id(n: usize) -> ChannelId {
    ChannelId(bytes("channel", n))
}

fn vouchers() {
    let rows = (0..25).map(|n| {
        let voucher = Voucher {
            channel_id: id(n),
            seq: seq("seq", n),
            paid: amount("paid", n + 1),
            ack_seq: seq("ack", n + 2),
            ack_paid: amount("ack paid", n + 3),
            locks: if n % 2 == 0 {
                Digest::ZERO
            } else {
                Digest(bytes("locks", n))
            },
            history: Digest(bytes("history", n)),
        };
        let cells = vec![
            ("channel_id", voucher.channel_id.to_string()),
            ("seq", voucher.seq.to_string()),
            ("paid", voucher.paid.to_string()),
            ("ack_seq", voucher.ack_seq.to_string()),
            ("ack_paid", voucher.ack_paid.to_string()),
            ("locks", voucher.locks.to_string()),
            ("history", voucher.history.to_string()),
        ];
        (cells, voucher.digest(&domain()))
    });
    signed_table("voucher", rows.collect());
}

fn cooperative() {
    let rows = (0..15).map(|n| {
        let m = Close {
            channel_id: id(n),
            client_deposit: amount("a", n),
            hub_deposit: amount("b", n + 1),
            client_balance: amount("c", n + 2),
            hub_balance: amount("d", n + 3),
            deadline: time("e", n + 4),
        };
        let cells = vec![
            ("channel_id", m.channel_id.to_string()),
            ("client_deposit", m.client_deposit.to_string()),
            ("hub_deposit", m.hub_deposit.to_string()),
            ("client_balance", m.client_balance.to_string()),
            ("hub_balance", m.hub_balance.to_string()),
            ("deadline", m.deadline.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("close", rows.collect());
    let rows = (0..15).map(|n| {
        let m = Withdraw {
            channel_id: id(n),
            side: if n % 2 == 0 { Side::Client } else { Side::Hub },
            total: amount("f", n),
            client_seq: seq("g", n + 1),
            client_paid: amount("h", n + 2),
            hub_seq: seq("i", n + 3),
            hub_paid: amount("j", n + 4),
            deadline: time("k", n),
        };
        let cells = vec![
            ("channel_id", m.channel_id.to_string()),
            ("side", m.side.index().to_string()),
            ("total", m.total.to_string()),
            ("client_seq", m.client_seq.to_string()),
            ("client_paid", m.client_paid.to_string()),
            ("hub_seq", m.hub_seq.to_string()),
            ("hub_paid", m.hub_paid.to_string()),
            ("deadline", m.deadline.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("withdraw", rows.collect());
    let rows = (0..8).map(|n| {
        let m = CancelDispute {
            channel_id: id(n),
            dispute_no: seq("l", n),
            deadline: time("m", n + 1),
        };
        let cells = vec![
            ("channel_id", m.channel_id.to_string()),
            ("dispute_no", m.dispute_no.to_string()),
            ("deadline", m.deadline.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("cancel_dispute", rows.collect());
    let rows = (0..8).map(|n| {
        let m = Accept {
            voucher: Digest(bytes("voucher", n)),
            submitter: address("submitter", n),
            may_dispute: n % 2 == 0,
            deadline: time("n", n),
        };
        let cells = vec![
            ("voucher", m.voucher.to_string()),
            ("submitter", text(m.submitter)),
            ("may_dispute", m.may_dispute.to_string()),
            ("deadline", m.deadline.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("accept", rows.collect());
    let rows = (0..8).map(|n| {
        let m = Invoice {
            channel_id: id(n),
            amount: amount("o", n),
            hash: Digest(bytes("hash", n)),
            resolver: match n {
                0..4 => Address::ZERO,
                _ => address("resolver", n),
            },
            expires_at: time("p", n),
            memo: if n % 2 == 0 {
                Digest::ZERO
            } else {
                Digest(bytes("memo", n))
            },
        };
        let cells = vec![
            ("channel_id", m.channel_id.to_string()),
            ("amount", m.amount.to_string()),
            ("hash", m.hash.to_string()),
            ("resolver", text(m.resolver)),
            ("expires_at", m.expires_at.to_string()),
            ("memo", m.memo.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("invoice", rows.collect());
}

fn session() {
    let rows = (0..8).map(|n| {
        let m = Receipt {
            payment_id: PaymentId(bytes("payment", n)[..16].try_into().unwrap()),
            invoice: if n % 2 == 0 {
                Digest::ZERO
            } else {
                Digest(bytes("invoice", n))
            },
            payer: Digest(bytes("payer", n)),
            payee_channel: id(n),
            payee_seq: seq("o", n),
            amount: amount("p", n),
            at: time("q", n),
        };
        let cells = vec![
            ("payment_id", m.payment_id.to_string()),
            ("invoice", m.invoice.to_string()),
            ("payer", m.payer.to_string()),
            ("payee_channel", m.payee_channel.to_string()),
            ("payee_seq", m.payee_seq.to_string()),
            ("amount", m.amount.to_string()),
            ("at", m.at.to_string()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("receipt", rows.collect());
    let servers = ["hub.example", "", "hub.example:8443", "\u{fc}ml\u{e4}ut.example"];
    let rows = (0..4).map(|n| {
        let m = Login {
            server: servers[n].to_owned(),
            nonce: Digest(bytes("nonce", n)),
            signer: key(n % 4).address(),
            protocol: "channelhub.v1+json".to_owned(),
        };
        let cells = vec![
            ("server", m.server.clone()),
            ("nonce", m.nonce.to_string()),
            ("login_signer", text(m.signer)),
            ("protocol", m.protocol.clone()),
        ];
        (cells, m.digest(&domain()))
    });
    signed_table("login", rows.collect());
    let rows = (0..4).map(|n| {
        let m = Register {
            channel_id: id(n),
            server: servers[n].to_owned(),
        };
        (
            vec![
                ("channel_id", m.channel_id.to_string()),
                ("server", m.server.clone()),
            ],
            m.digest(&domain()),
        )
    });
    signed_table("register", rows.collect());
}

fn batches() {
    let mut table = Table::default();
    for (n, count) in [2, 3, 4, 5, 7, 8, 64, 100].into_iter().enumerate() {
        let leaves: Vec<_> = (0..count)
            .map(|leaf| Digest(bytes("leaf", 1000 * n + leaf)))
            .collect();
        let tree = Tree::new(leaves.clone());
        let digest = batch_digest(&domain(), &tree.root());
        for index in [0, count / 2, count - 1] {
            table.row(&[
                ("chain_id", domain().chain_id.to_string()),
                ("adjudicator", text(domain().adjudicator)),
                ("leaves", joined(&leaves)),
                ("root", tree.root().to_string()),
                ("index", index.to_string()),
                ("leaf", leaves[index].to_string()),
                ("proof", joined(&tree.proof(index))),
                ("digest", digest.to_string()),
                ("key", hex_of(&key(1).to_bytes()[..])),
                ("signer", text(key(1).address())),
                ("signature", hex_of(&key(1).sign(&digest).0)),
            ]);
        }
    }
    table.write("batch");
}

fn test_lock(n: usize) -> Lock {
    Lock {
        id: n as u64 + 1,
        amount: Amount(number("lock", n, 1_000_000_000_000)),
        expiry: time("expiry", n),
        hash: Digest(bytes("hash", n)),
        resolver: if n % 4 == 3 {
            address("resolver", n)
        } else {
            Address::ZERO
        },
    }
}

fn locks() {
    let (mut single, mut sets) = (Table::default(), Table::default());
    let mut first = 0;
    for (set, count) in [1_usize, 2, 3, 6, 16].into_iter().enumerate() {
        let locks: Vec<_> = (first..first + count).map(test_lock).collect();
        let tree = Tree::new(locks.iter().map(Lock::leaf).collect());
        let opening = LocksOpening {
            root: tree.root(),
            total: Amount::sum(locks.iter().map(|lock| lock.amount)).unwrap(),
            max_expiry: locks.iter().map(|lock| lock.expiry).max().unwrap(),
        };
        for (index, lock) in locks.iter().enumerate() {
            single.row(&[
                ("set", set.to_string()),
                ("id", lock.id.to_string()),
                ("amount", lock.amount.to_string()),
                ("expiry", lock.expiry.to_string()),
                ("hash", lock.hash.to_string()),
                ("resolver", text(lock.resolver)),
                ("leaf", lock.leaf().to_string()),
                ("proof", joined(&tree.proof(index))),
            ]);
        }
        sets.row(&[
            ("root", opening.root.to_string()),
            ("total", opening.total.to_string()),
            ("max_expiry", opening.max_expiry.to_string()),
            ("commitment", opening.commitment().to_string()),
        ]);
        first += count;
    }
    single.write("lock");
    sets.write("lock_set");
}

fn every_op() -> Vec<Op> {
    let payment_id = |n| PaymentId(bytes("payment", n)[..16].try_into().unwrap());
    let pay = |n: usize, payee| {
        Op::Pay(Payment {
            payment_id: payment_id(n),
            payee,
            amount: Amount(1000 + n as u128),
            fee_max: amount("fee", n),
            expires_at: time("expires", n),
            invoice: Digest(bytes("invoice", n)),
        })
    };
    let mut ops = vec![
        pay(0, Payee::Account(address("payee", 0))),
        pay(1, Payee::Channel(id(1))),
    ];
    ops.push(Op::Credit(Credit {
        payment_id: payment_id(2),
        payer: Credit::payer_of(&id(2), &payment_id(2)),
        amount: amount("credit", 1),
        invoice: Digest::ZERO,
    }));
    for reason in [
        ReturnReason::Change,
        ReturnReason::UnknownPayee,
        ReturnReason::Cancelled,
    ] {
        ops.push(Op::Return(Return {
            payment_id: payment_id(3),
            amount: Amount(7),
            reason,
        }));
    }
    for (n, payee) in [Payee::Account(address("payee", 1)), Payee::Channel(id(3))]
        .into_iter()
        .enumerate()
    {
        ops.push(Op::LockAdd {
            lock: Box::new(test_lock(n + 2)),
            payment_id: payment_id(4),
            payee,
            fee_max: Amount(3),
            invoice: Digest(bytes("invoice", 9)),
        });
    }
    ops.push(Op::LockConvert {
        id: 3,
        witness: bytes("preimage", 0).to_vec(),
    });
    ops.push(Op::LockConvert {
        id: 4,
        witness: vec![],
    });
    ops.push(Op::LockDrop { id: u64::MAX });
    ops
}

fn ops() {
    let mut rows = Vec::new();
    for payer in [Side::Client, Side::Hub] {
        let mut history = History::initial(&id(0), payer);
        for op in every_op() {
            let before = history;
            history = history.extended(&op);
            rows.push(json!({
                "channel_id": id(0), "payer": payer, "initial": History::initial(&id(0), payer),
                "op": op, "digest": op.digest(), "history_before": before, "history_after": history,
            }));
        }
    }
    write("op", &json!(rows));
    let mut table = Table::default();
    for n in 0..4 {
        let payment_id = PaymentId(bytes("payment", n)[..16].try_into().unwrap());
        table.row(&[
            ("channel_id", id(n).to_string()),
            ("payment_id", payment_id.to_string()),
            ("payer", Credit::payer_of(&id(n), &payment_id).to_string()),
            ("salt", Digest(bytes("salt", n)).to_string()),
            (
                "erc3009_nonce",
                hex_of(alloy_primitives::keccak256([id(n).0, bytes("salt", n)].concat()).as_slice()),
            ),
            ("permit2_witness", {
                let type_hash = alloy_primitives::keccak256("ChannelDeposit(bytes32 channelId)");
                hex_of(alloy_primitives::keccak256([type_hash.0, id(n).0].concat()).as_slice())
            }),
        ]);
    }
    table.write("derived");
}

/// Malformed and wrong signatures with the error they must raise.
fn signatures() {
    let mut table = Table::default();
    let digest = Digest(bytes("signed", 0));
    let good = key(0).sign(&digest).0;
    let changed = |change: &dyn Fn(&mut [u8; 65])| {
        let mut bytes = good;
        change(&mut bytes);
        bytes
    };
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
    let high_s = {
        let n = alloy_primitives::U256::from_be_slice(&order);
        (n - alloy_primitives::U256::from_be_slice(&good[32..64])).to_be_bytes::<32>()
    };
    let cases: Vec<(&str, [u8; 65], &str)> = vec![
        ("good", good, ""),
        (
            "high s, v flipped",
            changed(&|b| {
                b[32..64].copy_from_slice(&high_s);
                b[64] = 55 - b[64]
            }),
            "SignatureMalformed",
        ),
        (
            "high s",
            changed(&|b| b[32..64].copy_from_slice(&high_s)),
            "SignatureMalformed",
        ),
        ("v 0", changed(&|b| b[64] = 0), "SignatureMalformed"),
        ("v 1", changed(&|b| b[64] = 1), "SignatureMalformed"),
        ("v 29", changed(&|b| b[64] = 29), "SignatureMalformed"),
        ("v flipped", changed(&|b| b[64] = 55 - b[64]), "SignatureInvalid"),
        ("r 0", changed(&|b| b[..32].fill(0)), "SignatureMalformed"),
        ("s 0", changed(&|b| b[32..64].fill(0)), "SignatureMalformed"),
        (
            "r = n",
            changed(&|b| b[..32].copy_from_slice(&order)),
            "SignatureMalformed",
        ),
        ("all zero", [0; 65], "SignatureMalformed"),
        (
            "other digest",
            key(0).sign(&Digest(bytes("signed", 1))).0,
            "SignatureInvalid",
        ),
        ("other key", key(1).sign(&digest).0, "SignatureInvalid"),
    ];
    for (name, signature, error) in cases {
        let verdict = key(0)
            .public()
            .verify(&digest, &protocol_spec::Signature(signature));
        assert_eq!(verdict.err().map_or("", |reject| reject.name()), error, "{name}");
        table.row(&[
            ("name", name.to_owned()),
            ("digest", digest.to_string()),
            ("signer", text(key(0).address())),
            ("signature", hex_of(&signature)),
            ("error", error.to_owned()),
        ]);
    }
    table.write("signature");
}

const NOW: u64 = 1_800_000_000;

/// What a receiving hub makes of frames: accepted, duplicate, or the name of the refusal.
fn sequences() {
    let clock = Clock {
        now: UnixSeconds(NOW),
        chain: UnixSeconds(NOW),
    };
    let mut hub = Channel::new(config(1), &domain(), Side::Hub, Delays::default()).unwrap();
    hub.deposit_confirmed(Side::Client, Amount(1000));
    let pay = |n: usize, amount: u128| {
        Op::Pay(Payment {
            payment_id: PaymentId(bytes("payment", n)[..16].try_into().unwrap()),
            payee: Payee::Channel(id(1)),
            amount: Amount(amount),
            fee_max: Amount(1),
            expires_at: UnixSeconds(NOW + 60),
            invoice: Digest::ZERO,
        })
    };
    type Change = fn(&mut Voucher);
    let steps: Vec<(&str, Vec<Op>, Change, usize)> = vec![
        ("the first payment", vec![pay(0, 99)], |_| {}, 2),
        ("the same again", vec![pay(0, 99)], |v| v.seq = Seq(1), 2),
        ("seq 0", vec![pay(1, 10)], |v| v.seq = Seq(0), 2),
        ("paid too little", vec![pay(1, 10)], |v| v.paid.0 -= 1, 2),
        ("paid too much", vec![pay(1, 10)], |v| v.paid.0 += 1, 2),
        ("nothing paid", vec![pay(1, 0)], |_| {}, 2),
        (
            "another history",
            vec![pay(1, 10)],
            |v| v.history = Digest::ZERO,
            2,
        ),
        (
            "an ack of nothing known",
            vec![pay(1, 10)],
            |v| v.ack_seq = Seq(1),
            2,
        ),
        (
            "an ack with another sum",
            vec![pay(1, 10)],
            |v| v.ack_paid = Amount(1),
            2,
        ),
        ("a jump of 1025", vec![pay(1, 10)], |v| v.seq.0 += 1024, 2),
        (
            "locks without a lock",
            vec![pay(1, 10)],
            |v| v.locks = Digest([1; 32]),
            2,
        ),
        ("one unit too much", vec![pay(1, 900)], |_| {}, 2),
        ("another channel", vec![pay(1, 10)], |v| v.channel_id.0[0] ^= 1, 2),
        ("another signer", vec![pay(1, 10)], |_| {}, 3),
        (
            "a jump of 1024 with the last unit",
            vec![pay(1, 899)],
            |v| v.seq.0 += 1023,
            2,
        ),
    ];
    let mut rows = Vec::new();
    let mut half = (Seq(0), Amount(0), History::initial(&hub.id(), Side::Client));
    for (name, ops, change, signer) in steps {
        let again = name == "the same again";
        let history = if again {
            half.2
        } else {
            ops.iter().fold(half.2, |history, op| history.extended(op))
        };
        let added = ops.iter().fold(0, |sum, op| {
            if let Op::Pay(p) = op {
                sum + p.amount.0 + p.fee_max.0
            } else {
                sum
            }
        });
        let mut voucher = Voucher {
            channel_id: hub.id(),
            seq: half.0.next(),
            paid: if again { half.1 } else { Amount(half.1.0 + added) },
            ack_seq: Seq(0),
            ack_paid: Amount(0),
            locks: Digest::ZERO,
            history: history.0,
        };
        change(&mut voucher);
        let digest = voucher.digest(&domain());
        let signed = SignedVoucher {
            voucher,
            signature: VoucherSignature::Direct(key(signer).sign(&digest)),
        };
        let verdict = signed
            .clone()
            .verify(&domain(), &key(2).public(), false)
            .and_then(|v| hub.accept(&v, &ops, clock));
        let expect = verdict.as_ref().map_or_else(
            |reject| reject.name().to_owned(),
            |accepted| format!("{accepted:?}"),
        );
        half = (
            hub.received().seq,
            hub.received().paid,
            History(hub.received().history),
        );
        rows.push(json!({ "name": name, "frame": Frame { voucher: signed, ops }, "digest": digest, "expect": expect }));
    }
    write(
        "sequence",
        &json!({
            "chain_id": domain().chain_id.to_string(), "adjudicator": text(domain().adjudicator), "config": config(1),
            "client_deposit": "1000", "now": NOW.to_string(), "steps": rows,
        }),
    );
}

/// Evidence and what the adjudicator pays.
fn settlements() {
    let mut cases = Vec::new();
    for n in 0..60_usize {
        let funds = Funds {
            client_deposit: Amount(number("fc", n + 2, 5_000)),
            hub_deposit: Amount(number("fh", n + 2, 5_000)),
            client_withdrawn: Amount(if n % 7 == 3 { 100 } else { 0 }),
            hub_withdrawn: Amount(if n % 7 == 5 { 50 } else { 0 }),
        };
        let funds = Funds {
            client_withdrawn: funds.client_withdrawn.min(funds.client_deposit),
            hub_withdrawn: funds.hub_withdrawn.min(funds.hub_deposit),
            ..funds
        };
        let mut chain = Adjudication::default();
        let mut steps = Vec::new();
        for k in 0..4 + n % 5 {
            let r = bytes("evidence", 100 * n + k);
            let payer = if r[0] % 2 == 0 { Side::Client } else { Side::Hub };
            if r[1] % 3 == 0 && k > 0 {
                let (leaf, amount, in_time) = (
                    Digest(bytes("leaf", (r[2] % 3).into())),
                    Amount(u128::from(r[3] % 200)),
                    r[4] % 2 == 0,
                );
                let counted = chain.resolve(payer, leaf, amount, in_time);
                steps.push(json!({"do": "resolve", "payer": payer, "leaf": leaf, "amount": amount, "in_time": in_time, "changed": counted}));
                continue;
            }
            let opening = LocksOpening {
                root: Digest(bytes("root", r[5].into())),
                total: Amount(150),
                max_expiry: UnixSeconds(NOW),
            };
            let with_locks = r[6] % 2 == 0;
            let voucher = Voucher {
                channel_id: id(n),
                seq: Seq((r[7] % 8).into()),
                paid: Amount(u128::from(r[8]) * 10),
                ack_seq: Seq((r[9] % 8).into()),
                ack_paid: Amount(u128::from(r[10]) * 10),
                locks: if with_locks {
                    opening.commitment()
                } else {
                    Digest::ZERO
                },
                history: Digest::ZERO,
            };
            let changed = chain.submit(payer, &voucher, with_locks.then_some(&opening));
            steps.push(json!({"do": "submit", "payer": payer, "voucher": voucher, "opening": with_locks.then_some(opening), "changed": changed}));
        }
        let (client, hub) = chain.balances(&funds);
        cases.push(json!({
            "client_deposit": funds.client_deposit, "hub_deposit": funds.hub_deposit,
            "client_withdrawn": funds.client_withdrawn, "hub_withdrawn": funds.hub_withdrawn,
            "steps": steps, "client_effective": chain.client.effective(), "hub_effective": chain.hub.effective(),
            "client_balance": client, "hub_balance": hub,
        }));
    }
    write("settlement", &json!(cases));
}

fn main() {
    domains_and_configs();
    vouchers();
    cooperative();
    session();
    batches();
    locks();
    ops();
    signatures();
    sequences();
    settlements();
}
