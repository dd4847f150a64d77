//! Waiting until a transaction is in a block, deep enough.

use super::connect::ChainOptions;
use super::error::ChainError;
use super::outlet::Outlet;
use super::send::SendQueue;
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
    queue: Option<&SendQueue>,
    options: &ChainOptions,
    hash: B256,
    confirmations: u64,
) -> Result<TxReceipt, ChainError> {
    let after = options.wait_timeout;
    let deadline = Instant::now().checked_add(after);
    let mut nowhere = 0_u32;
    loop {
        let line = queue.map_or_else(|| vec![hash], |queue| queue.line(hash));
        match look(outlet, &line, confirmations).await {
            Ok(Look::Deep(receipt)) => return Ok(receipt),
            Ok(Look::Waiting) => nowhere = 0,
            Ok(Look::Nowhere) => nowhere = nowhere.saturating_add(1),
            Err(error) if error.is_retryable() => tracing::debug!(%error, %hash, "waiting goes on"),
            Err(error) => return Err(error),
        }
        if nowhere >= LOOKS_BEFORE_DROPPED {
            if let Some(queue) = queue {
                queue.resync_without(Some(hash)).await?;
            }
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

/// One look at a transaction that is waited for, and at those that took its place.
async fn look(outlet: &dyn Outlet, line: &[B256], confirmations: u64) -> Result<Look, ChainError> {
    let Some(receipt) = receipt(outlet, line).await? else {
        for hash in line.iter().rev() {
            if outlet.knows(*hash).await? {
                return Ok(Look::Waiting);
            }
        }
        return Ok(Look::Nowhere);
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

async fn receipt(outlet: &dyn Outlet, line: &[B256]) -> Result<Option<TxReceipt>, ChainError> {
    for hash in line.iter().rev() {
        let receipt = outlet.receipt(*hash).await?;
        if receipt.is_some() {
            return Ok(receipt);
        }
    }
    Ok(None)
}
