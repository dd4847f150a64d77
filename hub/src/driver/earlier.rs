//! What an earlier process sent, or a send that failed may have sent all the same. It is not known here, and may still
//! pay into a channel: until it is in a block, or something else is in its place, no reserve is paid in, or it would be
//! paid in twice.
//!
//! Every transaction of an account has a nonce of its own. Once blocks have used all that were given when this process
//! began, each of those is in a block, where the channel shows it, or can never be. What no node knows any more has given
//! its nonce back, and the next that is sent takes it.

use super::Driver;
use crate::chain::{ChainError, TxRequest};
use std::time::Duration;
use tokio::time::Instant;

/// After so many times `resend_after` an empty transaction is sent behind those that no block takes: the port replaces
/// what keeps its own waiting.
const STUCK_AFTER: u32 = 10;

/// What may be on its way and is not known here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Earlier {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Nonces below this one, waited for since then.
    Below(u64, Instant),
    /// The same; an empty transaction was sent behind them.
    Followed(u64),
    /// Nothing: what had been is in blocks up to this one, or can never be.
    Over(u64),
}

impl Driver {
    /// True when nothing that is not known here can pay into a channel any more.
    pub(super) async fn earlier_is_over(&mut self) -> bool {
        match self.look_at_earlier().await {
            Ok(earlier) => self.purse.earlier = earlier,
            Err(error) => {
                tracing::warn!(%error, "the own nonces could not be read; reserves wait");
                return false;
            }
        }
        matches!(self.purse.earlier, Earlier::Over(_))
    }

    /// True when whatever of that did pay into a channel is known to a ledger that has taken in this block.
    pub(super) async fn earlier_is_known(&mut self, confirmed: u64) -> bool {
        self.earlier_is_over().await;
        matches!(self.purse.earlier, Earlier::Over(block) if block <= confirmed)
    }

    /// Before anything is sent: what is given now is not yet waited for.
    pub(super) async fn note_earlier(&mut self) {
        if matches!(self.purse.earlier, Earlier::Unknown) {
            self.earlier_is_over().await;
        }
    }

    async fn look_at_earlier(&self) -> Result<Earlier, ChainError> {
        if matches!(self.purse.earlier, Earlier::Over(_)) {
            return Ok(self.purse.earlier);
        }
        let nonces = self.options.chain.nonces().await?;
        let (below, since) = match self.purse.earlier {
            Earlier::Below(below, since) => (below, Some(since)),
            Earlier::Followed(below) => (below, None),
            Earlier::Unknown | Earlier::Over(_) => {
                if nonces.used < nonces.next {
                    tracing::info!(
                        transactions = nonces.next.saturating_sub(nonces.used),
                        "transactions of before are in no block yet: reserves wait for them"
                    );
                }
                (nonces.next, Some(Instant::now()))
            }
        };
        if nonces.used >= below {
            // Read afterwards: those blocks are not above it.
            return Ok(Earlier::Over(self.options.chain.head().await?.number));
        }
        // One is enough: the port looks after it from then on.
        let Some(since) = since else {
            return Ok(Earlier::Followed(below));
        };
        if since.elapsed() < self.stuck_after() {
            return Ok(Earlier::Below(below, since));
        }
        let empty = TxRequest {
            to: Some(self.options.hub),
            ..TxRequest::default()
        };
        let sent = self.options.chain.send(empty).await?;
        tracing::warn!(hash = %sent.hash, "no block takes what was sent before: an empty transaction goes behind it");
        Ok(Earlier::Followed(below))
    }

    fn stuck_after(&self) -> Duration {
        self.options.resend_after.saturating_mul(STUCK_AFTER)
    }
}
