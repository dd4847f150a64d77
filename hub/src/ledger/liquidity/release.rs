//! Taking reserve back: the client is asked for a withdrawal with side = hub (R13).
//!
//! From the moment it is asked it may have signed, and then counts the amount as gone (R12). So the hub does not count
//! on it either until it has signed itself, or until the client must have seen it lapse.

use super::Offer;
use crate::ledger::{Commit, Ledger, Output, entry::Entry, input::Change};
use protocol_spec::{
    Amount, ChannelId, Side, UnixSeconds, Withdraw,
    channel::Clock,
    limits,
    message::{ErrorCode, Notification, Release, RpcError},
};

/// A client that agrees signs at once; short, because both sides count it as gone until it has lapsed.
const OFFER_LIFE_S: u64 = 300;

impl Ledger {
    /// Asks the client for what is above the target, if the channel still has a surplus. Else nothing happens.
    pub(in crate::ledger) fn offer(&mut self, channel: &ChannelId, clock: Clock, commit: &mut Commit) {
        let Some(index) = self.index(channel) else { return };
        let fresh = self.require_chain(index, clock).is_ok();
        let surplus = self.surpluses_of(index).filter(|_| fresh);
        let Some((amount, entry)) = surplus.zip(self.entries.get(index)) else {
            return;
        };
        let withdrawn = entry.channel.withdrawn(Side::Hub);
        let session = entry.session;
        let Ok(total) = withdrawn.plus(amount) else { return };
        let deadline = clock.now.after(OFFER_LIFE_S);
        let release = Release {
            channel_id: *channel,
            total,
            deadline,
        };
        self.set_offer(release.clone(), commit);
        let told = session.map(|session| Output::Tell(session, Box::new(Notification::Release(release))));
        commit.outputs.extend(told);
    }

    fn surpluses_of(&self, index: usize) -> Option<Amount> {
        if self.uncertain(index) {
            return None;
        }
        self.surplus(self.entries.get(index)?)
            .map(|surplus| surplus.amount)
    }

    pub(in crate::ledger) fn set_offer(&mut self, release: Release, commit: &mut Commit) {
        let Some(index) = self.index(&release.channel_id) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let amount = release.total.saturating_minus(entry.channel.withdrawn(Side::Hub));
        entry.stored.reserve.offer = Some(Offer {
            total: release.total,
            amount,
            deadline: release.deadline,
        });
        self.waiting.insert(index);
        self.dirty.insert(index);
        commit.changes.push(&Change::Offered(release));
    }

    /// The hub's side of a channel is withdrawn only as the hub asked for it.
    pub(in crate::ledger) fn require_offered(&self, withdraw: &Withdraw) -> Result<(), RpcError> {
        let entry = self
            .index(&withdraw.channel_id)
            .and_then(|index| self.entries.get(index));
        let offer = entry.and_then(|entry| entry.stored.reserve.offer);
        let asked =
            offer.is_some_and(|offer| (offer.total, offer.deadline) == (withdraw.total, withdraw.deadline));
        asked.then_some(()).ok_or_else(|| {
            RpcError::because(
                ErrorCode::InvalidParams,
                "the hub did not ask for this release of its reserve",
            )
        })
    }
}

impl Entry {
    /// After this the client counts on the money again, even if it had signed.
    pub(in crate::ledger) fn tick_offer(&mut self, chain: UnixSeconds) {
        let lag_s = self.channel.delays().lag_s.max(limits::LAG_DEFAULT_S);
        self.stored
            .reserve
            .offer
            .take_if(|offer| chain > offer.deadline.after(lag_s));
    }
}
