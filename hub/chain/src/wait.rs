//! Waiting until a transaction is in a block, deep enough.

use super::connect::ChainOptions;
use super::error::ChainError;
use super::outlet::Outlet;
use super::types::TxReceipt;
use alloy::primitives::B256;
use tokio::time::Instant;

/// Looks at a transaction that is nowhere before it counts as dropped; load-balanced nodes lag behind each other.
const LOOKS_BEFORE_DROPPED: u32 = 5;

enum Look {
    Deep(TxReceipt),
    Waiting,
    Nowhere,
}

/// See [`super::Chain::wait`].
pub(super) async fn wait(
    outlet: &dyn Outlet,
    options: &ChainOptions,
    hash: B256,
    confirmations: u64,
) -> Result<TxReceipt, ChainError> {
    let after = options.wait_timeout;
    let deadline = Instant::now().checked_add(after);
    let mut nowhere = 0_u32;
    loop {
        match look(outlet, hash, confirmations).await {
            Ok(Look::Deep(receipt)) => return Ok(receipt),
            Ok(Look::Waiting) => nowhere = 0,
            Ok(Look::Nowhere) => nowhere = nowhere.saturating_add(1),
            Err(error) if error.is_retryable() => tracing::debug!(%error, %hash, "waiting goes on"),
            Err(error) => return Err(error),
        }
        if nowhere >= LOOKS_BEFORE_DROPPED {
            outlet.resync().await?;
            return Err(ChainError::Dropped { hash });
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(ChainError::WaitTimeout {
                hash,
                confirmations,
                after,
            });
        }
        tokio::time::sleep(options.poll_interval).await;
    }
}

/// One look at a transaction that is waited for.
async fn look(outlet: &dyn Outlet, hash: B256, confirmations: u64) -> Result<Look, ChainError> {
    let Some(receipt) = outlet.receipt(hash).await? else {
        return Ok(if outlet.knows(hash).await? {
            Look::Waiting
        } else {
            Look::Nowhere
        });
    };
    if outlet.height().await? < receipt.block_number.saturating_add(confirmations) {
        return Ok(Look::Waiting);
    }
    // The receipt may be older than a reorg that happened between the two requests.
    let block = outlet.block(receipt.block_number).await?;
    let canonical = block.is_some_and(|block| block.hash == receipt.block_hash);
    Ok(if canonical {
        Look::Deep(receipt)
    } else {
        Look::Waiting
    })
}
