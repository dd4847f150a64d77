//! How much goes into one transaction: it must fit a block of this chain.

use super::Driver;
use protocol_spec::Room;

/// Channels in one batch transaction, at most: stays far below 2^24 gas.
const BATCH_MAX: u64 = 100;
/// Channels paid out by one transaction, at most: 14M gas with [`PAYOUT_GAS`].
const PAYOUTS_MAX: u64 = 50;
/// Gas for one channel of a batch that pays nobody: 34,439 to answer a dispute, more to pay a reserve in, and a fifth that is added
/// to an estimate.
const BATCHED_GAS: u64 = 70_000;
/// Gas for one payout in a batch, whatever its receiver or token does with the most that it is given. An estimate would
/// believe a receiver that burns its gas only when it counts, and then the whole batch would fail.
const PAYOUT_GAS: u64 = 280_000;
/// For what is around channels, payouts and locks.
pub(super) const BASE_GAS: u64 = 200_000;

/// The limit of a batch with so many payouts; none: estimated.
pub(super) fn payout_gas(count: usize) -> Option<u64> {
    let count = u64::try_from(count).ok().filter(|count| *count > 0)?;
    Some(count.saturating_mul(PAYOUT_GAS).saturating_add(BASE_GAS))
}

/// Most of each in one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    /// Channels in a batch that pays nobody.
    pub(super) batch: usize,
    /// Channels in a batch that pays out.
    pub(super) payouts: usize,
    /// Room for the locks of one transaction.
    pub(super) locks: Room,
}

impl Sizes {
    /// For blocks of so much gas. One of everything is tried in any.
    pub(super) fn of_block(gas: u64) -> Self {
        let room = gas.saturating_sub(BASE_GAS);
        let count = |each: u64, most: u64| {
            let fits = room.checked_div(each).unwrap_or(0).min(most);
            usize::try_from(fits.max(1)).unwrap_or(1)
        };
        Self {
            batch: count(BATCHED_GAS, BATCH_MAX),
            payouts: count(PAYOUT_GAS, PAYOUTS_MAX),
            locks: Room::of_gas(room),
        }
    }
}

impl Driver {
    /// For the newest block that was seen.
    pub(super) fn sizes(&self) -> Sizes {
        let latest = self.view.latest();
        Sizes::of_block(latest.map_or(u64::MAX, |block| block.gas_limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_fits_its_block() {
        let of = |gas| {
            let Sizes {
                batch,
                payouts,
                locks,
            } = Sizes::of_block(gas);
            (batch, payouts, locks.left())
        };
        assert_eq!(of(u64::MAX), (100, 50, 150));
        assert_eq!(of(30_000_000), (100, 50, 150));
        assert_eq!(of(3_000_000), (40, 10, 28));
        assert_eq!(
            of(0),
            (1, 1, 4),
            "a node that says so keeps nothing away for ever"
        );
        let payouts = Sizes::of_block(3_000_000).payouts;
        assert!(payout_gas(payouts) <= Some(3_000_000));
    }
}
