//! What the send queue needs from the node, or the nodes, that it sends to.

use super::Chain;
use super::error::ChainError;
use super::types::{Fees, Nonces};
use alloy::primitives::{Address, B256, Bytes};
use alloy::rpc::types::TransactionRequest;
use async_trait::async_trait;
use std::fmt::Debug;

/// Where transactions go, and what is asked about them. One node, or several that are asked together.
#[async_trait]
pub(crate) trait Outlet: Chain + Debug {
    /// Height of the newest block.
    async fn height(&self) -> Result<u64, ChainError>;

    /// Whether a transaction is in a block or waits in a mempool.
    async fn knows(&self, hash: B256) -> Result<bool, ChainError>;

    /// The account's next nonce, counting what waits in the mempool.
    async fn next_nonce(&self, address: Address) -> Result<u64, ChainError>;

    /// The account's next nonce, counting blocks only.
    async fn used_nonce(&self, address: Address) -> Result<u64, ChainError>;

    /// Gas that a transaction would use. A revert is [`ChainError::Reverted`].
    async fn estimate_gas(&self, call: TransactionRequest) -> Result<u64, ChainError>;

    /// What a block asks for now.
    async fn prices(&self) -> Result<Prices, ChainError>;

    /// Hands over signed bytes; `Ok` when they were taken, or were there already.
    async fn submit(&self, raw: Bytes) -> Result<(), ChainError>;
}

/// See [`Chain::nonces`].
pub(crate) async fn nonces_of(outlet: &dyn Outlet, sender: Option<Address>) -> Result<Nonces, ChainError> {
    let sender = sender.ok_or(ChainError::Unsupported("sending: it has no key"))?;
    let next = outlet.next_nonce(sender).await?;
    let used = outlet.used_nonce(sender).await?;
    let next = next.max(used);
    Ok(Nonces { used, next })
}

/// Prices of the next block, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prices {
    /// Base fee of the next block.
    pub(crate) base_fee: u128,
    /// The tip that nodes suggest.
    pub(crate) tip: u128,
}

impl Prices {
    /// What a new transaction offers: it stays payable while the base fee doubles.
    pub(crate) fn wanted(self) -> u128 {
        self.base_fee.saturating_mul(2).saturating_add(self.tip)
    }

    pub(crate) fn fees(self) -> Fees {
        Fees {
            max_fee_per_gas: self.wanted(),
            max_priority_fee_per_gas: self.tip,
        }
    }
}

/// Whether a node refused a transaction because its nonce was used already.
pub(crate) fn is_nonce_stale(error: &ChainError) -> bool {
    says(
        error,
        &["nonce too low", "nonce is too low", "invalid nonce", "oldnonce"],
    )
}

/// Whether a node refused a transaction because it has it.
pub(crate) fn is_known_already(error: &ChainError) -> bool {
    says(error, &["already known", "already imported", "known transaction"])
}

fn says(error: &ChainError, words: &[&str]) -> bool {
    let ChainError::Rejected { message, .. } = error else {
        return false;
    };
    let lower = message.to_lowercase();
    words.iter().any(|word| lower.contains(word))
}
