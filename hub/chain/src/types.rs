//! What goes into and comes out of the chain port.

use alloy::primitives::{Address, B256, Bytes, U256};

/// A block, as far as the hub cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// Hash of the block.
    pub hash: B256,
    /// Hash of the block before it.
    pub parent_hash: B256,
    /// Timestamp, seconds since the Unix epoch.
    pub timestamp_s: u64,
}

/// A log in a block, not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLog {
    /// Contract that emitted it.
    pub address: Address,
    /// Topics, at most four.
    pub topics: Vec<B256>,
    /// Data.
    pub data: Bytes,
    /// Height of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Transaction that emitted it.
    pub tx_hash: B256,
    /// Position among all logs of the block.
    pub log_index: u64,
}

/// All logs of one contract in an inclusive range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// The contract.
    pub address: Address,
    /// First block.
    pub from: u64,
    /// Last block.
    pub to: u64,
}

/// A read-only call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Caller; `None` is the zero address.
    pub from: Option<Address>,
    /// Contract.
    pub to: Address,
    /// Calldata.
    pub data: Bytes,
    /// Wei sent along.
    pub value: U256,
    /// Height of the state to read; `None` is the newest.
    pub at: Option<u64>,
}

/// Prices of a transaction, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    /// Most that is paid in all.
    pub max_fee_per_gas: u128,
    /// Tip.
    pub max_priority_fee_per_gas: u128,
}

/// A transaction to send from the port's own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxRequest {
    /// Receiver; `None` creates a contract.
    pub to: Option<Address>,
    /// Calldata, or creation code.
    pub data: Bytes,
    /// Wei sent along.
    pub value: U256,
    /// `None`: estimated plus a fifth, never above 2^24.
    pub gas_limit: Option<u64>,
    /// `None`: twice the next base fee plus the tip that the node suggests.
    pub fees: Option<Fees>,
    /// `None`: the next of the queue. Given: that nonce, to replace a stuck transaction; the queue is not moved.
    pub nonce: Option<u64>,
}

/// A transaction that the node took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentTx {
    /// Its hash.
    pub hash: B256,
    /// Its nonce.
    pub nonce: u64,
    /// The fees it offers.
    pub fees: Fees,
}

/// What became of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// The transaction.
    pub tx_hash: B256,
    /// Height of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// False if it reverted.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// Wei per gas that it paid.
    pub effective_gas_price: u128,
    /// The contract it created.
    pub contract_address: Option<Address>,
    /// Its logs, in order.
    pub logs: Vec<ChainLog>,
}
