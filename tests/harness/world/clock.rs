//! One time for everybody: virtual, and it jumps ahead whenever nobody has anything to do.

use protocol_spec::UnixSeconds;
use rand::{SeedableRng, rngs::StdRng};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// When every world begins.
pub(super) const BEGIN: UnixSeconds = UnixSeconds(1_760_000_000);

/// The world's clock. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> UnixSeconds {
        UnixSeconds(BEGIN.0.saturating_add(self.0.elapsed().as_secs()))
    }

    pub(super) fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
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
