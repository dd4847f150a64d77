//! The hub's reserves in channels, as far as the ledger decides: what a channel needs, what the hub promised, and what
//! it may take back. When something is sent is the manager's business ([`crate::liquidity`]).
//!
//! Quotes, orders and offers are in the record, because they decide what is promised and what may be signed.

mod gauge;
mod needs;
mod quotes;
mod release;
mod reserves;
mod view;
mod volume;

pub(super) use gauge::{Gauge, Standing};
pub use needs::Surplus;
pub use reserves::Reserves;
pub use view::{ChannelLevel, Liquidity};
pub(super) use volume::Volume;

use super::{Commit, Ledger, entry::Entry, input::Change};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Amount, CapacityQuote, ChannelId, UnixSeconds};

/// What the manager tells about one token's vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Vault {
    /// The token.
    pub token: Address,
    /// What is in the hub's vault on chain and in no transaction that was sent.
    pub available: Amount,
    /// Seconds from the decision to pay into a channel until the ledger counts it, as expected; none: that is not known yet.
    pub ready_in_s: Option<u64>,
    /// The hub pays into channels in which it has nothing yet. Not while its wallet could not defend them.
    pub new_channels: bool,
}

/// What is stored of a channel's reserve beside the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct ReserveBook {
    /// Received lately.
    pub(super) volume: Volume,
    /// The largest payment that bounced for want of reserve and that the hub refills for; zero: none.
    pub(super) wanted: Amount,
    /// The quote given last, while it may be accepted.
    pub(super) quote: Option<CapacityQuote>,
    /// Ordered and paid, and not confirmed in the channel yet.
    pub(super) owed: Amount,
    /// Of the deposit on its way: what lifts the channel to its target, and serves no order.
    pub(super) refilling: Amount,
    /// No release is asked for before.
    pub(super) hold_until: UnixSeconds,
    /// The release that the client is asked for.
    pub(super) offer: Option<Offer>,
}

/// A release that the client may have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Offer {
    /// Total ever withdrawn by the hub with it.
    pub(super) total: Amount,
    /// How much of it is new.
    pub(super) amount: Amount,
    /// Of the message.
    pub(super) deadline: UnixSeconds,
}

impl ReserveBook {
    /// Counted against the vault.
    pub(super) fn promised(&self, now: UnixSeconds) -> Amount {
        let quoted = self.open_quote(now).map_or(0, |quote| quote.amount.0);
        Amount(self.owed.0.saturating_add(quoted))
    }

    fn open_quote(&self, now: UnixSeconds) -> Option<&CapacityQuote> {
        self.quote.as_ref().filter(|quote| now < quote.expires_at)
    }

    /// Seconds until more is there, where one deposit takes `ready_in_s`: one that is on its way is waited for first.
    fn takes_s(&self, ready_in_s: u64) -> u64 {
        match self.refilling.is_zero() {
            true => ready_in_s,
            false => ready_in_s.saturating_mul(2),
        }
    }

    /// True while the ledger must look at it for the vault's sake.
    pub(super) fn is_promise(&self) -> bool {
        self.quote.is_some() || !self.owed.is_zero()
    }
}

impl Ledger {
    /// Told again it changes nothing and is not journaled.
    pub(super) fn vault_told(&mut self, vault: Vault, commit: &mut Commit) {
        if self.vaults.insert(vault.token, vault) != Some(vault) {
            commit.changes.push(&Change::Vault(vault));
        }
    }

    /// What of a token's vault is not promised to anybody.
    pub(super) fn spare(&self, token: Address, now: UnixSeconds) -> Amount {
        self.available(token).saturating_minus(self.promised(token, now))
    }

    /// Open quotes and orders in one token.
    pub(super) fn promised(&self, token: Address, now: UnixSeconds) -> Amount {
        self.sum_of_books(token, |book| book.promised(now))
    }

    /// Orders in one token.
    pub(super) fn owed(&self, token: Address) -> Amount {
        self.sum_of_books(token, |book| book.owed)
    }

    fn sum_of_books(&self, token: Address, of: impl Fn(&ReserveBook) -> Amount) -> Amount {
        let promising = self.promising.iter().filter_map(|index| self.entries.get(*index));
        let of_token = promising.filter(|entry| entry.channel.config().token == token);
        let sum = of_token.fold(0_u128, |sum, entry| {
            sum.saturating_add(of(&entry.stored.reserve).0)
        });
        Amount(sum)
    }

    fn available(&self, token: Address) -> Amount {
        let vault = self.vaults.get(&token);
        vault.map_or(Amount::ZERO, |vault| vault.available)
    }

    /// Whether the vault covers `amount` more beside what is owed: refills may have taken what was only quoted.
    fn covers(&self, token: Address, amount: Amount) -> bool {
        amount <= self.available(token).saturating_minus(self.owed(token))
    }

    /// Keeps the list of promises what a restored ledger would make of the entry.
    pub(super) fn note_promise(&mut self, index: usize) {
        self.dirty.insert(index);
        if self
            .entries
            .get(index)
            .is_some_and(|entry| entry.stored.reserve.is_promise())
        {
            self.promising.insert(index);
        } else {
            self.promising.remove(&index);
        }
    }

    /// A deposit of the hub is about to be sent, of which so much serves no order. Told before it is sent, and durable
    /// then; there is one at a time in a channel. Zero: nothing is on its way any more. Told again it changes nothing and
    /// is not journaled.
    pub(super) fn refilling(&mut self, channel: &ChannelId, amount: Amount, commit: &mut Commit) {
        let Some(index) = self.index(channel) else { return };
        if let Some(entry) = self.entries.get_mut(index)
            && std::mem::replace(&mut entry.stored.reserve.refilling, amount) != amount
        {
            self.dirty.insert(index);
            let channel = *channel;
            commit.changes.push(&Change::Refilling { channel, amount });
        }
    }

    /// The hub paid into a channel: what was not for the refill fulfils the order, also one that was made when the
    /// refill was on its way; and what had bounced may be tried again.
    pub(super) fn reserve_arrived(&mut self, index: usize, amount: Amount) {
        if let Some(entry) = self.entries.get_mut(index) {
            let book = &mut entry.stored.reserve;
            let refill = amount.min(book.refilling);
            book.refilling = book.refilling.saturating_minus(refill);
            book.owed = book.owed.saturating_minus(amount.saturating_minus(refill));
            book.wanted = Amount::ZERO;
            self.note_promise(index);
        }
    }

    /// The channel is over: nothing is owed in it.
    pub(super) fn reserve_over(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            let volume = entry.stored.reserve.volume.clone();
            entry.stored.reserve = ReserveBook {
                volume,
                ..ReserveBook::default()
            };
            self.note_promise(index);
        }
    }
}

impl Entry {
    /// What the client may have signed away already (R12), so the hub does not count on it either.
    pub(super) fn offered(&self) -> Amount {
        self.stored
            .reserve
            .offer
            .map_or(Amount::ZERO, |offer| offer.amount)
    }
}
