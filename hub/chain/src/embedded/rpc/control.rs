//! The `evm_` and `anvil_` methods, with anvil's names and parameter formats.

use super::super::failure::RpcFailure;
use super::super::node::{Mining, Node};
use super::params::{Params, number};
use super::{Answer, json};
use alloy::primitives::{B256, Bytes, U64};
use serde_json::Value;

pub(super) fn answer(node: &mut Node, method: &str, params: &Params) -> Option<Answer> {
    Some(match method {
        "evm_mine" => mine(node, params),
        "anvil_mine" | "hardhat_mine" => mine_many(node, params),
        "evm_setAutomine" => set_automine(node, params),
        "evm_setIntervalMining" => set_interval(node, params),
        "evm_increaseTime" => params
            .number(0)
            .and_then(|by_s| json(&node.core.travel.increase(by_s))),
        "evm_setNextBlockTimestamp" => set_next_timestamp(node, params),
        "evm_snapshot" => json(&U64::from(node.snapshot())),
        "evm_revert" => params.number(0).and_then(|id| json(&node.revert(id))),
        "anvil_reorg" => reorg(node, params),
        "anvil_setBalance" => set_balance(node, params),
        "anvil_setCode" => set_code(node, params),
        "anvil_setNextBlockBaseFeePerGas" => set_next_base_fee(node, params),
        "anvil_dropTransaction" => drop_transaction(node, params),
        _ => return None,
    })
}

/// `evm_mine`: nothing, a timestamp, or `{timestamp, blocks}`.
fn mine(node: &mut Node, params: &Params) -> Answer {
    let (timestamp, blocks) = match params.value(0) {
        None => (None, 1),
        Some(Value::Object(options)) => {
            let field = |name: &str| {
                options
                    .get(name)
                    .filter(|value| !value.is_null())
                    .map(number)
                    .transpose()
            };
            (field("timestamp")?, field("blocks")?.unwrap_or(1))
        }
        Some(value) => (Some(number(value)?), 1),
    };
    if let Some(timestamp_s) = timestamp {
        next_timestamp(node, timestamp_s)?;
    }
    node.mine_many(blocks, 0)?;
    json(&"0x0")
}

fn mine_many(node: &mut Node, params: &Params) -> Answer {
    let count = params.number_or_none(0)?.unwrap_or(1);
    let gap_s = params.number_or_none(1)?.unwrap_or(0);
    node.mine_many(count, gap_s)?;
    json(&())
}

fn set_automine(node: &mut Node, params: &Params) -> Answer {
    let automine = params.required(0)?;
    node.mining = Mining {
        automine,
        interval_s: None,
    };
    json(&())
}

/// Blocks at an interval instead of one per transaction; 0 stops both.
fn set_interval(node: &mut Node, params: &Params) -> Answer {
    let seconds = params.number(0)?;
    node.mining = Mining {
        automine: false,
        interval_s: Some(seconds).filter(|seconds| *seconds > 0),
    };
    json(&())
}

fn set_next_timestamp(node: &mut Node, params: &Params) -> Answer {
    next_timestamp(node, params.number(0)?)?;
    json(&())
}

fn next_timestamp(node: &mut Node, timestamp_s: u64) -> Result<(), RpcFailure> {
    let parent_s = node.head()?.header.timestamp;
    node.core.travel.set_next(timestamp_s, parent_s)
}

/// `anvil_reorg`: `[depth, [[raw transaction, block offset], ...]]`, or the same as an object.
fn reorg(node: &mut Node, params: &Params) -> Answer {
    let (depth, pairs) = match params.value(0) {
        Some(Value::Object(options)) => {
            let depth = options
                .get("depth")
                .ok_or_else(|| RpcFailure::params("depth is missing"))?;
            (number(depth)?, options.get("tx_block_pairs"))
        }
        _ => (params.number(0)?, params.value(1)),
    };
    let text = "only signed transactions can be put into the new blocks: ";
    let pairs: Vec<(Bytes, u64)> = pairs
        .map(|pairs| serde_json::from_value(pairs.clone()))
        .transpose()
        .map_err(|error| RpcFailure::params(format!("{text}{error}")))?
        .unwrap_or_default();
    node.reorg(depth, &pairs)?;
    json(&())
}

fn set_balance(node: &mut Node, params: &Params) -> Answer {
    let balance = params.amount(1)?;
    node.change_head(params.required(0)?, |head| head.balance = balance);
    json(&())
}

fn set_code(node: &mut Node, params: &Params) -> Answer {
    let code: Bytes = params.required(1)?;
    let hash = node.core.state.put_code(code).map_err(RpcFailure::params)?;
    node.change_head(params.required(0)?, |head| head.code_hash = hash);
    json(&())
}

fn set_next_base_fee(node: &mut Node, params: &Params) -> Answer {
    node.core.next_base_fee = Some(params.number(0)?);
    json(&())
}

fn drop_transaction(node: &mut Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0)?;
    json(&node.core.pool.remove(hash).map(|tx| tx.hash))
}
