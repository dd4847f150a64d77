//! Co-operative transactions and checkpoints: gathered, and sent when the policy says so.

use super::{
    Driver, SettleNow, Settled, defence::all_of, outgoing::Urgency, pending::call_of, sizes::payout_gas,
};
use crate::{
    ledger::{PendingTx, TxKind, Unsettled},
    liquidity::{Action, Report, gas},
    settlement::{Batch, Item},
};
use alloy::sol_types::SolCall;
use futures::FutureExt;
use protocol_spec::{Address, Amount, ChannelId, abi, abi::IAdjudicator, calls};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
};
use tokio::time::Instant;

/// Looks of the driver between two looks for vouchers worth a checkpoint.
const CHECKPOINT_LOOKS: u32 = 10;
/// Channels read on chain in one of them, at most: the driver has disputes to see. The rest follows at later looks.
const CHECKED_MAX: usize = 200;

/// What is gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Closes, and since when.
    since: HashMap<ChannelId, Instant>,
    /// What the chain is known to have seen of the clients' payments.
    shown: HashMap<ChannelId, Amount>,
    looks: u32,
}

impl Gathered {
    /// After a reorg the chain may not have seen what it had.
    pub(super) fn lapse(&mut self) {
        self.shown.clear();
    }

    fn waited_s(&self, channel: ChannelId) -> u64 {
        let since = self.since.get(&channel);
        since.map_or(0, |since| since.elapsed().as_secs())
    }
}

type Group<T> = BTreeMap<(Address, u64), Vec<T>>;

impl Driver {
    /// What both sides signed. Closes that ask for the same go together: about a third of the gas each; releases, too:
    /// about half. With `now` the closes it covers go at once.
    pub(super) async fn cooperate(&mut self, pending: Vec<PendingTx>, now: Option<SettleNow>) -> Settled {
        let mut settled = Settled::default();
        let (mut closes, mut releases): (Group<PendingTx>, Group<PendingTx>) = Default::default();
        let mut others: Vec<PendingTx> = Vec::new();
        let ids: HashSet<ChannelId> = pending.iter().map(|pending| pending.about().1).collect();
        self.gathered.since.retain(|id, _| ids.contains(id));
        for pending in pending {
            let alike = (pending.config.token, pending.config.challenge_period_s);
            if matches!(pending.kind, TxKind::Close(_)) {
                let began = self.gathered.since.entry(pending.about().1);
                began.or_insert_with(Instant::now);
                closes.entry(alike).or_default().push(pending);
            } else if pending.is_release() {
                self.purse.agreed(pending.about().1);
                releases.entry(alike).or_default().push(pending);
            } else {
                others.push(pending);
            }
        }
        let (price, sizes) = (self.settlement_gas_price().await, self.sizes());
        for (_, closes) in closes {
            for closes in self.closes_due(closes, price, now).await.chunks(sizes.payouts) {
                let several = if closes.len() > 1 { closes.len() } else { 0 };
                self.send_alike(closes, payout_gas(several), &mut settled).await;
            }
        }
        // A release pays nobody but the vault: no receiver can burn the gas that an estimate gives.
        for releases in releases.into_values() {
            for releases in self.all_due(releases).await.chunks(sizes.batch) {
                self.send_alike(releases, None, &mut settled).await;
            }
        }
        for pending in self.all_due(others).await {
            self.send_alike(&[pending], None, &mut settled).await;
        }
        settled
    }

    /// Messages of one kind, token and challenge period, in one transaction.
    async fn send_alike(&mut self, alike: &[PendingTx], gas_limit: Option<u64>, settled: &mut Settled) {
        let (what, data) = call_of(alike);
        let channels: Vec<ChannelId> = alike.iter().map(|pending| pending.about().1).collect();
        let urgency = Urgency::by(alike.iter().map(PendingTx::deadline).min());
        self.send_for(what, &channels, data, gas_limit, urgency).await;
        settled.transactions = settled.transactions.saturating_add(1);
        settled.cooperative.extend(channels);
    }

    async fn all_due(&mut self, pending: Vec<PendingTx>) -> Vec<PendingTx> {
        let mut due = Vec::new();
        for pending in pending {
            if self.is_due(&pending).await {
                due.push(pending);
            }
        }
        due
    }

    /// Those of one batch that go now: by the policy all or none, and those sent before that had no effect.
    async fn closes_due(
        &mut self,
        closes: Vec<PendingTx>,
        price: Option<u128>,
        now: Option<SettleNow>,
    ) -> Vec<PendingTx> {
        let batch = self.batch(&closes, price);
        let all = self.options.management.settlement.due(&batch).is_some();
        let mut due = Vec::new();
        for close in closes {
            let (what, channel) = close.about();
            let meant = now.is_some_and(|now| now.covers(close.config.token, channel));
            let again = self.in_flight.was_sent(channel, what, close.mark());
            if (all || meant || again) && self.is_due(&close).await {
                due.push(close);
            }
        }
        due
    }

    fn batch(&self, closes: &[PendingTx], gas_price_wei: Option<u128>) -> Batch {
        let item = |close: &PendingTx| Item {
            value: close.value(),
            deadline: close.deadline(),
            waited_s: self.gathered.waited_s(close.about().1),
        };
        Batch {
            token: closes.first().map_or(Address::ZERO, |close| close.config.token),
            items: closes.iter().map(item).collect(),
            now: self.status.head_timestamp(),
            act_s: self.options.delays.act_s,
            gas_price_wei,
        }
    }

    /// True when it is time to send: never sent, or sent long ago, and neither done already nor too late.
    async fn is_due(&mut self, pending: &PendingTx) -> bool {
        let (what, channel) = pending.about();
        // No block takes it any more, and its deadline would press the whole batch.
        if pending.deadline() < self.status.head_timestamp() {
            return false;
        }
        let after = self.options.resend_after;
        if !self.in_flight.due(channel, what, pending.mark(), after) {
            return false;
        }
        // Done already, perhaps, and only not confirmed yet.
        let state = self.state(channel).await;
        state.map_or(true, |state| pending.is_wanted(&state))
    }

    async fn settlement_gas_price(&self) -> Option<u128> {
        self.options.management.settlement.gas_price_max_wei?;
        self.options.chain.gas_price().await.ok()
    }

    /// Shows the chain the newest vouchers of open channels whose value beyond what it knows is too much to lose while
    /// the hub is away. With `now` those it covers, whatever they are worth.
    pub(super) async fn checkpoint(&mut self, now: Option<SettleNow>) -> Settled {
        let policy = &self.options.management.settlement;
        let mut above = policy.checkpoint_above.clone();
        match now {
            Some(now) if now.checkpoints => {
                let tokens = self.control.liquidity().await.map(|all| all.tokens);
                let tokens = tokens
                    .into_iter()
                    .flatten()
                    .map(|(token, _, _)| (token, Amount(1)));
                above = tokens.collect();
            }
            Some(_) => {}
            None => {
                self.gathered.looks = self.gathered.looks.saturating_add(1);
                if above.is_empty() || self.gathered.looks < CHECKPOINT_LOOKS {
                    return Settled::default();
                }
                self.gathered.looks = 0;
            }
        }
        if above.is_empty() {
            return Settled::default();
        }
        let found = self.control.unsettled(above, self.gathered.shown.clone()).await;
        let worth = self.unknown_to_chain(found.unwrap_or_default(), now).await;
        let price = self.settlement_gas_price().await;
        let policy = self.options.management.settlement.clone();
        let mut groups: Group<Unsettled> = BTreeMap::new();
        for one in worth {
            let asked = now.is_some_and(|now| now.covers(one.config.token, one.channel));
            if asked || policy.checkpoint_due(one.config.token, one.value, price) {
                let alike = (one.config.token, one.config.challenge_period_s);
                groups.entry(alike).or_default().push(one);
            }
        }
        self.send_checkpoints(groups).await
    }

    /// Those that the chain has not seen yet, by its newest block: the most valuable, as many as one look has time for.
    async fn unknown_to_chain(
        &mut self,
        mut found: Vec<Unsettled>,
        now: Option<SettleNow>,
    ) -> Vec<Unsettled> {
        found.retain(|one| now.is_none_or(|now| now.covers(one.config.token, one.channel)));
        found.sort_by_key(|one| Reverse(one.value));
        found.truncate(CHECKED_MAX);
        let this = &*self;
        let reads = found.iter().map(|one| this.state(one.channel).boxed());
        let states = all_of(reads.collect()).await;
        let after = self.options.resend_after;
        let mut worth = Vec::new();
        for (mut one, state) in found.into_iter().zip(states) {
            let Ok(state) = state else { continue };
            let shown = Amount(state.clientPaid);
            self.gathered.shown.insert(one.channel, shown);
            one.value = one.signed.voucher.paid.saturating_minus(shown);
            let mark = Amount(one.signed.voucher.seq.0.into());
            let open = matches!(state.status, abi::Status::Open) && !one.value.is_zero();
            if open && self.in_flight.due(one.channel, "checkpoint", mark, after) {
                worth.push(one);
            }
        }
        worth
    }

    async fn send_checkpoints(&mut self, groups: Group<Unsettled>) -> Settled {
        let (mut settled, sizes) = (Settled::default(), self.sizes());
        for group in groups.into_values() {
            for chunk in group.chunks(sizes.batch) {
                let item = |one: &Unsettled| calls::client_voucher(&one.config, &one.signed);
                let items: Vec<_> = chunk.iter().filter_map(item).collect();
                let Some(side) = chunk.first().map(|one| calls::hub_side(&one.config)) else {
                    continue;
                };
                let call = IAdjudicator::submitManyCall { side, items };
                let channels: Vec<ChannelId> = chunk.iter().map(|one| one.channel).collect();
                self.send_for(
                    "checkpoint",
                    &channels,
                    call.abi_encode(),
                    None,
                    Urgency::default(),
                )
                .await;
                settled.transactions = settled.transactions.saturating_add(1);
                settled.checkpoints.extend(channels);
            }
        }
        settled
    }

    /// Sends what is gathered. Errors: the ledger has stopped.
    pub(super) async fn settle_now(&mut self, what: SettleNow) -> Result<Settled, String> {
        let snapshot = self.control.snapshot().await;
        let snapshot = snapshot.ok_or_else(|| "the ledger has stopped".to_owned())?;
        let mut settled = self.cooperate(snapshot.pending, Some(what)).await;
        let shown = self.checkpoint(Some(what)).await;
        settled.checkpoints = shown.checkpoints;
        settled.transactions = settled.transactions.saturating_add(shown.transactions);
        Ok(settled)
    }

    /// Adds the gathered closes to the report.
    pub(super) async fn report_settlement(
        &self,
        pending: Vec<PendingTx>,
        price: Option<u128>,
        report: &mut Report,
    ) {
        let mut closes: Group<PendingTx> = BTreeMap::new();
        for pending in pending {
            if matches!(pending.kind, TxKind::Close(_)) {
                let alike = (pending.config.token, pending.config.challenge_period_s);
                closes.entry(alike).or_default().push(pending);
            }
        }
        for group in closes.into_values() {
            let due = self.options.management.settlement.due(&self.batch(&group, price));
            if due.is_some() {
                report.gas = report.gas.saturating_add(gas::closes(group.len()));
            }
            report.actions.extend(group.iter().map(|close| {
                let (what, channel) = close.about();
                let sent = self.in_flight.was_sent(channel, what, close.mark());
                let why = match due {
                    _ if sent => "sent, and not confirmed yet",
                    Some(why) => why.words(),
                    None => "gathered: nothing says that it must go now",
                };
                Action {
                    what: "close".to_owned(),
                    channel,
                    amount: close.value(),
                    now: due.is_some() && !sent,
                    why: why.to_owned(),
                }
            }));
        }
    }
}
