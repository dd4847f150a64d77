//! The chain driver: tells the ledger what the chain says, and sends what the ledger wants on chain.
//!
//! Everything it does follows from the ledger's durable state and the chain, so a restart repeats nothing wrongly:
//! what is not seen on chain yet is sent again after a while, and the adjudicator refuses what came twice.

mod act;
mod facts;

pub use facts::facts_of;

use crate::{
    chain::{BlockRef, Chain, ChainError, ChainView, Cursor, ViewEvent, ViewOptions},
    engine::{Control, ControlHandle},
    ledger::{ChainBlock, ChainFact, ChainPosition},
};
use act::InFlight;
use protocol_spec::{Address, ChannelId, Domain, Preimage, Seq, Side, UnixSeconds};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

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
}

/// What others see of the driver.
#[derive(Clone, Debug, Default)]
pub struct ChainStatus {
    head_timestamp: Arc<AtomicU64>,
    healthy: Arc<AtomicBool>,
}

impl ChainStatus {
    /// Timestamp of the newest block seen; zero before the first.
    #[must_use]
    pub fn head_timestamp(&self) -> UnixSeconds {
        UnixSeconds(self.head_timestamp.load(Ordering::Acquire))
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
    disputes_told: HashSet<(ChannelId, Seq)>,
    preimages_told: HashSet<(ChannelId, u64)>,
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
        let view_options = ViewOptions {
            address: options.adjudicator,
            confirmations: options.confirmations,
            blocks_per_poll_max: BLOCKS_PER_POLL_MAX,
        };
        let view = ChainView::new(view_options, cursor);
        Self {
            options,
            control,
            view,
            status,
            in_flight: InFlight::default(),
            disputes_told: HashSet::new(),
            preimages_told: HashSet::new(),
        }
    }

    /// Runs until the engine stops or a confirmed block vanishes. Errors: the deep reorg; the operator decides.
    pub async fn run(mut self) -> Result<(), String> {
        loop {
            match self.turn().await {
                Ok(Turn::Go) => self.status.healthy.store(true, Ordering::Release),
                Ok(Turn::Stopped) => return Ok(()),
                Ok(Turn::Alarm(text)) => {
                    self.status.healthy.store(false, Ordering::Release);
                    return Err(text);
                }
                Err(error) => {
                    self.status.healthy.store(false, Ordering::Release);
                    tracing::warn!(%error, "the chain could not be read; trying again");
                }
            }
            tokio::time::sleep(self.options.poll_interval).await;
        }
    }

    async fn turn(&mut self) -> Result<Turn, ChainError> {
        let events = self.view.poll(self.options.chain.as_ref()).await?;
        if let Some(head) = self.view.latest() {
            self.status
                .head_timestamp
                .fetch_max(head.timestamp_s, Ordering::AcqRel);
            metrics::gauge!("hub_chain_head_block").set(u32::try_from(head.number).unwrap_or(u32::MAX));
        }
        let mut facts = Vec::new();
        for event in events {
            match event {
                ViewEvent::Log { log, .. } => facts.extend(facts_of(&log)),
                ViewEvent::Confirmed { block, .. } => {
                    let block = ChainBlock {
                        position: position(block),
                        facts: std::mem::take(&mut facts),
                    };
                    if !self.control.send(Control::Block(block)).await {
                        return Ok(Turn::Stopped);
                    }
                }
                ViewEvent::Reorg { depth, .. } => {
                    tracing::warn!(
                        depth,
                        "reorg of unconfirmed blocks: what it dropped is sent again"
                    );
                    // What this poll has handed out already must not be lost for it.
                    if let Err(error) = self.options.chain.resync().await {
                        tracing::warn!(%error, "the nonce could not be read again; the next send will");
                    }
                }
                ViewEvent::DeepReorg(alarm) => {
                    return Ok(Turn::Alarm(format!(
                        "confirmed block {} was {} and is {:?} now: nothing that rests on it is certain",
                        alarm.number, alarm.expected, alarm.got
                    )));
                }
            }
        }
        self.tell_unconfirmed().await?;
        let Some(snapshot) = self.control.snapshot().await else {
            return Ok(Turn::Stopped);
        };
        metrics::gauge!("hub_channels").set(u32::try_from(snapshot.channels).unwrap_or(u32::MAX));
        self.act(snapshot).await;
        Ok(Turn::Go)
    }

    /// What counts as soon as it is seen, confirmed or not: a dispute freezes its channel (R6), a preimage is used (R23).
    async fn tell_unconfirmed(&mut self) -> Result<(), ChainError> {
        for log in self.view.unconfirmed_logs(self.options.chain.as_ref()).await? {
            let told = match facts_of(&log) {
                Some(ChainFact::Disputed { channel, dispute_no }) => self
                    .disputes_told
                    .insert((channel, dispute_no))
                    .then_some(Control::DisputeSeen { channel, dispute_no }),
                Some(ChainFact::Resolved {
                    channel,
                    payer: Side::Hub,
                    lock_id,
                    witness,
                }) => <[u8; 32]>::try_from(witness)
                    .ok()
                    .filter(|_| self.preimages_told.insert((channel, lock_id)))
                    .map(|preimage| Control::PreimageSeen {
                        channel,
                        lock_id,
                        preimage: Preimage(preimage),
                    }),
                _ => None,
            };
            if let Some(told) = told {
                self.control.send(told).await;
            }
        }
        Ok(())
    }
}

enum Turn {
    Go,
    Stopped,
    Alarm(String),
}

fn position(block: BlockRef) -> ChainPosition {
    ChainPosition {
        number: block.number,
        hash: block.hash.0,
        timestamp: UnixSeconds(block.timestamp_s),
    }
}
