//! What the driver sends: reserves, co-operative transactions, answers to disputes, finalize.

use super::Driver;
use crate::{
    chain::{CallRequest, ChainError, TxRequest},
    engine::Snapshot,
    ledger::{Defence, PendingTx, ReserveNeed, TxKind},
    settle::LOCKS_PER_TX_MAX,
};
use alloy::{
    primitives::{Bytes, U256},
    sol_types::SolCall,
};
use protocol_spec::{Address, Amount, ChannelId, DirectionEvidence, Side, abi, abi::IAdjudicator, calls};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::Instant;

/// Channels in one batch transaction, at most: stays far below 2^24 gas.
const BATCH_MAX: usize = 100;

/// The part of the evidence that one transaction can show; the rest follows when the chain has marked these.
fn bounded(received: &DirectionEvidence) -> DirectionEvidence {
    let mut part = received.clone();
    part.preimages.truncate(LOCKS_PER_TX_MAX);
    part
}

/// Changes whenever there is something new to show.
fn mark(defence: &Defence) -> Amount {
    let seq = defence
        .received
        .voucher
        .as_ref()
        .map_or(0, |signed| signed.voucher.seq.0);
    let known = defence.received.preimages.len() as u128;
    Amount(u128::from(seq).saturating_mul(1 << 16).saturating_add(known))
}

/// What was sent lately, so that it is not sent again at once.
#[derive(Debug, Default)]
pub(super) struct InFlight(HashMap<(ChannelId, &'static str), (Instant, Amount)>);

impl InFlight {
    /// True when it is time to send: never sent, sent long ago, or `mark` (what it should change) has changed since.
    fn due(&mut self, channel: ChannelId, what: &'static str, mark: Amount, after: Duration) -> bool {
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
}

impl Driver {
    /// Sends what is due. Failures are logged and tried again later; none of them stops the hub.
    pub(super) async fn act(&mut self, snapshot: Snapshot) {
        self.reserve(snapshot.reserve_needs).await;
        for pending in snapshot.pending {
            self.cooperate(pending).await;
        }
        for defence in snapshot.disputed {
            if let Err(error) = self.defend(&defence).await {
                tracing::warn!(%error, "a dispute could not be looked after; trying again");
            }
        }
        for defence in snapshot.overdue {
            self.collect(&defence).await;
        }
    }

    async fn reserve(&mut self, needs: Vec<ReserveNeed>) {
        let after = self.options.resend_after;
        let due = needs.into_iter().filter(|need| {
            self.in_flight
                .due(need.channel, "reserve", need.hub_deposit, after)
        });
        // One call names the token and the challenge period of all its channels.
        let mut alike: BTreeMap<(Address, u64), Vec<ReserveNeed>> = BTreeMap::new();
        for need in due {
            let common = (need.config.token, need.config.challenge_period_s);
            alike.entry(common).or_default().push(need);
        }
        for (common, needs) in alike {
            for chunk in needs.chunks(BATCH_MAX) {
                self.reserve_chunk(common, chunk).await;
            }
        }
    }

    async fn reserve_chunk(&self, (token, challenge_period_s): (Address, u64), needs: &[ReserveNeed]) {
        let side = abi::HubSide {
            hub: self.options.hub,
            hubSigner: self.options.hub_signer,
            token,
            challengePeriodS: challenge_period_s,
        };
        let items = needs.iter().map(|need| abi::ClientReserve {
            client: need.config.client,
            clientSigner: need.config.client_signer,
            salt: need.config.salt.0.into(),
            amount: need.amount.0,
        });
        let call = IAdjudicator::reserveCall {
            side,
            items: items.collect(),
        };
        self.send("reserve", call.abi_encode()).await;
    }

    async fn cooperate(&mut self, pending: PendingTx) {
        let config = &pending.config;
        let client = pending.client_signature.0;
        // The sender is the hub's own account, so the hub's signature may stay empty.
        let (what, channel, data) = match &pending.kind {
            TxKind::Withdraw(message) => (
                "withdraw",
                message.channel_id,
                calls::withdraw(config, message, &client, &[]).abi_encode(),
            ),
            TxKind::Close(message) => (
                "close",
                message.channel_id,
                calls::close(config, message, &client, &[]).abi_encode(),
            ),
            TxKind::Cancel(message) => (
                "cancel",
                message.channel_id,
                calls::cancel_dispute(config, message, &client, &[]).abi_encode(),
            ),
        };
        let mark = Amount(pending.deadline().0.into());
        if self.in_flight.due(channel, what, mark, self.options.resend_after) {
            self.send(what, data).await;
        }
    }

    /// R21: a lock is about to expire and its payer has not converted it: the chain converts it.
    async fn collect(&mut self, defence: &Defence) {
        let id = defence.config.id(&self.options.domain);
        let after = self.options.resend_after;
        if self.in_flight.due(id, "dispute", mark(defence), after) {
            tracing::warn!(channel = %id, "disputing: a lock was not converted in time");
            let received = bounded(&defence.received);
            let call = calls::dispute(&defence.config, Side::Client, &received);
            self.send("dispute", call.abi_encode()).await;
        }
    }

    /// R21: shows the newest voucher when it adds something, resolves what is known, and finalizes when the time has come.
    async fn defend(&mut self, defence: &Defence) -> Result<(), ChainError> {
        let config = &defence.config;
        let id = config.id(&self.options.domain);
        let state = self
            .read(IAdjudicator::channelCall {
                channelId: id.0.into(),
            })
            .await?;
        if !matches!(state.status, abi::Status::Disputed) {
            return Ok(());
        }
        let now = self.options.chain.head().await?.timestamp_s;
        let after = self.options.resend_after;
        let mut received = bounded(&defence.received);
        let expired = |id: &str| {
            let lock = received.locks.iter().find(|lock| id.parse() == Ok(lock.id));
            lock.is_none_or(|lock| lock.expiry.0 <= now)
        };
        let live = received.preimages.iter().filter(|(id, _)| !expired(id)).cloned();
        received.preimages = live.collect();
        let newest = received.voucher.as_ref().map_or(0, |signed| signed.voucher.seq.0);
        let (mut submissions, resolutions) = calls::evidence(Side::Client, &received);
        if newest <= state.clientSeq {
            submissions.clear();
        }
        let useful = !submissions.is_empty() || !resolutions.is_empty();
        if useful && now < state.windowEnd && self.in_flight.due(id, "submit", mark(defence), after) {
            let call = IAdjudicator::submitCall {
                config: config.to_abi(),
                submissions,
                resolutions,
            };
            self.send("submit", call.abi_encode()).await;
        }
        let final_at = self
            .read(IAdjudicator::finalAtCall {
                config: config.to_abi(),
            })
            .await?;
        let mark = Amount(state.disputeNo.into());
        if final_at != U256::ZERO
            && U256::from(now) >= final_at
            && self.in_flight.due(id, "finalize", mark, after)
        {
            self.send("finalize", calls::finalize(config).abi_encode()).await;
        }
        Ok(())
    }

    async fn read<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        let data: Bytes = call.abi_encode().into();
        let request = CallRequest {
            to: self.options.adjudicator,
            data,
            ..CallRequest::default()
        };
        let answer = self.options.chain.call(request).await?;
        C::abi_decode_returns(&answer).map_err(|error| ChainError::BadAnswer(error.to_string()))
    }

    async fn send(&self, what: &'static str, data: Vec<u8>) {
        let request = TxRequest {
            to: Some(self.options.adjudicator),
            data: data.into(),
            ..TxRequest::default()
        };
        match self.options.chain.send(request).await {
            Ok(sent) => {
                tracing::info!(what, hash = %sent.hash, "transaction sent");
                metrics::counter!("hub_transactions_total", "what" => what).increment(1);
            }
            Err(error) => {
                metrics::counter!("hub_transactions_failed_total", "what" => what).increment(1);
                tracing::warn!(what, %error, "transaction not sent; trying again later");
            }
        }
    }
}
