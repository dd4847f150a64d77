//! The index of payment ids: what became of each, kept for the retention window.

use alloy::primitives::map::HashMap;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Digest, PaymentId, ReturnReason, Seq, UnixSeconds, message::PaymentStatus};

/// What became of a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Outcome {
    /// Of the operation: binds the id to its content.
    pub(super) content: Digest,
    /// The client voucher that carried it.
    pub(super) seq: Seq,
    /// `None`: delivered.
    pub(super) bounced: Option<ReturnReason>,
    /// When it was committed.
    pub(super) at: UnixSeconds,
    /// Of the payment: until then a duplicate must be recognised.
    pub(super) expires_at: UnixSeconds,
}

/// All outcomes, by (payer's index, id).
#[derive(Debug, Default)]
pub(super) struct Payments {
    outcomes: HashMap<(usize, PaymentId), Outcome>,
}

impl Payments {
    pub(super) fn outcome(&self, payer: usize, id: PaymentId) -> Option<&Outcome> {
        self.outcomes.get(&(payer, id))
    }

    pub(super) fn insert(&mut self, payer: usize, id: PaymentId, outcome: Outcome) {
        self.outcomes.insert((payer, id), outcome);
    }

    pub(super) fn remove(&mut self, payer: usize, id: PaymentId) {
        self.outcomes.remove(&(payer, id));
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> std::collections::BTreeMap<(usize, [u8; 16]), String> {
        let show = |((payer, id), outcome): (&(usize, PaymentId), &Outcome)| {
            ((*payer, id.0), format!("{outcome:?}"))
        };
        self.outcomes.iter().map(show).collect()
    }
}

impl Outcome {
    /// A payment that came back: it may be forgotten at any time, since delivering it later takes new money.
    pub(super) fn bounced(content: Digest, seq: Seq, reason: ReturnReason, at: UnixSeconds) -> Self {
        Self {
            content,
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
