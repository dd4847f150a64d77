//! The ledger: single owner of all channel state. Deterministic: inputs with a clock go in, outputs come out.
//!
//! No clock, disk, socket, key or randomness here. Every input that changes state is written into the commit's
//! record; replaying the records gives the same state and the same vouchers. At most one voucher (more only when
//! a frame is full) leaves each touched channel per commit: it carries credits, returns and the acknowledgement.

mod ahead;
mod block;
mod blocks;
mod chain_facts;
mod checkpoint;
mod cold;
mod commit;
mod compact;
mod cool;
mod cooperative;
mod deliver;
mod entry;
mod frame;
mod input;
mod liquidity;
mod locks;
mod log;
mod output;
mod pack;
mod payments;
mod policy;
mod questions;
mod remembered;
mod reorg;
mod restore;
mod rollback;
mod session;
mod slots;
#[cfg(test)]
mod tests;
mod touched;
mod unsettled;

pub(crate) use ahead::Prepared;
pub use checkpoint::RowItems;
pub(crate) use checkpoint::Saved;
pub use commit::Commit;
pub use input::{ChainBlock, ChainFact, Input, OnChain, Origin, Reconciled, Record, Resumption};
pub use liquidity::{ChannelLevel, Liquidity, Reserves, Surplus, Vault};
pub use locks::CHECKS_MAX;
pub use output::{
    Check, Countersign, Defence, EventOut, FrameOut, Issue, Output, PendingTx, ReserveNeed, TxKind,
};
pub use policy::{Capacity, Levels, LockPolicy, Policy, Reserve, Tariff};
pub use reorg::Belief;
pub use restore::{Restore, Tables};
pub use rollback::{Adopted, Doubt};
pub use unsettled::Unsettled;

use crate::engine::SessionId;
use alloy::primitives::map::HashMap;
use policy::FormerFee;
use protocol_spec::{Address, ChannelId, Domain, UnixSeconds, channel::Clock};
use remembered::Remembered;
use std::collections::{BTreeMap, BTreeSet};

/// All channel state of one shard.
#[derive(Debug)]
pub struct Ledger {
    domain: Domain,
    hub: Address,
    hub_signer: Address,
    policy: Policy,
    rows: RowItems,
    entries: slots::Slots,
    by_id: HashMap<ChannelId, usize>,
    by_account: HashMap<(Address, Address), usize>,
    by_signer: BTreeSet<(Address, usize)>,
    /// Channels that a connection resumed or subscribed to: what its end must touch.
    by_session: HashMap<SessionId, BTreeSet<usize>>,
    /// Whom a connection acts for; `None`: for several signers.
    logins: HashMap<SessionId, Option<Address>>,
    remembered: Remembered,
    /// Number of the next journal record.
    next_record: u64,
    /// Bytes of the newest one: the next is likely to need as many.
    record_bytes: usize,
    /// Newest confirmed block: number, hash, timestamp.
    chain: ChainPosition,
    /// Channels in which the hub may have signed what this database does not know (A10).
    unsynced: BTreeSet<usize>,
    /// Starts of the hub on this database. A database can only have become older between two of them.
    starts: u64,
    /// Times that all channels were put in doubt.
    rollbacks: u64,
    /// Channels opened up to then are among them; zero: none, the maximum: set at the next start.
    opened_until: UnixSeconds,
    /// A confirmed block vanished, and the channels have not been compared with the chain since.
    broken: bool,
    /// Channels that the chain shows poorer than they were believed to be.
    frozen: BTreeSet<usize>,
    /// Channels with a pending withdrawal or close.
    waiting: BTreeSet<usize>,
    /// Channels in a dispute.
    disputed: BTreeSet<usize>,
    /// Channels whose subscribers have not been shown everything.
    lagging: BTreeSet<usize>,
    /// The next of them whose turn it is.
    shown_up_to: Option<usize>,
    /// Channels with locks of the hub.
    locked: BTreeSet<usize>,
    /// Channels with forwarded locks of their clients.
    payers: BTreeSet<usize>,
    /// Channels that were in doubt, in which something opened a lock of the hub since.
    keepers: BTreeSet<usize>,
    /// Payers' locks forwarded and not gone yet, by weight; none of channels that are paid out.
    forwarded: u64,
    /// Questions to resolvers. Not in the journal: what is open when the process ends is told again.
    asked: locks::Asked,
    /// What the manager told of the vault, by token.
    vaults: BTreeMap<Address, Vault>,
    /// Channels with an open quote of capacity or an order.
    promising: BTreeSet<usize>,
    /// What payments cost before the policy changed, by token, for the quotes given then.
    former: BTreeMap<Address, FormerFee>,
    /// Channels changed lately.
    dirty: touched::Touched,
    /// Channels whose reserve may be too small, and those in which it may be larger than needed.
    needy: BTreeSet<usize>,
    rich: BTreeSet<usize>,
    /// Channels into which a refill was announced that has not arrived.
    awaiting: BTreeSet<usize>,
    /// Channels in which the hub has something to lose.
    staked: touched::Tally,
    /// Looks for channels to make cold that are left until the next checkpoint.
    cooling: usize,
}

/// Where the ledger's view of the chain stands: a confirmed block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct ChainPosition {
    /// Block number.
    pub number: u64,
    /// Its hash; zero before the first.
    pub hash: [u8; 32],
    /// Its timestamp.
    pub timestamp: UnixSeconds,
}

impl Ledger {
    /// An empty ledger. `policy` must come in as the first [`Input::Policy`]; until then nothing is served.
    #[must_use]
    pub fn new(domain: Domain, hub: Address, hub_signer: Address) -> Self {
        Self {
            domain,
            hub,
            hub_signer,
            policy: Policy::default(),
            rows: RowItems::PAGE,
            entries: slots::Slots::default(),
            by_id: HashMap::default(),
            by_account: HashMap::default(),
            by_signer: BTreeSet::new(),
            by_session: HashMap::default(),
            logins: HashMap::default(),
            remembered: Remembered::default(),
            next_record: 1,
            record_bytes: 0,
            chain: ChainPosition::default(),
            unsynced: BTreeSet::new(),
            starts: 0,
            rollbacks: 0,
            opened_until: UnixSeconds(0),
            broken: false,
            frozen: BTreeSet::new(),
            waiting: BTreeSet::new(),
            disputed: BTreeSet::new(),
            lagging: BTreeSet::new(),
            shown_up_to: None,
            locked: BTreeSet::new(),
            payers: BTreeSet::new(),
            keepers: BTreeSet::new(),
            forwarded: 0,
            asked: locks::Asked::default(),
            vaults: BTreeMap::new(),
            promising: BTreeSet::new(),
            former: BTreeMap::new(),
            dirty: touched::Touched::default(),
            needy: BTreeSet::new(),
            rich: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            staked: touched::Tally::default(),
            cooling: 0,
        }
    }

    /// The same with other rows in its checkpoints.
    #[must_use]
    pub fn with_rows(self, rows: RowItems) -> Self {
        Self { rows, ..self }
    }

    /// The newest confirmed block the ledger has taken in.
    #[must_use]
    pub fn chain(&self) -> ChainPosition {
        self.chain
    }

    /// EIP-712 domain.
    pub(crate) fn domain(&self) -> Domain {
        self.domain
    }

    /// Epoch of the logs of events; 0 before the first policy.
    #[must_use]
    pub fn log_epoch(&self) -> u64 {
        self.policy.log_epoch
    }

    /// Number of channels known.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.entries.len()
    }

    /// Number of payers' locks, by weight, that were forwarded and have not left the vouchers of channels that are not paid out.
    #[must_use]
    pub fn forwarded_locks(&self) -> usize {
        usize::try_from(self.forwarded).unwrap_or(usize::MAX)
    }

    /// True when some subscriber waits for events: call [`Ledger::commit`] again soon, also without inputs.
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        !self.lagging.is_empty()
    }

    fn clock(&self, now: UnixSeconds) -> Clock {
        Clock {
            now: now.max(self.chain.timestamp),
            chain: self.chain.timestamp,
        }
    }

    fn index(&self, id: &ChannelId) -> Option<usize> {
        self.by_id.get(id).copied()
    }
}

impl Ledger {
    /// The newest own voucher of every channel that has one and is hot: of all that changed since the restore.
    pub(crate) fn newest_signed(
        &self,
    ) -> impl Iterator<Item = (ChannelId, protocol_spec::Seq, protocol_spec::Digest)> {
        let issued = self
            .entries
            .each_hot()
            .filter(|entry| entry.channel.sent().seq != protocol_spec::Seq::NONE);
        issued.map(|entry| {
            (
                entry.channel.id(),
                entry.channel.sent().seq,
                entry.channel.sent().digest,
            )
        })
    }
}
