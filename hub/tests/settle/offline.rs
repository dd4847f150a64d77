//! `settle verify`: evidence with every field changed in turn, batches, receipts. No chain.

use crate::{
    cli::{Output, settle, write},
    vouchers::{HUB_SIGNER, Parties, STRANGER, key, lock, opening, preimage},
};
use alloy::primitives::Address;
use hub::settle::{CheckedEvidence, ReceiptFile};
use protocol_spec::{Digest, DirectionEvidence, Evidence, Receipt, Seq, Side, VoucherSignature};
use serde_json::Value;

fn parties() -> Parties {
    Parties::new(31337, Address::repeat_byte(0xad), Address::repeat_byte(0x70))
}

/// With a batch signature, locks, an opening, preimages and both directions: every field is in use.
fn full(p: &Parties) -> Evidence {
    let locks = vec![lock(1, 20, 2_000_000_000), lock(2, 30, 2_000_000_001)];
    let opening = opening(&locks);
    let voucher = p.voucher((3, 300), (2, 80), opening.commitment());
    let leaves = vec![Digest([1; 32]), voucher.digest(&p.domain), Digest([2; 32])];
    let received = DirectionEvidence {
        voucher: Some(protocol_spec::SignedVoucher {
            signature: p.batch(leaves, 1),
            voucher,
        }),
        locks,
        opening: Some(opening),
        witnesses: vec![
            ("1".to_owned(), preimage(1).into()),
            ("2".to_owned(), preimage(2).into()),
        ],
    };
    p.evidence(Side::Client, received, p.paid(Side::Client, (2, 80), (3, 300)))
}

fn verify(json: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "e.json", json);
    settle(&["verify", "--json", "--evidence", file.to_str().unwrap()])
}

/// Every leaf below `value`, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(k, v)| leaves(v, &format!("{at}/{k}"), found)),
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(i, v)| leaves(v, &format!("{at}/{i}"), found));
        }
        Value::Null => {}
        _ => found.push(at.to_owned()),
    }
}

/// Another value of the same shape: the last hex digit or the number changed, the other side.
fn changed(value: &Value) -> Value {
    let text = value.as_str().expect("all leaves are strings");
    match text {
        "client" => "hub".into(),
        text if text.starts_with("0x") => {
            let (head, last) = text.split_at(text.len() - 1);
            format!("{head}{}", if last == "1" { "2" } else { "1" }).into()
        }
        text => match text.parse::<u128>() {
            Ok(number) => (number + 1).to_string().into(),
            Err(_) => format!("{text}x").into(),
        },
    }
}

#[test]
fn evidence_with_any_field_changed_is_refused() {
    let json = serde_json::to_value(full(&parties())).unwrap();
    let valid = verify(&json.to_string()).exits(0).json();
    assert_eq!(
        (&valid["valid"], &valid["received"]["batch"]),
        (&true.into(), &true.into())
    );
    assert_eq!(valid["received"]["witnesses"], 2);
    let mut pointers = Vec::new();
    leaves(&json, "", &mut pointers);
    // What the owner saw confirmed: signed by nobody, only compared with the chain. And whether it ever made a lock.
    pointers.retain(|pointer| !pointer.starts_with("/deposits") && pointer != "/never_locked");
    assert!(pointers.len() > 40, "{pointers:?}");
    for pointer in pointers {
        let mut tampered = json.clone();
        let leaf = tampered.pointer_mut(&pointer).unwrap();
        *leaf = changed(leaf);
        let output = verify(&tampered.to_string());
        assert_eq!(
            output.code, 3,
            "{pointer} was changed and not refused: {}{}",
            output.stdout, output.stderr
        );
        assert_eq!(output.json()["error"]["kind"], "refused");
    }
}

/// Nobody signs `never_locked`, but the voucher's commitment is signed, listed or not.
#[test]
fn a_sent_voucher_with_locks_that_are_not_listed_tells_that_some_were_made() {
    let p = parties();
    let with = |locks: Digest| {
        let sent = DirectionEvidence {
            voucher: Some(p.direct(Side::Client, p.voucher((4, 100), (0, 0), locks))),
            ..DirectionEvidence::default()
        };
        let evidence = p.evidence(Side::Client, DirectionEvidence::default(), sent);
        assert!(evidence.never_locked);
        CheckedEvidence::check(evidence).unwrap().raw().never_locked
    };
    assert!(with(Digest::ZERO));
    assert!(!with(opening(&[lock(1, 20, 2_000_000_000)]).commitment()));
}

#[test]
fn evidence_of_the_version_before_is_read() {
    let mut json = serde_json::to_value(full(&parties())).unwrap();
    json["format"] = "channelhub.evidence.v1".into();
    for direction in ["received", "sent"] {
        let fields = json[direction].as_object_mut().unwrap();
        let witnesses = fields.remove("witnesses").unwrap();
        fields.insert("preimages".to_owned(), witnesses);
    }
    let valid = verify(&json.to_string()).exits(0).json();
    assert_eq!(valid["received"]["witnesses"], 2);
}

#[test]
fn fields_added_or_missing_and_garbage_are_refused() {
    let json = serde_json::to_value(full(&parties())).unwrap();
    let keys = json.as_object().unwrap().keys();
    for key in keys.filter(|key| *key != "never_locked") {
        let mut less = json.clone();
        less.as_object_mut().unwrap().remove(key);
        verify(&less.to_string()).exits(3);
    }
    let mut more = json.clone();
    more["extra"] = "1".into();
    verify(&more.to_string()).exits(3);
    let mut later = json;
    later["format"] = "channelhub.evidence.v3".into();
    verify(&later.to_string()).exits(3).says("channelhub.evidence.v3");
    verify("not json").exits(3);
    settle(&["verify", "--evidence", "/nonexistent"]).exits(2);
    settle(&["verify"]).exits(2);
    settle(&["frobnicate"]).exits(2);
    assert!(
        settle(&["--help"])
            .exits(0)
            .stdout
            .contains("5  would lose money")
    );
}

#[test]
fn a_batch_of_the_client_and_a_contradicting_acknowledgement_are_refused() {
    let p = parties();
    let mut sent = p.paid(Side::Client, (2, 80), (3, 300));
    let voucher = sent.voucher.as_mut().unwrap();
    let leaf = voucher.voucher.digest(&p.domain);
    let tree = protocol_spec::batch::Tree::new(vec![leaf, Digest::ZERO]);
    let root = protocol_spec::batch::batch_digest(&p.domain, &tree.root());
    voucher.signature = VoucherSignature::Batch {
        root_signature: key(crate::vouchers::CLIENT_SIGNER).sign(&root),
        proof: tree.proof(0),
    };
    let batch = p.evidence(Side::Client, DirectionEvidence::default(), sent);
    verify(&serde_json::to_string(&batch).unwrap())
        .exits(3)
        .says("only for the hub's signer");
    let ack = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (2, 79)),
        p.paid(Side::Client, (2, 80), (3, 300)),
    );
    verify(&serde_json::to_string(&ack).unwrap()).exits(3).says("R3");
    let stale = p.evidence(
        Side::Client,
        p.paid(Side::Hub, (3, 300), (0, 0)),
        p.paid(Side::Client, (2, 80), (9, 900)),
    );
    verify(&serde_json::to_string(&stale).unwrap())
        .exits(0)
        .says("newer evidence file");
}

fn receipt_file(p: &Parties, receipt: Receipt, signature: VoucherSignature) -> ReceiptFile {
    ReceiptFile {
        format: ReceiptFile::FORMAT.to_owned(),
        chain_id: Seq(p.domain.chain_id),
        adjudicator: p.domain.adjudicator,
        receipt,
        signature,
    }
}

#[test]
fn receipts_are_verified_offline_against_a_signer_from_elsewhere() {
    let p = parties();
    let dir = tempfile::tempdir().unwrap();
    let evidence = write(dir.path(), "e.json", &serde_json::to_string(&full(&p)).unwrap());
    let evidence = evidence.to_str().unwrap();
    let receipt = p.receipt(3);
    let signature = p.batch(
        vec![receipt.digest(&p.domain), Digest([2; 32]), Digest([3; 32])],
        0,
    );
    let json = serde_json::to_value(receipt_file(&p, receipt, signature)).unwrap();
    let file = write(dir.path(), "r.json", &json.to_string());
    let file = file.to_str().unwrap();
    let hub = key(HUB_SIGNER).address().to_string();
    let other = key(STRANGER).address().to_string();
    settle(&["verify", "--receipt", file, "--hub-signer", &hub]).exits(0);
    let verified = settle(&["verify", "--json", "--receipt", file, "--evidence", evidence])
        .exits(0)
        .json();
    assert_eq!(verified["enforceable"], true);
    settle(&["verify", "--receipt", file, "--hub-signer", &other]).exits(3);
    settle(&["verify", "--receipt", file]).exits(2);
    let mut pointers = Vec::new();
    leaves(&json, "", &mut pointers);
    for pointer in pointers {
        let mut tampered = json.clone();
        let leaf = tampered.pointer_mut(&pointer).unwrap();
        *leaf = changed(leaf);
        let bad = write(dir.path(), "bad.json", &tampered.to_string());
        let output = settle(&["verify", "--receipt", bad.to_str().unwrap(), "--hub-signer", &hub]);
        assert_eq!(
            output.code, 3,
            "{pointer} was changed and not refused: {}{}",
            output.stdout, output.stderr
        );
    }
    // Of a voucher that the payee does not hold yet: it proves, it does not enforce.
    let later = p.receipt(4);
    let signature = VoucherSignature::Direct(key(HUB_SIGNER).sign(&later.digest(&p.domain)));
    let json = serde_json::to_string(&receipt_file(&p, later, signature)).unwrap();
    let file = write(dir.path(), "r4.json", &json);
    let verified = settle(&[
        "verify",
        "--json",
        "--receipt",
        file.to_str().unwrap(),
        "--evidence",
        evidence,
    ]);
    assert_eq!(verified.exits(0).json()["enforceable"], false);
}
