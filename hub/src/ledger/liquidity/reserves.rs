//! What the ledger tells the liquidity manager.

use super::needs::Surplus;
use crate::ledger::{Ledger, ReserveNeed};
use protocol_spec::{Address, Amount, ChannelId};
use std::collections::BTreeMap;

/// What the liquidity manager needs to know.
#[derive(Clone, Debug, Default)]
pub struct Reserves {
    /// Newest confirmed block taken in.
    pub block: u64,
    /// Channels whose reserve is low, or in which the hub owes an order.
    pub needs: Vec<ReserveNeed>,
    /// Channels in which the hub has more than it needs.
    pub surpluses: Vec<Surplus>,
    /// Channels into which a refill was announced that has not arrived.
    pub awaited: Vec<ChannelId>,
    /// Every token served, with what is ordered in it and not paid in.
    pub owed: BTreeMap<Address, Amount>,
    /// What the vaults keep from channels that are not in use: [`crate::ledger::Reserve::kept`].
    pub kept: BTreeMap<Address, Amount>,
}

impl Ledger {
    /// What the liquidity manager needs to know.
    #[must_use]
    pub fn reserves(&self) -> Reserves {
        let tariffs = self.policy.tokens.iter();
        let kept = tariffs.clone().map(|tariff| (tariff.token, tariff.reserve.kept));
        let tokens = tariffs.map(|tariff| tariff.token);
        Reserves {
            block: self.chain.number,
            needs: self.reserve_needs(),
            surpluses: self.surpluses(),
            awaited: self.awaited_refills(),
            owed: tokens.map(|token| (token, self.owed(token))).collect(),
            kept: kept.collect(),
        }
    }
}
