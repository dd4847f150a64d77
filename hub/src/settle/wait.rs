//! Waiting for a transaction, and checking what came of it.

use super::{
    exit::SettleError,
    node::{Node, timed},
    plan::Proof,
    send::Transaction,
};
use alloy::{
    eips::BlockId,
    network::ReceiptResponse as _,
    primitives::{Address, B256, TxHash, U256},
    providers::Provider as _,
    rpc::types::TransactionReceipt,
};
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::time::Instant;

/// Pause between two looks.
pub(super) const POLL: Duration = Duration::from_millis(400);
/// How long a transaction is waited for.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(900);

/// How far a transaction is that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// In no block yet.
    Pending {
        /// Since it was waited for.
        waited: Duration,
    },
    /// In a block.
    Included {
        /// Its number.
        block: u64,
        /// Confirmations, its own block included.
        seen: u64,
        /// Confirmations it is to have.
        wanted: u64,
    },
}

impl Progress {
    /// How long it is still waited for a block, while it is in none.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Pending { waited } => Some(WAIT_TIMEOUT.saturating_sub(*waited)),
            Self::Included { .. } => None,
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pending { .. } => write!(
                f,
                "in no block yet; waiting {} s more at most",
                self.patience().unwrap_or_default().as_secs()
            ),
            Self::Included { block, seen, wanted } => {
                write!(f, "in block {block}: {seen} of {wanted} confirmation(s)")
            }
        }
    }
}

/// A transaction in a block, its event seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mined {
    /// The transaction.
    pub hash: TxHash,
    /// Its block.
    pub block: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Wei paid.
    pub wei: U256,
    /// Confirmations seen.
    pub confirmations: u64,
}

/// A transaction in a block, whatever it did there.
#[derive(Clone, Debug)]
pub(super) struct Included {
    pub(super) receipt: TransactionReceipt,
    pub(super) block: u64,
    pub(super) confirmations: u64,
}

impl Included {
    /// True when `emitter` emitted what `proof` says.
    pub(super) fn proves(&self, emitter: Address, proof: &Proof) -> bool {
        let expected: [&B256; 2] = [&proof.event, &proof.about];
        let mut logs = self.receipt.logs().iter();
        logs.any(|log| log.address() == emitter && log.topics().iter().take(2).eq(expected))
    }

    /// Gas, cost and place.
    pub(super) fn mined(&self) -> Mined {
        let gas_used = self.receipt.gas_used;
        Mined {
            hash: self.receipt.transaction_hash,
            block: self.block,
            gas_used,
            wei: U256::from(self.receipt.effective_gas_price()).saturating_mul(U256::from(gas_used)),
            confirmations: self.confirmations,
        }
    }

    /// [`Self::mined`] when it did what `call` was sent for.
    pub(super) fn proven(&self, call: &Transaction) -> Result<Mined, SettleError> {
        match self.proves(call.to, &call.proof) {
            true => Ok(self.mined()),
            false => Err(SettleError::Refused(format!(
                "{} is in block {} but {} emitted no {} for it: do not trust this node",
                self.receipt.transaction_hash, self.block, call.to, call.proof.name
            ))),
        }
    }
}

impl Node {
    /// [`Self::wait_telling`] in silence.
    ///
    /// # Errors
    /// The same.
    pub fn wait<'a>(
        &'a self,
        call: &'a Transaction,
        hash: TxHash,
        confirmations: u64,
    ) -> BoxFuture<'a, Result<Mined, SettleError>> {
        Box::pin(async move {
            let mut tell = |_| {};
            self.wait_telling(call, hash, confirmations, &mut tell).await
        })
    }

    /// Waits until the transaction has `confirmations` (its own block is the first) and checks receipt and event then.
    /// Every look is told.
    ///
    /// # Errors
    /// [`SettleError::Reverted`] when it is in a block and failed, [`SettleError::NotIncluded`] after 15 minutes,
    /// [`SettleError::Refused`] when the event is missing, [`SettleError::Unreachable`].
    pub fn wait_telling<'a>(
        &'a self,
        call: &'a Transaction,
        hash: TxHash,
        confirmations: u64,
        tell: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Mined, SettleError>> {
        Box::pin(async move {
            let included = self.wait_included(hash, confirmations, tell).await?;
            match included.receipt.status() {
                true => included.proven(call),
                false => Err(self.explain(call, included.block).await),
            }
        })
    }

    /// Waits until the transaction has `confirmations`. Whether it succeeded is in the receipt.
    ///
    /// # Errors
    /// [`SettleError::NotIncluded`] after 15 minutes, [`SettleError::Unreachable`].
    pub(super) fn wait_included<'a>(
        &'a self,
        hash: TxHash,
        confirmations: u64,
        tell: &'a mut (dyn FnMut(Progress) + Send),
    ) -> BoxFuture<'a, Result<Included, SettleError>> {
        Box::pin(async move {
            let (began, wanted) = (Instant::now(), confirmations.max(1));
            loop {
                // The receipt is asked for again at each look, so a reorg is seen.
                match self.included(hash).await? {
                    // One that failed is told at once.
                    Some(found) if found.confirmations >= wanted || !found.receipt.status() => {
                        return Ok(found);
                    }
                    Some(Included {
                        block, confirmations, ..
                    }) => tell(Progress::Included {
                        block,
                        seen: confirmations,
                        wanted,
                    }),
                    None => tell(Progress::Pending {
                        waited: began.elapsed(),
                    }),
                }
                if began.elapsed() >= WAIT_TIMEOUT {
                    return Err(SettleError::NotIncluded(format!(
                        "{hash} has not {wanted} confirmations yet; it may still get there, see `settle status`"
                    )));
                }
                tokio::time::sleep(POLL).await;
            }
        })
    }

    /// The transaction in its block, if it is in one.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`].
    pub(super) fn included<'a>(
        &'a self,
        hash: TxHash,
    ) -> BoxFuture<'a, Result<Option<Included>, SettleError>> {
        Box::pin(async move {
            let receipt = timed(
                "eth_getTransactionReceipt",
                self.provider.get_transaction_receipt(hash),
            )
            .await?;
            let Some((block, receipt)) = receipt.and_then(|receipt| Some((receipt.block_number?, receipt)))
            else {
                return Ok(None);
            };
            let head = self.head().await?.number;
            Ok(Some(Included {
                receipt,
                block,
                confirmations: head.saturating_sub(block).saturating_add(1),
            }))
        })
    }

    /// Why a mined transaction failed, by running it again on its block.
    pub(super) async fn explain(&self, call: &Transaction, block: u64) -> SettleError {
        match self.call(Self::request(call), BlockId::number(block)).await {
            Err(SettleError::Reverted(reason)) => {
                SettleError::Reverted(format!("in block {block}: {reason}"))
            }
            _ => SettleError::Reverted(format!(
                "in block {block}; run `settle status` and plan again. When that simulates well and reverts again, a resolver says \
                 yes when it is asked and no in a transaction: `settle submit --leave-out-locks ID[,ID]` goes without its locks"
            )),
        }
    }
}
