//! Where the time of day comes from.

use protocol_spec::UnixSeconds;
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// A source of unix seconds. Cheap to clone.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> UnixSeconds + Send + Sync>);

impl Now {
    /// A source that calls `now`.
    pub fn new(now: impl Fn() -> UnixSeconds + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn wall() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            UnixSeconds(since.as_secs())
        })
    }

    /// The time now.
    #[must_use]
    pub fn get(&self) -> UnixSeconds {
        (self.0)()
    }
}

impl Default for Now {
    fn default() -> Self {
        Self::wall()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Now").field(&self.get()).finish()
    }
}
