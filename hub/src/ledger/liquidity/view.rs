//! What an operator sees of the reserves.

use crate::ledger::{Ledger, Levels, Vault, entry::Entry};
use protocol_spec::{Address, Amount, ChannelId};

/// All reserves, as the ledger sees them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Liquidity {
    /// Per served token: the vault as it was told last, open quotes and orders.
    pub tokens: Vec<(Address, Option<Vault>, Amount)>,
    /// Channels that are not closed.
    pub channels: Vec<ChannelLevel>,
}

/// One channel's reserve and its watermarks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelLevel {
    /// The channel.
    pub channel: ChannelId,
    /// Its token.
    pub token: Address,
    /// `open`, `closing` or `disputed`.
    pub phase: &'static str,
    /// Its client is connected.
    pub online: bool,
    /// Paid in by the hub, less what it took back.
    pub reserved: Amount,
    /// What the client can still be paid.
    pub free: Amount,
    /// The watermarks now.
    pub levels: Levels,
    /// Received lately.
    pub volume: Amount,
    /// Ordered and not confirmed.
    pub owed: Amount,
    /// In an open quote.
    pub quoted: Amount,
    /// In a release that its client is asked for.
    pub offered: Amount,
}

impl Ledger {
    /// All reserves.
    #[must_use]
    pub fn liquidity(&self) -> Liquidity {
        let now = self.chain.timestamp;
        let token = |token: Address| {
            let vault = self.vaults.get(&token).copied();
            (token, vault, self.promised(token, now))
        };
        let tokens = self.policy.tokens.iter().map(|tariff| token(tariff.token));
        let open = self.entries.each();
        let open = open.filter(|entry| entry.channel.phase().name() != "closed");
        Liquidity {
            tokens: tokens.collect(),
            channels: open.map(|entry| self.level(&entry)).collect(),
        }
    }

    fn level(&self, entry: &Entry) -> ChannelLevel {
        let (funds, book, now) = (entry.channel.funds(), &entry.stored.reserve, self.chain.timestamp);
        ChannelLevel {
            channel: entry.channel.id(),
            token: entry.channel.config().token,
            phase: entry.channel.phase().name(),
            online: entry.session.is_some(),
            reserved: funds.hub_deposit.saturating_minus(funds.hub_withdrawn),
            free: entry.capacity(),
            levels: self.gauge().levels(entry),
            volume: book.volume.recent(now),
            owed: book.owed,
            quoted: book.promised(now).saturating_minus(book.owed),
            offered: entry.offered(),
        }
    }
}
