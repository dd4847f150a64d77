//! What showing evidence took in gas, as the journal has it.

use super::journal::{Ending, Entry};
use alloy::primitives::TxHash;
use protocol_spec::{ChannelId, Side};
use std::collections::BTreeMap;

/// Gas limits of the transactions that showed the evidence of one side of one channel; those that were never mined left out.
#[derive(Debug, Default)]
pub(super) struct Spent(BTreeMap<(ChannelId, Side), BTreeMap<TxHash, (u64, u64)>>);

impl Spent {
    /// It is written down, and may be mined.
    pub(super) fn sent(&mut self, entry: &Entry) {
        let (Some(of), Some((_, cost))) = (shown(entry), entry.call()) else {
            return;
        };
        let entries = self.0.entry(of).or_default();
        entries.insert(entry.hash, (entry.nonce.0, cost.gas_limit));
    }

    /// It is known what became of it.
    pub(super) fn ended(&mut self, entry: &Entry, ending: Ending) {
        let never_mined = matches!(ending, Ending::Replaced | Ending::Refused);
        if let Some(entries) = shown(entry)
            .filter(|_| never_mined)
            .and_then(|of| self.0.get_mut(&of))
        {
            entries.remove(&entry.hash);
        }
    }

    /// Gas that the side's evidence took or is about to take. Of transactions with one nonce one is mined.
    pub(super) fn gas(&self, id: ChannelId, side: Side) -> u64 {
        let entries = self.0.get(&(id, side)).into_iter().flat_map(BTreeMap::values);
        let mut by_nonce: BTreeMap<u64, u64> = BTreeMap::new();
        for (nonce, gas) in entries {
            let most = by_nonce.entry(*nonce).or_default();
            *most = (*most).max(*gas);
        }
        by_nonce.values().fold(0, |sum, gas| sum.saturating_add(*gas))
    }
}

/// Whose evidence it shows. Payouts are nobody's.
fn shown(entry: &Entry) -> Option<(ChannelId, Side)> {
    Some((*entry.purpose.channels.first()?, entry.shown_side()?))
}
