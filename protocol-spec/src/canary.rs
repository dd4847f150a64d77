//! Planted bugs, for tests of the tests: each must be found by the simulated world.
//!
//! Compiled in only with the feature `canary`, which nothing but those tests turns on, and then off until one is
//! planted in the thread that runs the world. Without the feature [`planted`] is the constant `false`.

/// A bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// Hub: signatures leave before their commit is durable.
    AcknowledgeBeforeCommit,
    /// Client: a voucher leaves before the store has it.
    SendBeforeStore,
    /// Hub: the difference between the fee granted and the fee taken is not returned.
    KeepChange,
    /// Hub: after a reconnect the vouchers that the client has not seen are not sent again.
    ForgetUnseen,
    /// Hub: a subscription goes on one event too late.
    SkipEvent,
    /// Hub: a payment that cannot be delivered is kept.
    KeepBounce,
}

#[cfg(feature = "canary")]
mod switch {
    use super::Canary;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or removes it.
    pub fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    /// True when this bug is planted in this thread.
    #[must_use]
    pub fn planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }
}

#[cfg(feature = "canary")]
pub use switch::{plant, planted};

/// No bug is planted: the feature is off.
#[cfg(not(feature = "canary"))]
#[must_use]
pub const fn planted(_: Canary) -> bool {
    false
}
