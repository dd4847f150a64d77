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

/// Withdrawals and cancels sent in one look, at most: each by itself.
const FAVOURS_MAX: usize = 20;
/// Gas that one of them takes at least.
const FAVOUR_GAS: u128 = 110_000;
/// So many more channels the wallet must be able to defend for each.
const FAVOUR_ROOM: usize = 4;

/// What is gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Closes, and since when.
    since: HashMap<ChannelId, Instant>,
    /// What the chain is known to have seen of the clients' payments.
    shown: HashMap<ChannelId, Amount>,
    looks: u32,
    /// The favour that had the last turn.
    favoured: Option<Favour>,
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

/// A withdrawal or cancel, in the order of their turns.
type Favour = (ChannelId, &'static str);

fn favour(pending: &PendingTx) -> Favour {
    let (what, channel) = pending.about();
    (channel, what)
}

/// Those after the `last` one that had its turn, then the others.
fn in_turn(mut wanted: Vec<PendingTx>, last: Option<Favour>) -> Vec<PendingTx> {
    wanted.sort_by_key(favour);
    let had = wanted.partition_point(|pending| Some(favour(pending)) <= last);
    wanted.rotate_left(had);
    wanted
}

/// Whether a favour can be paid for at this gas price; what is not known is found out when it is sent.
fn pays(budget_wei: Option<u128>, gas_price_wei: Option<u128>) -> bool {
    let least = gas_price_wei.map(|price| price.saturating_mul(FAVOUR_GAS));
    budget_wei
        .zip(least)
        .is_none_or(|(budget, least)| budget >= least)
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
                self.send_alike(closes, payout_gas(several), None, &mut settled)
                    .await;
            }
        }
        // A release pays nobody but the vault: no receiver can burn the gas that an estimate gives.
        for releases in releases.into_values() {
            for releases in self.all_due(releases).await.chunks(sizes.batch) {
                self.send_alike(releases, None, None, &mut settled).await;
            }
        }
        self.do_favours(others, &mut settled).await;
        settled
    }

    /// Withdrawals and cancels: the hub gains nothing by them, so they get nothing of what the defence of all channels needs.
    async fn do_favours(&mut self, wanted: Vec<PendingTx>, settled: &mut Settled) {
        if wanted.is_empty() {
            return;
        }
        if self.in_flight.wallet_is_short() {
            if let Some(held_back) = self.warnings.due("favours") {
                let waiting = wanted.len();
                tracing::warn!(
                    waiting,
                    held_back,
                    "withdrawals are left to their clients: what is in the wallet is for the defence"
                );
            }
            return;
        }
        let price = self.options.chain.gas_price().await.ok();
        let due = self.favours_due(wanted, price);
        let this = &*self;
        let reads = due.iter().map(|one| this.state(one.about().1).boxed());
        let states = all_of(reads.collect()).await;
        for (pending, state) in due.into_iter().zip(states) {
            // What it moves is not known: its turn comes again.
            let Ok(state) = state else { continue };
            let moved = pending.moved(&state);
            let budget = self.options.budget.of_favour(pending.config.token, moved);
            if pending.is_wanted(&state) && pays(budget, price) {
                self.send_alike(&[pending], None, budget, settled).await;
                self.in_flight.spent();
            }
        }
    }

    /// Those that have their turn now. What costs too much, whatever the chain says of its channel, takes nobody's place.
    fn favours_due(&mut self, mut wanted: Vec<PendingTx>, price: Option<u128>) -> Vec<PendingTx> {
        let budget = &self.options.budget;
        wanted.retain(|pending| {
            let most = pending.moved_at_most();
            let budget = most.and_then(|most| budget.of_favour(pending.config.token, most));
            pays(budget, price)
        });
        let mut due = Vec::new();
        let most = self.in_flight.wallet_room().div_euclid(FAVOUR_ROOM);
        for pending in in_turn(wanted, self.gathered.favoured) {
            if due.len() >= most.clamp(1, FAVOURS_MAX) {
                break;
            }
            if self.has_turn(&pending) {
                self.gathered.favoured = Some(favour(&pending));
                due.push(pending);
            }
        }
        due
    }

    /// Messages of one kind, token and challenge period, in one transaction.
    async fn send_alike(
        &mut self,
        alike: &[PendingTx],
        gas_limit: Option<u64>,
        budget_wei: Option<u128>,
        settled: &mut Settled,
    ) {
        let (what, data) = call_of(alike);
        let channels: Vec<ChannelId> = alike.iter().map(|pending| pending.about().1).collect();
        let deadline = alike.iter().map(PendingTx::deadline).min();
        let urgency = Urgency { deadline, budget_wei };
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
        if !self.has_turn(pending) {
            return false;
        }
        // Done already, perhaps, and only not confirmed yet.
        let state = self.state(pending.about().1).await;
        state.map_or(true, |state| pending.is_wanted(&state))
    }

    /// The same, whatever the chain says of its channel.
    fn has_turn(&mut self, pending: &PendingTx) -> bool {
        let (what, channel) = pending.about();
        // No block takes it any more, and its deadline would press the whole batch.
        let late = pending.deadline() < self.status.head_timestamp();
        let after = self.options.resend_after;
        !late && self.in_flight.due(channel, what, pending.mark(), after)
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

#[cfg(test)]
mod tests {
    use super::{super::pending::tests::withdraw, *};
    use protocol_spec::Side;

    #[test]
    fn withdrawals_have_their_turns_one_after_the_other() {
        let turns = |last| {
            let wanted = [3, 1, 2].map(|number| withdraw(number, Side::Client));
            let ordered = in_turn(wanted.to_vec(), last);
            let numbers = ordered.iter().map(|one| one.about().1.0[0]);
            numbers.collect::<Vec<_>>()
        };
        let after = |number| Some((ChannelId([number; 32]), "withdraw"));
        assert_eq!(turns(None), [1, 2, 3]);
        assert_eq!(turns(after(1)), [2, 3, 1]);
        assert_eq!(turns(after(3)), [1, 2, 3]);
        assert_eq!(turns(after(9)), [1, 2, 3], "the last one is done");
        assert_eq!(in_turn(vec![], after(1)).len(), 0);
    }

    #[test]
    fn what_cannot_pay_its_gas_has_no_turn() {
        let least = 7 * FAVOUR_GAS;
        assert!(pays(Some(least), Some(7)));
        assert!(!pays(Some(least - 1), Some(7)));
        assert!(pays(None, Some(7)), "nothing bounds it");
        assert!(pays(Some(0), None), "the price is not known");
        assert_eq!(withdraw(1, Side::Client).moved_at_most(), Some(101));
    }
}
