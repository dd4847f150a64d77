//! What the SDK's operations take and give.

use crate::HubFault;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Address, Amount, CapacityQuote, ChannelId, Config, Digest, Payee, PaymentId, Receipt, ReturnReason, Seq,
    Signature, UnixSeconds, VoucherSignature, Witness,
    message::{Cursor, PaymentStatus},
};
use std::time::Duration;

/// A delivered payment: credited to the payee, durable at the hub, acknowledged by a hub voucher this client holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paid {
    /// The payment.
    pub payment_id: PaymentId,
    /// The channel that paid.
    pub channel_id: ChannelId,
    /// The own voucher that carried it.
    pub seq: Seq,
    /// What the payee got.
    pub amount: Amount,
    /// What the hub kept.
    pub fee: Amount,
}

/// A locked payment that its payee has opened: the witness is the proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockedPaid {
    /// The payment.
    pub payment_id: PaymentId,
    /// The channel that paid.
    pub channel_id: ChannelId,
    /// What the payee got.
    pub amount: Amount,
    /// Opens the invoice's condition: its preimage, which only the payee knew, or what its resolver takes. Checked.
    pub witness: Witness,
}

/// An invoice of this client that was paid, by a voucher of the hub that this client holds, or by the payout of a dispute in which
/// its lock was opened.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct LockedReceived {
    /// The payer's id of the payment.
    pub payment_id: PaymentId,
    /// The channel that received.
    pub channel_id: ChannelId,
    /// The hub's voucher that pays it, or that has the lock which was collected on chain.
    pub seq: Seq,
    /// At least the invoice's amount.
    pub amount: Amount,
}

/// A lock of the hub that pays an invoice of this client once its resolver takes a witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockHeld {
    /// The payer's id of the payment.
    pub payment_id: PaymentId,
    /// The channel that is to receive.
    pub channel_id: ChannelId,
    /// At least the invoice's amount.
    pub amount: Amount,
    /// From then on the lock is worth nothing. Release well before: the hub needs a moment, the chain half an hour.
    pub expiry: UnixSeconds,
}

/// Options of one locked payment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LockOptions {
    /// Names the payment for good; random by default.
    pub payment_id: Option<PaymentId>,
    /// The most the hub may keep. By default the hub is asked for a quote.
    pub fee_max: Option<Amount>,
    /// Life of the lock: the money is back after it at the latest. Default: 3 hours. The hub needs one to two of them.
    pub life: Option<Duration>,
}

/// Options of one payment. `PayOptions::default()` is what `pay` uses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PayOptions {
    /// Names the payment for good; random by default. The same id and content again gives the same answer.
    pub payment_id: Option<PaymentId>,
    /// The most the hub may keep. By default the hub is asked for a quote, see `fee_limit` on the builder.
    pub fee_max: Option<Amount>,
    /// Not delivered later than this from now. Default: 10 minutes; at most a day.
    pub expires_in: Option<Duration>,
    /// Digest of the invoice paid.
    pub invoice: Option<Digest>,
}

/// What a payment would cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// The fee to grant as `fee_max`.
    pub fee: Amount,
    /// Why it would bounce now; `None` when it would be delivered.
    pub would_bounce: Option<ReturnReason>,
    /// With `InsufficientReserve`: from then on the hub expects to be able to deliver it; `None`: it does not know.
    pub ready_at: Option<UnixSeconds>,
}

/// What more receive capacity costs, signed by the hub. Nothing is paid before [`crate::ChannelHandle::accept_capacity`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CapacityOffer {
    /// The terms: amount, fee, until when it can be accepted, how soon it is there, how long the hub leaves it.
    pub quote: CapacityQuote,
    /// The hub's signature over it.
    pub signature: Signature,
}

/// What became of an own payment.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum PaymentState {
    /// Waits to be signed.
    Queued,
    /// Signed; no acknowledging hub voucher yet. Once the channel is closed on chain, it is one of the others.
    InFlight {
        /// The own voucher that carries it.
        seq: Seq,
    },
    /// Delivered, proven by a hub voucher.
    Delivered {
        /// The own voucher that carried it.
        seq: Seq,
        /// What the hub kept.
        fee: Amount,
    },
    /// Returned, proven by a hub voucher; a lock also by its age (R9).
    Bounced {
        /// The own voucher that carried it.
        seq: Seq,
        /// The hub's reason.
        reason: ReturnReason,
    },
    /// This client holds no proof either way: its store was restored from a backup, the hub returned only a part and
    /// the channel is frozen for it, or the channel was closed on chain, where the hub was paid for it, or may have been, and it has
    /// never acknowledged it.
    Lost,
    /// The channel was closed by a dispute in which the hub did not show the voucher that carried it, or did not open its lock:
    /// the hub was not paid for it, and the money came back with the payout. It stands as long as the payout does, which only a
    /// reorganisation deeper than the confirmations takes back. Do not believe it of a store that is an old backup: what
    /// it has forgotten may have been closed by both.
    NotPaid {
        /// The own voucher that carried it.
        seq: Seq,
    },
}

/// Answer of `payment(id)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PaymentAnswer {
    /// From this client's own store and the vouchers it accepted.
    Known(PaymentState),
    /// Not in this client's store, or without proof there: the hub's word only.
    HubSays(PaymentStatus),
}

/// A payment received. Its receipt is signed by the hub and backed by a credit in a voucher this client accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedPayment {
    /// Its place in the channel's log; hand it to `payments` to go on after it.
    pub cursor: Cursor,
    /// The hub's statement.
    pub receipt: Receipt,
    /// The hub's signature over it; verifiable offline by anybody who knows the hub's signer.
    pub signature: VoucherSignature,
    /// True when the credit itself was seen in an accepted voucher. False only for receipts from before a restore from
    /// backup, where the sum of the vouchers is proven but the single credits are not known any more.
    pub backed: bool,
}

/// Money of one channel, as this client can prove it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Balance {
    /// What can be paid now, queued payments counted as spent.
    pub spendable: Amount,
    /// What the adjudicator would pay this client now, by the vouchers it holds; in-flight payments count as spent.
    pub settled: Amount,
    /// Signed and not acknowledged yet, fees included.
    pub in_flight: Amount,
    /// Waiting to be signed, fees included.
    pub queued: Amount,
    /// In own locks, fees included: paid or back by their expiry.
    pub locked: Amount,
    /// In the hub's locks: received once the hub has folded what this client opened, back with the hub otherwise, by their
    /// expiry. No close is signed while there are any (R15).
    pub incoming: Amount,
    /// Confirmed gross deposit.
    pub deposit: Amount,
    /// Withdrawn, signed withdrawals counted as done.
    pub withdrawn: Amount,
    /// Total ever received: credits and returns.
    pub received: Amount,
    /// Total ever paid: payments with the fees granted.
    pub paid: Amount,
}

/// Whether a channel can be trusted to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// Everything verified.
    Good,
    /// The hub broke the protocol; nothing is signed any more.
    Frozen(HubFault),
}

/// One channel as this client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelView {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its facts.
    pub config: Config,
    /// `opening` (not confirmed yet), `open`, `closing`, `disputed` or `closed`.
    pub phase: &'static str,
    /// True while connected, registered and resumed: payments flow.
    pub live: bool,
    /// Good or frozen.
    pub health: Health,
    /// Money.
    pub balance: Balance,
    /// Newest own voucher.
    pub sent_seq: Seq,
    /// Newest hub voucher accepted.
    pub received_seq: Seq,
    /// Own vouchers the hub has not acknowledged by a voucher of its own.
    pub unacked: usize,
    /// Confirmed deposit of the hub: with `balance.settled` it bounds what can be received.
    pub hub_deposit: Amount,
    /// True while a withdrawal is signed and neither final nor lapsed (R12).
    pub withdraw_pending: bool,
    /// Withdrawn by the client, confirmed on chain.
    pub withdrawn_on_chain: Amount,
    /// True when no new locks go from or to here, because the client or the hub came back from an old backup: direct
    /// payments do, and another channel takes locks.
    pub locks_ended: bool,
}

/// The facts of a hub that must not change.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct HubPin {
    /// Name in `Login` and `Register`.
    pub server: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The adjudicator.
    pub adjudicator: Address,
    /// Owner of the hub's side.
    pub hub: Address,
    /// The hub's voucher key.
    pub hub_signer: Address,
}

/// What happens beside the operations that were called.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Logged in (again).
    Connected,
    /// The connection is gone, or could not be made; it is tried again. See [`crate::Client::unreachable`].
    Disconnected {
        /// Why.
        why: String,
    },
    /// Registered and resumed: payments flow.
    ChannelLive(ChannelId),
    /// The hub broke the protocol; the channel is frozen.
    HubMisbehaved {
        /// The channel.
        channel_id: ChannelId,
        /// What it did.
        fault: HubFault,
    },
    /// The client's store was behind its own vouchers and has adopted the newest (restore from a backup, A11).
    Restored {
        /// The channel.
        channel_id: ChannelId,
        /// Newest own voucher now.
        seq: Seq,
    },
    /// An RPC endpoint does not answer, or serves another chain; it is asked again, and the others go on. Told once to whoever
    /// listens, until the reason changes or it has answered.
    NodeFailed {
        /// Its host, or `provider` and its number; never the rest of its URL, which may hold a key.
        node: String,
        /// What happened.
        why: String,
    },
    /// The newest confirmed block of all RPC endpoints is too old: for locks (older than `lag`, ten minutes), or for everything
    /// (older than a quarter of the challenge period, R6). What the hub sends waits, and payments are refused, until
    /// [`ClientEvent::ChainFresh`]. Fix the endpoints: meanwhile a dispute may be missed.
    ChainStale {
        /// The channel.
        channel_id: ChannelId,
        /// When the newest confirmed block was made; zero when none was read yet.
        block_at: UnixSeconds,
        /// Payments without locks go on.
        only_locks: bool,
    },
    /// The chain is seen well again; what waited is taken up.
    ChainFresh {
        /// The channel.
        channel_id: ChannelId,
    },
    /// A voucher of the hub waits for half a minute: by this client's view of the chain the hub cannot pay it (R4), or its lock
    /// cannot be taken or dropped yet (R5). Either the endpoints are wrong about the hub's deposit or withdrawals, or the hub
    /// is. Told once for each voucher; when the chain does not come to show it within `lag` the channel is frozen
    /// ([`ClientEvent::HubMisbehaved`]).
    VoucherHeld {
        /// The channel.
        channel_id: ChannelId,
        /// The rule with its numbers.
        why: String,
        /// The hub's deposit as it is believed here.
        hub_deposit: Amount,
        /// What the hub is believed to have withdrawn, signed withdrawals included.
        hub_withdrawn: Amount,
    },
    /// A dispute was seen on chain: nothing is signed or accepted any more. Told again after a restart only when it is another.
    Disputed {
        /// The channel.
        channel_id: ChannelId,
        /// Who answers it.
        defence: Defence,
    },
    /// A transaction of this client in a dispute was mined: it started the dispute, showed the newest voucher, resolved locks,
    /// finalized, or fetched a payout.
    Defended {
        /// The channel.
        channel_id: ChannelId,
        /// The hub's newest voucher here.
        seq: Seq,
        /// Hash of the transaction.
        transaction: String,
    },
    /// This client could not answer a dispute (or start one, [`ClientEvent::LockAtRisk`]), and tries again until it is too late.
    /// Told once until the reason changes. Look at the sender's coins for gas and at the RPC endpoints, or show the evidence
    /// from elsewhere: `settle submit --evidence FILE --broadcast` (`settle dispute`).
    DefenceFailed {
        /// The channel.
        channel_id: ChannelId,
        /// What happened.
        why: String,
    },
    /// The hub has not folded a lock that this client can open, and half an hour is left (`act`): the chain must be shown what
    /// opens it (R21). Told once by each process.
    LockAtRisk {
        /// The channel.
        channel_id: ChannelId,
        /// The hub's lock.
        lock_id: u64,
        /// After it the witness is worth nothing.
        expiry: UnixSeconds,
        /// Who does it. [`Defence::Automatic`]: this client disputes, resolves and finalizes; see [`ClientEvent::Defended`] and
        /// [`ClientEvent::DefenceFailed`]. [`Defence::ByHand`]: nobody here. Before `expiry` run
        /// `settle dispute --evidence FILE --broadcast`, and `settle finalize` when the dispute is final.
        defence: Defence,
    },
    /// A package could not be handed to a watchtower. It is tried again; told once until the reason changes.
    TowerFailed {
        /// The tower's directory or URL.
        place: String,
        /// The channel.
        channel_id: ChannelId,
        /// What happened.
        why: String,
    },
    /// A payment bounced because the hub's reserve in the payee's channel was used up, and the hub refills it: pay again
    /// (with a new id) from `ready_at` on.
    ReserveComing {
        /// The paying channel.
        channel_id: ChannelId,
        /// What bounced.
        payment_id: PaymentId,
        /// When the hub expects to be able to deliver it.
        ready_at: UnixSeconds,
    },
    /// The channel was paid out.
    Closed {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The hub refused a call or a voucher; it is retried.
    Refused {
        /// The channel.
        channel_id: ChannelId,
        /// The hub's words.
        why: String,
    },
}

/// Who does on chain what must be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Defence {
    /// This client, for as long as it runs: see [`ClientEvent::Defended`].
    Automatic,
    /// Nobody here: there is no sender that is the channel's client or signer, or `defend(false)` was said. Before the window ends
    /// run `settle submit --evidence FILE --broadcast`, after it `settle finalize`; the file is that of
    /// [`crate::ChannelHandle::save_evidence`] or `evidence_dir`.
    ByHand,
}

/// Whom to pay: an account address, a channel id, or a [`Payee`].
pub trait IntoPayee {
    /// The payee.
    fn into_payee(self) -> Payee;
}
impl IntoPayee for Payee {
    fn into_payee(self) -> Payee {
        self
    }
}
impl IntoPayee for Address {
    fn into_payee(self) -> Payee {
        Payee::Account(self)
    }
}
impl IntoPayee for ChannelId {
    fn into_payee(self) -> Payee {
        Payee::Channel(self)
    }
}

/// An amount: an [`Amount`] or a plain number of base units.
pub trait IntoAmount {
    /// The amount.
    fn into_amount(self) -> Amount;
}
impl IntoAmount for Amount {
    fn into_amount(self) -> Amount {
        self
    }
}
impl IntoAmount for u128 {
    fn into_amount(self) -> Amount {
        Amount(self)
    }
}
