//! The chain: the port that the hub uses, its implementation over alloy, confirmations, and a dev chain.
//!
//! * [`Chain`]: the port. Implemented by [`AlloyChain`] for every node that alloy reaches.
//! * [`QuorumChain`]: the port over several nodes, none of which is believed alone.
//! * [`ChainView`]: confirmed logs, in order, exactly once, with reorgs noticed.
//! * [`embedded`]: a development chain in this process.
//!
//! Confirmation depth k is counted the same everywhere: a block is confirmed when the head is at least k
//! blocks above it; k = 0 means "included".

pub mod embedded;

mod client;
mod connect;
mod convert;
mod error;
mod outlet;
mod quorum;
mod rpc;
mod seldom;
mod send;
mod types;
mod view;
mod wait;

pub use client::AlloyChain;
pub use connect::ChainOptions;
pub use error::{ChainError, EndpointSaid};
pub use quorum::{Endpoint, EndpointStatus, QuorumChain, QuorumOptions};
pub use seldom::Seldom;
pub use types::{
    BlockRef, CallRequest, ChainLog, Fees, LogQuery, Nonces, SentTx, Tended, TxReceipt, TxRequest,
};
pub use view::{ChainView, Cursor, DeepReorg, ViewEvent, ViewOptions};

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;

/// What the hub needs from a chain. All methods time out; none retries by itself except where it says so.
#[async_trait]
pub trait Chain: Send + Sync {
    /// EIP-155 chain id.
    async fn chain_id(&self) -> Result<u64, ChainError>;

    /// Hash of block 0: tells two chains of one id apart.
    async fn genesis_hash(&self) -> Result<B256, ChainError>;

    /// keccak256 of the code at `address`; the hash of nothing if there is none.
    async fn code_hash(&self, address: Address) -> Result<B256, ChainError>;

    /// The newest block.
    async fn head(&self) -> Result<BlockRef, ChainError>;

    /// The block at a height, `None` above the head.
    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;

    /// Logs in chain order, without duplicates; ranges that the node finds too wide are halved. Logs that contradict each
    /// other are a bad answer.
    async fn logs(&self, query: LogQuery) -> Result<Vec<ChainLog>, ChainError>;

    /// Runs a call; a revert is [`ChainError::Reverted`].
    async fn call(&self, request: CallRequest) -> Result<Bytes, ChainError>;

    /// Balance in wei.
    async fn balance(&self, address: Address) -> Result<U256, ChainError>;

    /// What gas costs in the next block: base fee and the tip that the node suggests, wei.
    async fn gas_price(&self) -> Result<u128, ChainError>;

    /// The account that [`Self::send`] sends from, `None` without a key.
    fn sender(&self) -> Option<Address>;

    /// Signs and sends; returns when the node has taken the transaction. Nonces come from one queue, so any number
    /// of tasks may send at once. A revert found by the gas estimate is [`ChainError::Reverted`], and nothing is sent.
    ///
    /// Cancel safety: a transaction whose future was dropped may still be sent.
    async fn send(&self, request: TxRequest) -> Result<SentTx, ChainError>;

    /// Looks after what was sent and is not deep in a block yet; call it at each look at the chain, it has no timer
    /// of its own. What a mempool has lost is handed over again; what no block has taken for
    /// [`ChainOptions::stuck_after_blocks`] is replaced by a transaction of the same nonce that offers more, within
    /// [`TxRequest::fee_budget_wei`] and faster the nearer [`TxRequest::deadline_s`]; a request whose nonce another
    /// transaction used is sent again with a new one; gaps below our nonces are filled with empty transactions.
    /// Nothing is asked while nothing is remembered.
    ///
    /// The memory ends with the process: afterwards the caller sends again what its own durable state says is not
    /// on the chain yet. Transactions of the process before keep their nonces and fees; one that no block takes, and that
    /// ours wait for, is replaced by an empty one.
    ///
    /// # Errors
    /// Those of the port; what was not looked after is at the next call.
    async fn tend(&self) -> Result<Tended, ChainError>;

    /// Nonces of [`Self::sender`]: what is below `next` and not below `used` waits in a mempool, or is in doubt.
    ///
    /// # Errors
    /// [`ChainError::Unsupported`] without a key; those of the port.
    async fn nonces(&self) -> Result<Nonces, ChainError>;

    /// Forgets the next nonce, which is then read from the chain again; call it after a reorg.
    async fn resync(&self) -> Result<(), ChainError>;

    /// The receipt, `None` while the transaction is in no block.
    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError>;

    /// Waits until `confirmations` blocks are on top of the transaction's. A revert is a receipt with
    /// `success == false`. Retryable errors are retried until the time is up. Follows transactions that [`Self::tend`]
    /// has put in its place: the receipt tells the hash that was executed. After [`ChainError::Dropped`] the request
    /// is the caller's again.
    async fn wait(&self, hash: B256, confirmations: u64) -> Result<TxReceipt, ChainError>;

    /// Mines `blocks` blocks. Dev chains only, else [`ChainError::Unsupported`].
    async fn mine(&self, blocks: u64) -> Result<(), ChainError>;

    /// Moves the time of the next blocks ahead. Dev chains only, else [`ChainError::Unsupported`].
    async fn increase_time(&self, by_s: u64) -> Result<(), ChainError>;
}
