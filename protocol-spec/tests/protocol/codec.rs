//! Both encodings: round trips, typed errors, and never a panic.

use crate::{common::*, samples};
use proptest::prelude::*;
use protocol_spec::{
    Amount, Channel, Evidence, Op, Side, limits,
    message::{ErrorCode, Message, RpcError, binary, json},
};

#[test]
fn every_message_survives_both_encodings() {
    for (name, message) in samples::messages() {
        let text = json::encode(&message);
        assert_eq!(json::decode(&text).unwrap(), message, "{name} as JSON");
        let bytes = binary::encode(&message);
        assert_eq!(binary::decode(&bytes).unwrap(), message, "{name} as Borsh");
    }
}

#[test]
fn every_operation_survives_json() {
    for (name, op) in samples::lock_ops() {
        let text = serde_json::to_string(&op).unwrap();
        assert_eq!(serde_json::from_str::<Op>(&text).unwrap(), op, "{name}");
    }
}

fn error(text: &str) -> (Option<u64>, RpcError) {
    json::decode(text).unwrap_err()
}

#[test]
fn malformed_json_is_a_typed_error_with_the_id_where_it_could_be_read() {
    let cases = [
        ("", ErrorCode::ParseError, None),
        ("{", ErrorCode::ParseError, None),
        ("[]", ErrorCode::InvalidRequest, None),
        ("null", ErrorCode::InvalidRequest, None),
        (r#"{"jsonrpc":"2.0"}"#, ErrorCode::InvalidRequest, None),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            ErrorCode::InvalidRequest,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#,
            ErrorCode::InvalidRequest,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            ErrorCode::InvalidRequest,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#,
            ErrorCode::InvalidRequest,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":-1,"method":"ping"}"#,
            ErrorCode::InvalidRequest,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#,
            ErrorCode::ParseError,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"steal"}"#,
            ErrorCode::MethodNotFound,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"steal"}"#,
            ErrorCode::MethodNotFound,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"a\",\"b"}"#,
            ErrorCode::MethodNotFound,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1}}"#,
            ErrorCode::InvalidParams,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
            ErrorCode::InvalidParams,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"channel","params":{}}"#,
            ErrorCode::InvalidParams,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"channel","params":{"channel_id":5}}"#,
            ErrorCode::InvalidParams,
            Some(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{"kind":"done","value":{}}}"#,
            ErrorCode::InvalidRequest,
            Some(1),
        ),
    ];
    for (text, code, id) in cases {
        let (got_id, error) = error(text);
        assert_eq!((error.code, got_id), (code.code(), id), "{text}: {error}");
        assert_eq!(error.data.name, code.name());
    }
}

/// Puts an unknown key into every object of every request, one at a time; none may be accepted.
#[test]
fn unknown_and_duplicate_fields_are_refused_everywhere() {
    let mut objects = 0;
    for (name, message) in samples::messages() {
        let text = json::encode(&message);
        for (position, _) in text.match_indices('{') {
            let unknown =
                format!("{}{{\"zzz\":1,{}", &text[..position], &text[position + 1..]).replace(",}", "}");
            assert!(json::decode(&unknown).is_err(), "{name}: {unknown}");
            let rest = &text[position + 1..];
            let Some(key_end) = rest.find(':').filter(|_| rest.starts_with('"')) else {
                continue;
            };
            let duplicate = format!("{}{{{}:1,{rest}", &text[..position], &rest[..key_end]);
            assert!(json::decode(&duplicate).is_err(), "{name}: {duplicate}");
            objects += 1;
        }
    }
    assert!(objects > 100, "{objects}");
}

#[test]
fn unknown_fields_inside_lock_operations_are_refused() {
    for (_, op) in samples::lock_ops() {
        let text = serde_json::to_string(&op)
            .unwrap()
            .replacen(":{", ":{\"zzz\":1,", 1);
        assert!(serde_json::from_str::<Op>(&text).is_err(), "{text}");
    }
}

#[test]
fn numbers_and_bytes_have_one_spelling() {
    for text in [
        "1",
        "\"\"",
        "\"01\"",
        "\"+1\"",
        "\"-1\"",
        "\" 1\"",
        "\"1.0\"",
        "\"0x1\"",
        "\"1e3\"",
        "null",
        "\"18446744073709551616\"",
    ] {
        assert!(
            serde_json::from_str::<protocol_spec::Seq>(text).is_err(),
            "{text}"
        );
    }
    assert_eq!(serde_json::from_str::<Amount>("\"0\"").unwrap(), Amount(0));
    let id = "11".repeat(32);
    for text in [
        format!("\"{id}\""),
        format!("\"0x0x{id}\""),
        format!("\"0x{}\"", &id[2..]),
        format!("\"0x{id}11\""),
    ] {
        assert!(
            serde_json::from_str::<protocol_spec::ChannelId>(&text).is_err(),
            "{text}"
        );
    }
    assert!(
        serde_json::to_string(&config())
            .unwrap()
            .contains(r#""challenge_period_s":"86400""#)
    );
}

#[test]
fn oversize_is_refused_and_the_largest_full_frame_fits() {
    let long = " ".repeat(limits::MESSAGE_BYTES_MAX + 1);
    assert!(error(&long).1.is(ErrorCode::MessageTooLarge));
    assert!(error(&long[1..]).1.is(ErrorCode::ParseError));
    let bytes = vec![0; limits::MESSAGE_BYTES_MAX + 1];
    assert!(binary::decode(&bytes).unwrap_err().is(ErrorCode::MessageTooLarge));
    assert!(binary::decode(&bytes[1..]).unwrap_err().is(ErrorCode::ParseError));
    let op = Op::Pay(protocol_spec::Payment {
        payment_id: protocol_spec::PaymentId([0xff; 16]),
        payee: protocol_spec::Payee::Channel(protocol_spec::ChannelId([0xff; 32])),
        amount: Amount(limits::AMOUNT_MAX),
        fee_max: Amount(limits::AMOUNT_MAX),
        expires_at: protocol_spec::UnixSeconds(u64::MAX),
        invoice: protocol_spec::Digest([0xff; 32]),
    });
    let voucher = World::new()
        .forge(Side::Client, &[pay(1, 1, 0)], |_| {})
        .verified
        .signed()
        .clone();
    let frame = protocol_spec::message::Frame {
        voucher,
        ops: vec![op; limits::OPS_PER_FRAME_MAX],
    };
    let call = Box::new(protocol_spec::message::Request::Voucher(frame));
    let text = json::encode(&Message::Request { id: u64::MAX, call });
    assert!(text.len() <= limits::MESSAGE_BYTES_MAX, "{}", text.len());
}

#[test]
fn deep_nesting_is_an_error() {
    for text in [
        "[".repeat(100_000),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}"#,
            "[".repeat(60_000)
        ),
    ] {
        assert!(json::decode(&text).is_err());
    }
    let nested = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{nested}}}"#);
    assert!(json::decode(&text).is_err());
}

#[test]
fn error_codes_and_names_are_unique() {
    let all: Vec<_> = protocol_spec::Reject::REGISTRY
        .iter()
        .chain(ErrorCode::REGISTRY)
        .collect();
    let codes: std::collections::BTreeSet<_> = all.iter().map(|entry| entry.0).collect();
    let names: std::collections::BTreeSet<_> = all.iter().map(|entry| entry.1).collect();
    assert_eq!((codes.len(), names.len()), (all.len(), all.len()));
}

/// The data of an error are the two facts of its sentence: what was expected, and what came.
#[test]
fn an_error_carries_what_was_expected_and_what_came() {
    use protocol_spec::{Digest, Reject, Seq, UnixSeconds};
    let (seq, amount) = ((Seq(41), Seq(57)), (Amount(41), Amount(57)));
    let (digest, time) = (
        (Digest([4; 32]), Digest([5; 32])),
        (UnixSeconds(41), UnixSeconds(57)),
    );
    let (after, field, side) = (UnixSeconds(9), "a field", Side::Hub);
    let with_facts = [
        Reject::ProofTooDeep { max: 41, got: 57 },
        Reject::OpsTooMany { max: 41, got: 57 },
        Reject::WitnessTooLong { max: 41, got: 57 },
        Reject::SeqNotNewer {
            last: seq.0,
            got: seq.1,
        },
        Reject::AckNotMonotone {
            last: seq.0,
            got: seq.1,
        },
        Reject::SeqJumpTooFar {
            max: seq.0,
            got: seq.1,
        },
        Reject::SeqOutOfRange { max: 41, got: seq.1 },
        Reject::PaidMismatch {
            expected: amount.0,
            got: amount.1,
        },
        Reject::AckPaidMismatch {
            expected: amount.0,
            got: amount.1,
        },
        Reject::WithdrawMismatch {
            field,
            expected: amount.0,
            got: amount.1,
        },
        Reject::CloseMismatch {
            field,
            expected: amount.0,
            got: amount.1,
        },
        Reject::HistoryMismatch {
            expected: digest.0,
            got: digest.1,
        },
        Reject::LocksMismatch {
            expected: digest.0,
            got: digest.1,
        },
        Reject::AckUnknown {
            newest: seq.0,
            got: seq.1,
        },
        Reject::BalanceExceeded {
            available: amount.0,
            needed: amount.1,
        },
        Reject::LockIdReused { newest: 41, got: 57 },
        Reject::LockExpiryOutOfRange {
            after,
            until: time.0,
            got: time.1,
        },
        Reject::DeadlineOutOfRange {
            after,
            until: time.0,
            got: time.1,
        },
        Reject::PreimageTooLate {
            expiry: time.0,
            now: time.1,
        },
        Reject::WithdrawExceeds {
            side,
            available: amount.0,
            got: amount.1,
        },
        Reject::WithdrawStale {
            payer: side,
            acknowledged: seq.0,
            got: seq.1,
        },
        Reject::DisputeNoMismatch {
            expected: seq.0,
            got: seq.1,
        },
    ];
    for reject in &with_facts {
        let error = RpcError::from(reject);
        assert_eq!(
            (error.code, error.data.name.as_str()),
            (reject.code(), reject.name())
        );
        let (expected, got) = (error.data.expected.unwrap(), error.data.got.unwrap());
        let facts = match reject {
            Reject::HistoryMismatch { .. } | Reject::LocksMismatch { .. } => {
                (digest.0.to_string(), digest.1.to_string())
            }
            _ => ("41".to_owned(), "57".to_owned()),
        };
        assert_eq!((expected, got), facts, "{reject}");
    }
    let closed = RpcError::from(&Reject::ChannelNotOpen { phase: "closing" });
    assert_eq!(
        (closed.data.expected.as_deref(), closed.data.got.as_deref()),
        (Some("open"), Some("closing"))
    );
    assert_eq!(RpcError::from(&Reject::AmountZero).data.got, None);
}

/// A voucher put together from parts that it shares with others is the same message.
#[test]
fn a_voucher_encoded_from_its_parts_is_the_message() {
    use protocol_spec::{
        Digest, VoucherSignature,
        message::{Frame, Notification},
    };
    let sent = World::new().forge(Side::Hub, &[credit(1, 1), give_back(2, 3)], |_| {});
    let root_signature = key(2).sign(&Digest([9; 32]));
    for count in [0, 1, 16] {
        let proof = vec![Digest([8; 32]); count];
        let mut voucher = sent.verified.signed().clone();
        voucher.signature = match count {
            0 => VoucherSignature::Direct(root_signature),
            _ => VoucherSignature::Batch {
                root_signature,
                proof: proof.clone(),
            },
        };
        let mut parts = b"before".to_vec();
        binary::encode_voucher(
            &mut parts,
            &voucher.voucher,
            &root_signature,
            proof.iter(),
            &sent.ops,
        );
        let ops = sent.ops.clone();
        let whole = Message::Notification(Box::new(Notification::Voucher(Frame { voucher, ops })));
        let encoded = binary::encode(&whole);
        assert_eq!(
            parts,
            [b"before", encoded.as_slice()].concat(),
            "{count} siblings"
        );
        parts.truncate(6);
        binary::encode_into(&mut parts, &whole);
        assert_eq!(parts, [b"before", encoded.as_slice()].concat());
    }
}

proptest! {
    #![proptest_config(seeded(20_000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = binary::decode(&bytes);
        let _ = json::decode(&String::from_utf8_lossy(&bytes));
        let _ = Channel::from_record(&bytes);
        let _ = serde_json::from_slice::<Evidence>(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic(which in 0_usize..1000, position in any::<usize>(), byte in any::<u8>(), cut in any::<bool>()) {
        static ALL: std::sync::OnceLock<Vec<(&str, Message)>> = std::sync::OnceLock::new();
        let all = ALL.get_or_init(samples::messages);
        let message = &all[which % all.len()].1;
        for encoded in [binary::encode(message), json::encode(message).into_bytes()] {
            let mut bytes = encoded;
            let at = position % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = binary::decode(&bytes);
            let _ = json::decode(&String::from_utf8_lossy(&bytes));
        }
    }
}
