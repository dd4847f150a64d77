//! The liquidity manager: which reserves are refilled now, and where the hub takes back what it does not need.
//!
//! Pure: what the ledger needs, what the vault holds and what gas costs go in, a plan comes out. The driver carries it
//! out; `hub liquidity` prints it. What is owed (orders that were paid for) is kept back from everything else, so every
//! order can be served. An open quote holds back other quotes and no refill: it costs nothing.

pub mod gas;
mod plan;
mod report;
#[cfg(test)]
mod tests;

pub use plan::{Plan, Refill, Situation, Waiting, Why, plan};
pub use report::{Action, ChannelLine, Report, TokenLine, report};

/// The operator's wishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiquidityPolicy {
    /// While gas costs more than this, wei, what nobody waits for is put off; none: never.
    pub gas_price_max_wei: Option<u128>,
    /// Takes back what is above the high watermarks.
    pub release: bool,
}

impl Default for LiquidityPolicy {
    fn default() -> Self {
        Self {
            gas_price_max_wei: None,
            release: true,
        }
    }
}

impl LiquidityPolicy {
    /// True while gas is too expensive for what can wait. An unknown price is no reason to wait.
    #[must_use]
    pub fn gas_is_high(&self, price_wei: Option<u128>) -> bool {
        matches!((price_wei, self.gas_price_max_wei), (Some(price), Some(most)) if price > most)
    }
}
