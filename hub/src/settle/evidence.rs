//! Evidence that passed every check which needs no chain.

pub use super::evidence_error::EvidenceError;
use super::package::{Package, SignedAccept, check_package};
use protocol_spec::{
    Address, Amount, ChannelId, Digest, DirectionEvidence, Domain, Evidence, Lock, LocksOpening, Reject, Seq,
    Side, SignedVoucher, VerifiedVoucher, VoucherSignature, Witness, batch, limits,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One direction of checked evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedDirection {
    /// The newest voucher, its signature checked.
    pub voucher: Option<VerifiedVoucher>,
    /// The locks in it, ascending id; empty when the file does not have them.
    pub locks: Vec<Lock>,
    /// The opening of the commitment, from the file or computed from the locks.
    pub opening: Option<LocksOpening>,
    /// What opens locks of `locks`, by lock id: preimages that fit their hashes, and witnesses that a resolver is still
    /// to be asked about.
    pub witnesses: BTreeMap<u64, Witness>,
}

/// Evidence whose format, config, signatures, locks, preimages and acknowledgements were checked offline. The version before is taken in as this one.
/// Nobody but [`CheckedEvidence::check`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedEvidence {
    evidence: Evidence,
    domain: Domain,
    id: ChannelId,
    received: CheckedDirection,
    sent: CheckedDirection,
    accept: Option<SignedAccept>,
}

/// What every version has; the rest is skipped.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    format: serde_json::Value,
}

impl CheckedEvidence {
    /// Reads the file's bytes and checks them: evidence, or a watchtower's [`Package`].
    ///
    /// # Errors
    /// Every [`EvidenceError`]; the file is not usable then.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let malformed = |error: serde_json::Error| EvidenceError::Malformed {
            text: error.to_string(),
        };
        let named: Named = serde_json::from_slice(bytes).map_err(malformed)?;
        // The format first, so that a later version is named rather than called malformed.
        match named.format.as_str() {
            Some(Package::FORMAT) => {
                return check_package(serde_json::from_slice(bytes).map_err(malformed)?);
            }
            Some(format) => check_format(format)?,
            None => {}
        }
        Self::check(serde_json::from_slice(bytes).map_err(malformed)?)
    }

    /// Checks evidence that is already in memory.
    ///
    /// # Errors
    /// Every [`EvidenceError`] but `Malformed`.
    pub fn check(mut evidence: Evidence) -> Result<Self, EvidenceError> {
        check_format(&evidence.format)?;
        Evidence::FORMAT.clone_into(&mut evidence.format);
        evidence.config.check().map_err(EvidenceError::Config)?;
        let sum = Amount::sum([evidence.deposits.0, evidence.deposits.1]);
        if sum.map_or(true, |sum| sum.0 > limits::AMOUNT_MAX) {
            return Err(EvidenceError::Deposits);
        }
        let domain = Domain::new(evidence.chain_id, evidence.adjudicator);
        let checker = Checker {
            domain,
            id: evidence.config.id(&domain),
        };
        let mine = evidence.side;
        let (own, other) = (evidence.config.signer(mine), evidence.config.signer(mine.other()));
        let received = checker.direction("received", &evidence.received, other, mine == Side::Client)?;
        let sent = checker.direction("sent", &evidence.sent, own, mine == Side::Hub)?;
        check_ack("received", &received, &sent)?;
        check_ack("sent", &sent, &received)?;
        // Nobody signs what the file says of itself; its own voucher may say otherwise, with or without the list.
        let committed = sent.voucher.as_ref().map(|voucher| voucher.voucher().locks);
        evidence.never_locked &= sent.locks.is_empty()
            && sent.opening.is_none()
            && committed.is_none_or(|locks| locks == Digest::ZERO);
        Ok(Self {
            id: checker.id,
            domain,
            received,
            sent,
            evidence,
            accept: None,
        })
    }

    /// The same evidence for a submitter. Only [`check_package`] calls it, after checking `accept`.
    pub(super) fn with_accept(mut self, accept: SignedAccept) -> Self {
        self.accept = Some(accept);
        self
    }

    /// The payee's countersignature, when this is a watchtower's package. Locks cannot be resolved with it.
    #[must_use]
    pub fn accept(&self) -> Option<&SignedAccept> {
        self.accept.as_ref()
    }

    /// The channel, computed from config, chain id and adjudicator.
    #[must_use]
    pub fn id(&self) -> ChannelId {
        self.id
    }

    /// The signing domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whose evidence it is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.evidence.side
    }

    /// The file as it was.
    #[must_use]
    pub fn raw(&self) -> &Evidence {
        &self.evidence
    }

    /// What this side received: what it can submit.
    #[must_use]
    pub fn received(&self) -> &CheckedDirection {
        &self.received
    }

    /// What this side signed: what the other side can submit.
    #[must_use]
    pub fn sent(&self) -> &CheckedDirection {
        &self.sent
    }

    /// True when `address` may submit: this side's account or signer, or the submitter that a package names.
    #[must_use]
    pub fn may_submit(&self, address: Address) -> bool {
        let named = self.accept.as_ref().map(|signed| signed.accept.submitter);
        self.is_party(address) || named == Some(address)
    }

    /// True when `address` is this side's account or signer: it may also resolve locks and start a dispute.
    #[must_use]
    pub fn is_party(&self, address: Address) -> bool {
        let (config, side) = (&self.evidence.config, self.side());
        address == config.account(side) || address == config.signer(side)
    }

    /// What looks incomplete although nothing is wrong. For people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let seq =
            |direction: &CheckedDirection| direction.voucher.as_ref().map_or(Seq::NONE, |v| v.voucher().seq);
        let ack = |direction: &CheckedDirection| {
            direction
                .voucher
                .as_ref()
                .map_or(Seq::NONE, |v| v.voucher().ack_seq)
        };
        let (received, sent) = (&self.received, &self.sent);
        let stale = (ack(sent) > seq(received)).then(|| {
            format!(
                "you acknowledged voucher {} but this file holds {}: look for a newer evidence file",
                ack(sent),
                seq(received)
            )
        });
        let forgotten = (ack(received) > seq(sent)).then(|| {
            format!(
                "the other side acknowledges your voucher {} but this file's newest is {}: 'sent' is out of date",
                ack(received),
                seq(sent)
            )
        });
        let committed = received
            .voucher
            .as_ref()
            .is_some_and(|v| v.voucher().locks != Digest::ZERO);
        let unopened = (committed && received.opening.is_none()).then(|| {
            "the voucher has locks that this file does not list: only 'paid' can be enforced".to_owned()
        });
        [stale, forgotten, unopened].into_iter().flatten().collect()
    }
}

fn check_format(format: &str) -> Result<(), EvidenceError> {
    [Evidence::FORMAT, Evidence::FORMAT_V1]
        .contains(&format)
        .then_some(())
        .ok_or_else(|| EvidenceError::Format {
            got: format.chars().take(64).collect(),
        })
}

/// R3, where both vouchers are at hand.
fn check_ack(which: &'static str, by: &CheckedDirection, of: &CheckedDirection) -> Result<(), EvidenceError> {
    let (Some(by), Some(of)) = (&by.voucher, &of.voucher) else {
        return Ok(());
    };
    let (by, of) = (by.voucher(), of.voucher());
    if by.ack_seq == of.seq && by.ack_paid != of.paid {
        return Err(EvidenceError::Ack {
            which,
            seq: of.seq,
            expected: of.paid,
            got: by.ack_paid,
        });
    }
    Ok(())
}

struct Checker {
    domain: Domain,
    id: ChannelId,
}

impl Checker {
    fn direction(
        &self,
        which: &'static str,
        file: &DirectionEvidence,
        signer: Address,
        payer_is_hub: bool,
    ) -> Result<CheckedDirection, EvidenceError> {
        let voucher = match &file.voucher {
            Some(signed) => Some(self.voucher(which, signed, signer, payer_is_hub)?),
            None => None,
        };
        let commitment = voucher.as_ref().map_or(Digest::ZERO, |v| v.voucher().locks);
        let payer = if payer_is_hub { Side::Hub } else { Side::Client };
        let opening = locks(which, payer, file, commitment)?;
        Ok(CheckedDirection {
            voucher,
            witnesses: witnesses(file)?,
            locks: file.locks.clone(),
            opening,
        })
    }

    fn voucher(
        &self,
        which: &'static str,
        signed: &SignedVoucher,
        signer: Address,
        payer_is_hub: bool,
    ) -> Result<VerifiedVoucher, EvidenceError> {
        if signed.voucher.channel_id != self.id {
            return Err(EvidenceError::WrongChannel {
                which,
                expected: self.id,
                got: signed.voucher.channel_id,
            });
        }
        let digest = signed.voucher.digest(&self.domain);
        let key = key_of(which, &self.domain, &digest, &signed.signature, signer)?;
        let verified = signed.clone().verify(&self.domain, &key, payer_is_hub);
        verified.map_err(|reject| EvidenceError::Voucher { which, reject })
    }
}

/// The public key behind a signature, if it is `signer`'s. Only its address is known here, so it is recovered.
pub(super) fn key_of(
    which: &'static str,
    domain: &Domain,
    digest: &Digest,
    signature: &VoucherSignature,
    signer: Address,
) -> Result<protocol_spec::PublicKey, EvidenceError> {
    let recovered = match signature {
        VoucherSignature::Direct(signature) => signature.recover(digest),
        VoucherSignature::Batch {
            root_signature,
            proof,
        } => batch::root_of(digest, proof)
            .and_then(|root| root_signature.recover(&batch::batch_digest(domain, &root))),
    };
    let key = recovered.map_err(|reject| EvidenceError::Voucher { which, reject })?;
    (key.address() == signer)
        .then_some(key)
        .ok_or(EvidenceError::WrongSigner {
            which,
            expected: signer,
            got: key.address(),
        })
}

/// Checks the list and the opening against the voucher's word; computes the opening when only the list is there.
fn locks(
    which: &'static str,
    payer: Side,
    file: &DirectionEvidence,
    commitment: Digest,
) -> Result<Option<LocksOpening>, EvidenceError> {
    let refuse = |what: String| Err(EvidenceError::Locks { which, what });
    if !file.locks.is_sorted_by(|a, b| a.id < b.id) {
        return refuse("ids must be strictly ascending".to_owned());
    }
    let most = limits::locks_max(payer);
    if file.locks.len() > most {
        return refuse(format!("{} locks, at most {most}", file.locks.len()));
    }
    let listed = match listed_opening(&file.locks) {
        Ok(listed) => listed,
        Err(reject) => return refuse(reject.to_string()),
    };
    let opening = match (listed, file.opening) {
        (Some(listed), Some(given)) if listed != given => {
            return refuse("the opening is not that of the listed locks".to_owned());
        }
        (listed, given) => given.or(listed),
    };
    let got = opening.map_or(Digest::ZERO, |opening| opening.commitment());
    if opening.is_some() && got != commitment {
        return refuse(format!("the voucher commits to {commitment}, these make {got}"));
    }
    Ok(opening)
}

fn listed_opening(locks: &[Lock]) -> Result<Option<LocksOpening>, Reject> {
    let Some(max_expiry) = locks.iter().map(|lock| lock.expiry).max() else {
        return Ok(None);
    };
    Ok(Some(LocksOpening {
        root: batch::Tree::new(locks.iter().map(Lock::leaf).collect()).root(),
        total: Amount::sum(locks.iter().map(|lock| lock.amount))?,
        max_expiry,
    }))
}

fn witnesses(file: &DirectionEvidence) -> Result<BTreeMap<u64, Witness>, EvidenceError> {
    let mut known = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (id, witness) in &file.witnesses {
        let refuse = |what| {
            Err(EvidenceError::Witness {
                id: id.chars().take(24).collect(),
                what,
            })
        };
        let Ok(number) = id.parse::<u64>() else {
            return refuse("the id is not a decimal number");
        };
        if !seen.insert(number) {
            return refuse("it is listed twice");
        }
        // They were found to ascend.
        let found = file.locks.binary_search_by_key(&number, |lock| lock.id);
        match found.ok().and_then(|at| file.locks.get(at)) {
            None => {
                return refuse("no listed lock has this id; remove the entry if the lock was folded since");
            }
            // Only the chain can tell what a resolver takes.
            Some(lock)
                if lock.condition().has_resolver() || lock.condition().opened_by(witness.as_bytes()) =>
            {
                known.insert(number, witness.clone());
            }
            Some(_) => return refuse("its SHA-256 is not the lock's hash"),
        }
    }
    Ok(known)
}
