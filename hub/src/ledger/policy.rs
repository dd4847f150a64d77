//! What the operator decides. Part of the journal, because it decides outcomes: replay must not depend on a file.

use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Amount, channel::Delays};

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
    /// Tokens served.
    pub tokens: Vec<Tariff>,
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
