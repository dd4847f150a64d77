//! Errors, one enum per operation. Each says whose fault it is and what to do next.

use crate::Defence;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Address, Amount, ChannelId, PaymentId, Reject, ReturnReason, UnixSeconds,
    message::{Cursor, RpcError},
};
use thiserror::Error;

/// The store failed. An operating error; nothing was sent that is not stored.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum StoreError {
    /// Another process has the file open.
    #[error("{path}: another process uses this store; stop it first, two clients on one key lose money")]
    InUse {
        /// The file.
        path: String,
    },
    /// The file is a store that another version of the SDK wrote. What it holds of channels only that version can read.
    #[error(
        "{path}: this store has the form {found}, and this version of the SDK reads {expected} only; it is left untouched: open it with the version that wrote it, and close its channels before you go on with this one"
    )]
    OtherVersion {
        /// The file.
        path: String,
        /// What the file says that it is.
        found: String,
        /// What this version writes.
        expected: String,
    },
    /// The file is no store, or damaged.
    #[error(
        "{path}: not a readable store ({why}); it is left untouched: restore a backup, or name a new path"
    )]
    Corrupt {
        /// The file.
        path: String,
        /// What was found.
        why: String,
    },
    /// The disk or the operating system failed.
    #[error("the store failed: {0}; the client has stopped, fix the disk and reconnect")]
    Io(String),
}

/// The signer failed. Nothing wrong was released: every signature is checked before it is used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum SignerError {
    /// The signer reported an error or did not answer in time.
    #[error("the signer failed: {0}; it is asked again later")]
    Failed(String),
    /// The signer returned something that is no signature of its own address over the digest.
    #[error("the signer returned a wrong signature; check its key")]
    WrongSignature,
    /// The signing guard refused: this seq was signed before with other content.
    #[error("the signing guard refused: {0}; is the key used by another process?")]
    Guard(String),
}

impl SignerError {
    pub(crate) fn late() -> Self {
        Self::Failed("no answer in time".to_owned())
    }
}

/// The chain could not be read or written.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ChainError {
    /// Neither an RPC endpoint nor a provider was given.
    #[error("no RPC endpoint configured: call `.rpc(..)` on the builder")]
    NotConfigured,
    /// No key that can send transactions was given.
    #[error("no key to send transactions with: call `.sender(..)` on the builder")]
    NoSender,
    /// The endpoint failed.
    #[error("the RPC endpoint failed: {0}")]
    Rpc(String),
    /// The endpoint serves another chain than the hub.
    #[error("the RPC endpoint serves chain {got}, the hub is on chain {expected}")]
    WrongChain {
        /// The hub's.
        expected: u64,
        /// The endpoint's.
        got: u64,
    },
    /// Nothing was sent: the transaction would revert, by what the endpoints say.
    #[error("the transaction would revert: {0}")]
    WouldRevert(String),
    /// The transaction was mined and reverted.
    #[error("transaction {tx} reverted")]
    Reverted {
        /// Its hash.
        tx: String,
    },
    /// What was waited for did not happen in time. It may still happen: look again later.
    #[error("not seen on chain in time: {0}")]
    Timeout(&'static str),
}

/// The hub is not the one this client knows. Do not continue before its operator has explained the change.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the hub's {field} is {got}, pinned is {expected}")]
pub struct PinMismatch {
    /// Which fact.
    pub field: &'static str,
    /// Pinned.
    pub expected: String,
    /// What the hub says.
    pub got: String,
}

/// Why a hub's TLS certificate is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// No authority that this client trusts has signed it.
    #[error(
        "no authority that this client trusts has signed it; if the hub has an authority of its own, give that one's \
         certificate to `.root_certificate_pem(..)` on the builder"
    )]
    UnknownAuthority,
    /// It was made for another host.
    #[error("it is for {presented}; use a name that it is for in the hub's URL")]
    WrongName {
        /// The names in it.
        presented: String,
    },
    /// Expired, or not valid yet.
    #[error(
        "it has expired or is not valid yet; check this machine's clock, otherwise the hub's operator must renew it"
    )]
    OutOfTime,
    /// Anything else.
    #[error("{0}; tell the hub's operator")]
    Other(String),
}

/// `connect` failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A builder option is missing or makes no sense.
    #[error("{0}")]
    Options(&'static str),
    /// So many endpoints cannot agree.
    #[error("`.agree({agree})`: it must be from 1 to the number of chain endpoints ({endpoints})")]
    Agree {
        /// What the builder was told.
        agree: usize,
        /// How many endpoints it was given.
        endpoints: usize,
    },
    /// The hub cannot be reached, or does not speak the protocol. Retry later.
    #[error("cannot reach the hub: {0}")]
    Unreachable(String),
    /// Somebody answers at the hub's address, but does not prove to be `host`. Nothing was sent.
    #[error("the TLS certificate of {host} is not accepted: {problem}")]
    Certificate {
        /// The host of the URL.
        host: String,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// The hub refused the login.
    #[error("the hub refused the login: {0}")]
    Refused(RpcError),
    /// Another hub than expected.
    #[error(transparent)]
    Pin(#[from] PinMismatch),
    /// The hub's statement about itself contradicts itself.
    #[error("the hub's facts are not valid: {0}")]
    HubInvalid(&'static str),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`SignerError`].
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// See [`ChainError`].
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Which spend limit was hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitKind {
    /// One payment with its fee.
    PerPayment,
    /// Everything the hub has not acknowledged yet.
    InFlight,
    /// Everything paid since `connect`.
    Total,
}

/// A payment failed. Only [`PayError::Unknown`] leaves money in doubt.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PayError {
    /// Nothing was signed. Deposit more or pay less.
    #[error("balance is {available}, {needed} needed")]
    InsufficientBalance {
        /// What can be spent, queued payments counted.
        available: Amount,
        /// Amount and fee.
        needed: Amount,
    },
    /// Nothing was signed. Raise the limit with `spend_limit` on the builder if this was meant.
    #[error("spend limit {kind:?} is {limit}, {asked} asked")]
    SpendLimit {
        /// Which limit.
        kind: LimitKind,
        /// Its value now.
        limit: Amount,
        /// Amount and fee.
        asked: Amount,
    },
    /// Nothing was signed. The hub's quote is above the fee limit; name a `fee_max` if this was meant.
    #[error("the hub asks a fee of {fee}, the limit is {limit}")]
    FeeTooHigh {
        /// Quoted.
        fee: Amount,
        /// Largest accepted without being named.
        limit: Amount,
    },
    /// A payment of nothing.
    #[error("the amount must not be zero")]
    AmountZero,
    /// Nothing was signed. Ask for a new offer.
    #[error("the offer of capacity has expired, is another channel's, or is not the hub's")]
    OfferInvalid,
    /// The payment came back whole, by a voucher of the hub; a lock also by its age (R9).
    #[error("payment {payment_id} bounced: {reason:?}; the money is back")]
    Bounced {
        /// Which.
        payment_id: PaymentId,
        /// The hub's reason.
        reason: ReturnReason,
    },
    /// The channel was closed by a dispute that did not count it: the hub was not paid, the money is in the payout. If the payee
    /// has it all the same, the hub has paid for that.
    #[error(
        "payment {payment_id} was not paid: the channel was closed without it; the money is in the payout"
    )]
    NotPaid {
        /// Which.
        payment_id: PaymentId,
    },
    /// Signed and perhaps sent; no answer in time. Ask `payment(id)` later; do not pay again under another id.
    #[error("the outcome of payment {payment_id} is not known yet")]
    Unknown {
        /// Which.
        payment_id: PaymentId,
    },
    /// Never signed, and given up: no connection in time. Safe to pay again.
    #[error("payment {payment_id} was not sent in time; nothing was signed")]
    NotSent {
        /// Which.
        payment_id: PaymentId,
    },
    /// The id was used before for another payment.
    #[error("payment id {payment_id} was used before with other content")]
    DuplicateId {
        /// Which.
        payment_id: PaymentId,
    },
    /// The hub broke the protocol on this channel; nothing is signed on it any more. Exit with the evidence.
    #[error("channel {channel} is frozen: {fault}")]
    Frozen {
        /// The channel.
        channel: ChannelId,
        /// What the hub did.
        fault: HubFault,
    },
    /// There is no open channel for the token.
    #[error("no open channel; call `open` first")]
    NoChannel,
    /// The channel takes no payments in this phase, or by this rule.
    #[error("the channel refuses: {0}")]
    Refused(Reject),
    /// The view of the chain is too old to sign safely (R6). Fix the RPC endpoint.
    #[error("the view of the chain is too old to pay safely")]
    ChainStale,
    /// The hub cannot be asked now; nothing was signed.
    #[error("no answer from the hub; nothing was signed")]
    Offline,
    /// Nothing was signed. The invoice is not the payee's, or cannot be paid any more.
    #[error("the invoice is refused: {0}")]
    Invoice(&'static str),
    /// The hub did not quote.
    #[error("no quote: {0}")]
    Quote(RpcError),
    /// The client was shut down, or its store failed.
    #[error("the client has stopped: {0}")]
    Stopped(String),
}

fn list(tokens: &[Address]) -> String {
    let names: Vec<String> = tokens.iter().map(Address::to_string).collect();
    names.join(", ")
}

fn at_risk(defence: Defence, expiry: UnixSeconds) -> String {
    match defence {
        Defence::Automatic => "it is being collected on chain".to_owned(),
        Defence::ByHand => format!("run `settle dispute --evidence FILE --broadcast` before {expiry}"),
    }
}

/// An operation on a channel failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// There is no such channel here.
    #[error("no such channel")]
    NoChannel,
    /// Nothing was sent. The hub does not serve this token; name one that it serves with `token` on the builder.
    #[error("the hub does not serve token {token}; it serves {}", list(served))]
    TokenNotServed {
        /// Asked for; zero is the native coin.
        token: Address,
        /// The hub's tokens.
        served: Vec<Address>,
    },
    /// A rule forbids it now.
    #[error("refused: {0}")]
    Refused(#[from] Reject),
    /// The hub answered with an error.
    #[error("the hub refused: {0}")]
    Hub(RpcError),
    /// The hub's countersignature is not its signer's. Exit with the evidence.
    #[error("the hub's countersignature is wrong")]
    BadCountersignature,
    /// The hub broke the protocol on this channel.
    #[error("the channel is frozen: {0}")]
    Frozen(HubFault),
    /// No answer in time.
    #[error("no answer from the hub in time; a signed message stays valid until its deadline")]
    Timeout,
    /// There is no connection, or it was lost before the answer came.
    #[error("no connection to the hub")]
    Offline,
    /// Nothing was signed. The view of the chain is too old (R6, for locks R22). Fix the RPC endpoints.
    #[error("the view of the chain is too old to sign safely")]
    ChainStale,
    /// There is no such invoice in this client's store.
    #[error("no such invoice here")]
    UnknownInvoice,
    /// Another invoice of this client has the same hash: nothing was made.
    #[error("another invoice has this hash")]
    HashUsed,
    /// Nothing was sent. The resolver does not take this witness; ask whoever made it.
    #[error("the resolver does not take this witness")]
    WitnessRefused,
    /// No lock is held for this invoice: nobody has locked yet, it was given up, or it has expired.
    #[error("no lock is held for this invoice")]
    NotHeld,
    /// The hub was told what opens the lock and has not folded it. See [`crate::ClientEvent::LockAtRisk`].
    #[error("the hub does not fold the lock; {}", at_risk(*.defence, *.expiry))]
    LockAtRisk {
        /// Of the hub's lock.
        expiry: UnixSeconds,
        /// Who collects it on chain.
        defence: Defence,
    },
    /// Nobody watches: call `.tower(..)` on the builder.
    #[error("there is no watchtower: call `.tower(..)` on the builder")]
    NoTower,
    /// Another close or withdrawal is being made.
    #[error("another close or withdrawal is under way")]
    Busy,
    /// See [`ChainError`].
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// See [`SignerError`].
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The client was shut down, or its store failed.
    #[error("the client has stopped: {0}")]
    Stopped(String),
}

/// An item of the stream of received payments that is no payment. The stream ends after it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Positions are dense; one is missing. Call `payments` again with the last cursor.
    #[error("position {got} follows {last}: something is missing")]
    Gap {
        /// Last position seen.
        last: u64,
        /// Received.
        got: u64,
    },
    /// The log is another one than the cursor's: the hub was rolled back or rebuilt (A10).
    #[error("the hub's log is of epoch {got}, the cursor of {expected}: the hub may have been rolled back")]
    Epoch {
        /// The cursor's.
        expected: u64,
        /// Received.
        got: u64,
    },
    /// The hub refused the cursor. A hub that is busy or about to end is asked again instead.
    #[error("the hub refused cursor {after:?}: {error}")]
    Refused {
        /// The cursor.
        after: Option<Cursor>,
        /// Its answer.
        error: RpcError,
    },
    /// A receipt is not backed by a credit in an accepted voucher, or its signature is wrong.
    #[error("{0}")]
    Fault(HubFault),
    /// Another stream of this channel took over.
    #[error("another stream of this channel was started")]
    Replaced,
    /// There is no such channel here.
    #[error("no such channel")]
    NoChannel,
    /// The client was shut down, or its store failed.
    #[error("the client has stopped: {0}")]
    Stopped(String),
}

/// What kind of breach it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum FaultKind {
    /// A voucher with a signature that is not the hub's.
    BadSignature,
    /// A voucher that breaks a rule (R1-R5).
    BadVoucher,
    /// Two vouchers with one seq: equivocation.
    Conflict,
    /// The hub shows or accepts less than it signed before: its database was rolled back (A10).
    RolledBack,
    /// A payment came back, but not all of it.
    ShortReturn,
    /// A receipt without a credit in an accepted voucher, or with a wrong signature.
    BadReceipt,
    /// The hub acknowledges vouchers this client cannot have signed or cannot adopt.
    CannotAdopt,
}

/// A breach of the protocol by the hub. The channel is frozen: nothing is signed on it any more.
/// Next: `evidence()`, then leave with the `settle` CLI.
#[derive(Clone, PartialEq, Eq, Debug, Error, BorshSerialize, BorshDeserialize)]
#[error("the hub misbehaved ({kind:?}): {text}; keep the evidence and settle on chain")]
pub struct HubFault {
    /// The kind.
    pub kind: FaultKind,
    /// What was found, with expected and received.
    pub text: String,
}
