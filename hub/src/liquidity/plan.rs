//! The plan: refills within what the vault holds, releases, and what waits for what.

use super::LiquidityPolicy;
use crate::ledger::{ReserveNeed, Surplus};
use protocol_spec::{Address, Amount, ChannelId};
use std::collections::BTreeMap;

/// Releases that clients are asked for at once, at most: each is a transaction of its own.
const RELEASES_MAX: usize = 20;

/// What there is to decide by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Situation {
    /// Reserves that are too small, without those on their way.
    pub needs: Vec<ReserveNeed>,
    /// Reserves that are larger than needed, without those that were asked for lately.
    pub surpluses: Vec<Surplus>,
    /// Per token: in the vault on chain, less what transactions on their way take out of it.
    pub available: BTreeMap<Address, Amount>,
    /// Per token: orders that were paid for and are not served. Quotes cost nothing and hold nothing back.
    pub owed: BTreeMap<Address, Amount>,
    /// Per token: what channels that are unproven leave in the vault, but for their orders.
    pub kept: BTreeMap<Address, Amount>,
    /// What gas costs now; none: it is not known.
    pub gas_price_wei: Option<u128>,
    /// The hub's wallet does not pay for defending the channels that there are.
    pub wallet_short: bool,
}

/// What to do now, and what waits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// To be paid in now: orders first, then what somebody waits for, unproven channels last of these, then the rest.
    pub refills: Vec<Refill>,
    /// To be asked for now.
    pub releases: Vec<Surplus>,
    /// Not now.
    pub waiting: Vec<Waiting>,
}

/// One channel's refill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refill {
    /// The need; its amount is what is paid in now, which may be less than it needs.
    pub need: ReserveNeed,
}

/// What is not done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The channel.
    pub channel: ChannelId,
    /// Its token.
    pub token: Address,
    /// How much.
    pub amount: Amount,
    /// True: to be paid in; false: to be taken back.
    pub refill: bool,
    /// Why not.
    pub why: Why,
}

/// What something waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Nothing is at stake for the hub in that channel yet, and its wallet cannot defend those in which something is.
    Wallet,
    /// Gas is above the ceiling, and nobody waits.
    GasPrice,
    /// The vault holds too little beyond what is owed.
    Vault,
    /// That channel was paid next to nothing yet, and what the vault holds is kept for those in use.
    Kept,
    /// Enough others are under way.
    Turn,
}

impl Why {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Wallet => "the wallet cannot pay for the defence of the channels that there are",
            Self::GasPrice => "gas is above the ceiling and nobody waits for it",
            Self::Vault => "the vault holds too little beyond what is owed",
            Self::Kept => "what the vault holds is kept for orders and for channels in use",
            Self::Turn => "enough others go first",
        }
    }
}

/// What of one token's vault is free and what is owed, while the plan spends it.
struct Budget {
    available: Amount,
    owed: Amount,
    kept: Amount,
}

impl Budget {
    /// What this need gets: all, its order alone, or nothing; and why that is less than all. What is owed to others stays.
    fn grant(&mut self, need: &ReserveNeed) -> (Amount, Option<Why>) {
        let others = self.owed.saturating_minus(need.owed);
        let free = self.available.saturating_minus(others);
        let kept = match need.unproven {
            true => self.kept,
            false => Amount::ZERO,
        };
        // An order is served even when the vault was emptied below what is owed.
        let order = match need.owed <= self.available {
            true => need.owed,
            false => Amount::ZERO,
        };
        let (granted, why) = match () {
            () if need.amount <= free.saturating_minus(kept) => (need.amount, None),
            () if need.amount <= free => (order, Some(Why::Kept)),
            () => (order, Some(Why::Vault)),
        };
        if !granted.is_zero() {
            self.available = self.available.saturating_minus(granted);
            self.owed = others;
        }
        (granted, why.filter(|_| granted < need.amount))
    }
}

/// Decides. Deterministic: channels of one rank go in the order of their ids.
#[must_use]
pub fn plan(mut situation: Situation, policy: LiquidityPolicy) -> Plan {
    let gas_is_high = policy.gas_is_high(situation.gas_price_wei);
    let mut plan = Plan::default();
    let rank = |need: &ReserveNeed| (need.owed.is_zero(), !need.urgent, need.unproven, need.channel);
    situation.needs.sort_by_key(rank);
    let mut budgets = BTreeMap::new();
    for mut need in situation.needs {
        let token = need.config.token;
        let wait = |amount, why| Waiting {
            channel: need.channel,
            token,
            amount,
            refill: true,
            why,
        };
        // An order was paid for.
        if situation.wallet_short && need.hub_deposit.is_zero() && need.owed.is_zero() {
            plan.waiting.push(wait(need.amount, Why::Wallet));
            continue;
        }
        if gas_is_high && !need.urgent {
            plan.waiting.push(wait(need.amount, Why::GasPrice));
            continue;
        }
        let of = |sums: &BTreeMap<Address, Amount>| sums.get(&token).copied().unwrap_or_default();
        let budget = budgets.entry(token).or_insert_with(|| Budget {
            available: of(&situation.available),
            owed: of(&situation.owed),
            kept: of(&situation.kept),
        });
        let (granted, why) = budget.grant(&need);
        if let Some(why) = why {
            plan.waiting
                .push(wait(need.amount.saturating_minus(granted), why));
        }
        if !granted.is_zero() {
            need.amount = granted;
            plan.refills.push(Refill { need });
        }
    }
    release(&mut plan, situation.surpluses, gas_is_high, policy);
    plan
}

/// The largest first: each costs the same.
fn release(plan: &mut Plan, mut surpluses: Vec<Surplus>, gas_is_high: bool, policy: LiquidityPolicy) {
    if !policy.release {
        return;
    }
    surpluses.sort_by_key(|surplus| (std::cmp::Reverse(surplus.amount), surplus.channel));
    for surplus in surpluses {
        let why = match () {
            () if gas_is_high => Why::GasPrice,
            () if plan.releases.len() >= RELEASES_MAX => Why::Turn,
            () => {
                plan.releases.push(surplus);
                continue;
            }
        };
        plan.waiting.push(Waiting {
            channel: surplus.channel,
            token: surplus.token,
            amount: surplus.amount,
            refill: false,
            why,
        });
    }
}

impl Plan {
    /// Per token: what is still to be paid in and is no order, because orders are promises of their own. Who gets nothing of
    /// what the vault keeps keeps nothing from others.
    #[must_use]
    pub fn put_off(&self) -> BTreeMap<Address, Amount> {
        let mut sums: BTreeMap<Address, Amount> = BTreeMap::new();
        let wait = |waiting: &&Waiting| waiting.refill && waiting.why != Why::Kept;
        for waiting in self.waiting.iter().filter(wait) {
            let sum = sums.entry(waiting.token).or_default();
            *sum = Amount(sum.0.saturating_add(waiting.amount.0));
        }
        sums
    }
}
