//! A watchtower's package: evidence with the payee's countersignature for one submitter (R28).

use crate::{Accept, Address, DirectionEvidence, Domain, Evidence, Reject, Seq, Signature, UnixSeconds, abi};
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
    pub fn to_abi(&self) -> abi::Countersignature {
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

    /// Checks that `signer` signed it.
    /// Errors: [`Reject::SignatureInvalid`], [`Reject::WrongSigner`].
    pub fn verify(&self, domain: &Domain, signer: Address) -> Result<(), Reject> {
        let key = self.signature.recover(&self.accept.digest(domain))?;
        if key.address() == signer {
            Ok(())
        } else {
            Err(Reject::WrongSigner)
        }
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

    /// The part of `evidence` that a submitter can use, with its countersignature. Checks nothing.
    #[must_use]
    pub fn new(evidence: &Evidence, countersignature: SignedAccept) -> Self {
        Self {
            format: Self::FORMAT.to_owned(),
            evidence: Evidence {
                // With the opening the dispute stays open until the locks expire; the rest is the payee's to show.
                received: DirectionEvidence {
                    voucher: evidence.received.voucher.clone(),
                    opening: evidence.received.opening,
                    ..DirectionEvidence::default()
                },
                sent: DirectionEvidence::default(),
                format: evidence.format.clone(),
                config: evidence.config.clone(),
                ..*evidence
            },
            countersignature,
        }
    }

    /// Number of the voucher in it; zero without one.
    #[must_use]
    pub fn seq(&self) -> Seq {
        let voucher = self.evidence.received.voucher.as_ref();
        voucher.map_or(Seq::NONE, |signed| signed.voucher.seq)
    }
}
