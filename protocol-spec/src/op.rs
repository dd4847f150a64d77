//! Operations: what a voucher's change of `paid` and `locks` is made of, each with its digest in the history chain.

use crate::{Address, Amount, ChannelId, Digest, Lock, PaymentId, Side, UnixSeconds, hash::sha256, limits};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// Whom a payment is for. An account stands for the channel it registered for the payer's token.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Payee {
    /// One channel.
    Channel(ChannelId),
    /// The channel registered for (account, token).
    Account(Address),
}

impl Payee {
    /// Tag byte and 32 bytes (an account left-padded with zeros).
    fn encode(&self) -> [u8; 33] {
        let mut out = [0; 33];
        let (tag, body) = out.split_at_mut(1);
        match self {
            Self::Channel(id) => body.copy_from_slice(&id.0),
            Self::Account(account) => {
                tag.copy_from_slice(&[1]);
                body.split_at_mut(12).1.copy_from_slice(account.as_slice());
            }
        }
        out
    }
}

/// A client's order to the hub: deliver `amount` to `payee`. `paid` grows by `amount + fee_max`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Chosen by the payer, random, never used again.
    pub payment_id: PaymentId,
    /// Receiver.
    pub payee: Payee,
    /// What the payee gets; not zero.
    pub amount: Amount,
    /// The most the hub may keep. It returns what its tariff does not take, and bounces if this is too little.
    pub fee_max: Amount,
    /// Not delivered at or after this time by the hub's `now`: it bounces.
    pub expires_at: UnixSeconds,
    /// Digest of the invoice paid, or zero.
    pub invoice: Digest,
}

/// A delivered payment in the hub's voucher to the payee. `paid` grows by `amount`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// The payer's id of the payment.
    pub payment_id: PaymentId,
    /// [`Credit::payer_of`]: names the payer to those who know it, and to nobody else.
    pub payer: Digest,
    /// Token base units.
    pub amount: Amount,
    /// Digest of the invoice paid, or zero.
    pub invoice: Digest,
}

impl Credit {
    /// `keccak(payer_channel || payment_id)`.
    #[must_use]
    pub fn payer_of(channel: &ChannelId, payment_id: &PaymentId) -> Digest {
        Digest(crate::hash::keccak(&Self::payer_preimage(channel, payment_id)))
    }

    /// The bytes whose Keccak-256 [`Credit::payer_of`] is: for whoever hashes many at once.
    #[must_use]
    pub fn payer_preimage(channel: &ChannelId, payment_id: &PaymentId) -> [u8; 48] {
        let mut bytes = [0; 48];
        let (head, tail) = bytes.split_at_mut(32);
        head.copy_from_slice(&channel.0);
        tail.copy_from_slice(&payment_id.0);
        bytes
    }
}

/// Money of a payment that the hub gives back to its payer. `paid` grows by `amount`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// The payment it belongs to.
    pub payment_id: PaymentId,
    /// All of it for a bounce, the unused part of `fee_max` for `change`.
    pub amount: Amount,
    /// Why.
    pub reason: ReturnReason,
}

/// Why the hub returned money. Wire numbers are append-only.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
#[borsh(use_discriminant = false)]
pub enum ReturnReason {
    /// The unused part of `fee_max`; the payment itself was delivered.
    Change = 0,
    /// No channel is registered for the payee.
    UnknownPayee = 1,
    /// The payee's channel is not open.
    PayeeClosed = 2,
    /// The hub's deposit in the payee's channel does not cover it; the payee may ask for more.
    InsufficientReserve = 3,
    /// `expires_at` had come.
    Expired = 4,
    /// `expires_at` is further ahead than the hub keeps ids.
    ExpiryTooFar = 5,
    /// `fee_max` is below the hub's tariff.
    FeeTooLow = 6,
    /// The same id was used before with other content.
    DuplicateId = 7,
    /// Payer and payee are one channel.
    SelfPayment = 8,
    /// The payee's token is another one.
    TokenMismatch = 9,
    /// Too many vouchers of the payee's channel are unacknowledged.
    PayeeBacklog = 10,
    /// The hub is shutting down or may not sign for the payee's channel now.
    Unavailable = 11,
    /// The payee cancelled a locked payment, or let it expire.
    Cancelled = 12,
    /// Locked only: the payee is not connected. A direct payment would reach it.
    PayeeOffline = 13,
    /// Locked only: the lock's expiry leaves the payee or the hub too little time.
    LockTooShort = 14,
    /// Locked only: too many locks, or too much in locks, of this payer, this payee or in all.
    LocksFull = 15,
    /// Locked only: the hub does not forward locks of this resolver.
    ResolverRefused = 16,
    /// Paid to the hub itself, and not what accepts an open quote of capacity: unknown, expired, or another sum.
    QuoteUnknown = 17,
    /// Locked only: the hub does not forward locks of so little. A direct payment would reach the payee.
    LockTooSmall = 18,
    /// Locked only: the payer's or the payee's channel was in doubt after the hub had lost a part of its memory (A10); it
    /// carries no new locks. Pay directly, or close it and open another.
    LocksEnded = 19,
}

impl ReturnReason {
    /// The wire number, also in the digest.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// One operation of a voucher.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Client to hub: deliver money.
    Pay(Payment),
    /// Hub to client: delivered money.
    Credit(Credit),
    /// Hub to client: money back.
    Return(Return),
    /// Either: adds a lock.
    LockAdd {
        /// The lock; `amount` includes the fee granted.
        lock: Box<Lock>,
        /// The payment it carries.
        payment_id: PaymentId,
        /// Final receiver; in the hub's leg the receiving channel itself.
        payee: Payee,
        /// Part of `lock.amount` that the hub may keep; zero in the hub's leg.
        fee_max: Amount,
        /// Digest of the invoice, or zero.
        invoice: Digest,
    },
    /// Either: folds a lock into `paid` on its witness.
    LockConvert {
        /// The lock's id.
        #[serde(with = "crate::message::decimal_u64")]
        id: u64,
        /// The 32-byte preimage, or the resolver's witness.
        #[serde(with = "crate::message::hex_bytes")]
        witness: Vec<u8>,
    },
    /// Either: removes a lock without payment (expired, or the payee consented).
    LockDrop {
        /// The lock's id.
        #[serde(with = "crate::message::decimal_u64")]
        id: u64,
    },
}

impl Op {
    /// What extends the history: SHA-256 over a tag byte and the fields, integers big-endian in their full width.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(match self {
            Self::Pay(p) => sha256(&[
                &[1],
                &p.payment_id.0,
                &p.payee.encode(),
                &p.amount.0.to_be_bytes(),
                &p.fee_max.0.to_be_bytes(),
                &p.expires_at.0.to_be_bytes(),
                &p.invoice.0,
            ]),
            Self::Credit(c) => sha256(&[
                &[2],
                &c.payment_id.0,
                &c.payer.0,
                &c.amount.0.to_be_bytes(),
                &c.invoice.0,
            ]),
            Self::Return(r) => sha256(&[
                &[3],
                &r.payment_id.0,
                &r.amount.0.to_be_bytes(),
                &r.reason.number().to_be_bytes(),
            ]),
            Self::LockAdd {
                lock,
                payment_id,
                payee,
                fee_max,
                invoice,
            } => sha256(&[
                &[4],
                &lock.id.to_be_bytes(),
                &lock.amount.0.to_be_bytes(),
                &lock.expiry.0.to_be_bytes(),
                &lock.hash.0,
                lock.resolver.as_slice(),
                &payment_id.0,
                &payee.encode(),
                &fee_max.0.to_be_bytes(),
                &invoice.0,
            ]),
            Self::LockConvert { id, witness } => sha256(&[&[5], &id.to_be_bytes(), &sha256(&[witness])]),
            Self::LockDrop { id } => sha256(&[&[6], &id.to_be_bytes()]),
        })
    }

    /// Places of [`limits::OPS_PER_FRAME_MAX`] that whoever fills a frame counts for it, so that the frame fits a message
    /// in either encoding.
    #[must_use]
    pub fn places(&self) -> usize {
        match self {
            // Two hex digits a byte, and what is around them.
            Self::LockConvert { witness, .. } => witness
                .len()
                .saturating_mul(2)
                .saturating_add(80)
                .div_ceil(limits::OP_BYTES_MAX),
            _ => 1,
        }
    }

    /// True for the operations that change the set of locks (never part of a jump, R1).
    #[must_use]
    pub fn is_lock(&self) -> bool {
        matches!(
            self,
            Self::LockAdd { .. } | Self::LockConvert { .. } | Self::LockDrop { .. }
        )
    }

    /// True when a voucher whose payer is `payer` may carry it.
    #[must_use]
    pub fn allowed_from(&self, payer: Side) -> bool {
        match self {
            Self::Pay(_) => payer == Side::Client,
            Self::Credit(_) | Self::Return(_) => payer == Side::Hub,
            _ => true,
        }
    }
}

/// Hash chain over all operations of one direction.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct History(pub Digest);

impl History {
    /// Before the first operation: `SHA-256(channel_id || payer side as one byte)`.
    #[must_use]
    pub fn initial(channel: &ChannelId, payer: Side) -> Self {
        Self(Digest(sha256(&[&channel.0, &[payer.index()]])))
    }

    /// After `op`: `SHA-256(history || op digest)`.
    #[must_use]
    pub fn extended(self, op: &Op) -> Self {
        Self(Digest(sha256(&[&self.0.0, &op.digest().0])))
    }
}
