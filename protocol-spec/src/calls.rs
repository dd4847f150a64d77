//! Calldata for the adjudicator, built from the protocol's own types.

use crate::{
    CancelDispute, Close, Config, Digest, DirectionEvidence, Lock, LocksOpening, Side, Signature,
    SignedVoucher, VoucherSignature, Withdraw, Witness, abi, batch::Tree,
};
use alloy_primitives::{B256, Bytes, U256};
use std::collections::BTreeMap;

/// Zero in place of the sender's own signature.
fn compact(signature: Option<&Signature>) -> abi::CompactSignature {
    let not_signed = abi::CompactSignature {
        r: B256::ZERO,
        vs: B256::ZERO,
    };
    signature.map_or(not_signed, Signature::to_compact)
}

/// A voucher as the payee itself submits it. `payer` is the side that signed it.
#[must_use]
pub fn submission(payer: Side, signed: &SignedVoucher, opening: Option<&LocksOpening>) -> abi::Submission {
    let voucher = signed.voucher.to_abi();
    abi::Submission {
        payer: payer.index(),
        seq: voucher.seq,
        paid: voucher.paid,
        ackSeq: voucher.ackSeq,
        ackPaid: voucher.ackPaid,
        locks: voucher.locks,
        history: voucher.history,
        signature: signed.signature.to_bytes().into(),
        opening: opening.map(LocksOpening::to_abi).into_iter().collect(),
        countersignature: Vec::new(),
    }
}

/// What the channels of one batch have in common.
#[must_use]
pub fn hub_side(config: &Config) -> abi::HubSide {
    abi::HubSide {
        hub: config.hub,
        hubSigner: config.hub_signer,
        token: config.token,
        challengePeriodS: config.challenge_period_s,
    }
}

/// A client's voucher as an item of `submitMany`. `None`: it commits to locks, or its signature is no direct one.
#[must_use]
pub fn client_voucher(config: &Config, signed: &SignedVoucher) -> Option<abi::ClientVoucher> {
    let VoucherSignature::Direct(signature) = &signed.signature else {
        return None;
    };
    let voucher = signed.voucher.to_abi();
    (signed.voucher.locks == Digest::ZERO).then(|| abi::ClientVoucher {
        client: config.client,
        clientSigner: config.client_signer,
        salt: config.salt.0.into(),
        seq: voucher.seq,
        paid: voucher.paid,
        ackSeq: voucher.ackSeq,
        ackPaid: voucher.ackPaid,
        history: voucher.history,
        signature: signature.to_compact(),
    })
}

/// A close as an item of `closeMany`. A sender needs no signature of its own side: `None`.
#[must_use]
pub fn client_close(
    config: &Config,
    message: &Close,
    client: Option<&Signature>,
    hub: Option<&Signature>,
) -> abi::ClientClose {
    let close = message.to_abi();
    abi::ClientClose {
        client: config.client,
        clientSigner: config.client_signer,
        salt: config.salt.0.into(),
        clientDeposit: close.clientDeposit,
        hubDeposit: close.hubDeposit,
        clientBalance: close.clientBalance,
        hubBalance: close.hubBalance,
        deadline: close.deadline,
        clientSignature: compact(client),
        hubSignature: compact(hub),
    }
}

/// A withdrawal as an item of `withdrawMany`. A sender needs no signature of its own side: `None`.
#[must_use]
pub fn client_withdraw(
    config: &Config,
    message: &Withdraw,
    client: Option<&Signature>,
    hub: Option<&Signature>,
) -> abi::ClientWithdraw {
    let withdraw = message.to_abi();
    abi::ClientWithdraw {
        client: config.client,
        clientSigner: config.client_signer,
        salt: config.salt.0.into(),
        side: withdraw.side,
        total: withdraw.total,
        clientSeq: withdraw.clientSeq,
        clientPaid: withdraw.clientPaid,
        hubSeq: withdraw.hubSeq,
        hubPaid: withdraw.hubPaid,
        deadline: withdraw.deadline,
        clientSignature: compact(client),
        hubSignature: compact(hub),
    }
}

/// The locks of `locks` whose witnesses are known, with their proofs. `None` when there is nothing to resolve.
#[must_use]
pub fn resolution(
    payer: Side,
    opening: &LocksOpening,
    locks: &[Lock],
    witness: impl Fn(u64) -> Option<Witness>,
) -> Option<abi::Resolution> {
    let tree = Tree::new(locks.iter().map(Lock::leaf).collect());
    let unlock = |(index, lock): (usize, &Lock)| {
        Some(abi::Unlock {
            lock: lock.to_abi(),
            witness: Bytes::copy_from_slice(witness(lock.id)?.as_bytes()),
            proof: tree
                .proof(index)
                .into_iter()
                .map(|node| B256::from(node.0))
                .collect(),
        })
    };
    let unlocks: Vec<_> = locks.iter().enumerate().filter_map(unlock).collect();
    (!unlocks.is_empty()).then(|| abi::Resolution {
        payer: payer.index(),
        opening: opening.to_abi(),
        unlocks,
    })
}

/// Submissions and resolutions of what one side received.
#[must_use]
pub fn evidence(payer: Side, received: &DirectionEvidence) -> (Vec<abi::Submission>, Vec<abi::Resolution>) {
    let submissions = received
        .voucher
        .iter()
        .map(|signed| submission(payer, signed, received.opening.as_ref()));
    let witnesses = received.witnesses.iter();
    let witnesses = witnesses.filter_map(|(key, witness)| Some((key.parse().ok()?, witness)));
    let known: BTreeMap<u64, &Witness> = witnesses.collect();
    let known = |id: u64| known.get(&id).copied().cloned();
    let resolutions = received
        .opening
        .iter()
        .filter_map(|opening| resolution(payer, opening, &received.locks, known));
    (submissions.collect(), resolutions.collect())
}

/// `open(config, amount)`. For the native coin the amount also goes as value.
#[must_use]
pub fn open(config: &Config, amount: u128) -> abi::IAdjudicator::openCall {
    abi::IAdjudicator::openCall {
        config: config.to_abi(),
        amount: U256::from(amount),
    }
}

/// `deposit(config, amount)`.
#[must_use]
pub fn deposit(config: &Config, amount: u128) -> abi::IAdjudicator::depositCall {
    abi::IAdjudicator::depositCall {
        config: config.to_abi(),
        amount: U256::from(amount),
    }
}

/// `dispute(config, submissions, resolutions)`.
#[must_use]
pub fn dispute(config: &Config, payer: Side, received: &DirectionEvidence) -> abi::IAdjudicator::disputeCall {
    let (submissions, resolutions) = evidence(payer, received);
    abi::IAdjudicator::disputeCall {
        config: config.to_abi(),
        submissions,
        resolutions,
    }
}

/// `finalize(config)`.
#[must_use]
pub fn finalize(config: &Config) -> abi::IAdjudicator::finalizeCall {
    abi::IAdjudicator::finalizeCall {
        config: config.to_abi(),
    }
}

/// `close(config, message, client signature, hub signature)`. A signature of the sender's side may be empty.
#[must_use]
pub fn close(config: &Config, message: &Close, client: &[u8], hub: &[u8]) -> abi::IAdjudicator::closeCall {
    abi::IAdjudicator::closeCall {
        config: config.to_abi(),
        message: message.to_abi(),
        clientSignature: Bytes::copy_from_slice(client),
        hubSignature: Bytes::copy_from_slice(hub),
    }
}

/// `withdraw(config, message, client signature, hub signature)`. A signature of the sender's side may be empty.
#[must_use]
pub fn withdraw(
    config: &Config,
    message: &Withdraw,
    client: &[u8],
    hub: &[u8],
) -> abi::IAdjudicator::withdrawCall {
    abi::IAdjudicator::withdrawCall {
        config: config.to_abi(),
        message: message.to_abi(),
        clientSignature: Bytes::copy_from_slice(client),
        hubSignature: Bytes::copy_from_slice(hub),
    }
}

/// `cancelDispute(config, message, client signature, hub signature)`.
#[must_use]
pub fn cancel_dispute(
    config: &Config,
    message: &CancelDispute,
    client: &[u8],
    hub: &[u8],
) -> abi::IAdjudicator::cancelDisputeCall {
    abi::IAdjudicator::cancelDisputeCall {
        config: config.to_abi(),
        message: message.to_abi(),
        clientSignature: Bytes::copy_from_slice(client),
        hubSignature: Bytes::copy_from_slice(hub),
    }
}
