//! What goes into the ledger, and the record of a commit.

use super::{Policy, Vault};
use crate::engine::SessionId;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Address, Amount, CapacityQuote, ChannelId, Config, Lock, Op, Seq, Side, Signature, SignedVoucher,
    UnixSeconds, VerifiedVoucher, Witness,
    message::{
        CancelDisputeCall, CapacityCall, CloseCall, LockCall, PaymentCall, PrepareCloseCall, QuoteCall,
        RegisterCall, Release, ResumeCall, Reveal, SubscribeCall, WithdrawCall,
    },
};

/// Who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The connection.
    pub session: SessionId,
    /// The request's id.
    pub id: u64,
    /// The signer that asks, one of those that logged in on the connection.
    pub signer: Address,
}

/// One thing that happened. Signatures in calls were verified by whoever made the input.
#[derive(Clone, Debug)]
pub enum Input {
    /// The operator's decisions; first input of every start.
    Policy(Policy),
    /// A client's voucher.
    Frame {
        /// Who sent it.
        origin: Origin,
        /// Verified against the origin's key.
        voucher: VerifiedVoucher,
        /// Its operations.
        ops: Vec<Op>,
    },
    /// After a login: which channels does the hub know.
    Login(Origin),
    /// `owner_signature`, if any, was verified.
    Register(Origin, RegisterCall),
    /// A client comes back.
    Resume(Origin, Box<Resumption>),
    /// Question.
    Quote(Origin, QuoteCall),
    /// Question.
    Payment(Origin, PaymentCall),
    /// Question.
    Channel(Origin, ChannelId),
    /// Starts a stream.
    Subscribe(Origin, SubscribeCall),
    /// Stops it.
    Unsubscribe(Origin, ChannelId),
    /// The client's signature was verified.
    Withdraw(Origin, WithdrawCall),
    /// The client is about to sign a close.
    PrepareClose(Origin, PrepareCloseCall),
    /// The client's signature was verified.
    Close(Origin, CloseCall),
    /// The client's signature was verified.
    CancelDispute(Origin, CancelDisputeCall),
    /// The payee tells what opens a lock of the hub.
    Reveal(Origin, Reveal),
    /// The payee gives up a lock.
    Consent(Origin, LockCall),
    /// The payee asks what more reserve costs.
    Capacity(Origin, CapacityCall),
    /// What a token's vault holds.
    Vault(Vault),
    /// The hub is about to pay into a channel. To be durable before it is sent: what is ordered in the meantime is not
    /// served by it. Zero once it is sure that nothing of it comes any more.
    Refilling {
        /// The channel.
        channel: ChannelId,
        /// How much of the deposit serves no order.
        amount: Amount,
    },
    /// The manager wants to take back what a channel has too much.
    Offer(ChannelId),
    /// A connection ended.
    Gone(SessionId),
    /// A newly confirmed block with what happened in it.
    Chain(ChainBlock),
    /// A dispute was seen in a block that is not confirmed yet: freeze at once (R6).
    DisputeSeen {
        /// The channel.
        channel: ChannelId,
        /// The contract's number.
        dispute_no: Seq,
    },
    /// A dispute that a reorg took away has not come back.
    DisputeGone {
        /// The channel.
        channel: ChannelId,
    },
    /// A confirmed block is not on the chain any more.
    ChainBroken,
    /// The channels were compared with the chain as it is now.
    Reconciled(Reconciled),
    /// A frozen channel has on chain what it was believed to have, or more.
    Thawed {
        /// The channel.
        channel: ChannelId,
        /// What the chain shows.
        money: OnChain,
    },
    /// What opened a lock of the hub was seen in a block that is not confirmed yet: use it at once (R23).
    WitnessSeen {
        /// The payee's channel.
        channel: ChannelId,
        /// The hub's lock.
        lock_id: u64,
        /// What opened it.
        witness: Witness,
    },
    /// The answer to an [`super::Output::Check`].
    Checked {
        /// Number of the question.
        number: u64,
        /// What the resolver said; `None`: it could not be asked.
        opens: Option<bool>,
    },
    /// A10: the operator accepts what may be lost in these channels, whose clients do not come back.
    AcceptLoss(Vec<ChannelId>),
}

/// A `resume` with its vouchers verified: the first against the origin's key, the second against the hub's.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// As sent.
    pub call: ResumeCall,
    /// `call.sent`, verified.
    pub sent: Option<VerifiedVoucher>,
    /// `call.received`, verified: it carries the hub's own signature.
    pub received: Option<VerifiedVoucher>,
}

/// A channel's money as the adjudicator has it. Deposits and withdrawals are sums since the channel was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct OnChain {
    /// Paid in for the client.
    pub client_deposit: Amount,
    /// Paid in for the hub.
    pub hub_deposit: Amount,
    /// Paid out to the client while open.
    pub client_withdrawn: Amount,
    /// Paid out to the hub while open.
    pub hub_withdrawn: Amount,
}

/// The end of a comparison of all channels with the chain after a confirmed block vanished.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Reconciled {
    /// The block that was compared with.
    pub position: super::ChainPosition,
    /// Channels opened below it. Those that were not known yet stay frozen until they have been compared.
    pub opened: Vec<Config>,
    /// Locks resolved below it: [`ChainFact::Resolved`].
    pub resolved: Vec<ChainFact>,
    /// Open channels whose money is not what it was believed to be.
    pub concerned: Vec<ChannelId>,
    /// Channels that were believed to be paid out and are not.
    pub unpaid: Vec<ChannelId>,
    /// Channels that were paid out.
    pub paid: Vec<ChannelId>,
    /// Channels in a dispute, with its number: no other is final any more.
    pub disputed: Vec<(ChannelId, Seq)>,
}

/// A confirmed block.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ChainBlock {
    /// The block.
    pub position: super::ChainPosition,
    /// The adjudicator's events in it that concern this hub, in order.
    pub facts: Vec<ChainFact>,
}

/// One event of the adjudicator.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum ChainFact {
    /// A channel with this hub was opened.
    Opened(Config),
    /// The client's side was paid into; totals after it, net of withdrawals.
    Deposited {
        /// The channel.
        channel: ChannelId,
        /// Both sides' deposits less withdrawals.
        total: Amount,
        /// The client's part of it: plus and minus, since it can be negative.
        client_net: (Amount, Amount),
    },
    /// The hub's side was paid into.
    Reserved {
        /// The channel.
        channel: ChannelId,
        /// By how much.
        amount: Amount,
    },
    /// A withdrawal; cumulative.
    Withdrawn {
        /// The channel.
        channel: ChannelId,
        /// Who.
        side: Side,
        /// In total.
        total: Amount,
    },
    /// A dispute began.
    Disputed {
        /// The channel.
        channel: ChannelId,
        /// The contract's number.
        dispute_no: Seq,
    },
    /// A lock was resolved in time (R17).
    Resolved {
        /// The channel.
        channel: ChannelId,
        /// Whose lock.
        payer: Side,
        /// Its id.
        lock_id: u64,
        /// Empty when it had been resolved before.
        witness: Vec<u8>,
    },
    /// A dispute was cancelled.
    DisputeCancelled {
        /// The channel.
        channel: ChannelId,
        /// The contract's number of the dispute.
        dispute_no: Seq,
    },
    /// Paid out.
    Closed {
        /// The channel.
        channel: ChannelId,
    },
}

/// The changes of a commit under way, as bytes: a record is written as it happens, behind room for its head.
#[derive(Debug, Default)]
pub(super) struct Changes {
    count: u32,
    bytes: Vec<u8>,
}

/// Bytes of a record before its changes: the time and their number.
const HEAD_BYTES: usize = size_of::<UnixSeconds>() + size_of::<u32>();

impl Changes {
    /// With room for a record of `bytes`.
    pub(super) fn with_room(bytes: usize) -> Self {
        let bytes = Vec::with_capacity(bytes);
        Self { count: 0, bytes }
    }

    pub(super) fn push(&mut self, change: &Change) {
        if self.count == 0 {
            self.bytes.resize(HEAD_BYTES, 0);
        }
        self.count = self.count.saturating_add(1);
        // Writing to a Vec cannot fail.
        let _ = change.serialize(&mut self.bytes);
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// The bytes of the [`Record`] with these changes, one at least, at `now`.
    pub(super) fn record(mut self, now: UnixSeconds) -> Vec<u8> {
        // It fits: the first change made room for it.
        let _ = (now, self.count).serialize(&mut self.bytes.as_mut_slice());
        self.bytes
    }
}

/// One journal record: everything of a commit that changed state, and the time it happened at.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Record {
    /// `now` of the commit.
    pub now: UnixSeconds,
    /// What happened, in order.
    pub changes: Vec<Change>,
}

/// One journaled input.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Change {
    /// See [`Input::Policy`].
    Policy(Policy),
    /// An accepted voucher.
    Frame {
        /// Voucher and signature.
        signed: SignedVoucher,
        /// Its operations.
        ops: Vec<Op>,
    },
    /// An accepted voucher with new locks.
    LockFrame {
        /// Voucher and signature.
        signed: SignedVoucher,
        /// Its operations.
        ops: Vec<Op>,
        /// New locks whose payees were not connected.
        offline: Vec<u64>,
    },
    /// The payee told what opens a lock of the hub. A resolver had been asked.
    Revealed {
        /// The payee's channel.
        channel: ChannelId,
        /// The hub's lock.
        lock_id: u64,
        /// What opens it.
        witness: Witness,
    },
    /// The payee gave up a lock of the hub.
    GaveUp {
        /// The payee's channel.
        channel: ChannelId,
        /// The hub's lock.
        lock_id: u64,
    },
    /// The channel's voucher was issued in the middle of the commit.
    Flush(ChannelId),
    /// The owner agreed to routing.
    Routed(ChannelId),
    /// The client registered.
    Registered(ChannelId),
    /// The hub signs this withdrawal.
    Withdraw(WithdrawCall),
    /// The client announced a close, or took that back.
    Leaving(PrepareCloseCall),
    /// The hub signs this close.
    Close(CloseCall),
    /// The hub signs this cancel.
    Cancel(CancelDisputeCall),
    /// See [`Input::Chain`].
    Chain(ChainBlock),
    /// See [`Input::DisputeSeen`].
    DisputeSeen {
        /// The channel.
        channel: ChannelId,
        /// The contract's number.
        dispute_no: Seq,
    },
    /// A client showed a voucher of ours that is not known (A10).
    RolledBack {
        /// The channel.
        channel: ChannelId,
        /// What it showed.
        shown: SignedVoucher,
    },
    /// See [`Input::DisputeGone`].
    DisputeGone {
        /// The channel.
        channel: ChannelId,
    },
    /// See [`Input::ChainBroken`].
    ChainBroken,
    /// See [`Input::Reconciled`].
    Reconciled(Reconciled),
    /// See [`Input::Thawed`].
    Thawed {
        /// The channel.
        channel: ChannelId,
        /// What the chain shows.
        money: OnChain,
    },
    /// See [`Input::WitnessSeen`]. A resolver had been asked.
    WitnessSeen {
        /// The payee's channel.
        channel: ChannelId,
        /// The hub's lock.
        lock_id: u64,
        /// What opened it.
        witness: Witness,
    },
    /// A10: a channel in doubt has re-synced with its client.
    Resynced {
        /// The channel.
        channel: ChannelId,
        /// A voucher of the hub that was forgotten.
        own: Option<Box<ShownVoucher>>,
        /// The client's voucher that it acknowledges, if that was forgotten, too.
        theirs: Option<Box<ShownVoucher>>,
    },
    /// See [`Input::AcceptLoss`].
    LossAccepted(ChannelId),
    /// See [`Input::Vault`].
    Vault(Vault),
    /// The hub signs this quote, and counts it against the vault.
    Quoted(CapacityQuote),
    /// The client was asked for this release.
    Offered(Release),
    /// See [`Input::Refilling`].
    Refilling {
        /// The channel.
        channel: ChannelId,
        /// How much serves no order.
        amount: Amount,
    },
    /// A client with many vouchers that it had not acknowledged showed one of them.
    Seen {
        /// The channel.
        channel: ChannelId,
        /// Of the voucher.
        seq: Seq,
    },
}

/// A voucher that a client showed with the list of its locks.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct ShownVoucher {
    /// The voucher.
    pub signed: SignedVoucher,
    /// Its locks, if they were shown.
    pub locks: Option<Vec<Lock>>,
}

impl Change {
    /// An accepted voucher and its operations, if that is what it is.
    pub(super) fn framed(&self) -> Option<(&SignedVoucher, &[Op])> {
        match self {
            Self::Frame { signed, ops } | Self::LockFrame { signed, ops, .. } => Some((signed, ops)),
            _ => None,
        }
    }
}

/// A client's direct signature, kept until the transaction is mined.
pub(super) type ClientSignature = Signature;
