//! What comes out of the ledger. Nothing of it may leave the process before the commit is durable.

use crate::engine::SessionId;
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{
    Amount, CancelDispute, CapacityQuote, ChannelId, Close, Condition, Config, Digest, DirectionEvidence, Op,
    Receipt, Signature, Voucher, Withdraw, Witness,
    message::{Cursor, Notification, Reply, RpcError},
};

use super::{Adopted, Origin};
use std::sync::Arc;

/// One effect of a commit, in the order in which it must be sent.
#[derive(Clone, Debug)]
pub enum Output {
    /// A hub voucher to sign, and to send if somebody listens.
    Frame(FrameOut),
    /// A receipt to sign and send to a subscriber.
    Event(Box<EventOut>),
    /// An answer.
    Reply(Origin, Result<Box<Reply>, RpcError>),
    /// The answer to `resume`, with the hub's newest unacknowledged voucher to sign again into it.
    Resumed(
        Origin,
        Box<protocol_spec::message::ResumeReply>,
        Option<(Voucher, Digest)>,
    ),
    /// The answer to `capacity`, to be signed.
    Quoted(Origin, Box<CapacityQuote>),
    /// A co-operative message to countersign and answer; whether the hub sends it to the chain.
    Countersign(Origin, Countersign, bool),
    /// Something a client is told unasked that carries no signature.
    Tell(SessionId, Box<Notification>),
    /// All channels are in doubt, for the so-manieth time (A10).
    RolledBack(u64),
    /// A channel in doubt was released, at this loss.
    Released(ChannelId, Adopted),
    /// Another connection took over its one signer's channel, or it fell too far behind.
    Drop(SessionId),
    /// A question for the chain; its answer comes back as [`super::Input::Checked`].
    Check(Check),
}

/// Does `witness` open `condition`? Only its resolver can tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Number of the question, never used again in this process.
    pub number: u64,
    /// With a resolver.
    pub condition: Condition,
    /// What somebody told.
    pub witness: Witness,
}

/// A voucher that the ledger issued, with what it is made of. The ledger keeps it until it is acknowledged.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Issue {
    /// The voucher.
    pub voucher: Voucher,
    /// What is signed.
    pub digest: Digest,
    /// Operations since the voucher before.
    pub ops: Vec<Op>,
}

/// A hub voucher for whoever listens.
#[derive(Clone, Debug)]
pub struct FrameOut {
    /// Receiver; `None`: the client is offline and gets it when it resumes.
    pub session: Option<SessionId>,
    /// What is signed and sent.
    pub issue: Arc<Issue>,
    /// True when the voucher was issued by an earlier commit and is only sent again.
    pub again: bool,
}

/// A receipt for a subscriber.
#[derive(Clone, Debug)]
pub struct EventOut {
    /// Receiver.
    pub session: SessionId,
    /// Its place in the channel's log.
    pub cursor: Cursor,
    /// The statement.
    pub receipt: Receipt,
}

/// What the hub countersigns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Countersign {
    /// A withdrawal.
    Withdraw(Withdraw),
    /// A close.
    Close(Close),
    /// The end of a dispute.
    Cancel(CancelDispute),
}

/// A transaction that both sides want and the hub pays for: sent until its effect is seen or its deadline has passed.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct PendingTx {
    /// The channel.
    pub config: Config,
    /// What to send.
    pub kind: TxKind,
    /// The client's signature over it.
    pub client_signature: Signature,
}

/// The co-operative messages.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum TxKind {
    /// Withdraw.
    Withdraw(Withdraw),
    /// Close.
    Close(Close),
    /// Cancel.
    Cancel(CancelDispute),
}

/// A channel to defend on chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defence {
    /// The channel.
    pub config: Config,
    /// The client's newest voucher and locks, with the witnesses of those that are the hub's; empty for one that was
    /// resolved in time and whose witness is lost.
    pub received: DirectionEvidence,
    /// The hub gave locks here: older vouchers of its own may hold some that were given up since (R10).
    pub gave_locks: bool,
}

/// A channel whose reserve is below the policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReserveNeed {
    /// The channel's id.
    pub channel: ChannelId,
    /// Its facts.
    pub config: Config,
    /// Gross deposit of the hub so far: tells whether an earlier top-up has arrived.
    pub hub_deposit: Amount,
    /// How much to add.
    pub amount: Amount,
    /// The part of it that a client ordered and paid for.
    pub owed: Amount,
    /// What the ledger was told of the newest deposit, see [`super::Input::Refilling`].
    pub refilling: Amount,
    /// Somebody waits for it: it goes whatever gas costs.
    pub urgent: bool,
    /// The client was paid less than a first reserve: it may be one of many that a stranger opened.
    pub unproven: bool,
}
