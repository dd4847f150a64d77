//! Making and checking a watchtower's [`Package`].

use super::evidence::{CheckedEvidence, EvidenceError};
use protocol_spec::{Accept, Address, Digest, Evidence, Reject, UnixSeconds};
pub use protocol_spec::{Package, Permission, SignedAccept};

fn refuse<T>(what: String) -> Result<T, EvidenceError> {
    Err(EvidenceError::Accept { what })
}

/// What is to be signed over the voucher that `evidence` received. R28's other half, no marked lock, is the caller's to check.
///
/// # Errors
/// [`EvidenceError::Accept`] when there is no voucher, or `by` is not the signer of the evidence's side.
pub fn countersign(
    evidence: &CheckedEvidence,
    permission: Permission,
    by: Address,
) -> Result<Accept, EvidenceError> {
    let Some(voucher) = &evidence.received().voucher else {
        return refuse("the evidence holds no voucher to countersign: nothing was received yet".to_owned());
    };
    let signer = evidence.raw().config.signer(evidence.side());
    if by != signer {
        return refuse(format!(
            "it must be by the signer {signer} of your side, this is the key of {by}"
        ));
    }
    Ok(Accept {
        voucher: voucher.digest(),
        submitter: permission.submitter,
        may_dispute: permission.may_dispute,
        deadline: permission.deadline.unwrap_or(UnixSeconds(u64::MAX)),
    })
}

/// The package of `evidence` with its countersignature.
#[must_use]
pub fn seal_package(evidence: &CheckedEvidence, countersignature: SignedAccept) -> Package {
    let mut shown: Evidence = evidence.raw().clone();
    // A file may list the locks without their opening.
    shown.received.opening = evidence.received().opening;
    Package::new(&shown, countersignature)
}

/// Checks the evidence and the countersignature.
///
/// # Errors
/// Every [`EvidenceError`].
pub fn check_package(package: Package) -> Result<CheckedEvidence, EvidenceError> {
    if package.format != Package::FORMAT {
        return Err(EvidenceError::Format {
            got: package.format.chars().take(64).collect(),
        });
    }
    let evidence = CheckedEvidence::check(package.evidence)?;
    let accept = &package.countersignature.accept;
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
    match package.countersignature.verify(evidence.domain(), signer) {
        Ok(()) => Ok(evidence.with_accept(package.countersignature)),
        Err(Reject::WrongSigner) => refuse(format!("it is not by {signer}: wrong key or changed content")),
        Err(reject) => refuse(reject.to_string()),
    }
}
