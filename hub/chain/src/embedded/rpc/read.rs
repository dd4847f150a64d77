//! The `eth_`, `net_` and `web3_` methods.

use super::super::block::{Block, rpc_pending};
use super::super::config::{BASE_FEE_MIN_WEI, BLOCK_GAS_LIMIT};
use super::super::evm;
use super::super::failure::RpcFailure;
use super::super::header::{base_fee_after, blank_header};
use super::super::node::{Node, balance};
use super::params::Params;
use super::{Answer, json};
use alloy::consensus::Header;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64};
use alloy::rpc::types::{BlockTransactions, FeeHistory, Filter, FilterBlockOption, Log, TransactionRequest};
use std::sync::Arc;

/// Most blocks of one fee history, as in geth.
const FEE_HISTORY_MAX: u64 = 1024;

pub(super) fn answer(node: &mut Node, method: &str, params: &Params) -> Option<Answer> {
    Some(match method {
        "web3_clientVersion" => json(&concat!("channel-hub/embedded/", env!("CARGO_PKG_VERSION"))),
        "net_version" => json(&node.config.chain_id.to_string()),
        "net_listening" => json(&true),
        "eth_syncing" => json(&false),
        "eth_accounts" => json(&Vec::<Address>::new()),
        "eth_chainId" => json(&U64::from(node.config.chain_id)),
        "eth_blockNumber" => json(&U64::from(node.height())),
        "eth_gasPrice" => gas_price(node),
        "eth_maxPriorityFeePerGas" => json(&U64::from(BASE_FEE_MIN_WEI)),
        "eth_feeHistory" => fee_history(node, params),
        "eth_getBlockByNumber" => block_by_number(node, params),
        "eth_getBlockByHash" => block_by_hash(node, params),
        "eth_call" => call(node, params),
        "eth_estimateGas" => estimate(node, params),
        "eth_getTransactionCount" => transaction_count(node, params),
        "eth_getBalance" => account(node, params, 1, |view, address| json(&balance(view, address))),
        "eth_getCode" => account(node, params, 1, |view, address| json(&view.code(address))),
        "eth_getStorageAt" => storage_at(node, params),
        "eth_sendRawTransaction" => send_raw(node, params),
        "eth_getTransactionByHash" => transaction(node, params),
        "eth_getTransactionReceipt" => receipt(node, params),
        "eth_getLogs" => logs(node, params),
        _ => return None,
    })
}

fn gas_price(node: &Node) -> Answer {
    let base_fee = node.next_facts()?.base_fee;
    json(&U64::from(base_fee.saturating_add(BASE_FEE_MIN_WEI)))
}

fn block_id(params: &Params, index: usize) -> Result<BlockId, RpcFailure> {
    Ok(params
        .optional(index)?
        .unwrap_or(BlockId::Number(BlockNumberOrTag::Latest)))
}

fn block_by_number(node: &Node, params: &Params) -> Answer {
    let tag: BlockNumberOrTag = params.required(0)?;
    let full = params.optional(1)?.unwrap_or(false);
    if tag == BlockNumberOrTag::Pending {
        return pending_block(node, full);
    }
    json(&node.block(node.tag_number(tag)).map(|block| block.rpc(full)))
}

fn block_by_hash(node: &Node, params: &Params) -> Answer {
    let full = params.optional(1)?.unwrap_or(false);
    json(
        &node
            .block_by_hash(params.required(0)?)
            .map(|block| block.rpc(full)),
    )
}

/// The next block as it would look, with everything that waits; nothing of it is executed.
fn pending_block(node: &Node, full: bool) -> Answer {
    let facts = node.next_facts()?;
    let header = Header {
        parent_hash: node.head()?.hash,
        number: facts.number,
        timestamp: facts.timestamp_s,
        mix_hash: facts.random,
        base_fee_per_gas: Some(facts.base_fee),
        ..blank_header()
    };
    let mut block = Block::seal(header, Vec::new(), Vec::new()).rpc(full);
    let waiting = node.core.pool.all();
    block.transactions = if full {
        BlockTransactions::Full(waiting.into_iter().map(rpc_pending).collect())
    } else {
        BlockTransactions::Hashes(waiting.into_iter().map(|tx| tx.hash).collect())
    };
    json(&block)
}

fn call(node: &Node, params: &Params) -> Answer {
    refuse_overrides(params)?;
    let (view, facts) = node.view_at(block_id(params, 1)?)?;
    json(&evm::output(evm::call(&view, &facts, &request(params)?)?)?)
}

fn estimate(node: &Node, params: &Params) -> Answer {
    refuse_overrides(params)?;
    let (view, facts) = match params.optional::<BlockId>(1)? {
        Some(id) => node.view_at(id)?,
        None => node.view_at(BlockId::pending())?,
    };
    json(&U64::from(evm::estimate(&view, &facts, &request(params)?)?))
}

fn request(params: &Params) -> Result<TransactionRequest, RpcFailure> {
    params.required(0)
}

fn refuse_overrides(params: &Params) -> Result<(), RpcFailure> {
    let is_empty = |value: &serde_json::Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    match params.value(2) {
        Some(overrides) if !is_empty(overrides) => Err(RpcFailure::params(
            "state overrides are not supported by this chain",
        )),
        _ => Ok(()),
    }
}

fn account(
    node: &Node,
    params: &Params,
    block_index: usize,
    read: impl FnOnce(&super::super::state::View<'_>, Address) -> Answer,
) -> Answer {
    let (view, _) = node.view_at(block_id(params, block_index)?)?;
    read(&view, params.required(0)?)
}

fn storage_at(node: &Node, params: &Params) -> Answer {
    let key = params.amount(1)?;
    account(node, params, 2, |view, address| {
        json(&B256::from(view.slot(address, key)))
    })
}

fn transaction_count(node: &Node, params: &Params) -> Answer {
    let id = block_id(params, 1)?;
    account(node, params, 1, |view, address| {
        let mined = view.head(address).map_or(0, |head| head.nonce);
        let nonce = if id.is_pending() {
            node.core.pool.nonce_after(address, mined)
        } else {
            mined
        };
        json(&U64::from(nonce))
    })
}

fn send_raw(node: &mut Node, params: &Params) -> Answer {
    let raw: Bytes = params.required(0)?;
    let hash = node.admit(&raw)?;
    if node.mining.automine && node.executable(hash)? {
        node.mine()?;
    }
    json(&hash)
}

fn transaction(node: &Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0)?;
    let mined = node.core.by_tx.get(&hash);
    let mined = mined.and_then(|(number, index)| node.block(*number)?.rpc_transaction(*index));
    json(&mined.or_else(|| node.core.pool.find(hash).map(rpc_pending)))
}

fn receipt(node: &Node, params: &Params) -> Answer {
    let hash: B256 = params.required(0)?;
    let mined = node.core.by_tx.get(&hash);
    json(&mined.and_then(|(number, index)| node.block(*number)?.rpc_receipt(*index)))
}

fn logs(node: &Node, params: &Params) -> Answer {
    let filter: Filter = params.required(0)?;
    let blocks: &[Arc<Block>] = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = node
                .block_by_hash(hash)
                .ok_or_else(|| RpcFailure::server("unknown block"))?;
            std::slice::from_ref(block)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let number = |tag: Option<BlockNumberOrTag>| node.tag_number(tag.unwrap_or_default());
            range(node, number(from_block), number(to_block))?
        }
    };
    let wanted = blocks
        .iter()
        .filter(|block| filter.matches_bloom(block.header.logs_bloom));
    let found: Vec<Log> = wanted.flat_map(|block| block.logs(&filter)).collect();
    match node.config.logs_results_max {
        Some(max) if found.len() > max => Err(RpcFailure::limit(format!(
            "query returned more than {max} results"
        ))),
        _ => json(&found),
    }
}

fn range(node: &Node, from: u64, to: u64) -> Result<&[Arc<Block>], RpcFailure> {
    if from > to || from > node.height() {
        let height = node.height();
        return Err(RpcFailure::params(format!(
            "invalid block range {from} to {to}: the head is block {height}"
        )));
    }
    let width = to.saturating_sub(from).saturating_add(1);
    if let Some(max) = node.config.logs_range_max.filter(|max| width > *max) {
        return Err(RpcFailure::limit(format!(
            "block range of {width} exceeds the limit of {max}"
        )));
    }
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let end = index(to.saturating_add(1)).min(node.core.blocks.len());
    Ok(node.core.blocks.get(index(from)..end).unwrap_or_default())
}

#[expect(
    clippy::float_arithmetic,
    reason = "the JSON-RPC method reports ratios and takes percentiles"
)]
fn fee_history(node: &Node, params: &Params) -> Answer {
    let count = params.number(0)?.clamp(1, FEE_HISTORY_MAX);
    let newest = node.tag_number(params.required(1)?).min(node.height());
    let percentiles: Option<Vec<f64>> = params.optional(2)?;
    let oldest = newest.saturating_add(1).saturating_sub(count);
    let blocks: Vec<&Arc<Block>> = (oldest..=newest)
        .filter_map(|number| node.block(number))
        .collect();
    let base_fee = |header: &Header| u128::from(header.base_fee_per_gas.unwrap_or_default());
    let after = match node.block(newest.saturating_add(1)) {
        Some(next) => base_fee(&next.header),
        None if newest == node.height() => u128::from(node.next_facts()?.base_fee),
        None => blocks
            .last()
            .map_or(0, |block| u128::from(base_fee_after(&block.header))),
    };
    let ratio = |block: &&Arc<Block>| block.header.gas_used as f64 / BLOCK_GAS_LIMIT as f64;
    json(&FeeHistory {
        base_fee_per_gas: blocks
            .iter()
            .map(|block| base_fee(&block.header))
            .chain([after])
            .collect(),
        gas_used_ratio: blocks.iter().map(ratio).collect(),
        base_fee_per_blob_gas: vec![1; blocks.len().saturating_add(1)],
        blob_gas_used_ratio: vec![0.0; blocks.len()],
        oldest_block: oldest,
        reward: percentiles.map(|wanted| blocks.iter().map(|block| rewards(block, &wanted)).collect()),
    })
}

/// Tips of a block at the given percentiles, not weighted by gas.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "percentiles come as floats; the index is clamped to the block"
)]
fn rewards(block: &Block, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let mut tips: Vec<u128> = block
        .txs
        .iter()
        .filter_map(|included| included.tx.tip(base_fee))
        .collect();
    tips.sort_unstable();
    let last = tips.len().saturating_sub(1);
    let at = |percentile: &f64| (percentile.clamp(0.0, 100.0) / 100.0 * last as f64) as usize;
    percentiles
        .iter()
        .map(|percentile| tips.get(at(percentile).min(last)).copied().unwrap_or(0))
        .collect()
}
