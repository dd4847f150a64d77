//! What the driver sends at each look, disputes for locks in time; and how it sends.

use super::{
    Driver,
    defence::{DISPUTE, collectable, collection},
    outgoing::Urgency,
};
use crate::{
    chain::{CallRequest, ChainError},
    engine::Snapshot,
    ledger::Defence,
};
use alloy::{primitives::Bytes, sol_types::SolCall};
use protocol_spec::{ChannelId, abi, abi::IAdjudicator};
use std::{collections::BTreeSet, time::Duration};

/// Tries to read one thing: a node may be busy.
const READ_TRIES_MAX: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(100);

impl Driver {
    /// Sends what is due. Failures are logged and tried again later; none of them stops the hub.
    pub(super) async fn act(&mut self, snapshot: Snapshot) {
        if let Err(error) = self.defend(snapshot.disputed).await
            && let Some(held_back) = self.warnings.due("disputes")
        {
            tracing::warn!(%error, held_back, "disputes could not be looked after; trying again");
        }
        self.collect(snapshot.overdue).await;
        self.cooperate(snapshot.pending, None).await;
        self.checkpoint(None).await;
        self.look_after_reserves(snapshot.liquidity).await;
    }

    /// R21: locks are about to expire and their payers have not converted them: the chain converts them. The dispute goes with
    /// the locks that are safe to show; those that may come too late, or that a resolver may refuse, follow it by themselves. If
    /// there is nothing but one such group, it is all or nothing.
    async fn collect(&mut self, overdue: Vec<Defence>) {
        let Ok(head) = self.options.chain.head().await else {
            return; // Tried again at the next look.
        };
        let now = head.timestamp_s;
        let ids = overdue.iter().map(|one| one.config.id(&self.options.domain));
        let ids: BTreeSet<ChannelId> = ids.collect();
        self.started.keep(&ids);
        let price = match overdue.is_empty() {
            true => None,
            false => self.options.chain.gas_price().await.ok(),
        };
        for defence in overdue {
            let id = defence.config.id(&self.options.domain);
            let refused = self.refused(&defence).await;
            let locks = collectable(&defence, &refused, self.sizes().locks, now);
            let Some(first) = locks.iter().map(|lock| lock.expiry).min() else {
                continue;
            };
            let collection = collection(&defence, &locks, first, now);
            let at_risk = locks.iter().map(|lock| lock.amount.0);
            let at_risk = at_risk.fold(0, u128::saturating_add);
            let saved = [(defence.config.token, at_risk)];
            let budget_wei = self.options.budget.of_all(saved.into_iter());
            let mark = self.started.mark(id, &defence, now);
            let after = self.options.resend_after;
            let may = collection.may_collect(budget_wei, price);
            if !may || !self.in_flight.due(id, DISPUTE, mark, after) {
                continue;
            }
            tracing::warn!(channel = %id, "disputing: a lock was not converted in time");
            self.started.sent(id, &collection);
            for call in collection.calls {
                let begins = call.begins;
                match self.send_call(call, budget_wei).await {
                    Ok(sent) if begins => self.in_flight.carries(sent, DISPUTE, &[id]),
                    Err(_) if begins => break,
                    // Each of those that follow is for itself.
                    _ => {}
                }
            }
        }
    }

    /// Sends what [`super::outgoing::InFlight::due`] found due for these channels.
    pub(super) async fn send_for(
        &mut self,
        what: &'static str,
        channels: &[ChannelId],
        data: Vec<u8>,
        gas_limit: Option<u64>,
        urgency: Urgency,
    ) {
        if let Ok(sent) = self.send(what, data, gas_limit, urgency).await {
            self.in_flight.carries(sent, what, channels);
        }
    }

    pub(super) async fn state(&self, channel: ChannelId) -> Result<abi::ChannelState, ChainError> {
        self.state_at(channel, None).await
    }

    /// The same at a block.
    pub(super) async fn state_at(
        &self,
        channel: ChannelId,
        at: Option<u64>,
    ) -> Result<abi::ChannelState, ChainError> {
        let call = IAdjudicator::channelCall {
            channelId: channel.0.into(),
        };
        self.read_at(call, at).await
    }

    pub(super) async fn read<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.read_at(call, None).await
    }

    /// The same at a block.
    async fn read_at<C: SolCall>(&self, call: C, at: Option<u64>) -> Result<C::Return, ChainError> {
        let data: Bytes = call.abi_encode().into();
        let request = CallRequest {
            to: self.options.adjudicator,
            data,
            at,
            ..CallRequest::default()
        };
        let mut tries = 1_u32;
        let answer = loop {
            match self.options.chain.call(request.clone()).await {
                Err(error) if error.is_retryable() && tries < READ_TRIES_MAX => {
                    tries = tries.saturating_add(1);
                    tokio::time::sleep(READ_PAUSE).await;
                }
                answer => break answer?,
            }
        };
        let unread = |_| ChainError::BadAnswer(format!("that of {} cannot be read", C::SIGNATURE));
        C::abi_decode_returns(&answer).map_err(unread)
    }
}
