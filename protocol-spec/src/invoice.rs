//! Invoices: what a payee asks for, signed by its own key, so that nobody between can put in a lock of its own.

use crate::{
    Address, ChannelId, Condition, Domain, Invoice, Lock, Reject, Signature, SignerKey, UnixSeconds,
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// An invoice with the payee's signature. JSON for people and QR codes.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedInvoice {
    /// What is asked for.
    pub invoice: Invoice,
    /// By the payee's signer.
    pub signature: Signature,
}

impl SignedInvoice {
    /// Signs `invoice`. The caller is the payee.
    #[must_use]
    pub fn sign(invoice: Invoice, domain: &Domain, key: &SignerKey) -> Self {
        let signature = key.sign(&invoice.digest(domain));
        Self { invoice, signature }
    }

    /// Checks the signature against the payee's `signer`, which the payer knows from outside the hub.
    /// Errors: [`Reject::SignatureInvalid`], [`Reject::WrongSigner`].
    pub fn verify(&self, domain: &Domain, signer: Address) -> Result<(), Reject> {
        let key = self.signature.recover(&self.invoice.digest(domain))?;
        if key.address() == signer {
            Ok(())
        } else {
            Err(Reject::WrongSigner)
        }
    }
}

impl Invoice {
    /// When a lock for this invoice opens.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition {
            hash: self.hash,
            resolver: self.resolver,
        }
    }

    /// True when `lock`, in the payee's channel `channel_id`, pays this invoice at `now` and leaves the payee `act_s` to collect it.
    #[must_use]
    pub fn paid_by(&self, channel_id: &ChannelId, lock: &Lock, now: UnixSeconds, act_s: u64) -> bool {
        self.channel_id == *channel_id
            && lock.condition() == self.condition()
            && lock.amount >= self.amount
            && now < self.expires_at
            && now.after(act_s) < lock.expiry
    }
}
