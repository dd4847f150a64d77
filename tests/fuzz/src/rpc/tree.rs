//! Changes to trees of JSON.

use serde_json::{Map, Value};

fn count(value: &Value, wanted: fn(&Value) -> bool) -> usize {
    let below: usize = match value {
        Value::Array(items) => items.iter().map(|item| count(item, wanted)).sum(),
        Value::Object(fields) => fields.values().map(|field| count(field, wanted)).sum(),
        _ => 0,
    };
    below + usize::from(wanted(value))
}

fn find<'a>(value: &'a mut Value, left: &mut usize, wanted: fn(&Value) -> bool) -> Option<&'a mut Value> {
    if wanted(value) {
        if *left == 0 {
            return Some(value);
        }
        *left -= 1;
    }
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| find(item, left, wanted)),
        Value::Object(fields) => fields.values_mut().find_map(|field| find(field, left, wanted)),
        _ => None,
    }
}

/// The wanted node of this number, counted around; the root without any.
pub(super) fn nth(root: &mut Value, place: u16, wanted: fn(&Value) -> bool) -> &mut Value {
    let (wanted, count): (fn(&Value) -> bool, usize) = match count(root, wanted) {
        0 => (|_| true, 1),
        count => (wanted, count),
    };
    let mut left = usize::from(place & 0x7fff) % count;
    find(root, &mut left, wanted).unwrap()
}

/// A copy of a node.
pub(super) fn pick(root: &Value, place: u16) -> Value {
    nth(&mut root.clone(), place, |_| true).clone()
}

fn name(fields: &Map<String, Value>, number: u8) -> Option<String> {
    let count = fields.len().max(1);
    fields.keys().nth(usize::from(number) % count).cloned()
}

pub(super) fn drop_one(container: &mut Value, number: u8) {
    match container {
        Value::Array(items) if !items.is_empty() => drop(items.remove(usize::from(number) % items.len())),
        Value::Object(fields) => {
            if let Some(name) = name(fields, number) {
                fields.remove(&name);
            }
        }
        _ => {}
    }
}

pub(super) fn repeat_one(container: &mut Value, number: u8) {
    if let Value::Array(items) = container
        && !items.is_empty()
    {
        let (from, to) = (usize::from(number >> 4), usize::from(number & 15));
        let copy = items[from % items.len()].clone();
        items.insert(to % (items.len() + 1), copy);
    }
}

/// Two items, or the values of two fields.
pub(super) fn swap_two(container: &mut Value, number: u8) {
    let (one, other) = (number >> 4, number & 15);
    match container {
        Value::Array(items) if !items.is_empty() => {
            let count = items.len();
            items.swap(usize::from(one) % count, usize::from(other) % count);
        }
        Value::Object(fields) => {
            if let (Some(one), Some(other)) = (name(fields, one), name(fields, other))
                && one != other
            {
                let (first, second) = (fields[&one].take(), fields[&other].take());
                fields.insert(one, second);
                fields.insert(other, first);
            }
        }
        _ => {}
    }
}

pub(super) fn add_one(container: &mut Value, number: u8, new: &Value) {
    match container {
        Value::Array(items) => items.insert(usize::from(number) % (items.len() + 1), new.clone()),
        Value::Object(fields) => {
            let names = [
                "root",
                "status",
                "removed",
                "type",
                "extra",
                "result",
                "error",
                "blobGasUsed",
            ];
            fields.insert(names[usize::from(number) % names.len()].to_owned(), new.clone());
        }
        _ => {}
    }
}

/// Another digit in a text of digits.
pub(super) fn change_digit(node: &mut Value, number: u8) {
    if let Value::String(text) = node {
        let mut bytes = std::mem::take(text).into_bytes();
        let places = bytes.len().saturating_sub(2);
        if places > 0 {
            let at = 2 + usize::from(number >> 4) * 7 % places;
            bytes[at] = b"0123456789abcdef"[usize::from(number & 15)];
        }
        *text = String::from_utf8(bytes).unwrap_or_default();
    }
}

/// A quantity that is a little off.
pub(super) fn step(node: &mut Value, number: u8) {
    let Some(quantity) = super::read::number(node) else {
        return;
    };
    let by = u64::from(number >> 1);
    let stepped = match number & 1 {
        0 => quantity.wrapping_add(by),
        _ => quantity.wrapping_sub(by),
    };
    *node = Value::String(format!("{stepped:#x}"));
}

pub(super) fn deep(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, level| match level % 2 {
        0 => Value::Array(vec![inner]),
        _ => Value::Object(Map::from_iter([("a".to_owned(), inner)])),
    })
}
