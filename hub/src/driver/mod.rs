//! The chain driver: tells the ledger what the chain says, and sends what the ledger wants on chain.
//!
//! Everything it does follows from the ledger's durable state and the chain, so a restart repeats nothing wrongly:
//! what is not seen on chain yet is sent again after a while, and the adjudicator refuses what came twice.

mod act;
mod defence;
mod earlier;
mod facts;
mod operator;
mod outgoing;
mod pending;
mod reorg;
mod reserves;
mod resolver;
#[cfg(test)]
mod samples;
mod settlement;
mod sizes;
mod standing;
mod windows;

pub use facts::facts_of;
pub use operator::{Ask, Operator, SettleNow, Settled};
pub use outgoing::{Budget, Worth};
pub use resolver::Checker;

use crate::{
    chain::{BlockRef, Chain, ChainError, ChainLog, ChainView, Cursor, Seldom, ViewEvent, ViewOptions},
    engine::ControlHandle,
    ledger::{ChainBlock, ChainFact, ChainPosition, Input},
    liquidity::LiquidityPolicy,
    settlement::SettlementPolicy,
};
use alloy::primitives::B256;
use defence::{Rests, Started};
use outgoing::InFlight;
use protocol_spec::{Address, ChannelId, Domain, Side, UnixSeconds, Witness, channel::Delays};
use reserves::Purse;
use settlement::Gathered;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use windows::Windows;

/// Blocks read in one poll, at most.
const BLOCKS_PER_POLL_MAX: u64 = 1000;

/// What the driver needs.
#[derive(Clone)]
pub struct DriverOptions {
    /// The chain, sending from the hub's own account (`config.hub`).
    pub chain: Arc<dyn Chain>,
    /// The adjudicator.
    pub adjudicator: Address,
    /// Its domain.
    pub domain: Domain,
    /// Owner of the hub's side; the account that `chain` sends from.
    pub hub: Address,
    /// The hub's voucher key's address.
    pub hub_signer: Address,
    /// Confirmations k.
    pub confirmations: u64,
    /// Pause between looks at the chain.
    pub poll_interval: Duration,
    /// After this long without effect a transaction is sent again.
    pub resend_after: Duration,
    /// lag and act: what is due within act goes before what is worth more.
    pub delays: Delays,
    /// What gas may cost.
    pub budget: Budget,
    /// When reserves are moved, and when what can wait is settled.
    pub management: Management,
}

/// The operator's policy for what the hub sends by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Management {
    /// Reserves.
    pub liquidity: LiquidityPolicy,
    /// Closes and checkpoints.
    pub settlement: SettlementPolicy,
}

/// What others see of the driver.
#[derive(Clone, Debug, Default)]
pub struct ChainStatus {
    head_timestamp: Arc<AtomicU64>,
    healthy: Arc<AtomicBool>,
    late: Arc<AtomicUsize>,
    unread: Arc<AtomicUsize>,
}

impl ChainStatus {
    /// Timestamp of the newest block seen; zero before the first.
    #[must_use]
    pub fn head_timestamp(&self) -> UnixSeconds {
        UnixSeconds(self.head_timestamp.load(Ordering::Acquire))
    }

    /// Time does not go back behind this block's.
    pub(crate) fn saw(&self, head: BlockRef) {
        self.head_timestamp.fetch_max(head.timestamp_s, Ordering::AcqRel);
    }

    /// Disputes whose window is half over without the hub's answer on chain.
    #[must_use]
    pub fn late_answers(&self) -> usize {
        self.late.load(Ordering::Acquire)
    }

    /// How many of these cannot be read: whether they are answered is not known.
    #[must_use]
    pub fn unread_disputes(&self) -> usize {
        self.unread.load(Ordering::Acquire)
    }

    fn answers_late(&self, late: usize, unread: usize) {
        self.late.store(late, Ordering::Release);
        self.unread.store(unread, Ordering::Release);
    }

    /// True while the last look at the chain succeeded.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }
}

/// The driver's task.
pub struct Driver {
    options: DriverOptions,
    control: ControlHandle,
    view: ChainView,
    status: ChainStatus,
    in_flight: InFlight,
    purse: Purse,
    gathered: Gathered,
    /// The operator's questions.
    asks: mpsc::Receiver<Ask>,
    rests: Rests,
    started: Started,
    windows: Windows,
    /// What may come at every look is not said at every look.
    warnings: Seldom,
    /// Unconfirmed logs that the ledger has heard of, by block and place in it.
    told: HashSet<(B256, u64)>,
    /// Channels in a dispute that the head of the chain does not show, and its number when that was first seen.
    vanished: HashMap<ChannelId, u64>,
}

impl Driver {
    /// A driver that goes on where the ledger stands, or at `from` for a new database.
    #[must_use]
    pub fn new(
        options: DriverOptions,
        control: ControlHandle,
        at: ChainPosition,
        from: BlockRef,
        status: ChainStatus,
        asks: mpsc::Receiver<Ask>,
    ) -> Self {
        let cursor = if at.hash == [0; 32] {
            Cursor::before(from)
        } else {
            Cursor {
                block_number: at.number,
                block_hash: at.hash.into(),
                next_log_index: u64::MAX,
            }
        };
        let view = ChainView::new(view_options(&options), cursor);
        Self {
            options,
            control,
            view,
            status,
            in_flight: InFlight::default(),
            purse: Purse::default(),
            gathered: Gathered::default(),
            asks,
            rests: Rests::default(),
            started: Started::default(),
            windows: Windows::default(),
            warnings: Seldom::default(),
            told: HashSet::new(),
            vanished: HashMap::new(),
        }
    }

    /// Runs until the engine stops.
    pub async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(Turn::Go) => self.status.healthy.store(true, Ordering::Release),
                Ok(Turn::Stopped) => return,
                Err(error) => {
                    self.status.healthy.store(false, Ordering::Release);
                    if let Some(held_back) = self.warnings.due("chain") {
                        tracing::warn!(%error, held_back, "the chain could not be read; trying again");
                    }
                    self.watch_blindly(&error).await;
                }
            }
            self.pause().await;
        }
    }

    /// Until the next look; the operator's questions are answered meanwhile.
    async fn pause(&mut self) {
        let until = tokio::time::Instant::now().checked_add(self.options.poll_interval);
        let Some(until) = until else { return };
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return,
                Some(ask) = self.asks.recv() => self.answer(ask).await,
            }
        }
    }

    async fn answer(&mut self, ask: Ask) {
        // Nobody waits any more: then nobody misses it.
        match ask {
            Ask::Liquidity(sender) => drop(sender.send(self.report().await)),
            Ask::SettleNow(what, sender) => drop(sender.send(self.settle_now(what).await)),
        }
    }

    async fn turn(&mut self) -> Result<Turn, ChainError> {
        let events = self.view.poll(self.options.chain.as_ref()).await?;
        if let Some(head) = self.view.latest() {
            self.status.saw(head);
            self.windows.saw(head.timestamp_s);
            metrics::gauge!("hub_chain_head_block").set(u32::try_from(head.number).unwrap_or(u32::MAX));
        }
        let (mut facts, mut alarmed) = (Vec::new(), false);
        for event in events {
            match event {
                ViewEvent::Log { log, .. } => facts.extend(facts_of(&log)),
                ViewEvent::Confirmed { block, .. } => {
                    let block = ChainBlock {
                        position: position(block),
                        facts: std::mem::take(&mut facts),
                    };
                    if !self.control.tell(Input::Chain(block)).await {
                        return Ok(Turn::Stopped);
                    }
                }
                ViewEvent::Reorg { depth, .. } => {
                    tracing::warn!(
                        depth,
                        "reorg of unconfirmed blocks: what it dropped is sent again"
                    );
                    self.forget();
                    // What this poll has handed out already must not be lost for it.
                    if let Err(error) = self.options.chain.resync().await {
                        tracing::warn!(%error, "the nonce could not be read again; the next send will");
                    }
                }
                ViewEvent::DeepReorg(alarm) => {
                    tracing::error!(
                        block = alarm.number, expected = %alarm.expected, got = ?alarm.got,
                        "a confirmed block vanished: nothing new is accepted until all channels have been compared with the chain"
                    );
                    metrics::counter!("hub_deep_reorgs_total").increment(1);
                    alarmed = true;
                    // Whatever comes of it, disputes are looked after.
                    if let Err(error) = self.reconcile(alarm.number).await {
                        tracing::warn!(%error, "not compared yet; trying again");
                    }
                }
            }
        }
        // Before anything is sent: what is on its way is not sent again.
        self.tend().await;
        // Without it, too: what is disputed is answered.
        if let Err(error) = self.tell_unconfirmed().await {
            tracing::warn!(%error, "unconfirmed events could not be read; trying again");
        }
        let Some(snapshot) = self.control.snapshot().await else {
            return Ok(Turn::Stopped);
        };
        // The process ended before it had compared, and the block is back.
        if snapshot.broken
            && !alarmed
            && let Err(error) = self.reconcile(snapshot.chain.number).await
        {
            tracing::warn!(%error, "not compared yet; trying again");
        }
        metrics::gauge!("hub_frozen_channels").set(u32::try_from(snapshot.frozen.len()).unwrap_or(u32::MAX));
        metrics::gauge!("hub_unsynced_channels").set(u32::try_from(snapshot.unsynced).unwrap_or(u32::MAX));
        metrics::gauge!("hub_rollbacks").set(u32::try_from(snapshot.rollbacks).unwrap_or(u32::MAX));
        if let Err(error) = self.thaw(snapshot.frozen.clone()).await {
            tracing::warn!(%error, "frozen channels could not be compared; trying again");
        }
        metrics::gauge!("hub_channels").set(u32::try_from(snapshot.channels).unwrap_or(u32::MAX));
        metrics::gauge!("hub_hot_channels").set(u32::try_from(snapshot.hot).unwrap_or(u32::MAX));
        metrics::gauge!("hub_remembered").set(u32::try_from(snapshot.remembered).unwrap_or(u32::MAX));
        self.watch_wallet(&snapshot).await;
        self.note_earlier().await;
        self.act(snapshot).await;
        Ok(Turn::Go)
    }

    /// What counts as soon as it is seen, confirmed or not: a dispute freezes its channel (R6), a witness is used (R23).
    async fn tell_unconfirmed(&mut self) -> Result<(), ChainError> {
        let logs = self.view.unconfirmed_logs(self.options.chain.as_ref()).await?;
        let place = |log: &ChainLog| (log.block_hash, log.log_index);
        let told = std::mem::replace(&mut self.told, logs.iter().map(place).collect());
        for log in logs.iter().filter(|log| !told.contains(&place(log))) {
            let input = match facts_of(log) {
                Some(ChainFact::Disputed { channel, dispute_no }) => {
                    Some(Input::DisputeSeen { channel, dispute_no })
                }
                Some(ChainFact::Resolved {
                    channel,
                    payer: Side::Hub,
                    lock_id,
                    witness,
                }) => Witness::new(witness)
                    .ok()
                    .filter(|witness| !witness.as_bytes().is_empty())
                    .map(|witness| Input::WitnessSeen {
                        channel,
                        lock_id,
                        witness,
                    }),
                _ => None,
            };
            if let Some(input) = input {
                self.control.tell(input).await;
            }
        }
        Ok(())
    }
}

enum Turn {
    Go,
    Stopped,
}

fn view_options(options: &DriverOptions) -> ViewOptions {
    ViewOptions {
        address: options.adjudicator,
        confirmations: options.confirmations,
        blocks_per_poll_max: BLOCKS_PER_POLL_MAX,
    }
}

fn position(block: BlockRef) -> ChainPosition {
    ChainPosition {
        number: block.number,
        hash: block.hash.0,
        timestamp: UnixSeconds(block.timestamp_s),
    }
}
