//! What the hub's own transactions cost, roughly: whole transactions, from the contract's gas table
//! (`protocol-spec/contracts/GAS.md`). For plans and reports; what is sent is estimated by the node.

/// What every transaction pays, with what is around the items of a batch.
const BASE: u64 = 30_000;
/// One reserve in a batch.
const RESERVE: u64 = 8_999;
/// One release in a batch, the first of its channel; a later one costs half.
const RELEASE: u64 = 64_429;
/// A release by itself, the first of its channel.
const RELEASE_ALONE: u64 = 94_566;
/// One close in a batch.
const CLOSE: u64 = 25_257;
/// A close by itself.
const CLOSE_ALONE: u64 = 66_685;
/// One voucher shown, the first of its channel.
const CHECKPOINT: u64 = 34_439;

/// A transaction with so many reserves.
#[must_use]
pub fn reserves(count: usize) -> u64 {
    batch(count, RESERVE)
}

/// A transaction with so many releases.
#[must_use]
pub fn releases(count: usize) -> u64 {
    match count {
        1 => RELEASE_ALONE,
        several => batch(several, RELEASE),
    }
}

/// A transaction with so many closes.
#[must_use]
pub fn closes(count: usize) -> u64 {
    match count {
        1 => CLOSE_ALONE,
        several => batch(several, CLOSE),
    }
}

/// A transaction with so many vouchers.
#[must_use]
pub fn checkpoints(count: usize) -> u64 {
    batch(count, CHECKPOINT)
}

fn batch(count: usize, each: u64) -> u64 {
    match number(count) {
        0 => 0,
        count => BASE.saturating_add(each.saturating_mul(count)),
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
