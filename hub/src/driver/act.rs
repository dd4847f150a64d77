//! What the driver sends at each look, disputes for locks in time; and how it sends.

use super::{Driver, defence::mark, outgoing::Urgency};
use crate::{
    chain::{CallRequest, ChainError},
    engine::Snapshot,
    ledger::Defence,
};
use alloy::{primitives::Bytes, sol_types::SolCall};
use protocol_spec::{ChannelId, DirectionEvidence, Room, Side, abi, abi::IAdjudicator, calls};
use std::{collections::BTreeSet, time::Duration};

/// What one transaction at chain time `now` can show of the evidence: locks that have not expired and whose resolvers do
/// not refuse, the first to expire first. The rest follows when the chain has marked these.
fn bounded(
    received: &DirectionEvidence,
    refused: &BTreeSet<u64>,
    mut room: Room,
    now: u64,
) -> DirectionEvidence {
    let mut part = received.clone();
    let lock = |id: &str| received.locks.iter().find(|lock| id.parse() == Ok(lock.id));
    part.witnesses
        .sort_by_key(|(id, _)| lock(id).map_or(0, |lock| lock.expiry.0));
    part.witnesses.retain(|(id, _)| {
        let lock = lock(id).filter(|lock| lock.expiry.0 > now && !refused.contains(&lock.id));
        lock.is_some_and(|lock| room.take(lock))
    });
    part
}

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

    /// R21: locks are about to expire and their payers have not converted them: the chain converts them.
    async fn collect(&mut self, overdue: Vec<Defence>) {
        let Ok(head) = self.options.chain.head().await else {
            return; // Tried again at the next look.
        };
        for defence in overdue {
            let id = defence.config.id(&self.options.domain);
            let refused = self.refused(&defence).await;
            let received = bounded(&defence.received, &refused, self.sizes().locks, head.timestamp_s);
            let after = self.options.resend_after;
            if !received.witnesses.is_empty() && self.in_flight.due(id, "dispute", mark(&defence), after) {
                tracing::warn!(channel = %id, "disputing: a lock was not converted in time");
                let call = calls::dispute(&defence.config, Side::Client, &received);
                let shown = received.locks.iter().filter(|lock| shows(&received, lock.id));
                let at_risk = shown.clone().map(|lock| lock.amount.0);
                let at_risk = at_risk.fold(0, u128::saturating_add);
                let saved = [(defence.config.token, at_risk)];
                let urgency = Urgency {
                    deadline: shown.map(|lock| lock.expiry).min(),
                    budget_wei: self.options.budget.of_all(saved.into_iter()),
                };
                self.send_for("dispute", &[id], call.abi_encode(), None, urgency)
                    .await;
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

/// Whether the evidence opens this lock.
fn shows(received: &DirectionEvidence, lock: u64) -> bool {
    received.witnesses.iter().any(|(id, _)| id.parse() == Ok(lock))
}
