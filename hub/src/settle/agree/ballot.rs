//! What several nodes answered, and what of it counts. Pure.

use super::{
    super::node::short_of_gas,
    Said,
    merge::{history, merged, next_base_fee},
};
use alloy::{
    primitives::U256,
    transports::{RpcError, TransportError, TransportErrorKind},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FEES: &str = "eth_feeHistory";
const SEND: &str = "eth_sendRawTransaction";
const TRANSACTION: &str = "eth_getTransactionByHash";
/// The newest block of each node: how high they are is measured.
pub(super) const HEADS: &str = "the newest block";

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

    /// Every node gets it, also one that rests.
    pub(super) fn is_for_all(&self) -> bool {
        self.method == SEND
    }

    /// Whether so many `unheard` nodes could not change what counts; `all`: those that are waited for have answered.
    pub(super) fn is_decided<'b>(
        &self,
        answers: impl Iterator<Item = &'b Answer> + Clone,
        unheard: usize,
        all: bool,
    ) -> bool {
        let known = |answer: &Answer| answer.as_ref().is_ok_and(|value| !value.is_null());
        match (self.method, self.measured()) {
            // Among so many one is honest, and passes it on.
            (SEND, _) => answers.filter(|answer| answer.is_ok()).count() >= self.agree,
            (TRANSACTION, _) if answers.clone().any(known) => true,
            (_, Some(of)) => {
                let told = answers.filter(|answer| answer.as_ref().is_ok_and(|value| of(value).is_some()));
                // Over so many, `agree - 1` liars neither raise nor lower it.
                let safe = self.agree.saturating_mul(2).saturating_sub(1);
                told.count() >= if all { self.agree } else { safe }
            }
            (_, None) => {
                let mut votes: BTreeMap<String, usize> = BTreeMap::new();
                for answer in answers.filter(|answer| said(answer)) {
                    let count = votes.entry(self.key(answer)).or_default();
                    *count = count.saturating_add(1);
                }
                let nothing = votes.remove(NOTHING).unwrap_or_default();
                let most = votes.into_values().max().unwrap_or_default();
                let overruled = most.saturating_add(unheard) >= self.agree;
                most >= self.agree || (nothing >= self.agree && !overruled)
            }
        }
    }

    /// What is measured, where no single node shall move the answer.
    fn measured(&self) -> Option<fn(&Value) -> Option<u64>> {
        match self.method {
            "eth_estimateGas" | "eth_getTransactionCount" | "eth_gasPrice" | "eth_maxPriorityFeePerGas" => {
                Some(number)
            }
            FEES => Some(next_base_fee),
            HEADS => Some(height),
            _ => None,
        }
    }

    /// What counts.
    ///
    /// # Errors
    /// What enough nodes refuse with, else that they do not agree.
    pub(super) fn count(&self, answers: Vec<Answer>) -> Answer {
        match (self.method, self.measured()) {
            // Whoever takes it passes it on.
            (SEND, _) => sent(answers, self.agree),
            // One that knows it is enough: a pool is no promise.
            (TRANSACTION, _) => match answers.iter().flatten().find(|answer| !answer.is_null()) {
                Some(known) => Ok(known.clone()),
                None => self.same(answers),
            },
            (_, Some(of)) => self.measure(answers, of),
            (_, None) => self.same(answers),
        }
    }

    /// The `agree`-th highest; with fewer numbers than that, what they refuse with.
    fn measure(&self, answers: Vec<Answer>, of: impl Fn(&Value) -> Option<u64>) -> Answer {
        let measured = match self.method {
            FEES => history(&answers, self.agree),
            _ => nth_highest(&answers, self.agree, of).cloned(),
        };
        match measured {
            Some(answer) => Ok(answer),
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
        if let Some(group) = found.and_then(|key| groups.remove(&key)) {
            return one_of(group);
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

    /// Equal for answers that mean the same: nodes word them differently. Whatever is relied upon is in it.
    fn key(&self, answer: &Answer) -> String {
        let of = |value: &Value, fields: &[&str]| {
            let fields = fields.iter().map(|field| value.get(field).cloned());
            json!(fields.collect::<Vec<_>>()).to_string().to_lowercase()
        };
        match answer {
            Ok(Value::Null) => NOTHING.to_owned(),
            Ok(block) if self.method.starts_with("eth_getBlockBy") => of(
                block,
                &["hash", "parentHash", "number", "timestamp", "baseFeePerGas"],
            ),
            Ok(receipt) if self.method == "eth_getTransactionReceipt" => {
                let logs = receipt.get("logs").and_then(Value::as_array);
                let logs: Vec<_> = logs.into_iter().flatten().collect();
                let logs: Vec<_> = logs
                    .iter()
                    .map(|log| of(log, &["address", "topics", "data"]))
                    .collect();
                let fields = [
                    "transactionHash",
                    "blockHash",
                    "blockNumber",
                    "status",
                    "gasUsed",
                    "effectiveGasPrice",
                ];
                format!("{}{logs:?}", of(receipt, &fields))
            }
            Ok(value) => value.to_string().to_lowercase(),
            Err(RpcError::ErrorResp(refusal)) => format!("refused {}", refused(refusal)),
            Err(_) => String::new(),
        }
    }
}

const NOTHING: &str = "nothing";

/// A revert by its data, else what [`super::super::node::classify`] and the sending make of it: by a word of its own one
/// node must not turn a refusal into something else.
fn refused(refusal: &Said) -> String {
    let message = refusal.message.to_lowercase();
    let words = ["revert", "insufficient funds"];
    match refusal.as_revert_data() {
        Some(data) => data.to_string(),
        None if is_known_already(&message) => KNOWN.to_owned(),
        None if short_of_gas(&message) => "out of gas".to_owned(),
        None => words
            .iter()
            .filter(|word| message.contains(**word))
            .copied()
            .collect(),
    }
}

const KNOWN: &str = "known already";

/// Whether a node refused a transaction because it has it; `message` in lower case.
pub(in super::super) fn is_known_already(message: &str) -> bool {
    let words = [
        "already known",
        "already imported",
        "known transaction",
        "already exists",
    ];
    words.iter().any(|words| message.contains(words))
}

/// Of answers that mean the same.
fn one_of(mut group: Vec<Answer>) -> Answer {
    let values: Vec<&Value> = group.iter().flatten().collect();
    match values.is_empty() {
        true => group.pop().unwrap_or_else(none),
        false => Ok(merged(&values)),
    }
}

/// True when the node said something, be it that it will not.
fn said(answer: &Answer) -> bool {
    matches!(answer, Ok(_) | Err(RpcError::ErrorResp(_)))
}

fn cause(answer: &Answer) -> Option<String> {
    match answer {
        Err(RpcError::Transport(error)) => Some(node_rpc::transport_cause(error)),
        _ => None,
    }
}

/// The first success, or that it is known already. Refused it is when `agree` refuse: while fewer do it may be on its way.
fn sent(mut answers: Vec<Answer>, agree: usize) -> Answer {
    let class = |answer: &Answer| match answer {
        Err(RpcError::ErrorResp(refusal)) => Some(refused(refusal)),
        _ => None,
    };
    let classes: Vec<Option<String>> = answers.iter().map(class).collect();
    let alike = |class: &String| classes.iter().flatten().filter(|other| *other == class).count();
    let taken = answers.iter().position(Result::is_ok);
    let known = || classes.iter().position(|class| class.as_deref() == Some(KNOWN));
    let at = taken.or_else(known).or_else(|| {
        let refusals = classes.iter().flatten().count();
        let most = classes.iter().flatten().map(alike).max();
        let most = |class: &Option<String>| class.as_ref().map(alike) == most;
        match refusals >= agree {
            true => classes.iter().position(most),
            false => classes.iter().position(Option::is_none),
        }
    });
    match at {
        Some(at) => answers.swap_remove(at),
        None => Err(TransportErrorKind::custom_str("too few of the nodes answered")),
    }
}

fn none() -> Answer {
    Err(TransportErrorKind::custom_str("no node"))
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

/// A block's.
pub(super) fn height(block: &Value) -> Option<u64> {
    number(block.get("number")?)
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
            Some(json!("0xAB"))
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

    fn decided(method: &str, answers: &[Answer], unheard: usize, all: bool) -> bool {
        Ballot::new(method, 2).is_decided(answers.iter(), unheard, all)
    }

    #[test]
    fn it_is_decided_when_those_not_heard_cannot_change_it() {
        let (truth, lie, null) = (|| Ok(json!("0xab")), || Ok(json!("0xcd")), || Ok(Value::Null));
        let read = |answers: &[Answer], unheard| decided("eth_call", answers, unheard, false);
        assert!(!read(&[truth()], 2));
        assert!(read(&[truth(), truth()], 1));
        assert!(!read(&[truth(), lie()], 1));
        assert!(!read(&[truth(), down()], 1));
        let receipt =
            |answers: &[Answer], unheard, all| decided("eth_getTransactionReceipt", answers, unheard, all);
        assert!(receipt(&[null(), null()], 1, false), "no two can show one");
        assert!(!receipt(&[null(), null()], 2, true), "two others may");
        assert!(!receipt(&[null(), null(), truth()], 1, false));
        let sent = |answers: &[Answer]| decided("eth_sendRawTransaction", answers, 1, true);
        assert!(!sent(&[lie()]), "who says that it has passed it on may lie");
        assert!(sent(&[lie(), truth()]));
    }

    #[test]
    fn a_measure_is_decided_over_so_many_that_one_liar_does_not_move_it() {
        let of = |number: u64| Ok(json!(format!("{number:#x}")));
        for method in ["eth_getTransactionCount", "eth_estimateGas"] {
            assert!(!decided(method, &[of(7), of(0)], 1, false), "0 would count");
            assert!(decided(method, &[of(7), of(0), of(8)], 0, false));
            assert!(decided(method, &[of(7), of(0)], 1, true), "nobody else is up");
            assert!(!decided(method, &[of(7), down()], 1, true));
        }
        let head = |number: u64| Ok(json!({"number": format!("{number:#x}")}));
        assert!(!decided(HEADS, &[head(7), head(0)], 1, false));
        assert!(decided(HEADS, &[head(7), head(0), head(8)], 0, false));
    }

    #[test]
    fn one_that_takes_a_transaction_is_enough() {
        assert_eq!(count(SEND, 2, vec![down(), Ok(json!("0x1"))]), Some(json!("0x1")));
        assert_eq!(count(SEND, 2, vec![down(), down()]), None);
    }

    fn refusal(message: &str) -> Answer {
        Err(RpcError::ErrorResp(Said {
            code: -32_000,
            message: message.to_owned().into(),
            data: None,
        }))
    }

    fn said_of(method: &str, answers: Vec<Answer>) -> String {
        Ballot::new(method, 2).count(answers).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_of_one_node_is_not_that_of_all() {
        let (low, known) = (|| refusal("nonce too low"), || refusal("Already known"));
        let failed = said_of(SEND, vec![low(), down(), down()]);
        assert!(failed.contains("down"), "it may be on its way: {failed}");
        let failed = said_of(SEND, vec![low()]);
        assert!(failed.contains("too few"), "the others may have it: {failed}");
        for answers in [[low(), known(), known()], [known(), low(), low()]] {
            assert!(said_of(SEND, answers.into()).contains("known"));
        }
        let poor = || refusal("insufficient funds for gas");
        for at in 0..3 {
            let mut answers = vec![poor(), poor()];
            answers.insert(at, refusal("nonsense"));
            assert!(said_of(SEND, answers).contains("insufficient"), "place {at}");
        }
    }

    #[test]
    fn one_node_does_not_turn_a_failure_into_a_revert() {
        let failed = || refusal("header not found");
        for at in 0..3 {
            let mut answers = vec![failed(), failed()];
            answers.insert(at, refusal("execution reverted"));
            assert!(said_of("eth_call", answers).contains("header"), "place {at}");
        }
    }

    #[test]
    fn a_block_of_the_right_hash_with_another_time_is_not_that_block() {
        let block = |time: &str, extra: &str| {
            Ok(json!({"hash": "0x1", "number": "0x9", "timestamp": time, "extraData": extra}))
        };
        let read = |answers| count("eth_getBlockByNumber", 2, answers);
        for at in 0..3 {
            let mut answers = vec![block("0x64", "0x"), block("0x64", "0x")];
            answers.insert(at, block("0xffff", "0x"));
            assert_eq!(read(answers).unwrap()["timestamp"], "0x64", "place {at}");
            let mut answers = vec![block("0x64", "0x"), block("0x64", "0x")];
            answers.insert(at, block("0x64", "nonsense"));
            assert_eq!(read(answers).unwrap()["extraData"], "0x", "place {at}");
        }
        assert_eq!(read(vec![block("0xffff", "0x"), block("0x64", "0x")]), None);
    }

    #[test]
    fn the_gas_that_a_receipt_tells_is_what_enough_nodes_tell() {
        let receipt =
            |gas: &str| Ok(json!({"blockHash": "0x1", "status": "0x1", "logs": [], "gasUsed": gas}));
        for at in 0..3 {
            let mut answers = vec![receipt("0x5"), receipt("0x5")];
            answers.insert(at, receipt("0xff"));
            let found = count("eth_getTransactionReceipt", 2, answers).unwrap();
            assert_eq!(found["gasUsed"], "0x5", "place {at}");
        }
    }
}
