//! One answer of several that have many fields: no field is one node's alone. Pure.

use super::ballot::{Answer, number};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What `eth_feeHistory` tells, newest last. Numbers beyond 64 bits are no fees.
struct History {
    base_fees: Vec<u64>,
    /// The first percentile that was asked for, of each block.
    tips: Vec<u64>,
}

impl History {
    fn read(answer: &Value) -> Option<Self> {
        let list = |field: &str| answer.get(field)?.as_array();
        let base_fees: Option<Vec<u64>> = list("baseFeePerGas")?.iter().map(number).collect();
        let tip = |tips: &Value| number(tips.as_array()?.first()?);
        let tips: Option<Vec<u64>> = list("reward")?.iter().map(tip).collect();
        Some(Self {
            base_fees: base_fees?,
            tips: tips?,
        })
    }
}

/// The next block's base fee, if it is a fee history with tips.
pub(super) fn next_base_fee(answer: &Value) -> Option<u64> {
    History::read(answer)?.base_fees.last().copied()
}

/// A fee history of which every number is the `n`-th highest that is told of it: a node's base fee brings none of its tips
/// along. `None` when fewer than `n` tell one.
pub(super) fn history(answers: &[Answer], n: usize) -> Option<Value> {
    let told: Vec<History> = answers.iter().flatten().filter_map(History::read).collect();
    let base_fees = ranked(told.iter().map(|history| history.base_fees.as_slice()), n);
    let tips = ranked(told.iter().map(|history| history.tips.as_slice()), n);
    let hex = |number: u64| json!(format!("{number:#x}"));
    base_fees.last()?;
    Some(json!({
        "oldestBlock": "0x0",
        "gasUsedRatio": [],
        "baseFeePerGas": base_fees.into_iter().map(hex).collect::<Vec<_>>(),
        "reward": tips.into_iter().map(|tip| json!([hex(tip)])).collect::<Vec<_>>(),
    }))
}

/// Each place, counted from the end: heads differ, and so do lengths. A place that fewer than `n` fill is left out.
fn ranked<'a>(lists: impl Iterator<Item = &'a [u64]> + Clone, n: usize) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    loop {
        let place = |list: &[u64]| list.iter().rev().nth(found.len()).copied();
        let mut numbers: Vec<u64> = lists.clone().filter_map(place).collect();
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        match n.checked_sub(1).and_then(|at| numbers.get(at)) {
            Some(number) => found.push(*number),
            None => break,
        }
    }
    found.reverse();
    found
}

/// One of answers that mean the same: each field as most of them have it, so that one of several neither changes what is
/// beside the point nor makes the answer unreadable.
pub(super) fn merged(answers: &[&Value]) -> Value {
    let objects: Option<Vec<&Map<String, Value>>> = answers.iter().map(|answer| answer.as_object()).collect();
    let lists: Option<Vec<&Vec<Value>>> = answers.iter().map(|answer| answer.as_array()).collect();
    match (objects, lists) {
        (Some(objects), _) => {
            let fields: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
            let most = |field: &&String| {
                let having = objects.iter().filter(|object| object.contains_key(*field));
                having.count().saturating_mul(2) >= objects.len()
            };
            let merge = |field: &String| {
                let values: Vec<&Value> = objects.iter().filter_map(|object| object.get(field)).collect();
                (field.clone(), merged(&values))
            };
            Value::Object(fields.into_iter().filter(most).map(merge).collect())
        }
        (_, Some(lists)) if alike(&lists) => {
            let places = 0..lists.first().map_or(0, |list| list.len());
            let merge = |at: usize| merged(&lists.iter().filter_map(|list| list.get(at)).collect::<Vec<_>>());
            Value::Array(places.map(merge).collect())
        }
        _ => most_frequent(answers),
    }
}

fn alike(lists: &[&Vec<Value>]) -> bool {
    lists
        .windows(2)
        .all(|pair| matches!(pair, [one, other] if one.len() == other.len()))
}

fn most_frequent(answers: &[&Value]) -> Value {
    let mut votes: BTreeMap<String, (usize, &Value)> = BTreeMap::new();
    for answer in answers {
        let (count, _) = votes
            .entry(answer.to_string().to_lowercase())
            .or_insert((0, *answer));
        *count = count.saturating_add(1);
    }
    let most = votes.into_values().max_by_key(|(count, _)| *count);
    most.map_or(Value::Null, |(_, answer)| answer.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn fees(base_fee: u64, tip: u64) -> Value {
        let hex = |number: u64| format!("{number:#x}");
        json!({
            "oldestBlock": "0x1",
            "baseFeePerGas": [hex(base_fee), hex(base_fee), hex(base_fee)],
            "gasUsedRatio": [0.5, 0.5],
            "reward": [[hex(tip)], [hex(tip)]],
        })
    }

    fn of(answers: &[Value], n: usize) -> Option<Value> {
        let answers: Vec<Answer> = answers.iter().cloned().map(Ok).collect();
        history(&answers, n)
    }

    /// Base fee and tip of every block.
    fn told(answers: &[Value], n: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let history = History::read(&of(answers, n).unwrap()).unwrap();
        (
            history.base_fees.into_iter().collect(),
            history.tips.into_iter().collect(),
        )
    }

    #[test]
    fn a_liar_with_the_same_base_fee_names_no_tip_wherever_it_stands() {
        let (honest, liar) = (|| fees(1_000, 20), || fees(1_000, 20_000_000));
        let expected = (BTreeSet::from([1_000]), BTreeSet::from([20]));
        for at in 0..3 {
            let mut answers = vec![honest(), honest()];
            answers.insert(at, liar());
            assert_eq!(told(&answers, 2), expected, "place {at}");
        }
        for answers in [[honest(), liar()], [liar(), honest()]] {
            assert_eq!(told(&answers, 2), expected, "of two the lower");
        }
    }

    #[test]
    fn a_liar_moves_no_number_of_any_block() {
        let high = |field: &str| {
            let mut lie = fees(1_000, 20);
            let last = match field {
                "reward" => json!([["0x14"], ["0xffffffffffff"]]),
                _ => json!(["0xffffffffffff", "0xffffffffffff", "0x3e8"]),
            };
            lie[field] = last;
            lie
        };
        for lie in [high("reward"), high("baseFeePerGas"), fees(0, 0)] {
            let answers = [fees(1_000, 20), lie, fees(1_000, 20)];
            assert_eq!(told(&answers, 2), (BTreeSet::from([1_000]), BTreeSet::from([20])));
        }
    }

    #[test]
    fn longer_shorter_and_broken_histories_shift_nothing() {
        let mut long = fees(1_000, 20);
        long["reward"] = json!([["0xffffffff"], ["0xffffffff"], ["0xffffffff"], ["0x14"], ["0x14"]]);
        let mut short = fees(1_000, 20);
        short["baseFeePerGas"] = json!(["0x3e8"]);
        short["reward"] = json!([]);
        let expected = (BTreeSet::from([1_000]), BTreeSet::from([20]));
        assert_eq!(told(&[fees(1_000, 20), long, short.clone()], 2), expected);
        let mut broken = fees(1_000, 20);
        broken["reward"] = json!([["0x14"], ["much"]]);
        assert!(next_base_fee(&broken).is_none());
        assert!(of(&[broken, fees(1_000, 20)], 2).is_none());
        assert!(of(&[json!({}), Value::Null, fees(1, 1)], 2).is_none());
    }

    #[test]
    fn what_means_the_same_is_merged_field_by_field() {
        let receipt =
            |gas: &str, index: &str| json!({"gasUsed": gas, "logs": [{"logIndex": index}], "to": "0xAB"});
        let (one, other) = (receipt("0x5", "0x0"), receipt("0x5", "0x0"));
        let mut liar = receipt("0xff", "nonsense");
        liar["extra"] = json!(1);
        for answers in [
            [&one, &other, &liar],
            [&liar, &one, &other],
            [&one, &liar, &other],
        ] {
            assert_eq!(merged(&answers), one);
        }
        let hides = json!({"gasUsed": "0x5", "logs": []});
        assert_eq!(merged(&[&hides, &one, &other]), one);
        assert_eq!(merged(&[&one]), one);
    }
}
