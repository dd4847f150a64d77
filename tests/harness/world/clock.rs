//! One time for everybody: virtual, and it jumps ahead whenever nobody has anything to do.

use protocol_spec::UnixSeconds;
use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// When every world begins.
pub(super) const BEGIN: UnixSeconds = UnixSeconds(1_760_000_000);

/// The world's clock. Clones are one clock; a machine's own is wrong by its skew.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    began: Instant,
    /// Seconds that all clocks have jumped ahead.
    jumped: Arc<AtomicU64>,
    /// Seconds that this one is wrong by.
    skew_s: Arc<AtomicI64>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
            jumped: Arc::default(),
            skew_s: Arc::default(),
        }
    }

    /// A machine's own, which is wrong by so much.
    pub(super) fn skewed(&self, skew_s: i64) -> Self {
        Self {
            skew_s: Arc::new(AtomicI64::new(skew_s)),
            ..self.clone()
        }
    }

    /// It is set, forward or back: from here on it is wrong by so much.
    pub(super) fn set(&self, skew_s: i64) {
        self.skew_s.store(skew_s, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> UnixSeconds {
        let true_s = BEGIN.0 + self.began.elapsed().as_secs() + self.jumped.load(Ordering::Relaxed);
        UnixSeconds(true_s.saturating_add_signed(self.skew_s.load(Ordering::Relaxed)))
    }

    /// All clocks jump ahead, the chain's with the next block.
    pub(super) fn jump(&self, seconds: u64) {
        self.jumped.fetch_add(seconds, Ordering::Relaxed);
    }

    /// How long the world has lived: without the jumps.
    pub(super) fn lived(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A generator of its own for every purpose, so that drawing more for one changes nothing for the others.
pub(super) fn random(seed: u64, purpose: &str) -> StdRng {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(purpose.as_bytes());
    StdRng::from_seed(hash.finalize().into())
}

/// Key bytes of somebody in the world.
pub(super) fn key_bytes(seed: u64, name: &str) -> [u8; 32] {
    use rand::RngCore as _;
    let mut bytes = [0; 32];
    random(seed, &format!("key of {name}")).fill_bytes(&mut bytes);
    bytes
}
