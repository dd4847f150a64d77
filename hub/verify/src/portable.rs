//! libsecp256k1: no tables, no start-up cost. For keys that have no tables yet.

use crate::{Engine, Item, Signature, Verdict};
use secp256k1::{
    Message, PublicKey, Secp256k1, VerifyOnly,
    ecdsa::{RecoverableSignature, RecoveryId, Signature as Ecdsa},
};

/// One signature after the other with libsecp256k1.
#[derive(Clone, Debug)]
pub struct Portable {
    context: Secp256k1<VerifyOnly>,
}

impl Default for Portable {
    fn default() -> Self {
        Self {
            context: Secp256k1::verification_only(),
        }
    }
}

impl Engine for Portable {
    fn name(&self) -> &'static str {
        "libsecp256k1"
    }

    fn verify(&mut self, batch: &[Item<'_>], verdicts: &mut [Verdict]) {
        assert_eq!(batch.len(), verdicts.len(), "one verdict per item");
        for (item, verdict) in batch.iter().zip(verdicts) {
            *verdict = self.check(item);
        }
    }
}

impl Portable {
    pub(crate) fn check(&self, item: &Item<'_>) -> Verdict {
        let Some(parts) = item.signature.parts() else {
            return Verdict::Malformed;
        };
        let message = Message::from_digest(*item.digest);
        let compact = item.signature.compact();
        let valid = match item.signature {
            Signature::Plain(_) => PublicKey::from_slice(&item.key.to_uncompressed())
                .and_then(|key| {
                    let signature = Ecdsa::from_compact(&compact)?;
                    self.context.verify_ecdsa(message, &signature, &key)
                })
                .is_ok(),
            // `verify` knows no parity. The key recovered from a nonce point is ours exactly if that is the nonce point.
            Signature::Recoverable(_) => {
                let id = if parts.odd == Some(true) {
                    RecoveryId::One
                } else {
                    RecoveryId::Zero
                };
                RecoverableSignature::from_compact(&compact, id)
                    .and_then(|signature| self.context.recover_ecdsa(message, &signature))
                    .is_ok_and(|key| key.serialize_uncompressed() == item.key.to_uncompressed())
            }
        };
        if valid { Verdict::Valid } else { Verdict::Invalid }
    }
}
