//! Clients' payments that the chain does not know of: what a hub that is away too long would lose to an old voucher.

use super::{Ledger, slots::Look};
use protocol_spec::{
    Address, Amount, ChannelId, Config, Digest, SignedVoucher, VoucherSignature, channel::Phase,
};
use std::collections::{BTreeMap, HashMap};

/// An open channel whose newest voucher is worth more than the chain knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsettled {
    /// The channel.
    pub channel: ChannelId,
    /// Its facts.
    pub config: Config,
    /// The client's newest voucher; without locks, with a direct signature: it goes with others.
    pub signed: SignedVoucher,
    /// Paid in it beyond what was shown.
    pub value: Amount,
}

impl Ledger {
    /// Those worth more than `above` says for their token, beyond what `shown` says the chain has seen.
    #[must_use]
    pub fn unsettled(
        &self,
        above: &BTreeMap<Address, Amount>,
        shown: &HashMap<ChannelId, Amount>,
    ) -> Vec<Unsettled> {
        let worth = |entry: Look<'_>| {
            let config = entry.channel.config();
            let least = above.get(&config.token)?;
            let known = shown.get(&entry.channel.id()).copied().unwrap_or_default();
            let value = entry.channel.received().paid.saturating_minus(known);
            let signed = entry.channel.received_signed()?;
            let batches = signed.voucher.locks == Digest::ZERO
                && matches!(signed.signature, VoucherSignature::Direct(_));
            let open = *entry.channel.phase() == Phase::Open && !entry.stored.frozen;
            (batches && open && value >= *least).then(|| Unsettled {
                channel: entry.channel.id(),
                config: config.clone(),
                signed,
                value,
            })
        };
        // Whatever the token: it asks for this much.
        let Some(least) = above.values().min() else {
            return Vec::new();
        };
        self.entries.each_paid(*least).filter_map(worth).collect()
    }
}
