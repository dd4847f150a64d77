//! What the adjudicator's errors mean, in words: which fact, which values, what to do.

use super::text;
use alloy::{
    primitives::U256,
    sol_types::{Revert, SolError as _, SolInterface as _},
};
use protocol_spec::abi::IAdjudicator::IAdjudicatorErrors as E;

/// Words for revert data.
#[must_use]
pub fn revert(data: &[u8]) -> String {
    if data.is_empty() {
        return "without a reason (out of gas, or a contract in between is broken)".to_owned();
    }
    if let Ok(error) = E::abi_decode(data) {
        return words(&error);
    }
    match Revert::abi_decode(data) {
        Ok(revert) => plain(&revert.reason, 200),
        Err(_) => format!(
            "with data settle does not know: 0x{}",
            hex::encode(data.get(..36).unwrap_or(data))
        ),
    }
}

/// Text of strangers without control characters, cut at `chars_max`.
#[must_use]
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(chars_max).collect()
}

fn words(error: &E) -> String {
    match error {
        E::WrongStatus(e) => format!(
            "WrongStatus: the channel is {}, this needs it {}. Run `settle status`",
            text::phase_of(e.got),
            text::phase_of(e.expected)
        ),
        E::WindowOver(e) => format!(
            "WindowOver: vouchers were taken until {}, chain time is {}. Wait and run `settle finalize`",
            e.windowEnd, e.nowS
        ),
        E::NotFinal(e) => format!(
            "NotFinal: final at {}, chain time is {}. Run `settle finalize` in {}",
            e.finalAt,
            e.nowS,
            text::duration(seconds_between(e.nowS, e.finalAt))
        ),
        E::AlreadyFinal(e) => format!(
            "AlreadyFinal: the dispute was final at {}, chain time is {}. Run `settle finalize`",
            e.finalAt, e.nowS
        ),
        E::NotThePayee(e) => format!(
            "NotThePayee: {} may not show this voucher. Send with the key of the payee's account or signer",
            e.sender
        ),
        E::NotAParty(e) => format!(
            "NotAParty: {} is no party of the channel. Use another key",
            e.sender
        ),
        E::BadSignature(e) => format!(
            "BadSignature: the voucher or message (digest {}) is not signed by {}. It is of another channel, or damaged",
            e.digest, e.signer
        ),
        E::WrongChannel(e) => format!("WrongChannel: expected {}, got {}", e.expected, e.got),
        E::NothingToClaim(e) => format!(
            "NothingToClaim: nothing is left for {} in token {}",
            e.account, e.token
        ),
        E::TransferFailed(e) => format!(
            "TransferFailed: {} of the coin could not be sent to {}. Choose another --to",
            e.amount, e.to
        ),
        E::ZeroAddress(_) => "ZeroAddress: an address is zero. Choose another --to".to_owned(),
        error => locks(error),
    }
}

fn locks(error: &E) -> String {
    match error {
        E::WrongOpening(e) => format!(
            "WrongOpening: the stored locks are {}, shown was {}. A newer voucher was stored meanwhile: run again",
            e.expected, e.got
        ),
        E::ExpiryTooFar(e) => format!(
            "ExpiryTooFar: a lock expires at {}, the adjudicator takes expiries up to {}",
            e.maxExpiry, e.limit
        ),
        E::NoLiveLocks(_) => {
            "NoLiveLocks: the locks are superseded by a newer voucher or acknowledgement. Run again"
                .to_owned()
        }
        E::LockNotProven(e) => format!(
            "LockNotProven: lock leaf {} is not in the stored voucher. Run again",
            e.leaf
        ),
        E::LockExpired(e) => format!(
            "LockExpired: a lock expired at {}, chain time is {}. Run again: expired locks are left out",
            e.expiry, e.nowS
        ),
        E::WrongPreimage(e) => format!("WrongPreimage: the preimage does not hash to {}", e.hash),
        E::WitnessTooLong(e) => format!("WitnessTooLong: {} bytes, at most {}", e.got, e.max),
        E::ResolverRefused(e) => format!(
            "ResolverRefused: {} does not accept the witness for {}",
            e.resolver, e.hash
        ),
        E::NotEnoughGas(e) => format!(
            "NotEnoughGas: {} needed, {} left. Raise --gas-limit",
            e.needed, e.left
        ),
        E::SeqTooLarge(e) => format!("SeqTooLarge: seq {}, at most {}", e.seq, e.limit),
        E::PaidTooLarge(e) => format!("PaidTooLarge: paid {}, at most {}", e.paid, e.limit),
        error => cooperative(error),
    }
}

fn cooperative(error: &E) -> String {
    match error {
        E::BadCountersignature(e) => format!("BadCountersignature: not {}'s over {}", e.signer, e.digest),
        E::DeadlinePassed(e) => format!("DeadlinePassed: it was {}, chain time is {}", e.deadline, e.nowS),
        E::DeadlineTooFar(e) => format!(
            "DeadlineTooFar: {} is more than a day ahead, taken are deadlines up to {}",
            e.deadline, e.limit
        ),
        E::DepositMissing(e) => format!(
            "DepositMissing: the message divides a deposit of {}, the chain has {}",
            e.named, e.actual
        ),
        E::SumMismatch(e) => format!(
            "SumMismatch: balances and withdrawals make {}, the named deposits are {}. A withdrawal came in between; \
             sign a new close",
            e.got, e.expected
        ),
        E::WithdrawalNotNewer(e) => format!(
            "WithdrawalNotNewer: {} in all were withdrawn already, the message says {}",
            e.withdrawn, e.total
        ),
        E::InsufficientTotal(e) => format!(
            "InsufficientTotal: the channel holds {}, {} were to leave it",
            e.total, e.amount
        ),
        E::WrongDisputeNo(e) => format!(
            "WrongDisputeNo: dispute {} is running, the message cancels {}",
            e.expected, e.got
        ),
        other => {
            let name = E::signature_by_selector(other.selector()).unwrap_or("an error");
            format!("{name}: not expected from this command; run `settle status`")
        }
    }
}

fn seconds_between(from: U256, to: U256) -> u64 {
    to.saturating_sub(from).saturating_to()
}
