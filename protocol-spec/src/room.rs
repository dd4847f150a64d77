//! How many locks one transaction resolves: by its gas, and by the bytes that nodes keep in their pools.

use crate::{Lock, limits};

/// Weight of locks resolved in one transaction, so that it stays far below 2^24 gas (EIP-7825).
const LOCKS_PER_TX_MAX: u64 = 150;
/// Starting a dispute or showing a voucher takes less gas than this, without locks.
pub const SHOW_GAS_MAX: u64 = 500_000;
const _: () = assert!(SHOW_GAS_MAX + LOCKS_PER_TX_MAX * limits::LOCK_GAS_MAX < 1 << 24);
/// Calldata of a lock on a preimage: 11 words and its proof. One with a resolver takes less than four times that.
const LOCK_BYTES: u64 = 32 * (11 + limits::LOCKS_FROM_HUB_MAX.next_power_of_two().ilog2() as u64);
const _: () = assert!(
    LOCK_BYTES + limits::WITNESS_BYTES_MAX as u64 <= LOCK_BYTES * limits::RESOLVER_LOCK_WEIGHT
        && LOCKS_PER_TX_MAX * LOCK_BYTES + (8 << 10) <= 128 << 10,
    "nodes keep no transaction above 128 KiB in their pools"
);

/// Room for locks in one transaction, in locks on a preimage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room(u64);

impl Default for Room {
    fn default() -> Self {
        Self(LOCKS_PER_TX_MAX)
    }
}

impl Room {
    /// Where locks may take so much gas. One of any kind always fits: nothing less can be tried.
    #[must_use]
    pub fn of_gas(gas: u64) -> Self {
        let locks = gas / limits::LOCK_GAS_MAX;
        Self(locks.clamp(limits::RESOLVER_LOCK_WEIGHT, LOCKS_PER_TX_MAX))
    }

    /// How many transactions locks of this weight in all need at most.
    #[must_use]
    pub const fn transactions(weight: u64) -> u64 {
        // What is left of a transaction does not fit the next lock.
        weight.div_ceil(LOCKS_PER_TX_MAX - limits::RESOLVER_LOCK_WEIGHT + 1)
    }

    /// What is left, in locks on a preimage.
    #[must_use]
    pub const fn left(self) -> u64 {
        self.0
    }

    /// Takes the room that resolving `lock` needs; false when there is not enough left.
    pub fn take(&mut self, lock: &Lock) -> bool {
        let left = self.0.checked_sub(lock.condition().weight());
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}
