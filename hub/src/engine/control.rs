//! What the chain driver and the operator ask of the running ledger.

use crate::ledger::{ChainBlock, ChainPosition, Defence, PendingTx, ReserveNeed};
use protocol_spec::{ChannelId, Preimage, Seq};
use tokio::sync::oneshot;

/// A request to the ledger's thread that is not a client's.
#[derive(Debug)]
pub enum Control {
    /// A newly confirmed block.
    Block(ChainBlock),
    /// A dispute in a block that is not confirmed yet.
    DisputeSeen {
        /// The channel.
        channel: ChannelId,
        /// The contract's number.
        dispute_no: Seq,
    },
    /// A preimage of a lock of the hub in a block that is not confirmed yet.
    PreimageSeen {
        /// The payee's channel.
        channel: ChannelId,
        /// The hub's lock.
        lock_id: u64,
        /// What opened it.
        preimage: Preimage,
    },
    /// What is to be done on chain.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// What the chain driver needs to know.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Newest confirmed block taken in.
    pub chain: ChainPosition,
    /// Channels whose reserve is low.
    pub reserve_needs: Vec<ReserveNeed>,
    /// Co-operative transactions to send.
    pub pending: Vec<PendingTx>,
    /// Disputed channels.
    pub disputed: Vec<Defence>,
    /// Channels that the hub itself must dispute now, to collect a lock in time (R21).
    pub overdue: Vec<Defence>,
    /// Channels known.
    pub channels: usize,
    /// A10.
    pub rolled_back: bool,
}
