//! From alloy's types to the port's.

use super::error::ChainError;
use super::types::{BlockRef, ChainLog, TxReceipt};
use alloy::rpc::types::{Block, Log, TransactionReceipt};

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

pub(super) fn tx_receipt(receipt: TransactionReceipt) -> Result<TxReceipt, ChainError> {
    let missing = || ChainError::BadAnswer("a receipt without a block".to_owned());
    Ok(TxReceipt {
        tx_hash: receipt.transaction_hash,
        block_number: receipt.block_number.ok_or_else(missing)?,
        block_hash: receipt.block_hash.ok_or_else(missing)?,
        success: receipt.status(),
        gas_used: receipt.gas_used,
        effective_gas_price: receipt.effective_gas_price,
        contract_address: receipt.contract_address,
        logs: receipt
            .logs()
            .iter()
            .cloned()
            .map(chain_log)
            .collect::<Result<_, _>>()?,
    })
}
