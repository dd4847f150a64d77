//! Requests, replies and notifications.

use super::RpcError;
use crate::{
    Address, Amount, CancelDispute, CapacityQuote, ChannelId, Close, Config, Digest, Lock, Op, Payee,
    PaymentId, Receipt, ReturnReason, Seq, Signature, SignedVoucher, UnixSeconds, VoucherSignature, Withdraw,
    Witness,
};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// WebSocket subprotocol of the JSON encoding.
pub const SUBPROTOCOL_JSON: &str = "channelhub.v1+json";
/// WebSocket subprotocol of the Borsh encoding.
pub const SUBPROTOCOL_BORSH: &str = "channelhub.v1+borsh";

macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty),* $(,)? })*) => {
        $($(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type),* })*
    };
}

/// One message in either direction.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Message {
    /// Client to hub; answered by exactly one response with the same id.
    Request {
        /// Chosen by the client, below 2^53.
        id: u64,
        /// What is asked.
        call: Box<Request>,
    },
    /// Hub to client.
    Response {
        /// Of the request; `None` when the request could not be read so far.
        id: Option<u64>,
        /// The answer.
        result: Result<Box<Reply>, RpcError>,
    },
    /// Hub to client, unasked.
    Notification(Box<Notification>),
}

/// What a client can ask. The JSON method is the variant in snake case.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(
    tag = "method",
    content = "params",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Request {
    /// Answers the challenge. First call of a session.
    Login(LoginCall),
    /// Makes the hub serve a channel that is open on chain.
    Register(RegisterCall),
    /// Both sides show their newest vouchers after a (re)connect. Required before vouchers flow.
    Resume(Box<ResumeCall>),
    /// The client's next voucher: payments or acknowledgements.
    Voucher(Frame),
    /// What a payment would cost, and whether it could be delivered now.
    Quote(QuoteCall),
    /// What became of a payment.
    Payment(PaymentCall),
    /// Starts the stream of receipts of one channel.
    Subscribe(SubscribeCall),
    /// Stops it.
    Unsubscribe(ChannelCall),
    /// Co-operative withdrawal.
    Withdraw(WithdrawCall),
    /// Co-operative close.
    Close(CloseCall),
    /// Co-operative end of a dispute.
    CancelDispute(CancelDisputeCall),
    /// The hub's view of a channel.
    Channel(ChannelCall),
    /// Facts about the hub.
    Info(Empty),
    /// Nothing; keeps the connection busy.
    Ping(Empty),
    /// The payee tells what opens a lock of the hub (R8).
    Reveal(Reveal),
    /// The payee gives up a lock of the hub for good (R11).
    Consent(LockCall),
    /// The payee asks what more reserve in its channel costs.
    Capacity(CapacityCall),
    /// The client is about to sign a close: the hub stops crediting it, and shows the numbers to name.
    PrepareClose(PrepareCloseCall),
}

/// Answers, one kind for each request.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    content = "value",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Reply {
    /// To `login`.
    Login(LoginReply),
    /// To `register`, `channel` and `prepare_close`.
    Channel(Box<ChannelInfo>),
    /// To `resume`.
    Resume(Box<ResumeReply>),
    /// To `voucher`.
    Voucher(VoucherReply),
    /// To `quote`.
    Quote(QuoteReply),
    /// To `payment`.
    Payment(PaymentReply),
    /// To `subscribe`.
    Subscribe(SubscribeReply),
    /// To `withdraw`, `close` and `cancel_dispute`: the hub's signature over the same message.
    Countersigned(Countersigned),
    /// To `info`.
    Info(Box<HubInfo>),
    /// To `unsubscribe`, `ping`, `reveal` and `consent`.
    Done(Empty),
    /// To `capacity`.
    Capacity(CapacityReply),
}

/// What the hub says unasked.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(
    tag = "method",
    content = "params",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Notification {
    /// First message of every connection.
    Challenge(Challenge),
    /// The hub's next voucher for one of the session's channels: credits, returns, acknowledgements.
    Voucher(Frame),
    /// One receipt of a subscribed channel.
    Event(Event),
    /// A channel's facts changed (deposit, withdrawal, phase).
    Channel(ChannelInfo),
    /// The hub tells what opens a lock of the client (R8). Told again after a resume until the lock is converted.
    Reveal(Reveal),
    /// The hub gives up a lock of the client for good (R11). Told again after a resume until the lock is dropped.
    Consent(Consent),
    /// The hub wants to take back what it does not need in the channel. A client that agrees answers with `withdraw`.
    Release(Release),
}

wire! {
    /// No parameters.
    pub struct Empty {}

    /// A voucher with the operations since the last one.
    pub struct Frame {
        /// The newest voucher.
        pub voucher: SignedVoucher,
        /// All operations between the last accepted voucher and this one, in order. At most 256.
        pub ops: Vec<Op>,
    }

    /// The hub's challenge with what the client needs to check that it talks to the right hub.
    pub struct Challenge {
        /// Single use.
        pub nonce: Digest,
        /// The hub's facts.
        pub hub: HubInfo,
    }

    /// Facts about a hub.
    pub struct HubInfo {
        /// Name to sign in `Login` and `Register`.
        pub server: String,
        /// EIP-155 chain id.
        #[serde(with = "super::decimal_u64")]
        pub chain_id: u64,
        /// The adjudicator.
        pub adjudicator: Address,
        /// Owner of the hub's side.
        pub hub: Address,
        /// The hub's voucher key.
        pub hub_signer: Address,
        /// 33 bytes, compressed: the key of `hub_signer`.
        #[serde(with = "super::hex_bytes")]
        pub hub_public_key: Vec<u8>,
        /// Tokens served (zero = native coin).
        pub tokens: Vec<Address>,
        /// Challenge period the hub opens channels with, seconds.
        #[serde(with = "super::decimal_u64")]
        pub challenge_period_s: u64,
        /// Confirmations after which a block counts.
        #[serde(with = "super::decimal_u64")]
        pub confirmations: u64,
        /// The hub's `now`.
        pub now: UnixSeconds,
    }

    /// Parameters of `login`.
    pub struct LoginCall {
        /// The signer that logs in.
        pub signer: Address,
        /// Over `Login { server, nonce, signer, protocol }`.
        pub signature: Signature,
    }

    /// Answer to `login`.
    pub struct LoginReply {
        /// Channels the hub knows for this signer.
        pub channels: Vec<ChannelInfo>,
    }

    /// Parameters of `register`.
    pub struct RegisterCall {
        /// The channel's facts.
        pub config: Config,
        /// By `client` over `Register`; without it, or when a channel that was opened later is where payments to the account
        /// arrive, this one is reachable by id only.
        pub owner_signature: Option<Signature>,
    }

    /// Parameters that name a channel.
    pub struct ChannelCall {
        /// The channel.
        pub channel_id: ChannelId,
    }

    /// The hub's view of a channel.
    pub struct ChannelInfo {
        /// The channel.
        pub channel_id: ChannelId,
        /// Its facts.
        pub config: Config,
        /// `unconfirmed`, `open`, `closing`, `disputed` or `closed`.
        pub phase: String,
        /// True when payments to the client's account arrive here. False also after a `register` with the owner's signature
        /// when they arrive in a channel that was opened later and is not closed.
        pub routed: bool,
        /// True when no new locks go on from or to here: the hub's side came back from an old backup (A10). What is locked
        /// all the same comes back, at its expiry at the latest.
        pub locks_ended: bool,
        /// Confirmed deposit of the client, gross.
        pub client_deposit: Amount,
        /// Confirmed deposit of the hub (its reserve), gross.
        pub hub_deposit: Amount,
        /// Withdrawn by the client, mined and confirmed.
        pub client_withdrawn: Amount,
        /// Withdrawn by the hub, mined and confirmed.
        pub hub_withdrawn: Amount,
        /// Newest voucher accepted from the client.
        pub client_seq: Seq,
        /// Its `paid`.
        pub client_paid: Amount,
        /// Newest voucher signed by the hub.
        pub hub_seq: Seq,
        /// Its `paid`.
        pub hub_paid: Amount,
    }

    /// Parameters of `resume`.
    pub struct ResumeCall {
        /// The channel.
        pub channel_id: ChannelId,
        /// Newest voucher the client signed; to a hub that answered `RolledBack`, the one that `received` acknowledges.
        pub sent: Option<SignedVoucher>,
        /// Newest hub voucher the client accepted.
        pub received: Option<SignedVoucher>,
        /// The locks of `sent`, in ascending id; none: not shown. See [`super::shown_locks`].
        pub sent_locks: Option<Vec<Lock>>,
        /// The locks of `received`, as those of `sent`.
        pub received_locks: Option<Vec<Lock>>,
    }

    /// Answer to `resume`. The hub's frames after `received` follow as `voucher` notifications.
    pub struct ResumeReply {
        /// The hub's view.
        pub channel: ChannelInfo,
        /// Newest client voucher the hub accepted; one the client does not know proves what it signed.
        pub received: Option<SignedVoucher>,
        /// Newest voucher the hub signed.
        pub sent: Option<SignedVoucher>,
        /// The locks of `received`, in ascending id; none: not shown. See [`super::shown_locks`].
        pub received_locks: Option<Vec<Lock>>,
        /// The locks of `sent`, as those of `received`.
        pub sent_locks: Option<Vec<Lock>>,
    }

    /// Answer to `voucher`, sent after the hub's frame that acknowledges it.
    pub struct VoucherReply {
        /// The client's seq now accepted and durable.
        pub seq: Seq,
        /// Payments of this frame that bounced.
        pub bounced: Vec<Bounce>,
    }

    /// One payment that came back.
    pub struct Bounce {
        /// Which.
        pub payment_id: PaymentId,
        /// Why.
        pub reason: ReturnReason,
        /// With `insufficient_reserve`: from then on the hub expects to be able to deliver it; none: it does not know.
        pub ready_at: Option<UnixSeconds>,
    }

    /// Parameters of `quote`.
    pub struct QuoteCall {
        /// Paying channel.
        pub channel_id: ChannelId,
        /// Receiver.
        pub payee: Payee,
        /// What the payee gets.
        pub amount: Amount,
    }

    /// Answer to `quote`.
    pub struct QuoteReply {
        /// The fee to grant as `fee_max`.
        pub fee: Amount,
        /// The quote binds until then.
        pub expires_at: UnixSeconds,
        /// Why it would bounce now; none when it would be delivered.
        pub would_bounce: Option<ReturnReason>,
        /// As in [`Bounce`].
        pub ready_at: Option<UnixSeconds>,
    }

    /// Parameters of `payment`.
    pub struct PaymentCall {
        /// Paying channel.
        pub channel_id: ChannelId,
        /// The payment.
        pub payment_id: PaymentId,
    }

    /// Answer to `payment`.
    pub struct PaymentReply {
        /// What became of it.
        pub status: PaymentStatus,
    }

    /// Parameters of `subscribe`.
    pub struct SubscribeCall {
        /// The receiving channel.
        pub channel_id: ChannelId,
        /// The last event already seen; none starts at the earliest kept.
        pub after: Option<Cursor>,
    }

    /// Answer to `subscribe`; events after it follow.
    pub struct SubscribeReply {
        /// The newest event at this moment.
        pub newest: Cursor,
    }

    /// A place in one channel's log of receipts.
    pub struct Cursor {
        /// Epoch of the log; another one means that the log was rolled back or rebuilt.
        #[serde(with = "super::decimal_u64")]
        pub epoch: u64,
        /// Position, dense from 1; 0 is before the first.
        #[serde(with = "super::decimal_u64")]
        pub position: u64,
    }

    /// One payment received, durable before it is sent.
    pub struct Event {
        /// Its place.
        pub cursor: Cursor,
        /// The hub's statement.
        pub receipt: Receipt,
        /// The hub's signature over it.
        pub signature: VoucherSignature,
    }

    /// What opens a lock: the payee of the lock tells its payer.
    pub struct Reveal {
        /// The channel.
        pub channel_id: ChannelId,
        /// The lock, in the direction that the receiver of this message pays in. JSON: decimal string.
        #[serde(with = "super::decimal_u64")]
        pub lock_id: u64,
        /// The 32-byte preimage, or what the resolver takes.
        pub witness: Witness,
    }

    /// Parameters that name a lock.
    pub struct LockCall {
        /// The channel.
        pub channel_id: ChannelId,
        /// The lock, in the direction that the receiver of this message pays in. JSON: decimal string.
        #[serde(with = "super::decimal_u64")]
        pub lock_id: u64,
    }

    /// The hub consents to the removal of a lock, and says why.
    pub struct Consent {
        /// The channel.
        pub channel_id: ChannelId,
        /// The client's lock. JSON: decimal string.
        #[serde(with = "super::decimal_u64")]
        pub lock_id: u64,
        /// Why it was not delivered.
        pub reason: ReturnReason,
    }

    /// Parameters of `capacity`.
    pub struct CapacityCall {
        /// The payee's channel.
        pub channel_id: ChannelId,
        /// How much more the hub is to set aside in it.
        pub amount: Amount,
    }

    /// Answer to `capacity`.
    pub struct CapacityReply {
        /// The offer.
        pub quote: CapacityQuote,
        /// Direct, by the hub's signer.
        pub signature: Signature,
    }

    /// The hub asks for the release of a part of its reserve: a `withdraw` with side = hub, this total and this deadline.
    pub struct Release {
        /// The channel.
        pub channel_id: ChannelId,
        /// Total ever withdrawn by the hub, this one included.
        pub total: Amount,
        /// Not mined after this chain time; not signed after it.
        pub deadline: UnixSeconds,
    }

    /// Parameters of `withdraw`.
    pub struct WithdrawCall {
        /// The message.
        pub withdraw: Withdraw,
        /// By the client's signer.
        pub signature: Signature,
    }

    /// Parameters of `prepare_close`.
    pub struct PrepareCloseCall {
        /// The channel.
        pub channel_id: ChannelId,
        /// The deadline of the close to come: until then the hub credits nothing here. At or before the hub's `now`: the
        /// client has changed its mind.
        pub until: UnixSeconds,
    }

    /// Parameters of `close`.
    pub struct CloseCall {
        /// The message.
        pub close: Close,
        /// By the client's signer.
        pub signature: Signature,
    }

    /// Parameters of `cancel_dispute`.
    pub struct CancelDisputeCall {
        /// The message.
        pub cancel: CancelDispute,
        /// By the client's signer.
        pub signature: Signature,
    }

    /// The hub's signature over what the client signed: whoever has both may send it to the adjudicator until its deadline.
    pub struct Countersigned {
        /// Direct, by the hub's signer.
        pub signature: Signature,
        /// True: the hub sends it, a withdrawal when gas costs no more than it lets itself be cost. False: the withdrawal is too
        /// small for the hub to pay the gas, and only the client sends it.
        pub hub_sends: bool,
    }
}

/// What became of a payment.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum PaymentStatus {
    /// Credited to the payee, durable.
    Accepted {
        /// The client voucher that carried it.
        seq: Seq,
    },
    /// Returned.
    Bounced {
        /// The client voucher that carried it.
        seq: Seq,
        /// Why.
        reason: ReturnReason,
    },
    /// In a lock of the client's that the hub forwarded, neither paid nor returned yet.
    Locked {
        /// The lock's id. JSON: decimal string.
        #[serde(with = "super::decimal_u64")]
        lock_id: u64,
        /// When it ends at the latest, chain time.
        expiry: UnixSeconds,
    },
    /// The hub has not seen it, or it is older than the hub keeps ids.
    Unknown {},
}
