//! Locked payments, by side: as payer lock, fold on the witness, let go; as payee accept what pays an own invoice, hold what
//! a resolver is to release, give up the rest.

mod locks_in;
mod payee;
mod payer;

pub(super) use locks_in::{LocksIn, Paying};
pub(super) use payee::{AcceptReply, HeldReply, LockNews};
pub(super) use payer::LockReply;
pub(crate) use payer::{INVOICE_EXPIRED, LockOrder};
