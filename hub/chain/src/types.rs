//! What goes into and comes out of the chain port.

use super::error::ChainError;
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
    /// Most gas of all its transactions.
    pub gas_limit: u64,
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
    /// Contract; not read for a creation.
    pub to: Address,
    /// Calldata, or creation code.
    pub data: Bytes,
    /// Runs `data` as creation code, and gives what it returns. Nothing is created.
    pub creation: bool,
    /// Wei sent along.
    pub value: U256,
    /// Height of the state to read; `None` is the newest.
    pub at: Option<u64>,
}

/// Prices of a transaction, in wei per gas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fees {
    /// Most that is paid in all.
    pub max_fee_per_gas: u128,
    /// Tip.
    pub max_priority_fee_per_gas: u128,
}

impl Fees {
    /// The higher of the two, each by itself.
    pub(crate) fn at_least(self, other: Self) -> Self {
        Self {
            max_fee_per_gas: self.max_fee_per_gas.max(other.max_fee_per_gas),
            max_priority_fee_per_gas: self.max_priority_fee_per_gas.max(other.max_priority_fee_per_gas),
        }
    }
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
    /// `None`: estimated plus a fifth; the fifth never lifts it above 2^24.
    pub gas_limit: Option<u64>,
    /// The first offer. `None`: twice the next base fee plus the tip that the node suggests.
    pub fees: Option<Fees>,
    /// `None`: the next of the queue. Given: that nonce, to replace a stuck transaction; the queue is not moved.
    pub nonce: Option<u64>,
    /// Chain time, in seconds since the Unix epoch, by which it must be in a block: the fees rise towards the most
    /// that is allowed as it comes nearer, and are not raised after it. `None`: they follow the market.
    pub deadline_s: Option<u64>,
    /// Most wei that its gas may cost, however urgent; a share of what is lost without it. `None`: no limit but
    /// [`super::ChainOptions::max_fee_per_gas`].
    pub fee_budget_wei: Option<u128>,
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

/// The next nonces of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonces {
    /// Counting blocks only.
    pub used: u64,
    /// Counting what waits in the mempool; not below `used`.
    pub next: u64,
}

/// What one [`super::Chain::tend`] has found and done; counts of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Requests that are in no block, by the hash that [`super::Chain::send`] told: they need no second sending.
    pub waiting: Vec<B256>,
    /// Found in a block for the first time.
    pub mined: usize,
    /// Replaced by a transaction that offers more.
    pub replaced: usize,
    /// Stuck, but not raised: the limit, the budget, the funds or the deadline forbid it. Worth an alarm.
    pub held: usize,
    /// Stuck, and not raised yet: the deadline is far enough to wait for better prices.
    pub patient: usize,
    /// Lost by the mempool and handed over again, unchanged.
    pub handed_over: usize,
    /// Sent again with a new nonce, because another transaction used theirs.
    pub sent_again: usize,
    /// Not sent again although another transaction used their nonce: too late, or they would revert.
    pub given_up: usize,
    /// Nonces below ours that nobody used, filled with empty transactions.
    pub gaps_filled: usize,
    /// Transactions of an earlier process that no block takes and that ours wait for, replaced by empty ones.
    pub unblocked: usize,
    /// Not looked after this time because of an error of their own, which is logged; the next look tries again.
    pub failed: usize,
}

impl Tended {
    /// What cannot be paid for is held, anything else has failed.
    pub(crate) fn count_failure(&mut self, error: &ChainError) {
        let counter = match error {
            ChainError::TooDear { .. } | ChainError::InsufficientFunds(_) => &mut self.held,
            _ => &mut self.failed,
        };
        *counter = counter.saturating_add(1);
    }
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
