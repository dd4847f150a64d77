//! The Channel Hub protocol and nothing else: no tokio, no clock, no disk, no randomness.
//!
//! Hub and SDK run the same objects: [`Channel`] holds both directions of one channel and checks
//! rules R1-R15 of `SPEC.md`; [`settlement`] is what the adjudicator would pay (R19, R20).
//! Time comes in as an argument, signatures come in verified, bytes go out.

pub mod abi;
mod amount;
pub mod batch;
pub mod calls;
pub mod canary;
pub mod channel;
mod config;
mod cooperative;
mod creation;
mod domain;
mod evidence;
mod guard;
mod hash;
mod ids;
mod invoice;
pub mod limits;
mod lock;
pub mod marks;
pub mod message;
mod op;
mod package;
pub mod probe;
pub mod probes;
mod reject;
mod room;
pub mod settlement;
pub mod signature;
mod text;
mod voucher;
mod witness;

pub use amount::{Amount, Seq, UnixSeconds};
pub use channel::Channel;
pub use config::{Config, Side};
pub use cooperative::{
    Accept, CancelDispute, CapacityQuote, Close, Invoice, Login, Receipt, Register, Withdraw,
};
pub use domain::{Domain, EncodedStruct};
pub use evidence::{DirectionEvidence, Evidence};
pub use guard::{GuardError, SigningGuard};
pub use ids::{ChannelId, Digest, PaymentId, Preimage};
pub use invoice::SignedInvoice;
pub use lock::{Lock, LockSet, LocksOpening};
pub use op::{Credit, History, Op, Payee, Payment, Return, ReturnReason};
pub use package::{Package, Permission, SignedAccept};
pub use reject::Reject;
pub use room::{Room, SHOW_GAS_MAX};
pub use signature::{PublicKey, Signature, SignerKey};
pub use voucher::{SignedVoucher, VerifiedVoucher, Voucher, VoucherSignature};
pub use witness::{Condition, Opened, Witness};

pub use alloy_primitives::Address;
