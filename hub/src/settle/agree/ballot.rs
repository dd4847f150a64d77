//! What several nodes answered, and what of it counts. Pure.

use super::Said;
use alloy::{
    primitives::U256,
    transports::{RpcError, TransportError, TransportErrorKind},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one node answered.
pub(super) type Answer = Result<Value, TransportError>;

/// The answers to one request.
pub(super) struct Ballot<'a> {
    method: &'a str,
    agree: usize,
}

impl<'a> Ballot<'a> {
    pub(super) fn new(method: &'a str, agree: usize) -> Self {
        Self { method, agree }
    }

    /// What counts.
    ///
    /// # Errors
    /// What enough nodes refuse with, else that they do not agree.
    pub(super) fn count(&self, answers: Vec<Answer>) -> Answer {
        match self.method {
            // Whoever takes it passes it on.
            "eth_sendRawTransaction" => first(answers),
            // One that knows it is enough: a pool is no promise.
            "eth_getTransactionByHash" => match answers.iter().flatten().find(|answer| !answer.is_null()) {
                Some(known) => Ok(known.clone()),
                None => self.same(answers),
            },
            // Measures: no single node moves them.
            "eth_estimateGas" | "eth_getTransactionCount" | "eth_gasPrice" | "eth_maxPriorityFeePerGas" => {
                self.measure(answers, number)
            }
            "eth_feeHistory" => self.measure(answers, next_base_fee),
            _ => self.same(answers),
        }
    }

    /// The `agree`-th highest; with fewer numbers than that, what they refuse with.
    fn measure(&self, answers: Vec<Answer>, of: impl Fn(&Value) -> Option<u64>) -> Answer {
        match nth_highest(&answers, self.agree, of) {
            Some(answer) => Ok(answer.clone()),
            None => self.same(answers),
        }
    }

    /// The answer that enough nodes give. To lack something contradicts nobody, and is the answer when enough answered.
    fn same(&self, answers: Vec<Answer>) -> Answer {
        let told = answers.iter().filter(|answer| said(answer)).count();
        let failure = answers.iter().find_map(cause);
        let mut groups: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
        for answer in answers.into_iter().filter(said) {
            groups.entry(self.key(&answer)).or_default().push(answer);
        }
        let nothing = groups.contains_key(NOTHING);
        let counts = |(key, group): &(&String, &Vec<Answer>)| *key != NOTHING && group.len() >= self.agree;
        let found = groups.iter().find(counts).map(|(key, _)| key.clone());
        if let Some(answer) = found.and_then(|key| groups.remove(&key)?.pop()) {
            return answer;
        }
        let text = match told >= self.agree {
            true if nothing => return Ok(Value::Null),
            true => format!(
                "the nodes contradict each other, no {} say the same: one lies or is on a branch",
                self.agree
            ),
            false => format!(
                "{told} of the nodes answered, {} must agree{}",
                self.agree,
                failure.map_or_else(String::new, |cause| format!(" ({cause})"))
            ),
        };
        Err(TransportErrorKind::custom_str(&text))
    }

    /// Equal for answers that mean the same: nodes word them differently.
    fn key(&self, answer: &Answer) -> String {
        let of = |value: &Value, fields: &[&str]| {
            let fields = fields.iter().map(|field| value.get(field).cloned());
            json!(fields.collect::<Vec<_>>()).to_string().to_lowercase()
        };
        match answer {
            Ok(Value::Null) => NOTHING.to_owned(),
            Ok(block) if self.method.starts_with("eth_getBlockBy") => of(block, &["hash"]),
            Ok(receipt) if self.method == "eth_getTransactionReceipt" => {
                let logs = receipt.get("logs").and_then(Value::as_array);
                let logs: Vec<_> = logs.into_iter().flatten().collect();
                let logs: Vec<_> = logs
                    .iter()
                    .map(|log| of(log, &["address", "topics", "data"]))
                    .collect();
                format!("{}{logs:?}", of(receipt, &["blockHash", "blockNumber", "status"]))
            }
            Ok(value) => value.to_string().to_lowercase(),
            Err(RpcError::ErrorResp(refusal)) => format!("refused {:?}", refused(refusal)),
            Err(_) => String::new(),
        }
    }
}

const NOTHING: &str = "nothing";

/// A revert by its data; any other refusal is as good as another.
fn refused(refusal: &Said) -> Option<String> {
    refusal.as_revert_data().map(|data| data.to_string())
}

/// True when the node said something, be it that it will not.
fn said(answer: &Answer) -> bool {
    matches!(answer, Ok(_) | Err(RpcError::ErrorResp(_)))
}

fn cause(answer: &Answer) -> Option<String> {
    match answer {
        Err(RpcError::Transport(error)) => Some(crate::chain::transport_cause(error)),
        _ => None,
    }
}

/// The first success, else the first refusal, else the first failure.
fn first(mut answers: Vec<Answer>) -> Answer {
    let at = answers.iter().position(Result::is_ok);
    let at = at.or_else(|| answers.iter().position(said)).unwrap_or_default();
    match at < answers.len() {
        true => answers.swap_remove(at),
        false => Err(TransportErrorKind::custom_str("no node")),
    }
}

/// The answer with the `n`-th highest number: at most `n - 1` of them are higher, so `n - 1` liars cannot raise it.
pub(super) fn nth_highest(
    answers: &[Answer],
    n: usize,
    of: impl Fn(&Value) -> Option<u64>,
) -> Option<&Value> {
    let mut numbers: Vec<(u64, &Value)> = answers
        .iter()
        .flatten()
        .filter_map(|answer| Some((of(answer)?, answer)))
        .collect();
    numbers.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    numbers.get(n.checked_sub(1)?).map(|(_, answer)| *answer)
}

/// A JSON-RPC quantity.
pub(super) fn number(value: &Value) -> Option<u64> {
    let quantity: U256 = value.as_str()?.parse().ok()?;
    quantity.try_into().ok()
}

fn next_base_fee(history: &Value) -> Option<u64> {
    number(history.get("baseFeePerGas")?.as_array()?.last()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    fn down() -> Answer {
        Err(TransportErrorKind::custom_str("down"))
    }

    fn count(method: &str, agree: usize, answers: Vec<Answer>) -> Option<Value> {
        Ballot::new(method, agree).count(answers).ok()
    }

    #[test]
    fn what_is_read_counts_when_enough_say_the_same() {
        let (truth, lie) = (|| Ok(json!("0xAB")), || Ok(json!("0xcd")));
        let read = |agree, answers| count("eth_call", agree, answers);
        assert_eq!(
            read(2, vec![lie(), truth(), Ok(json!("0xab"))]),
            Some(json!("0xab"))
        );
        assert_eq!(read(2, vec![down(), truth(), truth()]), Some(json!("0xAB")));
        assert_eq!(read(2, vec![lie(), truth()]), None);
        assert_eq!(read(2, vec![down(), truth()]), None);
        assert_eq!(read(1, vec![truth()]), Some(json!("0xAB")));
    }

    #[test]
    fn a_receipt_that_one_node_invents_or_hides_is_not_believed() {
        let block = |hash: &str, extra: u8| {
            Ok(json!({"blockHash": hash, "status": "0x1", "logs": [], "extra": extra}))
        };
        let receipt = |agree, answers| count("eth_getTransactionReceipt", agree, answers);
        assert_eq!(
            receipt(2, vec![block("0x1", 0), Ok(Value::Null), Ok(Value::Null)]),
            Some(Value::Null)
        );
        let found = receipt(2, vec![block("0x1", 0), Ok(Value::Null), block("0x1", 1)]).unwrap();
        assert_eq!(found["blockHash"], "0x1");
        assert_eq!(receipt(2, vec![block("0x1", 0), down(), down()]), None);
    }

    #[test]
    fn no_single_node_moves_a_measure() {
        let of = |agree, numbers: &[u64]| {
            let answers = numbers
                .iter()
                .map(|number| Ok(json!(format!("{number:#x}"))))
                .collect();
            count("eth_getTransactionCount", agree, answers)
        };
        assert_eq!(of(2, &[900, 7, 8]), Some(json!("0x8")));
        assert_eq!(of(2, &[0, 7, 8]), Some(json!("0x7")));
        assert_eq!(of(2, &[7]), None);
    }

    #[test]
    fn one_that_takes_a_transaction_is_enough() {
        assert_eq!(
            count("eth_sendRawTransaction", 2, vec![down(), Ok(json!("0x1"))]),
            Some(json!("0x1"))
        );
        assert_eq!(count("eth_sendRawTransaction", 2, vec![down(), down()]), None);
    }
}
