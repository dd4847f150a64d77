//! What the chain driver and the operator ask of the running ledger.

use crate::ledger::{Belief, ChainPosition, Defence, Input, Liquidity, PendingTx, Reserves, Unsettled};
use protocol_spec::{Address, Amount, ChannelId};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::oneshot;

/// A request to the ledger's thread that is not a client's.
#[derive(Debug)]
pub enum Control {
    /// What the chain told.
    Chain(Box<Input>),
    /// What is believed of every channel, to be compared with the chain.
    Beliefs(oneshot::Sender<Vec<Belief>>),
    /// What is to be done on chain.
    Snapshot(oneshot::Sender<Snapshot>),
    /// The reserves, for the operator.
    Liquidity(oneshot::Sender<Liquidity>),
    /// Clients' vouchers worth at least so much, per token, beyond what the chain has been shown of each channel.
    Unsettled(
        BTreeMap<Address, Amount>,
        HashMap<ChannelId, Amount>,
        oneshot::Sender<Vec<Unsettled>>,
    ),
}

/// What the chain driver needs to know.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Newest confirmed block taken in.
    pub chain: ChainPosition,
    /// The reserves.
    pub liquidity: Reserves,
    /// Co-operative transactions to send.
    pub pending: Vec<PendingTx>,
    /// Disputed channels.
    pub disputed: Vec<Defence>,
    /// Channels that the hub itself must dispute now, to collect a lock in time (R21).
    pub overdue: Vec<Defence>,
    /// A confirmed block vanished, and the channels have not been compared with the chain since.
    pub broken: bool,
    /// Channels that a reorg changed and that wait for the chain to show what they rest on.
    pub frozen: Vec<Belief>,
    /// Channels known.
    pub channels: usize,
    /// Those that are not paid out and in which the hub has something to lose.
    pub staked: usize,
    /// Those held in full, because something happened to them lately.
    pub hot: usize,
    /// Payment ids and receipts in memory, of all channels, and what unacknowledged vouchers weigh.
    pub remembered: u64,
    /// Locks that the hub has forwarded and that are not settled.
    pub forwarded_locks: usize,
    /// Channels in doubt (A10).
    pub unsynced: usize,
    /// Times that all channels were put in doubt.
    pub rollbacks: u64,
}
