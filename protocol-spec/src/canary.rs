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
    /// R1: a jump may be as far as it likes.
    SkipJump,
    /// R2: `paid` may be anything.
    SkipPaid,
    /// R3: `ack_paid` may be anything.
    SkipAck,
    /// R4: the payer need not have the money.
    SkipBalance,
    /// R6: goes on in a dispute.
    IgnoreDispute,
    /// R9: a lock is dropped at its expiry, without lag.
    DropEarly,
    /// R12: a withdrawal counts only when it is mined.
    ForgetWithdrawal,
    /// R19: the sum of both sides' evidence instead of the maximum.
    SumNotMax,
    /// Hub, R21: the locks that it can open are not resolved on chain.
    ForgetLocks,
    /// Hub, R23: the payer's lock is given up while the forwarded one is alive.
    CancelLive,
    /// Hub, R24: the payments of a voucher that was refused are delivered.
    CreditRefused,
    /// Hub: payment ids are forgotten at once.
    ForgetIds,
    /// Hub: where memory is full, ids go that could still be delivered twice.
    ForgetForRoom,
    /// Hub: goes on after a commit that failed.
    GoOnAfterError,
    /// Hub: a channel that was at rest takes all items of its lists to be in rows of the store.
    ForgetUnsaved,
    /// Hub, A10: what the restore itself did not mark is not in doubt: a channel opened in the lost part, or all of them when a
    /// client shows what was forgotten.
    TrustBackup,
    /// Client: a receipt counts without a credit in a voucher.
    TrustReceipt,
    /// Client: in a dispute it shows nothing.
    ShowNothing,
    /// Client: a payment counts as returned as soon as the hub says that it gives its lock up.
    TrustConsent,
    /// Client: after a dispute every payment that nobody acknowledged counts as not paid.
    AssumeUnpaid,
    /// Client: its evidence is without the witnesses that it knows.
    ForgetWitnesses,
    /// Client: the credits of folded locks are told apart by the payment's id alone, which two payers may choose.
    ShareCredits,
    /// Client: what follows a frame that it could not take is taken.
    GoOnAfterMiss,
    /// Hub: a lock that was converted stays given up.
    KeepConsents,
    /// Hub: a channel that nobody registered is served.
    ServeUnregistered,
    /// Hub, R21: a voucher whose numbers the chain knows is not shown, whatever it acknowledges.
    TrustNumbers,
    /// Watchtower: in a dispute it shows nothing.
    IdleTower,
    /// Watchtower: the first package of a channel stays, and newer ones are taken for it.
    KeepPackage,
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
