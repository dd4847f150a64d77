//! What the operator decides. Part of the journal, because it decides outcomes: replay must not depend on a file.

use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Amount, UnixSeconds, channel::Delays, limits};

/// The operator's decisions that influence outcomes.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Policy {
    /// Name that clients sign.
    pub server: String,
    /// Epoch of the logs of events; another one after an accepted loss.
    pub log_epoch: u64,
    /// lag and act.
    pub delays: Delays,
    /// Challenge period the hub accepts, seconds, at least.
    pub challenge_period_s: u64,
    /// How long ids and events are kept, seconds.
    pub retention_s: u64,
    /// Events and ids kept per channel at most, each.
    pub events_per_channel_max: u32,
    /// Events, ids and the weight of unacknowledged vouchers that all channels keep together; `ledger::remembered` says what
    /// becomes of more.
    pub remembered_max: u64,
    /// Locked payments.
    pub locks: LockPolicy,
    /// Tokens served.
    pub tokens: Vec<Tariff>,
}

/// R22: what the hub forwards. All zero: no locks.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct LockPolicy {
    /// How much earlier the hub's lock expires than the payer's, seconds; at least lag + act.
    pub delta_s: u64,
    /// Longest life of a payer's lock, seconds from `now`.
    pub life_max_s: u64,
    /// Forwarded locks of one payer at once.
    pub per_client_max: u32,
    /// Forwarded locks of all payers at once: no more than the hub can resolve on chain within `delta_s`. Of both a
    /// lock with a resolver takes [`limits::RESOLVER_LOCK_WEIGHT`].
    pub total_max: u32,
    /// Resolvers whose locks are forwarded: those that the operator knows to be pure and monotone.
    pub resolvers: Vec<Address>,
    /// Per token: locks of less are not forwarded, because defending one would cost more. A token that is not here has no
    /// such limit.
    pub amount_min: Vec<(Address, Amount)>,
}

/// What the hub takes and sets aside in one token.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Tariff {
    /// Zero for the native coin.
    pub token: Address,
    /// Flat part of the fee.
    pub fee_flat: Amount,
    /// Proportional part, millionths of the amount, rounded up.
    pub fee_ppm: u32,
    /// Most that one client may have in locks at once; zero: none.
    pub locked_max: Amount,
    /// Reserve policy.
    pub reserve: Reserve,
    /// What payees may order beyond it.
    pub capacity: Capacity,
    /// Withdrawals of less are for the client to send: the hub signs them, and pays no gas.
    pub send_min: Amount,
}

/// The hub's deposit in a channel. All zero: the hub never pays in.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Reserve {
    /// Set aside at registration.
    pub initial: Amount,
    /// Refilled when the hub can spend less than this.
    pub low: Amount,
    /// Up to this; and what is above `high` is taken back down to this.
    pub target: Amount,
    /// Above this the hub takes back what it does not need; zero: never.
    pub high: Amount,
    /// The target is at least this part of what the channel received in the last day; zero: it does not matter.
    pub volume_percent: u32,
    /// But no more than this by volume alone.
    pub volume_max: Amount,
    /// What the vault keeps for orders and for channels in use, whose clients were paid `initial` at least: opening many
    /// channels takes no more out of it than what is above.
    pub kept: Amount,
}

/// Capacity for sale: reserve that a payee orders and pays for.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Capacity {
    /// Most in one order; zero: none is sold.
    pub max: Amount,
    /// Flat part of its price.
    pub fee_flat: Amount,
    /// Proportional part, millionths of the amount, rounded up.
    pub fee_ppm: u32,
    /// Seconds in which the hub does not ask for it back.
    pub hold_s: u64,
}

/// The watermarks of one channel now: low <= target, and target <= high unless that is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// See [`Reserve::low`].
    pub low: Amount,
    /// See [`Reserve::target`].
    pub target: Amount,
    /// See [`Reserve::high`].
    pub high: Amount,
}

/// Receive volume counts this long, seconds.
pub(super) const VOLUME_WINDOW_S: u64 = 24 * 3600;

impl Reserve {
    /// The watermarks of a channel that received `volume` lately. By volume alone they are 1 : 4 : 8.
    #[must_use]
    pub fn levels(&self, volume: Amount) -> Levels {
        let share = volume
            .0
            .saturating_mul(self.volume_percent.into())
            .div_euclid(100);
        let wanted = share.min(self.volume_max.0);
        let target = self.target.0.max(wanted);
        let low = self.low.0.max(wanted.div_euclid(4)).min(target);
        let high = match self.high.0 {
            0 => 0,
            high => high.max(wanted.saturating_mul(2)).max(target),
        };
        Levels {
            low: Amount(low),
            target: Amount(target),
            high: Amount(high),
        }
    }
}

impl Levels {
    /// The most that a payment that bounced makes the hub hold: who wants more orders it.
    #[must_use]
    pub fn demand_max(&self) -> Amount {
        self.target.max(self.high)
    }
}

impl Capacity {
    /// What `amount` more costs: flat + ppm, rounded up, at least 1, because a payment of nothing cannot accept it.
    #[must_use]
    pub fn fee(&self, amount: Amount) -> Option<Amount> {
        share(amount, self.fee_ppm, self.fee_flat).map(|fee| fee.max(Amount(1)))
    }
}

/// Defaults of [`LockPolicy`].
const LIFE_MAX_S: u64 = 24 * 3600;
const PER_CLIENT_MAX: u32 = 64;
/// By measured gas 9,000 need a fifth of every 30M-gas block within `delta` less `lag`, if each is alone in its channel and the
/// hub has to start the dispute; a twentieth with 64 in a channel. The test below has the arithmetic.
const TOTAL_MAX: u32 = 9_000;

impl LockPolicy {
    /// What a hub with these delays forwards unless its operator says otherwise.
    #[must_use]
    pub fn standard(delays: Delays) -> Self {
        Self {
            delta_s: limits::DELTA_DEFAULT_S.max(delays.lag_s.saturating_add(delays.act_s)),
            life_max_s: LIFE_MAX_S,
            per_client_max: PER_CLIENT_MAX,
            total_max: TOTAL_MAX,
            resolvers: Vec::new(),
            amount_min: Vec::new(),
        }
    }

    /// Least that a lock must carry to be forwarded.
    #[must_use]
    pub fn amount_min(&self, token: Address) -> Amount {
        let of_token = self.amount_min.iter().find(|(of, _)| *of == token);
        of_token.map_or(Amount::ZERO, |(_, least)| *least)
    }
}

/// What payments in a token cost before the policy changed: quotes of then bind until their end.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct FormerFee {
    pub(super) flat: Amount,
    pub(super) ppm: u32,
    pub(super) until: UnixSeconds,
}

impl FormerFee {
    pub(super) fn fee(&self, amount: Amount, now: UnixSeconds) -> Option<Amount> {
        share(amount, self.ppm, self.flat).filter(|_| now < self.until)
    }
}

impl Policy {
    /// The tariff of `token`, if it is served.
    #[must_use]
    pub fn tariff(&self, token: Address) -> Option<&Tariff> {
        self.tokens.iter().find(|tariff| tariff.token == token)
    }
}

impl Tariff {
    /// The fee for delivering `amount`: flat + ppm, rounded up; none on overflow.
    #[must_use]
    pub fn fee(&self, amount: Amount) -> Option<Amount> {
        share(amount, self.fee_ppm, self.fee_flat)
    }
}

fn share(amount: Amount, ppm: u32, flat: Amount) -> Option<Amount> {
    let parts = amount.0.checked_mul(u128::from(ppm))?.div_ceil(1_000_000);
    parts.checked_add(flat.0).map(Amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const BLOCK_GAS: u64 = 30_000_000;
    const BLOCK_S: u64 = 12;

    /// Gas of one lock when `together` of them are in each channel, by the contract's measured table.
    fn gas_per_lock(table: &BTreeMap<String, String>, together: u64) -> u64 {
        let s = if together == 1 { "" } else { "s" };
        let row = format!("dispute started with {together} lock{s}, fresh floors");
        table[&row].parse::<u64>().unwrap().div_ceil(together)
    }

    /// R22: a witness may come as late as the forwarded lock's expiry, and be seen `lag` after it. From then on until the
    /// payers' locks expire all of them must fit.
    #[test]
    fn r22_locks_in_all_are_resolved_within_delta_with_a_fifth_of_every_block() {
        let json = include_str!("../../../protocol-spec/contracts/snapshots/adjudicator.json");
        let table: BTreeMap<String, String> = serde_json::from_str(json).unwrap();
        let delays = Delays::default();
        let policy = LockPolicy::standard(delays);
        let blocks = (policy.delta_s - delays.lag_s) / BLOCK_S;
        println!(
            "{blocks} blocks of {BLOCK_GAS} gas, {} locks in all:",
            policy.total_max
        );
        let mut needed = Vec::new();
        for together in [1, 8, 64] {
            let each = gas_per_lock(&table, together);
            let permille = u64::from(policy.total_max) * each * 1_000 / (blocks * BLOCK_GAS);
            let room = [10, 50, 100].map(|share| blocks * BLOCK_GAS * share / 100 / each);
            println!(
                "{together:>2} in a channel: {each:>7} gas each; they need {}.{} % of every block; 10, 50, 100 % have room for \
                 {room:?}",
                permille / 10,
                permille % 10
            );
            needed.push(permille);
        }
        assert!(needed.iter().all(|permille| *permille <= 200), "{needed:?}");
        // One channel's locks within `act` and a tenth of every block: what a payee needs that comes back late.
        let one = table["dispute answered with 150 of 4096 locks, warm floors"]
            .parse::<u64>()
            .unwrap();
        let each = one.div_ceil(150);
        let fit = delays.act_s / BLOCK_S * BLOCK_GAS / 10 / each;
        println!(
            "within act, a tenth of every block: {fit} locks of one channel, which holds at most {}",
            limits::LOCKS_FROM_HUB_MAX
        );
        assert!(one < 1 << 24, "EIP-7825");
        assert!(limits::LOCKS_FROM_HUB_MAX as u64 <= fit);
    }
}
