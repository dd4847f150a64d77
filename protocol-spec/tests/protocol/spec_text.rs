//! SPEC.md against the code: every block between `<!-- code: name -->` and `<!-- end -->` is what the code says.
//!
//! `UPDATE_SPEC=1 cargo test -p protocol-spec spec_` rewrites the blocks.

use crate::samples;
use alloy_primitives::hex;
use alloy_sol_types::SolStruct;
use protocol_spec::{
    Reject, abi,
    channel::MOVES,
    limits,
    message::{ErrorCode, Message, binary, json},
};
use std::fmt::Write;

/// Line breaks and indents, keys in the order of the types (which is the order of Borsh).
fn pretty(message: &Message) -> String {
    let (mut out, mut depth, mut quoted) = (String::new(), 0, false);
    let text = json::encode(message)
        .replace("{}", "\u{1}")
        .replace("[]", "\u{2}");
    for c in text.chars() {
        quoted ^= c == '"';
        let before = matches!(c, '}' | ']') && !quoted;
        let after = matches!(c, '{' | '[' | ',') && !quoted;
        depth = if before { depth - 1 } else { depth };
        if before {
            out += &format!("\n{}", "  ".repeat(depth));
        }
        out.push(c);
        depth = if matches!(c, '{' | '[') && !quoted {
            depth + 1
        } else {
            depth
        };
        if after {
            out += &format!("\n{}", "  ".repeat(depth));
        }
        if c == ':' && !quoted {
            out.push(' ');
        }
    }
    out.replace('\u{1}', "{}").replace('\u{2}', "[]")
}

fn messages() -> Vec<(String, String)> {
    let block = |(name, message): (&str, Message)| {
        (
            format!("message {name}"),
            format!("```json\n{}\n```\n", pretty(&message)),
        )
    };
    samples::messages().into_iter().map(block).collect()
}

fn ops() -> String {
    samples::lock_ops()
        .iter()
        .fold(String::from("```json\n"), |mut text, (_, op)| {
            writeln!(text, "{}", serde_json::to_string(op).unwrap()).unwrap();
            text
        })
        + "```\n"
}

fn moves() -> String {
    let head = "| from | event | to |\n|---|---|---|\n".to_owned();
    MOVES.iter().fold(head, |text, (from, event, to)| {
        text + &format!("| {from} | {event} | {to} |\n")
    })
}

fn errors(registry: &[(i32, &str, &str)]) -> String {
    let head = "| code | name | message |\n|---|---|---|\n".to_owned();
    registry.iter().fold(head, |text, (code, name, message)| {
        text + &format!("| {code} | `{name}` | {message} |\n")
    })
}

fn types() -> String {
    let all = [
        abi::Config::eip712_encode_type(),
        abi::Voucher::eip712_encode_type(),
        abi::Batch::eip712_encode_type(),
        abi::Accept::eip712_encode_type(),
        abi::Close::eip712_encode_type(),
        abi::Withdraw::eip712_encode_type(),
        abi::CancelDispute::eip712_encode_type(),
        abi::Receipt::eip712_encode_type(),
        abi::Login::eip712_encode_type(),
        abi::Register::eip712_encode_type(),
        abi::Invoice::eip712_encode_type(),
        abi::CapacityQuote::eip712_encode_type(),
    ];
    format!("```text\n{}\n```\n", all.join("\n"))
}

fn limits_table() -> String {
    let rows: [(&str, u128, &str); 18] = [
        ("largest seq", limits::SEQ_MAX.into(), "2^36 - 1; 0 means none"),
        (
            "largest amount, `paid`, deposit, lock total",
            limits::AMOUNT_MAX,
            "2^88 - 1 base units",
        ),
        ("jump (R1)", limits::SEQ_JUMP_MAX.into(), "seqs"),
        ("operations in a frame", limits::OPS_PER_FRAME_MAX as u128, ""),
        (
            "own vouchers without an acknowledgement",
            limits::UNACKED_MAX as u128,
            "then nothing is issued",
        ),
        (
            "locks of a client live in a channel",
            limits::LOCKS_FROM_CLIENT_MAX as u128,
            "",
        ),
        (
            "locks of the hub live in a channel",
            limits::LOCKS_FROM_HUB_MAX as u128,
            "",
        ),
        (
            "MAX_LOCK (R5)",
            limits::LOCK_LIFE_MAX_S.into(),
            "s from chain time",
        ),
        ("`lag` default", limits::LAG_DEFAULT_S.into(), "s"),
        ("`act` default", limits::ACT_DEFAULT_S.into(), "s"),
        ("`delta` default (R22)", limits::DELTA_DEFAULT_S.into(), "s"),
        (
            "confirmations k, default",
            limits::CONFIRMATIONS_DEFAULT.into(),
            "blocks",
        ),
        (
            "shortest challenge period",
            limits::CHALLENGE_PERIOD_MIN_S.into(),
            "s",
        ),
        (
            "longest challenge period",
            limits::CHALLENGE_PERIOD_MAX_S.into(),
            "s",
        ),
        (
            "deadlines and `expires_at` ahead, at most",
            limits::DEADLINE_AHEAD_MAX_S.into(),
            "s",
        ),
        ("Merkle proof", limits::PROOF_DEPTH_MAX as u128, "siblings"),
        (
            "WebSocket message",
            limits::MESSAGE_BYTES_MAX as u128,
            "bytes, both encodings",
        ),
        ("witness", limits::WITNESS_BYTES_MAX as u128, "bytes"),
    ];
    let head = "| what | value | unit |\n|---|---|---|\n".to_owned();
    rows.iter().fold(head, |text, (what, value, unit)| {
        text + &format!("| {what} | {value} | {unit} |\n")
    })
}

fn blocks() -> Vec<(String, String)> {
    let mut all = messages();
    all.push(("lock operations".into(), ops()));
    let package = serde_json::to_string_pretty(&samples::package()).unwrap();
    all.push(("package".into(), format!("```json\n{package}\n```\n")));
    all.push(("moves".into(), moves()));
    all.push(("errors of rules".into(), errors(Reject::REGISTRY)));
    all.push(("errors of the session".into(), errors(ErrorCode::REGISTRY)));
    all.push(("types".into(), types()));
    all.push(("limits".into(), limits_table()));
    all
}

#[test]
fn spec_says_what_the_code_does() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/SPEC.md");
    let mut text = std::fs::read_to_string(path).unwrap();
    let update = std::env::var_os("UPDATE_SPEC").is_some();
    let names = blocks();
    for (name, expected) in &names {
        let open = format!("<!-- code: {name} -->\n");
        let start = text.find(&open).unwrap_or_else(|| panic!("SPEC.md lacks {open}")) + open.len();
        let end = start + text[start..].find("<!-- end -->").unwrap();
        if update {
            text.replace_range(start..end, expected);
        } else {
            assert_eq!(&text[start..end], expected, "{name}: run with UPDATE_SPEC=1");
        }
    }
    assert_eq!(
        text.matches("<!-- code: ").count(),
        names.len(),
        "a block that no code writes"
    );
    if update {
        std::fs::write(path, text).unwrap();
    }
}

/// `vectors/message.json`: every sample message in both encodings, byte for byte.
#[test]
fn vectors_of_messages_in_both_encodings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/message.json");
    let all = samples::messages();
    let column = |cell: fn(&(&str, Message)) -> String| all.iter().map(cell).collect::<Vec<_>>();
    let table = serde_json::json!({
        "count": all.len().to_string(),
        "name": column(|(name, _)| (*name).to_owned()),
        "json": column(|(_, message)| json::encode(message)),
        "borsh": column(|(_, message)| format!("0x{}", hex::encode(binary::encode(message)))),
    });
    if std::env::var_os("UPDATE_SPEC").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&table).unwrap() + "\n").unwrap();
    }
    let committed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(committed, table, "run with UPDATE_SPEC=1");
}
