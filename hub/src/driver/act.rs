//! What the driver sends at each look, disputes for locks in time; and how it sends.

use super::{Driver, defence::mark};
use crate::{
    chain::{CallRequest, ChainError, SentTx, TxRequest},
    engine::Snapshot,
    ledger::Defence,
    settle::LOCKS_PER_TX_MAX,
};
use alloy::{primitives::Bytes, sol_types::SolCall};
use protocol_spec::{Amount, ChannelId, DirectionEvidence, Side, abi, abi::IAdjudicator, calls};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// Channels in one batch transaction, at most: stays far below 2^24 gas.
pub(super) const BATCH_MAX: usize = 100;

/// Channels paid out by one transaction, at most: 14M gas with [`PAYOUT_GAS`].
pub(super) const PAYOUTS_MAX: usize = 50;

/// Gas for one payout in a batch, whatever its receiver or token does with the most that it is given. An estimate would
/// believe a receiver that burns its gas only when it counts, and then the whole batch would fail.
const PAYOUT_GAS: u64 = 280_000;
/// For what is around the payouts.
const BASE_GAS: u64 = 200_000;

/// The limit of a batch with so many payouts; none: estimated.
pub(super) fn payout_gas(count: usize) -> Option<u64> {
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    Some(count.saturating_mul(PAYOUT_GAS).saturating_add(BASE_GAS))
}

/// What one transaction at chain time `now` can show of the evidence: locks that have not expired, the first to expire
/// first. The rest follows when the chain has marked these.
fn bounded(received: &DirectionEvidence, now: u64) -> DirectionEvidence {
    let mut part = received.clone();
    let expiry = |id: &str| {
        let lock = received.locks.iter().find(|lock| id.parse() == Ok(lock.id));
        lock.map_or(0, |lock| lock.expiry.0)
    };
    part.preimages.retain(|(id, _)| expiry(id) > now);
    part.preimages.sort_by_key(|(id, _)| expiry(id));
    part.preimages.truncate(LOCKS_PER_TX_MAX);
    part
}

/// Tries to read one thing: a node may be busy.
const READ_TRIES_MAX: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(100);

/// What was sent lately, so that it is not sent again at once.
#[derive(Debug, Default)]
pub(super) struct InFlight(HashMap<(ChannelId, &'static str), (Instant, Amount)>);

impl InFlight {
    /// True when it is time to send: never sent, sent long ago, or `mark` (what it should change) has changed since.
    pub(super) fn due(
        &mut self,
        channel: ChannelId,
        what: &'static str,
        mark: Amount,
        after: Duration,
    ) -> bool {
        let key = (channel, what);
        let due = self
            .0
            .get(&key)
            .is_none_or(|(sent, seen)| *seen != mark || sent.elapsed() >= after);
        if due {
            self.0.insert(key, (Instant::now(), mark));
        }
        due
    }

    /// True when it was sent with this `mark`, however long ago.
    pub(super) fn was_sent(&self, channel: ChannelId, what: &'static str, mark: Amount) -> bool {
        self.0
            .get(&(channel, what))
            .is_some_and(|(_, seen)| *seen == mark)
    }

    /// After a reorg nothing is where it was.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Driver {
    /// Sends what is due. Failures are logged and tried again later; none of them stops the hub.
    pub(super) async fn act(&mut self, snapshot: Snapshot) {
        if let Err(error) = self.defend(snapshot.disputed).await {
            tracing::warn!(%error, "disputes could not be looked after; trying again");
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
            let received = bounded(&defence.received, head.timestamp_s);
            let after = self.options.resend_after;
            if !received.preimages.is_empty() && self.in_flight.due(id, "dispute", mark(&defence), after) {
                tracing::warn!(channel = %id, "disputing: a lock was not converted in time");
                let call = calls::dispute(&defence.config, Side::Client, &received);
                self.send("dispute", call.abi_encode(), None).await;
            }
        }
    }

    pub(super) async fn state(&self, channel: ChannelId) -> Result<abi::ChannelState, ChainError> {
        self.read(IAdjudicator::channelCall {
            channelId: channel.0.into(),
        })
        .await
    }

    pub(super) async fn read<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.read_at(call, None).await
    }

    /// The same at a block.
    pub(super) async fn read_at<C: SolCall>(
        &self,
        call: C,
        at: Option<u64>,
    ) -> Result<C::Return, ChainError> {
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
        C::abi_decode_returns(&answer).map_err(|error| ChainError::BadAnswer(error.to_string()))
    }

    /// False when the node did not take it.
    pub(super) async fn send(&self, what: &'static str, data: Vec<u8>, gas_limit: Option<u64>) -> bool {
        // What reverts now reverts again at once: then it waits its turn.
        let sent = self.submit(what, data, gas_limit).await;
        !matches!(sent, Err(error) if !matches!(error, ChainError::Reverted { .. }))
    }

    /// The same, telling what was sent.
    pub(super) async fn submit(
        &self,
        what: &'static str,
        data: Vec<u8>,
        gas_limit: Option<u64>,
    ) -> Result<SentTx, ChainError> {
        let request = TxRequest {
            to: Some(self.options.adjudicator),
            data: data.into(),
            gas_limit,
            ..TxRequest::default()
        };
        let sent = self.options.chain.send(request).await;
        match &sent {
            Ok(sent) => {
                tracing::info!(what, hash = %sent.hash, "transaction sent");
                metrics::counter!("hub_transactions_total", "what" => what).increment(1);
            }
            Err(error) => {
                metrics::counter!("hub_transactions_failed_total", "what" => what).increment(1);
                tracing::warn!(what, %error, "transaction not sent; trying again later");
            }
        }
        sent
    }
}
