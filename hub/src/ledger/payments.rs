//! The index of payment ids: what became of each, kept for the retention window.

use super::Ledger;
use alloy::primitives::map::HashMap;
use protocol_spec::{PaymentId, ReturnReason, Seq, UnixSeconds, message::PaymentStatus};

/// What became of a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// The client voucher that carried it.
    pub(super) seq: Seq,
    /// `None`: delivered.
    pub(super) bounced: Option<ReturnReason>,
    /// When it was committed.
    pub(super) at: UnixSeconds,
    /// Of the payment: until then a duplicate must be recognised.
    pub(super) expires_at: UnixSeconds,
}

/// A payment of one payer, in the list of its payments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) id: PaymentId,
    pub(super) outcome: Outcome,
}

/// Where each payment is in its payer's list, by (payer's index, id). Many small maps: one that grows keeps nobody
/// waiting long.
#[derive(Debug)]
pub(super) struct Places([Map; MAPS]);

/// A power of two.
const MAPS: usize = 256;

type Map = HashMap<(usize, PaymentId), u64>;

/// By the payer: clients choose the ids.
fn map_of(payer: usize) -> usize {
    payer & (MAPS - 1)
}

impl Default for Places {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Map::default()))
    }
}

impl Places {
    pub(super) fn get(&self, payer: usize, id: PaymentId) -> Option<u64> {
        self.0.get(map_of(payer))?.get(&(payer, id)).copied()
    }

    pub(super) fn insert(&mut self, payer: usize, id: PaymentId, position: u64) {
        if let Some(map) = self.0.get_mut(map_of(payer)) {
            map.insert((payer, id), position);
        }
    }

    pub(super) fn remove(&mut self, payer: usize, id: PaymentId) {
        if let Some(map) = self.0.get_mut(map_of(payer)) {
            map.remove(&(payer, id));
        }
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> std::collections::BTreeMap<(usize, [u8; 16]), u64> {
        let show = |((payer, id), position): (&(usize, PaymentId), &u64)| ((*payer, id.0), *position);
        self.0.iter().flatten().map(show).collect()
    }
}

impl Ledger {
    /// True when the id was used and is not forgotten.
    pub(super) fn knows_payment(&self, payer: usize, id: PaymentId) -> bool {
        self.places.get(payer, id).is_some()
    }

    /// What became of a payment, if it is known.
    pub(super) fn outcome(&self, payer: usize, id: PaymentId) -> Option<&Outcome> {
        let position = self.places.get(payer, id)?;
        let known = self.entries.get(payer)?.stored.payments.get(position)?;
        Some(&known.outcome)
    }
}

impl Outcome {
    /// A payment that came back: it may be forgotten at any time, since delivering it later takes new money.
    pub(super) fn bounced(seq: Seq, reason: ReturnReason, at: UnixSeconds) -> Self {
        Self {
            seq,
            bounced: Some(reason),
            at,
            expires_at: at,
        }
    }

    /// False while a second delivery of the same payment would still be possible.
    pub(super) fn forgettable(&self, now: UnixSeconds) -> bool {
        self.bounced.is_some() || self.expires_at < now
    }

    pub(super) fn status(&self) -> PaymentStatus {
        match self.bounced {
            None => PaymentStatus::Accepted { seq: self.seq },
            Some(reason) => PaymentStatus::Bounced {
                seq: self.seq,
                reason,
            },
        }
    }
}
