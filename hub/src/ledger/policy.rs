//! What the operator decides. Part of the journal, because it decides outcomes: replay must not depend on a file.

use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Amount, channel::Delays, limits};

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
    /// Events and ids kept per channel at most.
    pub events_per_channel_max: u32,
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
}

/// The hub's deposit in a channel: simple policy of this version.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct Reserve {
    /// Set aside at registration.
    pub initial: Amount,
    /// Topped up when the hub can spend less than this.
    pub low: Amount,
    /// By how much.
    pub top_up: Amount,
}

/// Defaults of [`LockPolicy`].
const LIFE_MAX_S: u64 = 24 * 3600;
const PER_CLIENT_MAX: u32 = 64;
/// Resolving one lock costs below 100,000 gas: 9,000 fit into one hour of 30M-gas blocks with a tenth of each block.
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
        }
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
        let parts = amount
            .0
            .checked_mul(u128::from(self.fee_ppm))?
            .div_ceil(1_000_000);
        parts.checked_add(self.fee_flat.0).map(Amount)
    }
}
