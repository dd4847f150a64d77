//! A token bucket in integers.

use std::time::Duration;
use tokio::time::Instant;

const NANO: u128 = 1_000_000_000;

/// Fills with `rate` tokens per second up to `burst`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: u32,
    /// In billionths of a token, like `level`.
    burst: u128,
    level: u128,
    debt: u128,
    at: Instant,
}

impl Bucket {
    /// A full bucket. A rate of zero never refills.
    pub(crate) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let burst = u128::from(burst).saturating_mul(NANO);
        Self {
            rate,
            burst,
            level: burst,
            debt: 0,
            at: now,
        }
    }

    /// Takes one token. Without one: how long until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        match self.level.checked_sub(NANO) {
            Some(level) if self.debt == 0 => {
                self.level = level;
                Ok(())
            }
            _ => Err(self.wait_for(NANO.saturating_sub(self.level).saturating_add(self.debt))),
        }
    }

    /// Takes `amount` tokens that are spent already; the answer is how long to pause.
    pub(crate) fn charge(&mut self, amount: usize, now: Instant) -> Duration {
        self.refill(now);
        let cost = u128::try_from(amount).unwrap_or(u128::MAX).saturating_mul(NANO);
        self.debt = self.debt.saturating_add(cost.saturating_sub(self.level));
        self.level = self.level.saturating_sub(cost);
        self.wait_for(self.debt)
    }

    fn refill(&mut self, now: Instant) {
        let gained = now
            .saturating_duration_since(self.at)
            .as_nanos()
            .saturating_mul(u128::from(self.rate));
        self.at = self.at.max(now);
        let repaid = gained.min(self.debt);
        self.debt = self.debt.saturating_sub(repaid);
        let rest = gained.saturating_sub(repaid);
        self.level = self.level.saturating_add(rest).min(self.burst);
    }

    fn wait_for(&self, missing: u128) -> Duration {
        let nanos = missing.div_ceil(u128::from(self.rate.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empties_after_the_burst_and_refills_at_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        for _ in 0..3 {
            bucket.take(start).unwrap();
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        assert!(bucket.take(start + Duration::from_millis(99)).is_err());
        bucket.take(start + Duration::from_millis(100)).unwrap();
        assert!(bucket.take(start + Duration::from_millis(100)).is_err());
        for _ in 0..3 {
            bucket.take(start + Duration::from_secs(3600)).unwrap();
        }
        assert!(
            bucket.take(start + Duration::from_secs(3600)).is_err(),
            "never more than the burst"
        );
    }

    #[test]
    fn a_charge_beyond_the_level_is_paid_off_by_waiting() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1000, 1000, start);
        assert_eq!(bucket.charge(1000, start), Duration::ZERO);
        assert_eq!(bucket.charge(500, start), Duration::from_millis(500));
        assert_eq!(
            bucket.charge(0, start + Duration::from_millis(500)),
            Duration::ZERO
        );
        assert_eq!(
            bucket.charge(1, start + Duration::from_millis(500)),
            Duration::from_millis(1)
        );
    }

    #[test]
    fn time_that_goes_backwards_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(1, 1, start);
        bucket.take(start).unwrap();
        assert!(
            bucket
                .take(start.checked_sub(Duration::from_secs(5)).unwrap())
                .is_err()
        );
        assert!(bucket.take(start).is_err());
    }
}
