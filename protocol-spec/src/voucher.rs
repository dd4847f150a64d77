//! Vouchers: one direction's half of the channel state, signed by its payer only.

use crate::{
    Amount, ChannelId, Digest, Domain, PublicKey, Reject, Seq, Signature, abi, batch,
    domain::{EncodedStruct, Field, encode, type_hash},
    limits,
};
use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One direction's half of the channel state. Cumulative and monotone.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voucher {
    /// The channel.
    pub channel_id: ChannelId,
    /// Number of this voucher, from 1.
    pub seq: Seq,
    /// Total ever paid in this direction.
    pub paid: Amount,
    /// Newest voucher of the other direction that the payer had accepted; 0 before the first.
    pub ack_seq: Seq,
    /// `paid` of that voucher.
    pub ack_paid: Amount,
    /// Commitment over the live locks; zero without.
    pub locks: Digest,
    /// Hash chain over all operations of this direction.
    pub history: Digest,
}

impl Voucher {
    /// EIP-712 digest.
    #[must_use]
    pub fn digest(&self, domain: &Domain) -> Digest {
        domain.digest_of_encoded(&self.encoded())
    }

    /// What the struct hash is over: for whoever hashes many at once.
    #[must_use]
    pub fn encoded(&self) -> EncodedStruct {
        static TYPE_HASH: LazyLock<[u8; 32]> = LazyLock::new(type_hash::<abi::Voucher>);
        encode(
            &TYPE_HASH,
            [
                Field::Left(&self.channel_id.0),
                Field::Number(self.seq.0.into()),
                Field::Number(self.paid.0),
                Field::Number(self.ack_seq.0.into()),
                Field::Number(self.ack_paid.0),
                Field::Left(&self.locks.0),
                Field::Left(&self.history.0),
            ],
        )
    }

    /// The Solidity struct.
    #[must_use]
    pub fn to_abi(&self) -> abi::Voucher {
        abi::Voucher {
            channelId: B256::from(self.channel_id.0),
            seq: self.seq.0,
            paid: self.paid.0,
            ackSeq: self.ack_seq.0,
            ackPaid: self.ack_paid.0,
            locks: B256::from(self.locks.0),
            history: B256::from(self.history.0),
        }
    }

    /// The widths the adjudicator stores. Errors: [`Reject::SeqOutOfRange`], [`Reject::AmountOverflow`].
    pub fn check_range(&self) -> Result<(), Reject> {
        let seq = self.seq.max(self.ack_seq);
        if self.seq == Seq::NONE || seq.0 > limits::SEQ_MAX {
            return Err(Reject::SeqOutOfRange {
                max: limits::SEQ_MAX,
                got: seq,
            });
        }
        if self.paid.max(self.ack_paid).0 > limits::AMOUNT_MAX {
            return Err(Reject::AmountOverflow);
        }
        Ok(())
    }
}

/// How a voucher or receipt is signed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum VoucherSignature {
    /// By the payer's signer over the digest itself.
    Direct(Signature),
    /// By the hub's signer over a Merkle root; `proof` leads from the digest to it (1 to 16 siblings).
    Batch {
        /// Over `Batch(root)`.
        root_signature: Signature,
        /// Siblings, leaf level first.
        proof: Vec<Digest>,
    },
}

impl VoucherSignature {
    /// The bytes the adjudicator takes: the signature, then the proof's words.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Direct(signature) => signature.0.to_vec(),
            Self::Batch {
                root_signature,
                proof,
            } => root_signature
                .0
                .iter()
                .copied()
                .chain(proof.iter().flat_map(|node| node.0))
                .collect(),
        }
    }

    /// Checks it over `digest`. A batch counts only when `batch_allowed`, that is, for the hub's signer.
    pub fn verify(
        &self,
        domain: &Domain,
        digest: &Digest,
        key: &PublicKey,
        batch_allowed: bool,
    ) -> Result<(), Reject> {
        match self {
            Self::Direct(signature) => key.verify(digest, signature),
            Self::Batch { .. } if !batch_allowed => Err(Reject::BatchNotAllowed),
            Self::Batch { proof, .. } if proof.is_empty() => {
                Err(Reject::SignatureMalformed("a batch proof has at least one node"))
            }
            Self::Batch {
                root_signature,
                proof,
            } => {
                let root = batch::root_of(digest, proof)?;
                key.verify(&batch::batch_digest(domain, &root), root_signature)
            }
        }
    }
}

/// A voucher with a signature nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVoucher {
    /// The voucher.
    pub voucher: Voucher,
    /// The payer's signature.
    pub signature: VoucherSignature,
}

impl SignedVoucher {
    /// Checks range and signature against the payer's key.
    pub fn verify(
        self,
        domain: &Domain,
        payer: &PublicKey,
        payer_is_hub: bool,
    ) -> Result<VerifiedVoucher, Reject> {
        self.voucher.check_range()?;
        let digest = self.voucher.digest(domain);
        self.signature.verify(domain, &digest, payer, payer_is_hub)?;
        Ok(VerifiedVoucher {
            signed: self,
            digest,
            signer: payer.address(),
        })
    }
}

/// A voucher whose signature was checked: by [`SignedVoucher::verify`], or by who says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedVoucher {
    signed: SignedVoucher,
    digest: Digest,
    signer: crate::Address,
}

impl VerifiedVoucher {
    /// For replay from the own durable journal, whose records were verified before they were written.
    /// Nothing that came from a peer in this process may pass here.
    #[must_use]
    pub fn assume_verified(signed: SignedVoucher, domain: &Domain, signer: crate::Address) -> Self {
        let digest = signed.voucher.digest(domain);
        Self::assume_hashed(signed, digest, signer)
    }

    /// The same, where the voucher's digest was made together with others. Another digest than the voucher's own is not noticed.
    #[must_use]
    pub fn assume_hashed(signed: SignedVoucher, digest: Digest, signer: crate::Address) -> Self {
        Self {
            signed,
            digest,
            signer,
        }
    }

    /// For a signature engine that has found the direct signature over `digest`, the voucher's own, to be by the key of
    /// `signer`. Errors: [`Voucher::check_range`], and a batch, which counts for the hub only.
    pub fn checked(signed: SignedVoucher, digest: Digest, signer: crate::Address) -> Result<Self, Reject> {
        signed.voucher.check_range()?;
        if matches!(signed.signature, VoucherSignature::Batch { .. }) {
            return Err(Reject::BatchNotAllowed);
        }
        Ok(Self {
            signed,
            digest,
            signer,
        })
    }

    /// The voucher.
    #[must_use]
    pub fn voucher(&self) -> &Voucher {
        &self.signed.voucher
    }

    /// Voucher and signature.
    #[must_use]
    pub fn signed(&self) -> &SignedVoucher {
        &self.signed
    }

    /// Its EIP-712 digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The address whose key signed it.
    #[must_use]
    pub fn signer(&self) -> crate::Address {
        self.signer
    }
}
