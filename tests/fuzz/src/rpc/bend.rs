//! How the bytes bend an answer.

use super::{KEY, KEY_ESCAPED, PATH_ESCAPED, tree, world::World};
use crate::bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Most bends of one operation.
const BENDS_MAX: u8 = 4;

/// What is done to one answer, or to all from one on.
#[derive(Clone, Debug)]
pub(super) struct Bend {
    at: u8,
    kind: u8,
    place: u16,
    value: u8,
    raw: Vec<u8>,
}

/// What goes out in the place of an honest answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// These bytes, later if so.
    Body(Vec<u8>, Duration),
    /// HTTP's status, and a body.
    Status(u16, Vec<u8>),
    /// The connection breaks.
    Lost,
    /// Nothing ever.
    Silence,
}

impl Bend {
    pub(super) fn some(bytes: &mut Bytes<'_>) -> Vec<Self> {
        let count = bytes.below(BENDS_MAX);
        (0..count).map(|_| Self::one(bytes)).collect()
    }

    fn one(bytes: &mut Bytes<'_>) -> Self {
        let (at, kind) = (bytes.byte(), bytes.byte());
        let (place, value) = (u16::from_le_bytes(bytes.array()), bytes.byte());
        let raw = match kind % KINDS {
            RAW | PATCH => bytes.take(usize::from(value)).to_vec(),
            _ => Vec::new(),
        };
        Self {
            at,
            kind: kind % KINDS,
            place,
            value,
            raw,
        }
    }

    /// Whether it is for the request of this number, from 0. The highest bit: for all after it, too.
    pub(super) fn is_for(&self, request: usize) -> bool {
        let at = usize::from(self.at & 0x0f);
        at == request || (self.at & 0x80 != 0 && at < request)
    }
}

const KINDS: u8 = 24;
const PATCH: u8 = 17;
const RAW: u8 = 18;

/// The honest answer, bent; the bends of objects come before those of text.
pub(super) fn bent(mut answer: Value, bends: &[&Bend], world: &World) -> Sent {
    for bend in bends {
        bend.in_object(&mut answer, world);
    }
    let mut body = serde_json::to_vec(&answer).unwrap();
    let mut sent = None;
    for bend in bends {
        bend.in_text(&mut body);
        sent = bend.in_line(&body).or(sent);
    }
    sent.unwrap_or(Sent::Body(body, Duration::ZERO))
}

impl Bend {
    fn in_object(&self, answer: &mut Value, world: &World) {
        let spare = || {
            let one = world.spare.get(usize::from(self.value) % world.spare.len());
            one.cloned().unwrap_or_default()
        };
        match self.kind {
            // Of the whole answer, or of its result only.
            0 | 1 => *self.node(answer) = odd(self.value, world),
            2 => tree::drop_one(self.container(answer), self.value),
            3 => tree::repeat_one(self.container(answer), self.value),
            4 => tree::swap_two(self.container(answer), self.value),
            5 => tree::add_one(self.container(answer), self.value, &odd(self.value >> 2, world)),
            6 | 7 => tree::change_digit(self.text(answer), self.value),
            8 | 9 => tree::step(self.quantity(answer), self.value),
            10 => *result(answer) = spare(),
            11 => {
                let from = spare();
                let (node, other) = (tree::pick(&from, self.place), self.node(answer));
                *other = node;
            }
            12 | 13 => {
                let object = answer.as_object_mut();
                if let Some(object) = object {
                    object.remove("result");
                    object.insert("error".to_owned(), error(self.value, self.place));
                }
            }
            14 => {
                if let Some(object) = answer.as_object_mut() {
                    object.insert("id".to_owned(), odd(self.value, world));
                }
            }
            15 => *self.node(answer) = tree::deep(usize::from(self.value)),
            16 => *result(answer) = Value::Null,
            _ => {}
        }
    }

    fn in_text(&self, body: &mut Vec<u8>) {
        let at = usize::from(self.place) % (body.len() + 1);
        match self.kind {
            PATCH => {
                let end = (at + self.raw.len()).min(body.len());
                body.splice(at..end, self.raw.iter().copied());
            }
            RAW => body.clone_from(&self.raw),
            19 => body.truncate(at),
            20 => {
                let told = [KEY, KEY_ESCAPED, PATH_ESCAPED][usize::from(self.value) % 3];
                *body = String::from_utf8_lossy(body).replace("0x", told).into_bytes();
            }
            _ => {}
        }
    }

    fn in_line(&self, body: &[u8]) -> Option<Sent> {
        Some(match self.kind {
            21 => match self.value % 3 {
                0 => Sent::Lost,
                1 => Sent::Silence,
                _ => Sent::Body(body.to_vec(), Duration::from_millis(250) * u32::from(self.value)),
            },
            22 | 23 => {
                let status = [400, 401, 404, 429, 500, 503, 302, 204, 100, 599][usize::from(self.value) % 10];
                let told = match self.place % 4 {
                    0 => format!("<html>no such page: /v3/{KEY}").into_bytes(),
                    1 => format!("{{\"message\":\"{KEY_ESCAPED}\"}}").into_bytes(),
                    2 => Vec::new(),
                    _ => body.to_vec(),
                };
                Sent::Status(status, told)
            }
            _ => return None,
        })
    }

    /// A node of the tree, most often in the result.
    fn node<'a>(&self, answer: &'a mut Value) -> &'a mut Value {
        match self.place & 0x8000 {
            0 => tree::nth(result(answer), self.place, |_| true),
            _ => tree::nth(answer, self.place, |_| true),
        }
    }

    fn container<'a>(&self, answer: &'a mut Value) -> &'a mut Value {
        let is_container = |value: &Value| value.is_array() || value.is_object();
        tree::nth(result(answer), self.place, is_container)
    }

    fn text<'a>(&self, answer: &'a mut Value) -> &'a mut Value {
        tree::nth(result(answer), self.place, Value::is_string)
    }

    fn quantity<'a>(&self, answer: &'a mut Value) -> &'a mut Value {
        let is_short = |value: &Value| value.as_str().is_some_and(|text| text.len() <= 18);
        tree::nth(result(answer), self.place, is_short)
    }
}

/// The result, or what is in the place of an answer.
fn result(answer: &mut Value) -> &mut Value {
    match answer {
        Value::Object(fields) => fields.entry("result").or_insert(Value::Null),
        other => other,
    }
}

/// What no honest node has in its place.
fn odd(value: u8, world: &World) -> Value {
    let digits = |count: usize, digit: &str| format!("0x{}", digit.repeat(count));
    match value % 32 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(0),
        4 => json!(-1),
        5 => json!(1.5e300),
        6 => json!(u64::MAX),
        7 => json!(""),
        8 => json!("0x"),
        9 => json!("0x0"),
        10 => json!("0x1"),
        11 => json!("0x0001"),
        12 => json!("0xg"),
        13 => json!(digits(63, "f")),
        14 => json!(digits(64, "f")),
        15 => json!(digits(65, "1")),
        16 => json!(digits(16, "f")),
        17 => json!(digits(32, "f")),
        18 => json!(digits(64, "0")),
        19 => json!(digits(40, "0")),
        20 => json!([]),
        21 => json!({}),
        22 => json!("-0x1"),
        23 => json!("5"),
        24 => json!("0X1F"),
        25 => json!(KEY),
        26 => json!(format!("/v3/{KEY}")),
        27 => json!(world.adjudicator),
        28 => json!(world.txs[0]),
        29 => json!("x".repeat(3_000)),
        30 => json!(["0x1", "0x1"]),
        _ => json!({"status": "0x1", "root": digits(64, "0")}),
    }
}

/// What nodes say when they refuse, and what none says.
fn error(value: u8, place: u16) -> Value {
    let codes = [-32_000, -32_005, -32_601, -32_602, 3, 429, 0, -32_603];
    let words = [
        "execution reverted",
        "nonce too low",
        "already known",
        "insufficient funds for gas * price + value",
        "block range is too wide",
        "query returned more than 10000 results",
        "request timed out",
        "rate limit exceeded",
        "header not found",
        "replacement transaction underpriced",
        "the method is not available",
        "",
        KEY,
        "see https://node.test/v3/",
        "Ünïcode \u{0} \u{202e}",
        "max priority fee per gas higher than max fee per gas",
    ];
    let code: i64 = codes[usize::from(value & 7)];
    let message = words[usize::from(place & 15)];
    let data = match value >> 4 {
        0..=7 => return json!({"code": code, "message": message}),
        8 => json!("0x"),
        9 => json!("0x08c379a0"),
        10 => json!("0xabc"),
        11 => json!({"a": {"b": "0x1234"}, "key": KEY}),
        12 => json!(KEY),
        13 => Value::Null,
        14 => json!([1, [2, [3]]]),
        _ => json!(format!("Reverted 0x{}", "1".repeat(600))),
    };
    json!({"code": code, "message": format!("{message} {KEY}"), "data": data})
}
