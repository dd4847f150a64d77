//! Who pays whom, when and how much: merchants of very different size (Zipf), busy by day and quiet by night.

use super::PAYERS;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

pub(super) const DAY_MINUTES: u64 = 24 * 60;
/// Payments of a merchant in a day, on average.
const PAYMENTS_PER_MERCHANT: u64 = 100;
/// How busy each hour of the day is; the mean is 100.
const HOURS: [u64; 24] = [
    20, 12, 8, 8, 10, 20, 45, 80, 110, 125, 135, 160, 190, 170, 140, 130, 140, 165, 195, 190, 150, 100, 60,
    37,
];

pub(super) struct Traffic {
    random: StdRng,
    /// Running sums of the merchants' weights.
    weights: Vec<u64>,
    merchants: usize,
    /// Thousandths of payments left over from the minute before.
    left: u64,
}

impl Traffic {
    pub(super) fn new(merchants: usize, seed: u64) -> Self {
        let weights = (1..=merchants as u64).scan(0, |sum, rank| {
            *sum += 1_000_000 / rank;
            Some(*sum)
        });
        Self {
            random: StdRng::seed_from_u64(seed),
            weights: weights.collect(),
            merchants,
            left: 0,
        }
    }

    /// Payments of one minute: payer, merchant's place among the clients, amount.
    pub(super) fn minute(&mut self, minute: u64) -> Vec<(usize, usize, u128)> {
        let busy = HOURS[(minute / 60 % 24) as usize];
        let milli = self.merchants as u64 * PAYMENTS_PER_MERCHANT * busy * 10 / DAY_MINUTES + self.left;
        self.left = milli % 1000;
        (0..milli / 1000).map(|_| self.payment()).collect()
    }

    fn payment(&mut self) -> (usize, usize, u128) {
        let total = self.weights.last().copied().unwrap_or(1);
        let drawn = self.random.random_range(0..total);
        let merchant = self.weights.partition_point(|sum| *sum <= drawn);
        // Mostly small: 100 to 1,000, one in ten up to ten times that.
        let amount = self.random.random_range(100..1_000_u128);
        let large = self.random.random_range(0..10) == 0;
        let amount = if large {
            amount * self.random.random_range(2..10)
        } else {
            amount
        };
        (self.random.random_range(0..PAYERS), PAYERS + merchant, amount * 4)
    }
}
