//! Carries out the liquidity manager's plan: tells the ledger what the vault holds, sends refills in batches, asks
//! clients for releases. What is on its way counts against the vault until it is in a block.

use super::{Driver, earlier::Earlier, outgoing::Urgency, reorg::money};
use crate::{
    chain::ChainError,
    ledger::{Input, ReserveNeed, Reserves, Vault},
    liquidity::{self, Action, Plan, Report, Situation, Waiting, Why},
};
use alloy::{primitives::B256, sol_types::SolCall};
use protocol_spec::{Address, Amount, ChannelId, abi, abi::IAdjudicator, calls, limits};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// A client that did not agree to a release is not asked again for so long: what it was asked for is no use to anybody
/// in the meantime.
const OFFER_REST: Duration = Duration::from_secs(30 * 60);
/// A transaction that no block shows, and that the chain port does not look after any more, is believed to be lost after
/// this many times `resend_after`.
const LOST_AFTER: u32 = 10;
/// Blocks over which the time between blocks is measured.
const PACE_BLOCKS: u64 = 16;
/// Expected times are rounded up to this, so that the ledger is not told of every second.
const READY_STEP_S: u64 = 10;

/// What the driver remembers of its reserves.
#[derive(Debug, Default)]
pub(super) struct Purse {
    sent: Vec<SentReserves>,
    /// Not sent: tried again then.
    rests: HashMap<ChannelId, Instant>,
    /// Asked for a release, and when.
    offers: HashMap<ChannelId, Instant>,
    /// Seconds from the decision to pay in until it counts.
    ready_in_s: Option<u64>,
    /// The head when that was measured.
    paced_at: Option<u64>,
    /// The head at which the ledger was told of the vault.
    told_at: Option<u64>,
    /// What may be on its way and is not in `sent`.
    pub(super) earlier: Earlier,
}

/// One transaction on its way.
#[derive(Debug)]
struct SentReserves {
    hash: B256,
    token: Address,
    at: Instant,
    /// Channel, the hub's deposit before, and what is added.
    items: Vec<(ChannelId, Amount, Amount)>,
    /// The block it was found in.
    mined: Option<u64>,
}

impl SentReserves {
    fn total(&self) -> Amount {
        let sum = self
            .items
            .iter()
            .fold(0_u128, |sum, (_, _, amount)| sum.saturating_add(amount.0));
        Amount(sum)
    }
}

impl Purse {
    /// After a reorg nothing is where it was; what was sent is handed over again.
    pub(super) fn lapse(&mut self) {
        let now = Instant::now();
        for sent in &mut self.sent {
            (sent.mined, sent.at) = (None, now);
        }
        self.rests.clear();
        // Also what this process no longer remembers, or never knew.
        self.earlier = Earlier::Unknown;
    }

    /// Its client has signed: when the channel has too much again, it is asked again.
    pub(super) fn agreed(&mut self, channel: ChannelId) {
        self.offers.remove(&channel);
    }

    /// For the report.
    fn actions(&self) -> impl Iterator<Item = Action> {
        let items = self.sent.iter().flat_map(|sent| &sent.items);
        items.map(|(channel, _, amount)| Action {
            what: "refill".to_owned(),
            channel: *channel,
            amount: *amount,
            now: false,
            why: "sent, and not confirmed yet".to_owned(),
        })
    }

    fn is_on_its_way(&self, channel: ChannelId) -> bool {
        let mut items = self.sent.iter().flat_map(|sent| &sent.items);
        items.any(|(id, _, _)| *id == channel)
    }

    /// Channels whose first reserve is on its way, or in no block that the ledger knows.
    pub(super) fn first_deposits(&self) -> usize {
        let items = self.sent.iter().flat_map(|sent| &sent.items);
        items.filter(|(_, before, _)| before.is_zero()).count()
    }

    /// In transactions that no block is known to have taken.
    fn on_the_way(&self, token: Address) -> Amount {
        let unmined = self
            .sent
            .iter()
            .filter(|sent| sent.token == token && sent.mined.is_none());
        Amount(unmined.fold(0_u128, |sum, sent| sum.saturating_add(sent.total().0)))
    }
}

impl Driver {
    /// Failures are logged and tried again at the next look.
    pub(super) async fn look_after_reserves(&mut self, reserves: Reserves) {
        if let Err(error) = self.manage(reserves).await {
            tracing::warn!(%error, "the vault could not be read; reserves are looked after at the next look");
        }
    }

    async fn manage(&mut self, reserves: Reserves) -> Result<(), ChainError> {
        let head = self.view.latest().map(|head| head.number);
        let idle = reserves.needs.is_empty() && reserves.surpluses.is_empty();
        let quiet = idle && reserves.awaited.is_empty();
        // Nothing can be different from what the ledger was told.
        if quiet && self.purse.sent.is_empty() && self.purse.told_at == head {
            return Ok(());
        }
        let vaults = self.vaults(&reserves).await?;
        let (confirmed, awaited) = (reserves.block, reserves.awaited.clone());
        let plan = self.plan(reserves, &vaults).await;
        self.give_up_refills(awaited, confirmed, &plan).await;
        self.tell_vaults(&vaults, &plan).await;
        self.purse.told_at = head;
        let now = Instant::now();
        for surplus in plan.releases {
            tracing::info!(channel = %surplus.channel, amount = %surplus.amount, "asking for a release of the reserve");
            self.purse.offers.insert(surplus.channel, now);
            self.control.tell(Input::Offer(surplus.channel)).await;
        }
        let needs = plan.refills.into_iter().map(|refill| refill.need);
        self.reserve(needs.collect()).await;
        Ok(())
    }

    async fn plan(&self, reserves: Reserves, vaults: &BTreeMap<Address, (Amount, Amount)>) -> Plan {
        let policy = self.options.management.liquidity;
        let gas_price_wei = match policy.gas_price_max_wei {
            Some(_) => self.options.chain.gas_price().await.ok(),
            None => None,
        };
        self.planned(self.situation(reserves, vaults, gas_price_wei))
    }

    fn planned(&self, situation: Situation) -> Plan {
        let mut plan = liquidity::plan(situation, self.options.management.liquidity);
        hold_back(&mut plan, self.in_flight.wallet_room());
        plan
    }

    fn situation(
        &self,
        reserves: Reserves,
        vaults: &BTreeMap<Address, (Amount, Amount)>,
        gas_price_wei: Option<u128>,
    ) -> Situation {
        let now = Instant::now();
        let mut needs = reserves.needs;
        needs.retain(|need| {
            let rests = self
                .purse
                .rests
                .get(&need.channel)
                .is_some_and(|until| now < *until);
            !rests && !self.purse.is_on_its_way(need.channel)
        });
        let mut surpluses = reserves.surpluses;
        surpluses.retain(|surplus| {
            let asked = self.purse.offers.get(&surplus.channel);
            asked.is_none_or(|at| at.elapsed() >= OFFER_REST)
        });
        let available = vaults
            .iter()
            .map(|(token, (held, way))| (*token, held.saturating_minus(*way)));
        Situation {
            needs,
            surpluses,
            available: available.collect(),
            owed: reserves.owed,
            kept: reserves.kept,
            gas_price_wei,
            wallet_short: self.in_flight.wallet_is_short(),
        }
    }

    /// Per token: in the vault at the head, and of that on its way out.
    async fn vaults(&self, reserves: &Reserves) -> Result<BTreeMap<Address, (Amount, Amount)>, ChainError> {
        let hub = self.options.hub;
        let mut vaults = BTreeMap::new();
        for token in reserves.owed.keys().copied() {
            let held = self.read(IAdjudicator::vaultCall { token, hub }).await?;
            // What does not fit is more than any channel can hold.
            let held = Amount(held.saturating_to());
            vaults.insert(token, (held, self.purse.on_the_way(token)));
        }
        Ok(vaults)
    }

    /// What the ledger may promise: nothing that is on its way, or that reserves which are no orders wait for.
    async fn tell_vaults(&mut self, vaults: &BTreeMap<Address, (Amount, Amount)>, plan: &Plan) {
        self.measure_pace().await;
        let waiting = plan.waiting.iter();
        let held = waiting.filter(|waiting| matches!(waiting.why, Why::Wallet | Why::Kept));
        metrics::gauge!("hub_reserves_held_back").set(u32::try_from(held.count()).unwrap_or(u32::MAX));
        let mut spoken_for = plan.put_off();
        for refill in &plan.refills {
            let rest = refill.need.amount.saturating_minus(refill.need.owed);
            let sum = spoken_for.entry(refill.need.config.token).or_default();
            *sum = Amount(sum.0.saturating_add(rest.0));
        }
        for (token, (held, way)) in vaults {
            let taken = spoken_for.get(token).copied().unwrap_or_default();
            let available = held.saturating_minus(Amount(way.0.saturating_add(taken.0)));
            let vault = Vault {
                token: *token,
                available,
                ready_in_s: self.purse.ready_in_s,
                new_channels: !self.in_flight.wallet_is_short(),
            };
            self.control.tell(Input::Vault(vault)).await;
        }
    }

    /// Blocks until it is mined and confirmed, and looks of ours before and after. Once for all blocks that it is
    /// measured over.
    async fn measure_pace(&mut self) {
        let Some(head) = self.view.latest() else { return };
        if !is_due(self.purse.paced_at, head.number) {
            return;
        }
        let earlier = head.number.saturating_sub(PACE_BLOCKS);
        let Ok(Some(before)) = self.options.chain.block(earlier).await else {
            return;
        };
        let blocks = head.number.saturating_sub(before.number).max(1);
        let took_s = head.timestamp_s.saturating_sub(before.timestamp_s);
        let block_s = took_s.div_ceil(blocks).max(1);
        let needed = self.options.confirmations.saturating_add(2);
        let looks_s = self.options.poll_interval.as_secs().saturating_add(1);
        let whole_s = block_s
            .saturating_mul(needed)
            .saturating_add(looks_s.saturating_mul(2));
        let rounded = whole_s.div_ceil(READY_STEP_S).saturating_mul(READY_STEP_S);
        // Only upwards, or far down: blocks do not come like clockwork.
        let known = self.purse.ready_in_s.unwrap_or(0);
        if rounded > known || rounded.saturating_mul(2) < known {
            self.purse.ready_in_s = Some(rounded);
        }
        self.purse.paced_at = Some(head.number);
    }

    /// What became of the transactions on their way; `confirmed`: the block up to which the ledger knows.
    pub(super) async fn look_at_sent(&mut self, confirmed: u64) {
        let mut sent = std::mem::take(&mut self.purse.sent);
        for one in &mut sent {
            if one.mined.is_none() {
                one.mined = self.found(one).await;
            }
        }
        let lost_after = self.options.resend_after.saturating_mul(LOST_AFTER);
        let (mut kept, over): (Vec<_>, Vec<_>) = sent.into_iter().partition(|one| match one.mined {
            Some(block) => block > confirmed,
            None => one.at.elapsed() < lost_after || self.in_flight.waits(Some(one.hash)),
        });
        if over.iter().any(|one| one.mined.is_none()) {
            self.purse.earlier = Earlier::Unknown;
        }
        self.purse.sent.append(&mut kept);
    }

    /// The block it is in. One that failed is over at once: block 0.
    async fn found(&self, sent: &SentReserves) -> Option<u64> {
        match self.options.chain.receipt(sent.hash).await {
            Ok(Some(receipt)) if receipt.success => return Some(receipt.block_number),
            Ok(Some(_)) => return Some(0),
            Ok(None) if sent.at.elapsed() >= self.options.resend_after => {}
            Ok(None) | Err(_) => return None,
        }
        // Perhaps another one of the same nonce took its place.
        let (channel, before, amount) = *sent.items.first()?;
        let state = self.state(channel).await.ok()?;
        let arrived = money(&state).hub_deposit.0 >= before.0.saturating_add(amount.0);
        arrived
            .then(|| self.view.latest().map(|head| head.number))
            .flatten()
    }

    /// Pays in, as far as it is not paid in already.
    pub(super) async fn reserve(&mut self, needs: Vec<ReserveNeed>) {
        if needs.is_empty() || !self.earlier_is_over().await {
            return;
        }
        // One call names the token and the challenge period of all its channels.
        let mut alike: BTreeMap<(Address, u64), Vec<ReserveNeed>> = BTreeMap::new();
        for need in needs {
            if self.purse.is_on_its_way(need.channel) {
                continue;
            }
            let state = self.state(need.channel).await;
            if !state.is_ok_and(|state| is_missing(&need, &state)) {
                continue;
            }
            let common = (need.config.token, need.config.challenge_period_s);
            alike.entry(common).or_default().push(need);
        }
        // A reorg since the last look: what was read may be of another branch, where nothing is known of an earlier process.
        if alike.is_empty() || !self.is_on_branch().await {
            return;
        }
        if !self.tell_refills(alike.values().flatten()).await {
            return;
        }
        let sizes = self.sizes();
        for ((token, _), needs) in alike {
            for chunk in needs.chunks(sizes.batch) {
                self.reserve_or_halve(token, chunk).await;
            }
        }
    }

    /// Whether the newest block that was seen is still on the chain.
    async fn is_on_branch(&self) -> bool {
        let Some(latest) = self.view.latest() else {
            return false;
        };
        let now = self.options.chain.block(latest.number).await;
        now.is_ok_and(|now| now == Some(latest))
    }

    /// What of the deposits serves no order, durable before they are sent. False when the ledger has stopped.
    async fn tell_refills(&self, needs: impl Iterator<Item = &ReserveNeed>) -> bool {
        let mut told = false;
        for need in needs {
            let amount = need.amount.saturating_minus(need.owed);
            if amount != need.refilling {
                let channel = need.channel;
                self.control.tell(Input::Refilling { channel, amount }).await;
                told = true;
            }
        }
        // A snapshot is given once everything before it is durable.
        !told || self.control.snapshot().await.is_some()
    }

    /// Announced, and on their way no more: sending failed for good, or an earlier process was killed before it sent. No
    /// order waits for them, and what comes later is no part of them. Those of the plan are announced anew.
    async fn give_up_refills(&mut self, mut awaited: Vec<ChannelId>, confirmed: u64, plan: &Plan) {
        let on_their_way = self.purse.sent.iter().flat_map(|sent| &sent.items);
        let on_their_way = on_their_way.map(|(channel, _, _)| *channel);
        let planned = plan.refills.iter().map(|refill| refill.need.channel);
        let coming: HashSet<ChannelId> = on_their_way.chain(planned).collect();
        awaited.retain(|channel| !coming.contains(channel));
        if awaited.is_empty() || !self.earlier_is_known(confirmed).await {
            return;
        }
        for channel in awaited {
            tracing::info!(%channel, "a refill of the reserve was given up");
            let amount = Amount::ZERO;
            self.control.tell(Input::Refilling { channel, amount }).await;
        }
    }

    /// One that the chain refuses, or that the vault does not cover, keeps the others waiting no longer than this takes. Once a
    /// part is sent the rest waits for the next look: estimates do not know of that part yet.
    async fn reserve_or_halve(&mut self, token: Address, needs: &[ReserveNeed]) {
        let mut chunks = vec![needs];
        while let Some(chunk) = chunks.pop() {
            match self.reserve_chunk(token, chunk).await {
                Ok(()) => break,
                Err(ChainError::Reverted { .. }) if chunk.len() > 1 => {
                    let (first, second) = chunk.split_at(chunk.len().div_euclid(2));
                    chunks.extend([second, first]);
                }
                Err(_) => {}
            }
        }
        for need in chunks.into_iter().flatten() {
            self.purse.rests.remove(&need.channel);
        }
    }

    async fn reserve_chunk(&mut self, token: Address, needs: &[ReserveNeed]) -> Result<(), ChainError> {
        let Some(side) = needs.first().map(|need| calls::hub_side(&need.config)) else {
            return Ok(());
        };
        let item = |need: &ReserveNeed| abi::ClientReserve {
            client: need.config.client,
            clientSigner: need.config.client_signer,
            salt: need.config.salt.0.into(),
            amount: need.amount.0,
        };
        let call = IAdjudicator::reserveCall {
            side,
            items: needs.iter().map(item).collect(),
        };
        let now = Instant::now();
        match self
            .send("reserve", call.abi_encode(), None, Urgency::default())
            .await
        {
            Ok(sent) => {
                let items = needs
                    .iter()
                    .map(|need| (need.channel, need.hub_deposit, need.amount));
                self.purse.sent.push(SentReserves {
                    hash: sent.hash,
                    token,
                    at: now,
                    items: items.collect(),
                    mined: None,
                });
                for need in needs {
                    self.purse.rests.remove(&need.channel);
                }
                Ok(())
            }
            Err(error) => {
                // No answer: the node may have it all the same.
                if error.is_retryable() {
                    self.purse.earlier = Earlier::Unknown;
                }
                let again = now.checked_add(self.options.resend_after).unwrap_or(now);
                let rests = needs.iter().map(|need| (need.channel, again));
                self.purse.rests.extend(rests);
                Err(error)
            }
        }
    }

    /// What `hub liquidity` shows. Sends nothing. Errors: the chain could not be read, or the ledger has stopped.
    pub(super) async fn report(&mut self) -> Result<Report, String> {
        let stopped = || "the ledger has stopped".to_owned();
        let snapshot = self.control.snapshot().await.ok_or_else(stopped)?;
        let liquidity = self.control.liquidity().await.ok_or_else(stopped)?;
        self.watch_wallet(&snapshot).await;
        let reserves = snapshot.liquidity;
        let block = reserves.block;
        let vaults = self.vaults(&reserves).await.map_err(|error| error.to_string())?;
        let gas_price = self.options.chain.gas_price().await.ok();
        let policy = self.options.management.liquidity;
        let plan = self.planned(self.situation(reserves, &vaults, gas_price));
        let mut report = liquidity::report(block, gas_price, policy, &vaults, &liquidity, &plan);
        report.actions.extend(self.purse.actions());
        self.report_settlement(snapshot.pending, gas_price, &mut report)
            .await;
        Ok(report)
    }
}

/// Leaves as many new channels as there is `room` for: the wallet cannot defend more. Orders were paid for.
fn hold_back(plan: &mut Plan, mut room: usize) {
    for refill in std::mem::take(&mut plan.refills) {
        let need = &refill.need;
        if need.hub_deposit.is_zero() {
            if room == 0 && need.owed.is_zero() {
                plan.waiting.push(Waiting {
                    channel: need.channel,
                    token: need.config.token,
                    amount: need.amount,
                    refill: true,
                    why: Why::Wallet,
                });
                continue;
            }
            room = room.saturating_sub(1);
        }
        plan.refills.push(refill);
    }
}

/// Not when it is paid in already, and only not confirmed yet: it would be paid in twice. Not when the adjudicator would skip
/// it: it is not open any more, or its client has deposited so much that it does not fit.
fn is_missing(need: &ReserveNeed, state: &abi::ChannelState) -> bool {
    let fits = state.total.checked_add(need.amount.0);
    let fits = fits.is_some_and(|total| total <= limits::AMOUNT_MAX);
    let open = matches!(state.status, abi::Status::Open);
    open && fits && money(state).hub_deposit <= need.hub_deposit
}

/// Whether the pace is to be measured again at this head. A reorg may have set it back.
fn is_due(paced_at: Option<u64>, head: u64) -> bool {
    paced_at.is_none_or(|at| head < at || head >= at.saturating_add(PACE_BLOCKS))
}

#[cfg(test)]
mod tests {
    use super::{super::samples::quiet_channel, *};
    use protocol_spec::{Config, Digest};

    /// Of a channel that has ten of the hub's already.
    fn need() -> ReserveNeed {
        let config = Config {
            client: Address::repeat_byte(1),
            client_signer: Address::repeat_byte(1),
            hub: Address::repeat_byte(2),
            hub_signer: Address::repeat_byte(3),
            token: Address::ZERO,
            challenge_period_s: 86_400,
            salt: Digest::ZERO,
        };
        ReserveNeed {
            channel: ChannelId([1; 32]),
            config,
            hub_deposit: Amount(10),
            amount: Amount(5),
            owed: Amount::ZERO,
            refilling: Amount::ZERO,
            urgent: false,
            unproven: false,
        }
    }

    #[test]
    fn no_more_new_channels_get_reserves_than_the_wallet_can_defend() {
        let refill = |number: u8, hub_deposit, owed| liquidity::Refill {
            need: ReserveNeed {
                channel: ChannelId([number; 32]),
                hub_deposit: Amount(hub_deposit),
                owed: Amount(owed),
                ..need()
            },
        };
        let all = [
            refill(1, 0, 5),
            refill(2, 0, 0),
            refill(3, 10, 0),
            refill(4, 0, 0),
        ];
        let held = |room| {
            let mut plan = Plan {
                refills: all.to_vec(),
                ..Plan::default()
            };
            hold_back(&mut plan, room);
            assert!(plan.waiting.iter().all(|one| one.why == Why::Wallet));
            let held = plan.waiting.iter().map(|one| one.channel.0[0]);
            assert_eq!(plan.refills.len() + held.len(), all.len());
            held.collect::<Vec<_>>()
        };
        assert_eq!(held(0), [2, 4], "orders are served, and channels in use");
        assert_eq!(held(1), [2, 4], "the order takes it");
        assert_eq!(held(2), [4]);
        assert!(held(3).is_empty());
    }

    #[test]
    fn first_reserves_on_their_way_are_counted() {
        let sent = |items: &[(u8, u128)]| SentReserves {
            hash: B256::ZERO,
            token: Address::ZERO,
            at: Instant::now(),
            items: items
                .iter()
                .map(|(number, before)| (ChannelId([*number; 32]), Amount(*before), Amount(5)))
                .collect(),
            mined: None,
        };
        let purse = Purse {
            sent: vec![sent(&[(1, 0), (2, 10)]), sent(&[(3, 0)])],
            ..Purse::default()
        };
        assert_eq!(purse.first_deposits(), 2);
    }

    #[test]
    fn what_is_there_already_or_would_be_skipped_is_not_paid_in() {
        let need = need();
        // Of the client's deposit and the hub's.
        let at = |client: u128, hub: u128| abi::ChannelState {
            total: client + hub,
            clientNet: i128::try_from(client).unwrap(),
            ..quiet_channel()
        };
        let most = limits::AMOUNT_MAX - 15;
        assert!(is_missing(&need, &at(0, 10)));
        assert!(!is_missing(&need, &at(0, 11)), "paid in already");
        assert!(is_missing(&need, &at(most, 10)));
        assert!(!is_missing(&need, &at(most + 1, 10)), "it does not fit");
        let mut closed = at(0, 10);
        closed.status = abi::Status::Disputed;
        assert!(!is_missing(&need, &closed));
    }

    #[test]
    fn the_pace_is_measured_once_for_the_blocks_that_it_is_measured_over() {
        assert!(is_due(None, 7));
        let heads = 100..100 + 4 * PACE_BLOCKS;
        let mut paced_at = None;
        let mut asked = 0;
        for head in heads {
            if is_due(paced_at, head) {
                (paced_at, asked) = (Some(head), asked + 1);
            }
        }
        assert_eq!(asked, 4);
        assert!(is_due(Some(100), 99), "after a reorg");
    }
}
