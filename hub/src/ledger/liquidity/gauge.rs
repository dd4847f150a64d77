//! What a reserve is measured by: the policy, and the chain's time.

use crate::ledger::{Levels, Policy, Tariff, entry::Entry};
use protocol_spec::{Amount, UnixSeconds, channel::Phase};

/// In which lists a channel is.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Standing {
    pub(super) needy: bool,
    pub(super) rich: bool,
    pub(super) awaiting: bool,
    pub(super) staked: bool,
}

/// Measures reserves.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Gauge<'a> {
    pub(in crate::ledger) policy: &'a Policy,
    /// Timestamp of the newest confirmed block.
    pub(in crate::ledger) at: UnixSeconds,
}

impl Gauge<'_> {
    /// What the lists are to say of a channel.
    pub(in crate::ledger) fn standing(&self, entry: &Entry) -> Standing {
        let served = entry.stored.registered && *entry.channel.phase() == Phase::Open;
        Standing {
            needy: served && !self.missing(entry).is_zero(),
            rich: served && self.may_be_rich(entry),
            awaiting: !entry.stored.reserve.refilling.is_zero(),
            staked: entry.is_staked(),
        }
    }

    /// The watermarks of a channel now.
    pub(in crate::ledger) fn levels(&self, entry: &Entry) -> Levels {
        let tariff = self.policy.tariff(entry.channel.config().token);
        let volume = entry.stored.reserve.volume.recent(self.at);
        tariff.map_or_else(Levels::default, |tariff| tariff.reserve.levels(volume))
    }

    /// The refill and what is owed; zero in a token that is not served.
    pub(super) fn missing(&self, entry: &Entry) -> Amount {
        let tariff = self.policy.tariff(entry.channel.config().token);
        let owed = entry.stored.reserve.owed;
        tariff.map_or(Amount::ZERO, |tariff| {
            Amount(self.refill(entry, tariff).0.saturating_add(owed.0))
        })
    }

    /// More than the high watermark of a channel that received nothing lately.
    fn may_be_rich(&self, entry: &Entry) -> bool {
        let tariff = self.policy.tariff(entry.channel.config().token);
        let high = tariff.map_or(Amount::ZERO, |tariff| tariff.reserve.levels(Amount::ZERO).high);
        !high.is_zero() && entry.capacity() > high
    }

    /// What lifts the channel to its target, if it is below its low watermark or somebody's payment bounced.
    fn refill(&self, entry: &Entry, tariff: &Tariff) -> Amount {
        let (free, levels) = (entry.capacity(), self.levels(entry));
        let wanted = entry.stored.reserve.wanted;
        let first = entry.channel.funds().hub_deposit.is_zero();
        let level = match () {
            () if first && !tariff.reserve.initial.is_zero() => tariff.reserve.initial.max(wanted),
            () if free < levels.low || free < wanted => levels.target.max(wanted),
            () => Amount::ZERO,
        };
        // What the client was asked to release is not paid in again before it is known to be gone or kept.
        let held = entry.offered();
        level.saturating_minus(Amount(free.0.saturating_add(held.0)))
    }
}
