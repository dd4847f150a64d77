//! What an operation may say after what was told to it.

use super::{KEY, read, wire::Told, world::World};
use alloy::primitives::{B256, keccak256};
use hub_chain::{BlockRef, ChainError, ChainLog, LogQuery, TxReceipt};
use serde_json::{Value, json};

/// One operation that was asked of a chain port.
pub(super) struct Case<'a> {
    pub(super) world: &'a World,
    /// By the node that is bent.
    pub(super) told: &'a [Told],
    /// There is no other node to ask: what it says counts as far as it does not contradict itself. With several the truth counts.
    pub(super) alone: bool,
}

impl Case<'_> {
    pub(super) fn is_bent(&self) -> bool {
        self.told.iter().any(|told| told.bent)
    }

    /// What was told last of all such answers, or the truth where a liar is outvoted.
    pub(super) fn result(&self, method: &str, params: &Value) -> Option<Value> {
        match self.alone {
            true => self.last(method)?.result(),
            false => self.world.request(method, params).ok(),
        }
    }

    pub(super) fn last(&self, method: &str) -> Option<&Told> {
        self.told.iter().rev().find(|told| told.method == method)
    }

    /// An error must have a reason, and tell no key.
    pub(super) fn failed(&self, error: &ChainError, method: &str, params: &Value) {
        let truth = self.world.request(method, params);
        let excused = self.is_bent() || self.told.iter().any(|told| told.result().is_none());
        assert!(
            truth.is_err() || (self.alone && excused),
            "an honest answer is refused: {error:?}"
        );
        self.keeps_the_key(error);
        if let ChainError::Reverted { data, .. } = error
            && !data.is_empty()
        {
            let told = match self.alone {
                true => json!(self.last(method).and_then(Told::answer)),
                false => truth.unwrap_err(),
            };
            let digits = alloy::hex::encode(data);
            let told = told.to_string().to_lowercase();
            assert!(told.contains(&digits), "{digits} was not told: {told}");
        }
    }

    pub(super) fn keeps_the_key(&self, error: &ChainError) {
        let (said, shown) = (error.to_string(), format!("{error:?}"));
        for text in [said, shown] {
            let is_told = self.world.keyed() && text.contains(KEY);
            assert!(!is_told, "the key is told: {text}");
        }
    }

    pub(super) fn block(&self, asked: Option<u64>, got: Result<Option<BlockRef>, ChainError>) {
        let tag = asked.map_or_else(|| json!("latest"), |number| json!(format!("{number:#x}")));
        let (method, params) = ("eth_getBlockByNumber", json!([tag, false]));
        match got {
            Ok(block) => {
                let result = self.result(method, &params).unwrap();
                assert_eq!(block.is_none(), result.is_null());
                assert_eq!(block, read::block(&result));
                let is_asked = |block: BlockRef| asked.is_none_or(|number| number == block.number);
                assert!(block.is_none_or(is_asked), "another block");
            }
            Err(error) => self.failed(&error, method, &params),
        }
    }

    pub(super) fn genesis(&self, got: Result<B256, ChainError>) {
        let params = json!(["0x0", false]);
        self.value("eth_getBlockByNumber", &params, got, |block| {
            Some(read::block(block)?.hash)
        });
    }

    pub(super) fn code(&self, params: &Value, got: Result<B256, ChainError>) {
        self.value("eth_getCode", params, got, |result| {
            read::bytes(result).map(keccak256)
        });
    }

    /// Whatever is one value.
    pub(super) fn value<T: PartialEq + std::fmt::Debug>(
        &self,
        method: &str,
        params: &Value,
        got: Result<T, ChainError>,
        read: impl FnOnce(&Value) -> Option<T>,
    ) {
        match got {
            Ok(got) => assert_eq!(Some(got), read(&self.result(method, params).unwrap()), "{method}"),
            Err(error) => self.failed(&error, method, params),
        }
    }

    pub(super) fn receipt(&self, asked: B256, got: Result<Option<TxReceipt>, ChainError>) {
        let (method, params) = ("eth_getTransactionReceipt", json!([asked]));
        match got {
            Ok(receipt) => {
                let result = self.result(method, &params).unwrap();
                assert_eq!(receipt.is_none(), result.is_null());
                assert_eq!(receipt, read::receipt(&result));
                if let Some(receipt) = receipt {
                    is_one_receipt(asked, &receipt);
                }
            }
            Err(error) => self.failed(&error, method, &params),
        }
    }

    pub(super) fn logs(&self, query: LogQuery, got: Result<Vec<ChainLog>, ChainError>) {
        let params = json!([filter(query)]);
        match got {
            Ok(logs) => {
                is_one_list(query, &logs);
                assert_eq!(logs, self.logs_told(&params));
            }
            // Above the head several have no logs in common.
            Err(error) if query.to > self.world.height() => self.keeps_the_key(&error),
            Err(error) => self.failed(&error, "eth_getLogs", &params),
        }
    }

    /// All logs of all answers that were read, in order, each once.
    pub(super) fn logs_told(&self, params: &Value) -> Vec<ChainLog> {
        let answers: Vec<Value> = match self.alone {
            true => {
                let told = self.told.iter().filter(|told| told.method == "eth_getLogs");
                told.filter_map(|told| told.result()).collect()
            }
            false => vec![self.world.ask("eth_getLogs", params)],
        };
        let logs = answers.iter().filter_map(Value::as_array).flatten();
        let kept = logs.filter(|log| !read::is_removed(log));
        let mut logs: Vec<ChainLog> = kept.filter_map(read::log).collect();
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        logs.dedup();
        logs
    }

    pub(super) fn gas_price(&self, got: Result<u128, ChainError>) {
        let (history, tip) = ("eth_feeHistory", "eth_maxPriorityFeePerGas");
        let params = json!(["0x1", "latest", []]);
        match got {
            Ok(price) => {
                let fees = self.result(history, &params).unwrap();
                let base_fee = fees["baseFeePerGas"]
                    .as_array()
                    .and_then(|fees| read::wide(fees.last()?));
                let tip = read::wide(&self.result(tip, &json!([])).unwrap());
                let both = base_fee
                    .zip(tip)
                    .map(|(base_fee, tip)| base_fee.saturating_add(tip));
                assert_eq!(Some(price), both);
            }
            Err(error) => self.failed(&error, history, &params),
        }
    }
}

/// The filter of a query, as JSON.
pub(super) fn filter(query: LogQuery) -> Value {
    let LogQuery { address, from, to } = query;
    json!({"address": address, "fromBlock": format!("{from:#x}"), "toBlock": format!("{to:#x}")})
}

/// Of the transaction that was asked for, and of one piece.
pub(super) fn is_one_receipt(asked: B256, receipt: &TxReceipt) {
    assert_eq!(receipt.tx_hash, asked, "the receipt of another transaction");
    for log in &receipt.logs {
        let place = (log.tx_hash, log.block_number, log.block_hash);
        let whole = (receipt.tx_hash, receipt.block_number, receipt.block_hash);
        assert_eq!(place, whole, "a receipt with a log of elsewhere");
    }
}

/// What was asked for, in order, and of one branch.
pub(super) fn is_one_list(query: LogQuery, logs: &[ChainLog]) {
    for log in logs {
        assert_eq!(log.address, query.address, "a log of another contract");
        assert!(
            (query.from..=query.to).contains(&log.block_number),
            "a log of elsewhere"
        );
        assert!(log.topics.len() <= 4, "{} topics", log.topics.len());
    }
    for pair in logs.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        let place = |log: &ChainLog| (log.block_number, log.log_index);
        assert!(place(one) < place(next), "two logs in one place, or not in order");
        let same_block = one.block_number == next.block_number;
        assert!(
            !same_block || one.block_hash == next.block_hash,
            "one block of two branches"
        );
    }
}
