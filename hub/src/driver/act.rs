//! What the driver sends: reserves, co-operative transactions, disputes for locks in time; and how it sends.

use super::{Driver, defence::mark, outgoing::Urgency, reorg::money};
use crate::{
    chain::{CallRequest, ChainError},
    engine::Snapshot,
    ledger::{Defence, PendingTx, ReserveNeed, TxKind},
    settle::Room,
};
use alloy::{primitives::Bytes, sol_types::SolCall};
use protocol_spec::{
    Address, Amount, ChannelId, DirectionEvidence, Side, UnixSeconds, abi, abi::IAdjudicator, calls,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Channels in one batch transaction, at most: stays far below 2^24 gas.
pub(super) const BATCH_MAX: usize = 100;

/// Channels paid out by one transaction, at most: 14M gas with [`PAYOUT_GAS`].
pub(super) const PAYOUTS_MAX: usize = 50;

/// Gas for one payout in a batch, whatever its receiver or token does with the most that it is given. An estimate would
/// believe a receiver that burns its gas only when it counts, and then the whole batch would fail.
const PAYOUT_GAS: u64 = 280_000;
/// For what is around payouts and locks.
pub(super) const BASE_GAS: u64 = 200_000;

/// The limit of a batch with so many payouts; none: estimated.
pub(super) fn payout_gas(count: usize) -> Option<u64> {
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    Some(count.saturating_mul(PAYOUT_GAS).saturating_add(BASE_GAS))
}

/// What one transaction at chain time `now` can show of the evidence: locks that have not expired and whose resolvers do
/// not refuse, the first to expire first. The rest follows when the chain has marked these.
fn bounded(received: &DirectionEvidence, refused: &BTreeSet<u64>, now: u64) -> DirectionEvidence {
    let mut part = received.clone();
    let lock = |id: &str| received.locks.iter().find(|lock| id.parse() == Ok(lock.id));
    part.witnesses
        .sort_by_key(|(id, _)| lock(id).map_or(0, |lock| lock.expiry.0));
    let mut room = Room::default();
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
        if let Err(error) = self.defend(snapshot.disputed).await {
            tracing::warn!(%error, "disputes could not be looked after; trying again");
        }
        self.collect(snapshot.overdue).await;
        self.reserve(snapshot.reserve_needs).await;
        self.cooperate(snapshot.pending).await;
    }

    pub(super) async fn reserve(&mut self, needs: Vec<ReserveNeed>) {
        let after = self.options.resend_after;
        let due = needs.into_iter().filter(|need| {
            self.in_flight
                .due(need.channel, "reserve", need.hub_deposit, after)
        });
        let due: Vec<ReserveNeed> = due.collect();
        // One call names the token and the challenge period of all its channels.
        let mut alike: BTreeMap<(Address, u64), Vec<ReserveNeed>> = BTreeMap::new();
        for need in due {
            // Paid in already, and only not confirmed yet: it would be paid in twice.
            let state = self.state(need.channel).await;
            if state.is_ok_and(|state| money(&state).hub_deposit > need.hub_deposit) {
                continue;
            }
            let common = (need.config.token, need.config.challenge_period_s);
            alike.entry(common).or_default().push(need);
        }
        for needs in alike.into_values() {
            for chunk in needs.chunks(BATCH_MAX) {
                self.reserve_chunk(chunk).await;
            }
        }
    }

    async fn reserve_chunk(&mut self, needs: &[ReserveNeed]) {
        let Some(side) = needs.first().map(|need| calls::hub_side(&need.config)) else {
            return;
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
        let channels: Vec<ChannelId> = needs.iter().map(|need| need.channel).collect();
        self.send_for("reserve", &channels, call.abi_encode(), None, Urgency::default())
            .await;
    }

    /// What both sides signed. Closes that ask for the same go together: about a quarter of the gas each.
    async fn cooperate(&mut self, pending: Vec<PendingTx>) {
        let after = self.options.resend_after;
        let due = pending.into_iter().filter(|pending| {
            let (what, channel) = pending.about();
            let mark = Amount(pending.deadline().0.into());
            self.in_flight.due(channel, what, mark, after)
        });
        let due: Vec<PendingTx> = due.collect();
        let mut closes: BTreeMap<(Address, u64), Vec<PendingTx>> = BTreeMap::new();
        let mut others = Vec::new();
        for pending in due {
            // Done already, and only not confirmed yet: a batch would not notice.
            let state = self.state(pending.about().1).await;
            if state.is_ok_and(|state| matches!(state.status, abi::Status::Closed)) {
                continue;
            }
            let config = &pending.config;
            match pending.kind {
                TxKind::Close(_) => {
                    let alike = (config.token, config.challenge_period_s);
                    closes.entry(alike).or_default().push(pending);
                }
                _ => others.push(pending),
            }
        }
        for closes in closes.into_values() {
            for chunk in closes.chunks(PAYOUTS_MAX) {
                let (what, data) = close_call(chunk);
                let several = if chunk.len() > 1 { chunk.len() } else { 0 };
                let channels: Vec<ChannelId> = chunk.iter().map(|pending| pending.about().1).collect();
                // After its deadline nobody takes it, and one that is late spoils its batch for nobody.
                let deadline = chunk.iter().map(PendingTx::deadline).min();
                self.send_for(what, &channels, data, payout_gas(several), by(deadline))
                    .await;
            }
        }
        for pending in others {
            let ((what, data), channel) = (pending.call(), pending.about().1);
            let deadline = Some(pending.deadline());
            self.send_for(what, &[channel], data, None, by(deadline)).await;
        }
    }

    /// R21: locks are about to expire and their payers have not converted them: the chain converts them.
    async fn collect(&mut self, overdue: Vec<Defence>) {
        let Ok(head) = self.options.chain.head().await else {
            return; // Tried again at the next look.
        };
        for defence in overdue {
            let id = defence.config.id(&self.options.domain);
            let refused = self.refused(&defence).await;
            let received = bounded(&defence.received, &refused, head.timestamp_s);
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
    async fn send_for(
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

    async fn state(&self, channel: ChannelId) -> Result<abi::ChannelState, ChainError> {
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
}

fn by(deadline: Option<UnixSeconds>) -> Urgency {
    let budget_wei = None;
    Urgency { deadline, budget_wei }
}

/// Whether the evidence opens this lock.
fn shows(received: &DirectionEvidence, lock: u64) -> bool {
    received.witnesses.iter().any(|(id, _)| id.parse() == Ok(lock))
}

/// One close by itself may carry a signature of any kind; several are of signers.
fn close_call(chunk: &[PendingTx]) -> (&'static str, Vec<u8>) {
    if let [single] = chunk {
        return single.call();
    }
    let items = chunk.iter().filter_map(|pending| match &pending.kind {
        TxKind::Close(message) => Some(calls::client_close(
            &pending.config,
            message,
            &pending.client_signature,
        )),
        _ => None,
    });
    let items = items.collect();
    let side = chunk.first().map(|pending| calls::hub_side(&pending.config));
    let call = side.map(|side| IAdjudicator::closeManyCall { side, items }.abi_encode());
    ("close", call.unwrap_or_default())
}

impl PendingTx {
    fn about(&self) -> (&'static str, ChannelId) {
        match &self.kind {
            TxKind::Withdraw(message) => ("withdraw", message.channel_id),
            TxKind::Close(message) => ("close", message.channel_id),
            TxKind::Cancel(message) => ("cancel", message.channel_id),
        }
    }

    /// Alone. The sender is the hub's own account, so the hub's signature stays empty.
    fn call(&self) -> (&'static str, Vec<u8>) {
        let (config, client) = (&self.config, &self.client_signature.0);
        let data = match &self.kind {
            TxKind::Withdraw(message) => calls::withdraw(config, message, client, &[]).abi_encode(),
            TxKind::Close(message) => calls::close(config, message, client, &[]).abi_encode(),
            TxKind::Cancel(message) => calls::cancel_dispute(config, message, client, &[]).abi_encode(),
        };
        (self.about().0, data)
    }
}
