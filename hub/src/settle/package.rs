//! A watchtower's package: evidence with the payee's countersignature for one submitter (R28).

use super::evidence::{CheckedEvidence, EvidenceError};
use protocol_spec::{
    Accept, Address, Digest, DirectionEvidence, Evidence, Signature, SignerKey, UnixSeconds, abi,
};
use serde::{Deserialize, Serialize};

/// The payee's countersignature over one voucher, for one submitter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedAccept {
    /// Voucher, submitter, whether it may start a dispute, until when it counts.
    pub accept: Accept,
    /// By the payee's *signer*, directly: the adjudicator takes no other.
    pub signature: Signature,
}

impl SignedAccept {
    /// The adjudicator's argument.
    #[must_use]
    pub(super) fn to_abi(&self) -> abi::Countersignature {
        abi::Countersignature {
            mayDispute: self.accept.may_dispute,
            deadline: self.accept.deadline.0,
            signature: self.signature.0.to_vec().into(),
        }
    }

    /// True when the adjudicator no longer takes it at chain time `now`.
    #[must_use]
    pub fn expired(&self, now: UnixSeconds) -> bool {
        self.accept.deadline < now
    }
}

/// What a client hands to its watchtower. JSON. With it a key that is no party's can defend the channel: it can show this
/// voucher and finalize. It cannot resolve locks, and it holds no witnesses: whoever learns one could collect with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Format: `channelhub.package.v1`.
    pub format: String,
    /// The evidence, without locks (but for their opening), witnesses and what its side sent.
    pub evidence: Evidence,
    /// The countersignature of `evidence.received.voucher`.
    pub countersignature: SignedAccept,
}

/// For whom a package is, and what it permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permission {
    /// The only sender for whom it counts.
    pub submitter: Address,
    /// Whether it may start a dispute, too.
    pub may_dispute: bool,
    /// The last chain time at which it counts; `None`: no end.
    pub deadline: Option<UnixSeconds>,
}

impl Package {
    /// The `format` of this version.
    pub const FORMAT: &str = "channelhub.package.v1";

    /// Countersigns the voucher that `evidence` received. R28's other half, no marked lock, is the caller's to check.
    ///
    /// # Errors
    /// [`EvidenceError::Accept`] when there is no voucher, or `key` is not the signer of the evidence's side.
    pub fn sign(
        evidence: &CheckedEvidence,
        permission: Permission,
        key: &SignerKey,
    ) -> Result<Self, EvidenceError> {
        let refuse = |what: String| Err(EvidenceError::Accept { what });
        let Some(voucher) = &evidence.received().voucher else {
            return refuse(
                "the evidence holds no voucher to countersign: nothing was received yet".to_owned(),
            );
        };
        let signer = evidence.raw().config.signer(evidence.side());
        if key.address() != signer {
            return refuse(format!(
                "it must be by the signer {signer} of your side, this is the key of {}",
                key.address()
            ));
        }
        let accept = Accept {
            voucher: voucher.digest(),
            submitter: permission.submitter,
            may_dispute: permission.may_dispute,
            deadline: permission.deadline.unwrap_or(UnixSeconds(u64::MAX)),
        };
        let signature = key.sign(&accept.digest(evidence.domain()));
        let mut shown = evidence.raw().clone();
        // The opening is all of the locks that a submitter can use: with it the dispute stays open until they expire.
        shown.received.opening = evidence.received().opening;
        shown.received.locks.clear();
        shown.received.witnesses.clear();
        shown.sent = DirectionEvidence::default();
        Ok(Self {
            format: Self::FORMAT.to_owned(),
            evidence: shown,
            countersignature: SignedAccept { accept, signature },
        })
    }

    /// Checks the evidence and the countersignature.
    ///
    /// # Errors
    /// Every [`EvidenceError`].
    pub fn check(self) -> Result<CheckedEvidence, EvidenceError> {
        let refuse = |what: String| Err(EvidenceError::Accept { what });
        if self.format != Self::FORMAT {
            return Err(EvidenceError::Format {
                got: self.format.chars().take(64).collect(),
            });
        }
        let evidence = CheckedEvidence::check(self.evidence)?;
        let SignedAccept { accept, signature } = &self.countersignature;
        let newest = evidence.received().voucher.as_ref();
        let digest = newest.map_or(Digest::ZERO, |voucher| voucher.digest());
        if newest.is_none() || accept.voucher != digest {
            return refuse(format!(
                "it is over voucher {}, the package's is {digest}",
                accept.voucher
            ));
        }
        if accept.submitter == Address::ZERO {
            return refuse("it names no submitter".to_owned());
        }
        let signer = evidence.raw().config.signer(evidence.side());
        match signature.recover(&accept.digest(evidence.domain())) {
            Ok(key) if key.address() == signer => Ok(evidence.with_accept(self.countersignature)),
            Ok(key) => refuse(format!(
                "it is by {}, expected {signer}: wrong key or changed content",
                key.address()
            )),
            Err(reject) => refuse(reject.to_string()),
        }
    }
}
