//! Where a reserve is too small or larger than needed.

use super::gauge::{Gauge, Standing};
use crate::ledger::{Ledger, ReserveNeed, entry::Entry, touched::keep};
use protocol_spec::{Amount, ChannelId, Payee, Seq, UnixSeconds, channel::Phase};

/// A channel whose client is connected and in which the hub has more than the high watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surplus {
    /// The channel.
    pub channel: ChannelId,
    /// Its token.
    pub token: protocol_spec::Address,
    /// What is above the target.
    pub amount: Amount,
}

impl Entry {
    /// Not paid out, and the hub has something in it: a deposit of its own, or a voucher of the client.
    pub(super) fn is_staked(&self) -> bool {
        let funds = self.channel.funds();
        let own = funds.hub_deposit > funds.hub_withdrawn;
        let received = self.channel.received().seq != Seq::NONE;
        *self.channel.phase() != Phase::Closed && (own || received)
    }

    /// Open and to stay so, and neither its money nor what was signed is in doubt.
    fn reserve_is_certain(&self, chain: UnixSeconds) -> bool {
        let doubtful = self.stored.frozen || self.stored.unsynced || self.stored.leaving_until > chain;
        self.stored.registered && !doubtful && *self.channel.phase() == Phase::Open
    }
}

impl Ledger {
    /// What reserves are measured by now.
    pub(in crate::ledger) fn gauge(&self) -> Gauge<'_> {
        Gauge {
            policy: &self.policy,
            at: self.chain.timestamp,
        }
    }

    /// Channels whose reserve is below the policy, or in which the hub owes an order.
    #[must_use]
    pub fn reserve_needs(&self) -> Vec<ReserveNeed> {
        if self.broken {
            return Vec::new();
        }
        let needy = self.needy.iter().filter_map(|index| self.entries.get(*index));
        needy.filter_map(|entry| self.reserve_need(entry)).collect()
    }

    /// Channels from which the hub could take something back.
    #[must_use]
    pub fn surpluses(&self) -> Vec<Surplus> {
        if self.broken {
            return Vec::new();
        }
        // A cold one is not connected.
        let rich = self.rich.iter().filter_map(|index| self.entries.get_hot(*index));
        rich.filter_map(|entry| self.surplus(entry)).collect()
    }

    /// Channels into which a refill was announced that has not arrived: it is on its way, or will never come. Not those
    /// whose money is in doubt, because there it may have come.
    #[must_use]
    pub fn awaited_refills(&self) -> Vec<ChannelId> {
        if self.broken {
            return Vec::new();
        }
        let awaiting = self.awaiting.iter().filter_map(|index| self.entries.get(*index));
        let certain = awaiting.filter(|entry| !entry.stored.frozen);
        certain.map(|entry| entry.channel.id()).collect()
    }

    /// Keeps the lists of what may need or spare something. A channel comes into them only by a change of its own: as
    /// time passes watermarks only fall, so a need can go by itself but not come, and who has more than the lowest
    /// possible high watermark is in the list of the rich whatever its high watermark is now.
    pub(in crate::ledger) fn look_at_reserves(&mut self) {
        for index in self.dirty.take_unseen() {
            let entry = self.entries.look(index);
            if let Some(found) = entry.map(|entry| self.gauge().standing(&entry)) {
                self.keep_standing(index, found);
            }
        }
    }

    pub(in crate::ledger) fn keep_standing(&mut self, index: usize, found: Standing) {
        keep(&mut self.needy, index, found.needy);
        keep(&mut self.rich, index, found.rich);
        keep(&mut self.awaiting, index, found.awaiting);
        self.staked.keep(index, found.staked);
    }

    /// Channels that the hub would have to defend: whoever opens empty ones makes it need no gas.
    #[must_use]
    pub fn staked(&self) -> usize {
        self.staked.count()
    }

    /// What they are measured by changed.
    pub(in crate::ledger) fn look_at_all_reserves(&mut self) {
        (0..self.entries.len()).for_each(|index| self.dirty.look_at(index));
    }

    /// What [`Ledger::reserve_needs`], [`Ledger::surpluses`] and [`Ledger::awaited_refills`] must find, from all channels.
    #[cfg(test)]
    pub(in crate::ledger) fn reserves_by_walk(&self) -> (Vec<ReserveNeed>, Vec<Surplus>, Vec<ChannelId>) {
        let all = || self.entries.each().filter(|_| !self.broken);
        let needs = all().filter_map(|entry| self.reserve_need(&entry));
        (
            needs.collect(),
            all().filter_map(|entry| self.surplus(&entry)).collect(),
            all()
                .filter(|entry| !entry.stored.reserve.refilling.is_zero() && !entry.stored.frozen)
                .map(|entry| entry.channel.id())
                .collect(),
        )
    }

    fn reserve_need(&self, entry: &Entry) -> Option<ReserveNeed> {
        if !entry.reserve_is_certain(self.chain.timestamp) {
            return None;
        }
        let owed = entry.stored.reserve.owed;
        let amount = self.gauge().missing(entry);
        let (free, levels) = (entry.capacity(), self.gauge().levels(entry));
        let nearly_dry = free.0 < levels.low.0.div_euclid(4);
        let asked = !owed.is_zero() || entry.stored.reserve.wanted > free;
        let hub_deposit = entry.channel.funds().hub_deposit;
        // What does not fit is left out until the client has withdrawn: the adjudicator would skip it, for the hub's gas.
        (!amount.is_zero() && entry.takes(amount)).then(|| ReserveNeed {
            channel: entry.channel.id(),
            config: entry.channel.config().clone(),
            hub_deposit,
            amount,
            owed,
            refilling: entry.stored.reserve.refilling,
            urgent: asked || nearly_dry || hub_deposit.is_zero(),
            unproven: self.is_unproven(entry),
        })
    }

    /// What the hub paid the client came out of money that somebody paid in: that much costs a stranger as much.
    fn is_unproven(&self, entry: &Entry) -> bool {
        let tariff = self.policy.tariff(entry.channel.config().token);
        let initial = tariff.map_or(Amount::ZERO, |tariff| tariff.reserve.initial);
        entry.channel.sent().paid < initial.max(Amount(1))
    }

    pub(super) fn surplus(&self, entry: &Entry) -> Option<Surplus> {
        let book = &entry.stored.reserve;
        let still = entry.reserve_is_certain(self.chain.timestamp)
            && entry.session.is_some()
            && !entry.waits()
            && !book.is_promise()
            && book.wanted.is_zero()
            && book.hold_until <= self.chain.timestamp;
        let (free, levels) = (entry.capacity(), self.gauge().levels(entry));
        let over = !levels.high.is_zero() && free > levels.high;
        (still && over).then(|| Surplus {
            channel: entry.channel.id(),
            token: entry.channel.config().token,
            amount: free.saturating_minus(levels.target),
        })
    }

    /// A payment bounced for want of reserve: the hub refills for it, if it is no larger than the hub holds ready anyway.
    /// Returns when it can be expected to be delivered.
    pub(in crate::ledger) fn want(
        &mut self,
        payer: usize,
        payee: Payee,
        amount: Amount,
        now: UnixSeconds,
    ) -> Option<UnixSeconds> {
        let token = self.entries.get(payer)?.channel.config().token;
        let index = self.find(token, payee)?;
        let ready_at = self.ready_at(index, amount, now);
        let entry = self.entries.get_mut(index)?;
        if ready_at.is_some() && entry.stored.reserve.wanted < amount {
            entry.stored.reserve.wanted = amount;
            self.dirty.insert(index);
        }
        ready_at
    }

    /// When the channel will be able to take `amount`, if the hub refills it by itself.
    pub(in crate::ledger) fn ready_at(
        &self,
        index: usize,
        amount: Amount,
        now: UnixSeconds,
    ) -> Option<UnixSeconds> {
        let entry = self.entries.get(index)?;
        let (token, levels) = (entry.channel.config().token, self.gauge().levels(entry));
        let refilled = entry.stored.registered && !entry.stored.frozen && amount <= levels.demand_max();
        let missing = levels.target.max(amount).saturating_minus(entry.capacity());
        let vault = self.vaults.get(&token)?;
        let (ready_in_s, new) = (vault.ready_in_s?, entry.channel.funds().hub_deposit.is_zero());
        let kept = match self.is_unproven(entry) {
            true => self.policy.tariff(token)?.reserve.kept,
            false => Amount::ZERO,
        };
        let covered = missing <= self.spare(token, now).saturating_minus(kept);
        let refilled = refilled && (vault.new_channels || !new);
        let takes_s = entry.stored.reserve.takes_s(ready_in_s);
        let fits = entry.fits(amount) && entry.takes(missing);
        (refilled && covered && fits).then(|| now.after(takes_s))
    }

    /// Forgets a demand that was met without a refill.
    pub(in crate::ledger) fn look_at_demand(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index)
            && !entry.stored.reserve.wanted.is_zero()
            && entry.capacity() >= entry.stored.reserve.wanted
        {
            entry.stored.reserve.wanted = Amount::ZERO;
            self.dirty.insert(index);
        }
    }
}
