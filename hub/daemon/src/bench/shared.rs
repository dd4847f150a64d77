//! What all connections of the load share.

use super::{keys::Nonces, payees::Payees};
use hub::cli::bench::Shape;
use protocol_spec::{Amount, Digest, Domain, Op, Payee, Payment, PublicKey, UnixSeconds};
use std::sync::{
    Mutex,
    atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

/// What a payee gets by each payment.
pub(super) const AMOUNT: Amount = Amount(1);

/// What all connections share.
pub(super) struct Stage {
    pub(super) domain: Domain,
    pub(super) hub_key: PublicKey,
    pub(super) nonces: Nonces,
    pub(super) payees: Payees,
    pub(super) shape: Shape,
    pub(super) per_voucher: u32,
    pub(super) expires_at: UnixSeconds,
    /// Acknowledged so far, for the display.
    pub(super) acknowledged: AtomicU64,
    /// Credited to payees or given back so far.
    pub(super) arrived: AtomicU64,
    /// Connections whose own payments are answered, and what these sent.
    pub(super) drained: AtomicUsize,
    pub(super) sent: AtomicU64,
    /// The hub's batch that was verified last: its root and the signature over it.
    pub(super) verified: Mutex<Option<(Digest, protocol_spec::Signature)>>,
    phase: AtomicU8,
}

/// Where the load is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    /// Payments flow, and nothing counts.
    WarmUp = 0,
    /// Payments flow and count.
    Counting = 1,
    /// No new payments; what is under way is waited for.
    Draining = 2,
    /// All have their answers and all credits: what has not come by now is late.
    Done = 3,
}

impl Stage {
    pub(super) fn new(
        domain: Domain,
        hub_key: PublicKey,
        nonces: Nonces,
        payees: Payees,
        (shape, per_voucher): (Shape, u32),
        expires_at: UnixSeconds,
    ) -> Self {
        Self {
            domain,
            hub_key,
            nonces,
            payees,
            shape,
            per_voucher,
            expires_at,
            acknowledged: AtomicU64::new(0),
            arrived: AtomicU64::new(0),
            drained: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
            verified: Mutex::new(None),
            phase: AtomicU8::new(Phase::WarmUp as u8),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::WarmUp,
            1 => Phase::Counting,
            2 => Phase::Draining,
            _ => Phase::Done,
        }
    }

    /// A payment of one unit.
    pub(super) fn payment(&self, payment_id: protocol_spec::PaymentId, payee: Payee) -> Op {
        Op::Pay(Payment {
            payment_id,
            payee,
            amount: AMOUNT,
            fee_max: Amount::ZERO,
            expires_at: self.expires_at,
            invoice: Digest::ZERO,
        })
    }
}
