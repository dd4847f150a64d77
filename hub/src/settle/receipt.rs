//! Receipts: proof for anybody who knows the hub's signer that a payment was credited.

use super::{
    evidence::{EvidenceError, key_of},
    exit::SettleError,
};
use protocol_spec::{Address, Domain, Receipt, Seq, VoucherSignature};
use serde::{Deserialize, Serialize};

/// A receipt as it is handed around. JSON. Who the hub is must come from elsewhere: the payee's config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFile {
    /// Format: `channelhub.receipt.v1`.
    pub format: String,
    /// EIP-155 chain id, decimal string.
    pub chain_id: Seq,
    /// The adjudicator.
    pub adjudicator: Address,
    /// What the hub signed.
    pub receipt: Receipt,
    /// Its signature, usually a batch's.
    pub signature: VoucherSignature,
}

impl ReceiptFile {
    /// The `format` of this version.
    pub const FORMAT: &str = "channelhub.receipt.v1";

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// [`EvidenceError`] when it is no receipt of this format.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SettleError> {
        let file: Self = serde_json::from_slice(bytes)
            .map_err(|error| SettleError::Refused(format!("the receipt cannot be read: {error}")))?;
        if file.format != Self::FORMAT {
            let format: String = file.format.chars().take(64).collect();
            return Err(SettleError::Refused(format!(
                "the receipt's format is {format:?}, this settle reads {:?}",
                Self::FORMAT
            )));
        }
        Ok(file)
    }

    /// The domain it was signed in.
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain::new(self.chain_id.0, self.adjudicator)
    }

    /// Checks that `hub_signer` signed it.
    ///
    /// # Errors
    /// [`EvidenceError`] when it did not.
    pub fn verify(&self, hub_signer: Address) -> Result<(), EvidenceError> {
        let which = "receipt";
        let domain = self.domain();
        let digest = self.receipt.digest(&domain);
        let key = key_of(which, &domain, &digest, &self.signature, hub_signer)?;
        self.signature
            .verify(&domain, &digest, &key, true)
            .map_err(|reject| EvidenceError::Voucher { which, reject })
    }
}
