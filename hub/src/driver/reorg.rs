//! A confirmed block vanished: the channels are compared with the chain as it is now, and only those that it shows
//! otherwise stay frozen.

use super::{Driver, defence::all_of, facts_of, position, view_options};
use crate::{
    chain::{BlockRef, ChainError, ChainView, Cursor, LogQuery},
    ledger::{Belief, ChainFact, Input, OnChain, Reconciled, ReserveNeed},
};
use futures::FutureExt;
use protocol_spec::{Amount, Config, Seq, abi};

/// So far below the vanished block something may have happened that is on another branch now, blocks.
const PASSED_SCAN: u64 = 10_000;

impl Driver {
    /// Compares everything, and follows the chain again from a block that it has now.
    pub(super) async fn reconcile(&mut self, vanished: u64) -> Result<(), ChainError> {
        let chain = self.options.chain.clone();
        self.control.tell(Input::ChainBroken).await;
        let head = chain.head().await?;
        let number = head.number.saturating_sub(self.options.confirmations);
        let anchor = chain.block(number).await?.ok_or_else(moved)?;
        let Some(beliefs) = self.control.beliefs().await else {
            return Ok(()); // The engine has stopped.
        };
        let looks = self.compare(beliefs, anchor).await?;
        let (opened, resolved) = self.passed_over(vanished, anchor).await?;
        // All of that was of one branch.
        if chain.block(number).await? != Some(anchor) {
            return Err(moved());
        }
        let mut told = Reconciled {
            position: position(anchor),
            opened,
            resolved,
            concerned: Vec::new(),
            unpaid: Vec::new(),
            paid: Vec::new(),
            disputed: Vec::new(),
        };
        for (belief, state) in &looks {
            if matches!(state.status, abi::Status::Disputed) {
                told.disputed.push((belief.channel, Seq(state.disputeNo)));
            }
            let closed = matches!(state.status, abi::Status::Closed);
            match (belief.closed, closed) {
                (true, true) => {}
                (false, true) => told.paid.push(belief.channel),
                (true, false) => told.unpaid.push(belief.channel),
                (false, false) if money(state) == belief.money => {}
                (false, false) => told.concerned.push(belief.channel),
            }
        }
        for channel in told.concerned.iter().chain(&told.unpaid) {
            tracing::error!(%channel, "frozen: a reorganisation took away a deposit, a withdrawal or a payout");
        }
        let (concerned, unpaid) = (told.concerned.len(), told.unpaid.len());
        tracing::warn!(
            block = anchor.number,
            channels = looks.len(),
            concerned,
            unpaid,
            "compared with the chain"
        );
        self.control.tell(Input::Reconciled(told)).await;
        let cursor = Cursor {
            block_number: anchor.number,
            block_hash: anchor.hash,
            next_log_index: u64::MAX,
        };
        chain.resync().await?;
        self.view = ChainView::new(view_options(&self.options), cursor);
        self.forget();
        Ok(())
    }

    /// Frozen channels that the chain shows, confirmed, as rich as they were believed to be.
    /// What is missing of the hub's own deposits is paid in again.
    pub(super) async fn thaw(&mut self, frozen: Vec<Belief>) -> Result<(), ChainError> {
        let Some(confirmed) = self.view.confirmed().filter(|_| !frozen.is_empty()) else {
            return Ok(());
        };
        let mut lost = Vec::new();
        for (belief, state) in self.compare(frozen, confirmed).await? {
            let (money, channel) = (money(&state), belief.channel);
            if matches!(state.status, abi::Status::None) {
                continue;
            }
            if money.covers(&belief.money) {
                tracing::warn!(%channel, "what it rests on is back on the chain: it goes on");
                let thawed = Input::Thawed { channel, money };
                self.control.tell(thawed).await;
            } else if matches!(state.status, abi::Status::Open) {
                let amount = belief.money.hub_deposit.saturating_minus(money.hub_deposit);
                lost.push(ReserveNeed {
                    unproven: false,
                    channel,
                    config: belief.config,
                    hub_deposit: money.hub_deposit,
                    amount,
                    owed: Amount::ZERO,
                    // It was counted when it came first.
                    refilling: amount,
                    urgent: true,
                });
            }
        }
        lost.retain(|need| !need.amount.is_zero());
        self.reserve(lost).await;
        Ok(())
    }

    async fn compare(
        &self,
        beliefs: Vec<Belief>,
        at: BlockRef,
    ) -> Result<Vec<(Belief, abi::ChannelState)>, ChainError> {
        let looks = beliefs
            .into_iter()
            .map(|belief| self.look_at(belief, at.number).boxed());
        all_of(looks.collect()).await.into_iter().collect()
    }

    async fn look_at(&self, belief: Belief, at: u64) -> Result<(Belief, abi::ChannelState), ChainError> {
        let state = self.state_at(belief.channel, Some(at)).await?;
        Ok((belief, state))
    }

    /// What happened on this branch below the block that is compared with, and is in no channel's state: channels that
    /// may be new, and locks that were resolved.
    async fn passed_over(
        &self,
        vanished: u64,
        anchor: BlockRef,
    ) -> Result<(Vec<Config>, Vec<ChainFact>), ChainError> {
        let query = LogQuery {
            address: self.options.adjudicator,
            from: vanished.min(anchor.number).saturating_sub(PASSED_SCAN),
            to: anchor.number,
        };
        let (mut opened, mut resolved) = (Vec::new(), Vec::new());
        for log in self.options.chain.logs(query).await? {
            match facts_of(&log) {
                Some(ChainFact::Opened(config)) => opened.push(config),
                Some(fact @ ChainFact::Resolved { .. }) => resolved.push(fact),
                _ => {}
            }
        }
        Ok((opened, resolved))
    }

    /// After a reorg nothing is where it was.
    pub(super) fn forget(&mut self) {
        self.told.clear();
        self.in_flight.lapse();
        self.gathered.lapse();
        self.rests.lapse();
        self.windows.lapse();
        self.purse.lapse();
    }
}

/// Gross sums from the contract's net figures.
pub(super) fn money(state: &abi::ChannelState) -> OnChain {
    let net = state.clientNet;
    let size = net.unsigned_abs();
    let client_withdrawn = state.clientWithdrawn;
    let client_deposit = match net.is_negative() {
        true => client_withdrawn.saturating_sub(size),
        false => client_withdrawn.saturating_add(size),
    };
    // What is there and what was paid out, less what the client paid in.
    let paid_out = client_withdrawn.saturating_add(state.hubWithdrawn);
    let hub_deposit = state
        .total
        .saturating_add(paid_out)
        .saturating_sub(client_deposit);
    OnChain {
        client_deposit: Amount(client_deposit),
        hub_deposit: Amount(hub_deposit),
        client_withdrawn: Amount(client_withdrawn),
        hub_withdrawn: Amount(state.hubWithdrawn),
    }
}

fn moved() -> ChainError {
    ChainError::BadAnswer("the chain changed while it was compared".to_owned())
}
