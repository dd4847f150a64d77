//! What was sent: it is looked after until it is in a block, and not sent a second time meanwhile.

use super::Driver;
use crate::{
    chain::{ChainError, SentTx, Tended, TxRequest},
    engine::Snapshot,
};
use alloy::primitives::{B256, U256};
use protocol_spec::{Address, Amount, ChannelId, UnixSeconds, limits};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use tokio::time::Instant;

/// Gas that answering a dispute takes, for one channel of a batch (GAS.md: 17,532 warm, 34,439 with fresh words).
const ANSWER_GAS: u64 = 35_000;
/// How often the wallet is looked at.
const WALLET_EVERY: Duration = Duration::from_secs(30);
/// What was sent is remembered for so many times the time after which it is sent again.
const KEPT_TIMES: u32 = 20;
const MILLI_ETHER: u128 = 1_000_000_000_000_000;
/// Of what a withdrawal or cancel moves, gas may cost one part in so many: whoever has the hub send them one after the other
/// must not make it pay more than a small part of what was once deposited for them.
const FAVOUR_PARTS: u128 = 10;
/// What any transaction may cost unless the operator says otherwise: a hundredth of a coin.
const FLOOR_WEI: u128 = 10 * MILLI_ETHER;

/// What a transaction may cost, and by when it must be in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Urgency {
    /// Chain time; `None`: whenever.
    pub(super) deadline: Option<UnixSeconds>,
    /// Most wei that its gas may cost; `None`: no more than the most per gas that is configured.
    pub(super) budget_wei: Option<u128>,
}

/// What the hub spends on gas, at most.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Any transaction may cost so many wei, whatever it saves.
    pub floor_wei: u128,
    /// What so many base units of a token are worth in wei: what a transaction saves is the most that it may cost.
    /// A token that is not here has no such limit; the native coin needs none.
    pub worth: HashMap<Address, Worth>,
}

/// So many base units of a token are worth so many wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worth {
    /// Base units; not zero.
    pub units: u128,
    /// Wei.
    pub wei: u128,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            floor_wei: FLOOR_WEI,
            worth: HashMap::new(),
        }
    }
}

impl Budget {
    /// Most wei for a transaction that saves `at_risk` units of `token`.
    fn of(&self, token: Address, at_risk: u128) -> Option<u128> {
        let saved = self.wei(token, at_risk)?;
        Some(saved.max(self.floor_wei))
    }

    /// Most wei for a transaction that its client wants and that moves `moved` units of `token`. Without a floor: there is no
    /// end to what can be asked for.
    pub(super) fn of_favour(&self, token: Address, moved: u128) -> Option<u128> {
        self.wei(token, moved)?.checked_div(FAVOUR_PARTS)
    }

    /// What so many units are worth; none: nobody said it.
    fn wei(&self, token: Address, units: u128) -> Option<u128> {
        if token == Address::ZERO {
            return Some(units);
        }
        let worth = self.worth.get(&token)?;
        let (units, wei) = (U256::from(units), U256::from(worth.wei));
        let worth = units.checked_mul(wei)?.checked_div(U256::from(worth.units))?;
        Some(u128::try_from(worth).unwrap_or(u128::MAX))
    }

    /// The same for several; `None` as soon as one has no limit.
    pub(super) fn of_all(&self, saved: impl Iterator<Item = (Address, u128)>) -> Option<u128> {
        let mut sum = 0_u128;
        for (token, at_risk) in saved {
            sum = sum.saturating_add(self.of(token, at_risk)?);
        }
        Some(sum)
    }
}

/// What was sent lately, and what of it is in no block yet.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: HashMap<(ChannelId, &'static str), Sent>,
    /// Transactions in no block at the last look.
    waiting: HashSet<B256>,
    /// Stuck and not raised at the last look.
    held: usize,
    wallet: Option<Wallet>,
}

/// The hub's wallet at the last look.
#[derive(Debug)]
struct Wallet {
    at: Instant,
    /// Channels that were to be defended then.
    defended: usize,
    /// So many more it can pay for.
    room: usize,
    /// It does not pay for their defence, and for one more.
    short: bool,
    /// Something was spent since.
    stale: bool,
}

impl Wallet {
    /// More channels may be too many, and a wallet that was short may have been filled.
    fn is_known(&self, defended: usize) -> bool {
        !self.short && !self.stale && defended <= self.defended && self.at.elapsed() < WALLET_EVERY
    }
}

#[derive(Debug)]
struct Sent {
    since: Option<Instant>,
    /// What it should change.
    mark: Amount,
    hash: Option<B256>,
}

impl InFlight {
    /// True when it is time to send: never sent, or `mark` (what it should change) has changed since, or it was sent
    /// long ago and is not on its way any more.
    pub(super) fn due(
        &mut self,
        channel: ChannelId,
        what: &'static str,
        mark: Amount,
        after: Duration,
    ) -> bool {
        let key = (channel, what);
        let due = self.sent.get(&key).is_none_or(|sent| {
            let lapsed = sent.since.is_none_or(|since| since.elapsed() >= after);
            sent.mark != mark || (lapsed && !self.waits(sent.hash))
        });
        if due {
            let since = Some(Instant::now());
            let hash = None;
            self.sent.insert(key, Sent { since, mark, hash });
        }
        due
    }

    /// True when it was sent with this `mark`, in the last minutes or longer ago.
    pub(super) fn was_sent(&self, channel: ChannelId, what: &'static str, mark: Amount) -> bool {
        let sent = self.sent.get(&(channel, what));
        sent.is_some_and(|sent| sent.mark == mark)
    }

    /// Says which transaction carries what is in flight for these channels.
    pub(super) fn carries(&mut self, sent: SentTx, what: &'static str, channels: &[ChannelId]) {
        self.waiting.insert(sent.hash);
        for channel in channels {
            if let Some(entry) = self.sent.get_mut(&(*channel, what)) {
                entry.hash = Some(sent.hash);
            }
        }
    }

    /// Whether a transaction is still looked after.
    pub(super) fn waits(&self, hash: Option<B256>) -> bool {
        hash.is_some_and(|hash| self.waiting.contains(&hash))
    }

    /// At the last look; false before the first.
    pub(super) fn wallet_is_short(&self) -> bool {
        self.wallet.as_ref().is_some_and(|wallet| wallet.short)
    }

    /// New channels that may get a reserve: the wallet pays for their defence, too. Any number before the first look.
    pub(super) fn wallet_room(&self) -> usize {
        self.wallet.as_ref().map_or(usize::MAX, |wallet| wallet.room)
    }

    /// The wallet was spent from for what is no defence: it is looked at again at the next look.
    pub(super) fn spent(&mut self) {
        if let Some(wallet) = &mut self.wallet {
            wallet.stale = true;
        }
    }

    /// After a reorg nothing is where it was; what is on its way stays on its way.
    pub(super) fn lapse(&mut self) {
        for sent in self.sent.values_mut() {
            sent.since = None;
        }
    }

    fn seen(&mut self, waiting: &[B256], after: Duration) {
        self.waiting = waiting.iter().copied().collect();
        let (waiting, kept) = (&self.waiting, after.saturating_mul(KEPT_TIMES));
        self.sent.retain(|_, sent| {
            let waits = sent.hash.is_some_and(|hash| waiting.contains(&hash));
            waits || sent.since.is_some_and(|since| since.elapsed() < kept)
        });
    }
}

impl Driver {
    /// Looks after what is on its way; the operator hears of what cannot be helped.
    pub(super) async fn tend(&mut self) {
        let tended = match self.options.chain.tend().await {
            Ok(tended) => tended,
            Err(error) => {
                tracing::warn!(%error, "transactions on their way could not be looked after; trying again");
                return;
            }
        };
        self.in_flight.seen(&tended.waiting, self.options.resend_after);
        count(&tended);
        let held = std::mem::replace(&mut self.in_flight.held, tended.held);
        if tended.held > held {
            tracing::error!(
                held = tended.held,
                "transactions are stuck and may not offer more: see chain.max_fee_gwei, tokens.worth and the owner's coins"
            );
        }
    }

    /// Whether what is in the hub's wallet pays for defending every channel in which it has something to lose, all at once, at
    /// today's price. Those whose first reserve is on its way count. While it does not, no new channel gets a reserve.
    pub(super) async fn watch_wallet(&mut self, snapshot: &Snapshot) {
        // What is confirmed is counted by the ledger already.
        self.look_at_sent(snapshot.liquidity.block).await;
        let before = self.in_flight.wallet.as_ref();
        let defended = snapshot.staked.saturating_add(self.purse.first_deposits());
        // What a new channel is given rests on what is there now.
        let wanted = snapshot
            .liquidity
            .needs
            .iter()
            .any(|need| need.hub_deposit.is_zero());
        if !wanted && before.is_some_and(|wallet| wallet.is_known(defended)) {
            return;
        }
        let was_short = before.is_some_and(|wallet| wallet.short);
        let chain = self.options.chain.clone();
        let asked = async { tokio::try_join!(chain.balance(self.options.hub), chain.gas_price()) };
        let (balance, gas_price) = match asked.await {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(%error, "the wallet could not be looked at; trying again");
                // What was granted since is not granted again.
                if let Some(wallet) = &mut self.in_flight.wallet {
                    let more = defended.saturating_sub(wallet.defended);
                    wallet.room = wallet.room.saturating_sub(more);
                    (wallet.defended, wallet.stale) = (defended.max(wallet.defended), true);
                }
                return;
            }
        };
        // And in one more, before anything is paid into it. Not in those that strangers open and leave empty.
        let gas = needed_gas(defended.saturating_add(1), snapshot.forwarded_locks);
        // It must still be enough when the price has doubled.
        let price = gas_price.saturating_mul(2);
        let needed = gas.saturating_mul(price);
        let balance = u128::try_from(balance).unwrap_or(u128::MAX);
        let room = room_for(balance, price, needed_gas(defended, snapshot.forwarded_locks));
        milli("hub_gas_wallet_milliether", balance);
        milli("hub_gas_needed_milliether", needed);
        let short = balance < needed;
        metrics::gauge!("hub_gas_wallet_short").set(u8::from(short));
        if short && !was_short {
            tracing::error!(
                owner = %self.options.hub, balance_wei = balance, needed_wei = needed,
                "the wallet cannot pay for the defence of all channels at today's gas price: send coins to the owner; \
                 until then new channels get no reserve"
            );
        } else if was_short && !short {
            tracing::info!("the wallet can pay for the defence of all channels again");
        }
        let at = Instant::now();
        self.in_flight.wallet = Some(Wallet {
            at,
            defended,
            room,
            short,
            stale: false,
        });
    }

    /// Sends to the adjudicator. Whatever comes of it is logged and counted.
    pub(super) async fn send(
        &self,
        what: &'static str,
        data: Vec<u8>,
        gas_limit: Option<u64>,
        urgency: Urgency,
    ) -> Result<SentTx, ChainError> {
        let request = TxRequest {
            to: Some(self.options.adjudicator),
            data: data.into(),
            gas_limit,
            deadline_s: urgency.deadline.map(|deadline| deadline.0),
            fee_budget_wei: urgency.budget_wei,
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

fn count(tended: &Tended) {
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    metrics::gauge!("hub_transactions_waiting").set(small(tended.waiting.len()));
    metrics::gauge!("hub_transactions_held").set(small(tended.held));
    metrics::gauge!("hub_transactions_patient").set(small(tended.patient));
    let counted = [
        ("raised", tended.replaced),
        ("handed_over", tended.handed_over),
        ("sent_again", tended.sent_again),
        ("given_up", tended.given_up),
        ("gap_filled", tended.gaps_filled),
        ("unblocked", tended.unblocked),
        ("failed", tended.failed),
    ];
    for (how, times) in counted {
        metrics::counter!("hub_transactions_tended_total", "how" => how).increment(small(times).into());
    }
}

fn needed_gas(channels: usize, locks: usize) -> u128 {
    let each = |count: usize, gas: u64| (count as u128).saturating_mul(u128::from(gas));
    each(channels, ANSWER_GAS).saturating_add(each(locks, limits::LOCK_GAS_MAX))
}

/// So many more channels than those that need this much gas can be paid for.
fn room_for(balance: u128, price: u128, gas: u128) -> usize {
    let affordable = balance.checked_div(price).unwrap_or(u128::MAX);
    let left = affordable.saturating_sub(gas);
    let room = left.checked_div(ANSWER_GAS.into()).unwrap_or(0);
    usize::try_from(room).unwrap_or(usize::MAX)
}

fn milli(name: &'static str, wei: u128) {
    let milli = wei.checked_div(MILLI_ETHER).unwrap_or(0);
    metrics::gauge!(name).set(u32::try_from(milli).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);
    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn sent(byte: u8) -> SentTx {
        SentTx {
            hash: B256::repeat_byte(byte),
            nonce: 0,
            fees: crate::chain::Fees::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_not_sent_a_second_time() {
        let mut book = InFlight::default();
        let due = |book: &mut InFlight, mark| book.due(CHANNEL, "reserve", Amount(mark), AFTER);
        assert!(due(&mut book, 7));
        book.carries(sent(1), "reserve", &[CHANNEL]);
        tokio::time::advance(AFTER * 10).await;
        book.seen(&[sent(1).hash], AFTER);
        assert!(!due(&mut book, 7), "no block has it, and it is looked after");
        book.lapse();
        assert!(!due(&mut book, 7), "a reorg does not change that");
        assert!(due(&mut book, 8), "something else is wanted");
        book.carries(sent(2), "reserve", &[CHANNEL]);
        book.seen(&[], AFTER);
        assert!(!due(&mut book, 8), "in a block: its effect is awaited");
        tokio::time::advance(AFTER).await;
        assert!(due(&mut book, 8), "without effect");
        book.carries(sent(3), "reserve", &[CHANNEL]);
        book.seen(&[], AFTER);
        book.lapse();
        assert!(due(&mut book, 8), "a reorg took it, and it is not on its way");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_long_done_is_forgotten() {
        let mut book = InFlight::default();
        assert!(book.due(CHANNEL, "close", Amount(1), AFTER));
        tokio::time::advance(AFTER).await;
        book.seen(&[], AFTER);
        assert!(book.was_sent(CHANNEL, "close", Amount(1)));
        tokio::time::advance(AFTER * KEPT_TIMES).await;
        book.seen(&[], AFTER);
        assert!(book.sent.is_empty());
    }

    #[test]
    fn a_transaction_costs_no_more_than_it_saves() {
        let (coin, known, unknown) = (Address::ZERO, Address::repeat_byte(1), Address::repeat_byte(2));
        let worth = Worth { units: 3, wei: 10 };
        let budget = Budget {
            floor_wei: 100,
            worth: HashMap::from([(known, worth)]),
        };
        assert_eq!(budget.of(coin, 99), Some(100), "the floor");
        assert_eq!(budget.of(coin, 101), Some(101));
        assert_eq!(budget.of(known, 300), Some(1_000));
        assert_eq!(budget.of(known, u128::MAX), Some(u128::MAX));
        assert_eq!(budget.of(unknown, 5), None, "nobody said what it is worth");
        let all = |items: &[(Address, u128)]| budget.of_all(items.iter().copied());
        assert_eq!(all(&[(coin, 500), (known, 300)]), Some(1_500));
        assert_eq!(all(&[(coin, 500), (unknown, 300)]), None);
    }

    #[test]
    fn what_a_client_wants_costs_a_small_part_of_what_it_moves_and_has_no_floor() {
        let (known, unknown) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let budget = Budget {
            floor_wei: 100,
            worth: HashMap::from([(known, Worth { units: 3, wei: 10 })]),
        };
        assert_eq!(budget.of_favour(Address::ZERO, 1_000), Some(100));
        assert_eq!(budget.of_favour(Address::ZERO, 9), Some(0));
        assert_eq!(budget.of_favour(known, 30), Some(10));
        assert_eq!(
            budget.of_favour(unknown, 30),
            None,
            "only the least sum bounds it"
        );
    }

    #[test]
    fn the_wallet_must_pay_for_all_channels_and_locks() {
        assert_eq!(needed_gas(0, 0), 0);
        assert_eq!(needed_gas(1_000, 2), 35_200_000);
        let gas = needed_gas(10, 2);
        let room = |balance| room_for(balance, 3, gas);
        assert_eq!(room(0), 0);
        assert_eq!(room(3 * needed_gas(11, 2) - 1), 0);
        assert_eq!(room(3 * needed_gas(11, 2)), 1);
        assert_eq!(room(3 * needed_gas(17, 2)), 7);
        assert_eq!(
            room_for(1, 0, gas),
            room_for(u128::MAX, 1, 0),
            "gas costs nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_wallet_is_looked_at_again_when_more_is_to_be_defended() {
        let wallet = |short| Wallet {
            at: Instant::now(),
            defended: 7,
            room: 3,
            short,
            stale: false,
        };
        assert!(wallet(false).is_known(7) && !wallet(false).is_known(8));
        assert!(!wallet(true).is_known(7), "it may have been filled");
    }
}
