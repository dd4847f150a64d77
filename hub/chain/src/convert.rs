//! From alloy's types to the port's.

use super::error::ChainError;
use super::types::{BlockRef, ChainLog, TxReceipt};
use alloy::consensus::{Eip658Value, TxReceipt as _};
use alloy::rpc::types::{Block, Log, TransactionReceipt};

/// Most topics of a log.
const TOPICS_MAX: usize = 4;

pub(super) fn block_ref(block: &Block) -> BlockRef {
    BlockRef {
        number: block.header.number,
        hash: block.header.hash,
        parent_hash: block.header.parent_hash,
        timestamp_s: block.header.timestamp,
        gas_limit: block.header.gas_limit,
    }
}

pub(super) fn chain_log(log: Log) -> Result<ChainLog, ChainError> {
    let missing = || ChainError::BadAnswer("a log without its place in a block".to_owned());
    let topics = log.inner.data.topics().len();
    if topics > TOPICS_MAX {
        return Err(ChainError::BadAnswer(format!("a log with {topics} topics")));
    }
    Ok(ChainLog {
        address: log.inner.address,
        topics: log.inner.data.topics().to_vec(),
        block_number: log.block_number.ok_or_else(missing)?,
        block_hash: log.block_hash.ok_or_else(missing)?,
        tx_hash: log.transaction_hash.ok_or_else(missing)?,
        log_index: log.log_index.ok_or_else(missing)?,
        data: log.inner.data.data,
    })
}

/// Logs of one contract in chain order, each once. A place holds one log, and a block is of one branch.
pub(super) fn in_order(mut logs: Vec<ChainLog>) -> Result<Vec<ChainLog>, ChainError> {
    logs.sort_by_key(|log| (log.block_number, log.log_index));
    logs.dedup();
    let pairs = logs.iter().zip(logs.iter().skip(1));
    let mut same_block = pairs.filter(|(one, next)| one.block_number == next.block_number);
    let contradict = |(one, next): &(&ChainLog, &ChainLog)| {
        one.log_index == next.log_index || one.block_hash != next.block_hash
    };
    match same_block.find(contradict) {
        None => Ok(logs),
        Some((one, _)) => Err(ChainError::BadAnswer(format!(
            "logs of block {} that contradict each other",
            one.block_number
        ))),
    }
}

pub(super) fn tx_receipt(receipt: TransactionReceipt) -> Result<TxReceipt, ChainError> {
    let bad = |what: &str| ChainError::BadAnswer(format!("a receipt {what}"));
    // A receipt that has the root of a state in its place does not say.
    let Eip658Value::Eip658(success) = receipt.inner.status_or_post_state() else {
        return Err(bad("without a status"));
    };
    let logs = receipt.logs().iter().cloned().map(chain_log);
    let receipt = TxReceipt {
        tx_hash: receipt.transaction_hash,
        block_number: receipt.block_number.ok_or_else(|| bad("without a block"))?,
        block_hash: receipt.block_hash.ok_or_else(|| bad("without a block"))?,
        success,
        gas_used: receipt.gas_used,
        effective_gas_price: receipt.effective_gas_price,
        contract_address: receipt.contract_address,
        logs: logs.collect::<Result<_, _>>()?,
    };
    let own = (receipt.tx_hash, receipt.block_hash, receipt.block_number);
    let is_own = |log: &ChainLog| (log.tx_hash, log.block_hash, log.block_number) == own;
    match receipt.logs.iter().all(is_own) {
        true => Ok(receipt),
        false => Err(bad("with a log of another transaction or block")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, B256, Bytes};
    use serde_json::{Value, json};

    fn log(block: u64, index: u64, branch: u8) -> ChainLog {
        ChainLog {
            address: Address::ZERO,
            topics: Vec::new(),
            data: Bytes::new(),
            block_number: block,
            block_hash: B256::repeat_byte(branch),
            tx_hash: B256::ZERO,
            log_index: index,
        }
    }

    #[test]
    fn logs_are_put_in_order_and_doubles_are_one() {
        let told = vec![log(2, 0, 2), log(1, 1, 1), log(1, 0, 1), log(1, 1, 1)];
        let expected = vec![log(1, 0, 1), log(1, 1, 1), log(2, 0, 2)];
        assert_eq!(in_order(told), Ok(expected));
        assert_eq!(in_order(Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn logs_that_contradict_each_other_are_refused() {
        let other = ChainLog {
            data: Bytes::from_static(&[1]),
            ..log(1, 0, 1)
        };
        for told in [
            vec![log(1, 0, 1), other],
            vec![log(1, 0, 1), log(1, 0, 2)],
            vec![log(1, 0, 1), log(1, 1, 2), log(2, 0, 1)],
        ] {
            assert!(matches!(in_order(told), Err(ChainError::BadAnswer(_))));
        }
    }

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    fn log_json(tx: u8, block: u8, number: &str) -> Value {
        json!({
            "address": Address::ZERO, "topics": [], "data": "0x", "logIndex": "0x0", "transactionIndex": "0x0",
            "transactionHash": hash(tx), "blockHash": hash(block), "blockNumber": number, "removed": false,
        })
    }

    fn receipt(status: (&str, Value), log: &Value) -> Result<TxReceipt, ChainError> {
        let mut told = json!({
            "type": "0x2", "cumulativeGasUsed": "0x5208", "gasUsed": "0x5208", "effectiveGasPrice": "0x1",
            "logsBloom": format!("0x{}", "0".repeat(512)), "from": Address::ZERO, "to": Address::ZERO,
            "transactionHash": hash(1), "transactionIndex": "0x0", "blockHash": hash(2), "blockNumber": "0x3",
            "logs": [log],
        });
        told[status.0] = status.1;
        tx_receipt(serde_json::from_value(told).unwrap())
    }

    #[test]
    fn a_receipt_is_of_one_piece() {
        let own = log_json(1, 2, "0x3");
        assert!(receipt(("status", json!("0x1")), &own).unwrap().success);
        assert!(!receipt(("status", json!("0x0")), &own).unwrap().success);
        for other in [
            log_json(9, 2, "0x3"),
            log_json(1, 9, "0x3"),
            log_json(1, 2, "0x9"),
        ] {
            let refused = receipt(("status", json!("0x1")), &other);
            assert!(matches!(refused, Err(ChainError::BadAnswer(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_receipt_says_whether_it_succeeded() {
        let refused = receipt(("root", json!(hash(7))), &log_json(1, 2, "0x3"));
        assert!(matches!(refused, Err(ChainError::BadAnswer(_))), "{refused:?}");
    }

    #[test]
    fn a_log_has_four_topics_at_most() {
        let with = |topics: usize| {
            let mut told = log_json(1, 2, "0x3");
            told["topics"] = json!(vec![hash(5); topics]);
            chain_log(serde_json::from_value(told).unwrap())
        };
        assert_eq!(with(4).unwrap().topics.len(), 4);
        assert!(matches!(with(5), Err(ChainError::BadAnswer(_))));
    }
}
