//! Growing waits between attempts at something that keeps failing.

use crate::Ports;
use std::time::Duration;
use tokio::time::Instant;

/// What has worked for so long has recovered.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How often something has failed in a row: a connection, a channel on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retries {
    failures: u32,
    works_since: Option<Instant>,
}

impl Retries {
    /// It works, as far as one can see now. That alone proves nothing: it may fail at once again.
    pub(crate) fn works(&mut self) {
        self.works_since = Some(Instant::now());
    }

    /// It has done what it is for.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It failed (again): how long to wait before the next attempt. Doubles with every failure from `min` up to `max`;
    /// a random part of the upper half, so that many clients do not come back at once.
    pub(crate) fn failed(&mut self, ports: &Ports, min: Duration, max: Duration) -> Duration {
        let stable = |since: Instant| since.elapsed() >= STABLE_AFTER;
        if self.works_since.take().is_some_and(stable) {
            self.failures = 0;
        }
        let doubled = min.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        let ms = u64::try_from(doubled.min(max).as_millis()).unwrap_or(u64::MAX);
        let half = ms.checked_div(2).unwrap_or_default();
        let range = ms.saturating_sub(half).saturating_add(1);
        let jitter = u64::from_le_bytes(ports.random()).checked_rem(range);
        Duration::from_millis(half.saturating_add(jitter.unwrap_or_default()))
    }
}
