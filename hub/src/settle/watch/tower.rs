//! One look: read the directory, read every channel's state, act on the disputes. Nothing is remembered that matters.

use super::{
    event::Event,
    folder::{Folder, seq},
    send::Sender,
    told::Told,
};
use crate::settle::{
    Intent, Node, SettleError, Verb,
    args::{Format, WatchArgs},
    evidence::CheckedEvidence,
    journal::Journal,
    outlook::{offer, offer_locks},
    plan,
    signer::Signer,
    sweep::{self, CHANNELS_PER_TX_MAX},
    view::{Phase, View},
};
use alloy::{eips::BlockId, primitives::B256};
use futures::{StreamExt as _, stream};
use protocol_spec::{
    Address, ChannelId,
    abi::{ChannelState, IAdjudicator, Status},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Reads under way at once.
const READS_AT_ONCE: usize = 16;

/// What a look came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Looked {
    /// Channels guarded.
    pub(super) guarded: usize,
    /// Of them in a dispute.
    pub(super) disputed: usize,
    /// Transactions sent.
    pub(super) sent: usize,
    /// Channels for which something was due that could not be done.
    pub(super) cannot: usize,
    /// Channels whose window ended before their voucher was on chain.
    pub(super) too_late: usize,
    /// Files that cannot be used.
    pub(super) faults: usize,
    /// True when the chain did not answer.
    pub(super) unreachable: bool,
}

impl Looked {
    /// Adds a later look: states as they are now, deeds in all.
    pub(super) fn add(&mut self, later: &Self) {
        *self = Self {
            sent: self.sent.saturating_add(later.sent),
            too_late: self.too_late.max(later.too_late),
            ..*later
        };
    }
}

pub(super) struct Tower {
    node: Node,
    key: Address,
    folder: Folder,
    sender: Option<Sender>,
    /// Adjudicators that were found to be what the evidence says.
    checked: BTreeSet<(u64, Address)>,
    told: BTreeMap<ChannelId, Told>,
    format: Format,
}

impl Tower {
    pub(super) fn new(
        args: &WatchArgs,
        node: Node,
        signer: &Signer,
        journal: Option<Journal>,
        format: Format,
    ) -> Self {
        let key = signer.address();
        Self {
            sender: journal.map(|journal| Sender::new(args, node.clone(), signer, journal, format)),
            folder: Folder::new(&args.dir, key),
            node,
            key,
            checked: BTreeSet::new(),
            told: BTreeMap::new(),
            format,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Waits for what was sent.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`], [`SettleError::NotIncluded`], the journal's.
    pub(super) async fn finish(&mut self) -> Result<(), SettleError> {
        match &mut self.sender {
            Some(sender) => sender.finish().await,
            None => Ok(()),
        }
    }

    /// Looks once and does what is due.
    ///
    /// # Errors
    /// Only that the directory cannot be read and nothing is held. Everything else is told, and tried again at the next look.
    pub(super) async fn look(&mut self) -> Result<Looked, SettleError> {
        let mut looked = Looked::default();
        match self.folder.scan() {
            Ok(events) => events.into_iter().for_each(|event| event.emit(self.format)),
            Err(error) if self.folder.channels().is_empty() => return Err(error),
            Err(error) => Event::new("bad_file", error.to_string()).emit(self.format),
        }
        (looked.guarded, looked.faults) = (self.folder.channels().len(), self.folder.faults());
        match self.act(&mut looked).await {
            Ok(()) => {}
            Err(error @ (SettleError::Unreachable(_) | SettleError::NotIncluded(_))) => {
                looked.unreachable = true;
                Event::new("unreachable", error.to_string()).emit(self.format);
            }
            Err(error) => {
                looked.cannot = looked.cannot.saturating_add(1);
                Event::new("cannot", error.to_string()).emit(self.format);
            }
        }
        Event::new(
            "looked",
            format!("{} channels, {} disputed", looked.guarded, looked.disputed),
        )
        .with("guarded", json!(looked.guarded))
        .with("disputed", json!(looked.disputed))
        .with("sent", json!(looked.sent))
        .emit_for_programs(self.format);
        Ok(looked)
    }

    async fn act(&mut self, looked: &mut Looked) -> Result<(), SettleError> {
        let pending = match &mut self.sender {
            Some(sender) => sender.resume().await?,
            None => BTreeSet::new(),
        };
        let mut disputed = self.states(looked).await?;
        looked.disputed = disputed.len();
        // The most urgent first.
        disputed.sort_by_key(|(_, state)| state.windowEnd);
        let mut finals: BTreeMap<Address, Vec<CheckedEvidence>> = BTreeMap::new();
        for (id, _) in disputed.into_iter().filter(|(id, _)| !pending.contains(id)) {
            let Some(evidence) = self.folder.channels().get(&id).cloned() else {
                continue;
            };
            match self.defend(&evidence, looked).await {
                Ok(false) => {}
                Ok(true) => finals
                    .entry(evidence.raw().adjudicator)
                    .or_default()
                    .push(evidence),
                Err(error) => self.failed(id, error, looked),
            }
        }
        for channels in finals.into_values() {
            for chunk in channels.chunks(CHANNELS_PER_TX_MAX) {
                self.finalize(chunk, looked).await?;
            }
        }
        Ok(())
    }

    /// A failure for one channel must not keep the others waiting.
    fn failed(&mut self, id: ChannelId, error: SettleError, looked: &mut Looked) {
        match error {
            // Somebody else was faster (E17).
            SettleError::NothingToDo(_) => return,
            SettleError::Unreachable(_) | SettleError::NotIncluded(_) => looked.unreachable = true,
            // A journal that cannot be written, too: the next look tries again.
            _ => looked.cannot = looked.cannot.saturating_add(1),
        }
        self.told.entry(id).or_default().fault(id, &error, self.format);
    }

    /// Reads every channel's state, tells what changed, and returns those in a dispute.
    async fn states(&mut self, looked: &mut Looked) -> Result<Vec<(ChannelId, ChannelState)>, SettleError> {
        let mut good = Vec::new();
        let channels: Vec<_> = self.folder.channels().values().cloned().collect();
        for evidence in channels {
            match self.check(&evidence).await {
                Ok(()) => good.push((evidence.id(), evidence.raw().adjudicator)),
                Err(error @ SettleError::Unreachable(_)) => return Err(error),
                Err(error) => self.failed(evidence.id(), error, looked),
            }
        }
        let node = &self.node;
        let reads = good.into_iter().map(|(id, adjudicator)| async move {
            let call = IAdjudicator::channelCall {
                channelId: B256::from(id.0),
            };
            (id, node.read(adjudicator, &call, BlockId::latest()).await)
        });
        let states: Vec<_> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .collect()
            .await;
        let mut disputed = Vec::new();
        for (id, state) in states {
            match state {
                Ok(state) => {
                    self.told.entry(id).or_default().phase(id, &state, self.format);
                    if matches!(state.status, Status::Disputed) {
                        disputed.push((id, state));
                    }
                }
                Err(error) => self.failed(id, error, looked),
            }
        }
        Ok(disputed)
    }

    async fn check(&mut self, evidence: &CheckedEvidence) -> Result<(), SettleError> {
        let domain = (evidence.raw().chain_id, evidence.raw().adjudicator);
        if !self.checked.contains(&domain) {
            self.node.check(evidence.domain()).await?;
            self.checked.insert(domain);
        }
        Ok(())
    }

    /// R21. True when it is to be finalized.
    async fn defend(&mut self, evidence: &CheckedEvidence, looked: &mut Looked) -> Result<bool, SettleError> {
        let view = View::read(&self.node, evidence).await?;
        let Phase::Disputed {
            window_end, final_at, ..
        } = view.phase
        else {
            return Ok(false);
        };
        let now = view.head.time;
        let known = view.adjudication.direction(evidence.side().other()).seq;
        let told = self.told.entry(evidence.id()).or_default();
        if now >= window_end && known < seq(evidence) {
            looked.too_late = looked.too_late.saturating_add(1);
            told.late(evidence.id(), known, seq(evidence), self.format);
        }
        if now >= final_at {
            return Ok(true);
        }
        let verb = match () {
            () if now < window_end && !offer(&view, evidence, false).is_empty() => Verb::Submit,
            () if now >= window_end && !offer_locks(&view, evidence).unlocks.is_empty() => Verb::Resolve,
            () => return Ok(false),
        };
        told.alarm(evidence, now, window_end, self.format);
        // By R21 the newest voucher is shown, whoever gains: what both sides signed is fair, and what the other side may
        // still show at the last second is not known.
        let intent = Intent {
            verb,
            sender: self.key,
            force: true,
            without_evidence: false,
        };
        let plan = plan::plan(&view, evidence, intent)?;
        match &mut self.sender {
            Some(sender) => sender.send(&plan, evidence.id()).await?,
            None => {
                let text = format!("{} is due; --broadcast would send it", plan.command);
                Event::new("due", text).channel(evidence.id()).emit(self.format);
                return Ok(false);
            }
        }
        looked.sent = looked.sent.saturating_add(1);
        Ok(false)
    }

    async fn finalize(&mut self, chunk: &[CheckedEvidence], looked: &mut Looked) -> Result<(), SettleError> {
        let channels: Vec<_> = chunk.iter().collect();
        let (call, purpose) = sweep::finalize(&channels, self.key)?;
        let Some(sender) = &mut self.sender else {
            for evidence in chunk {
                Event::new("due", "finalize is due; --broadcast would send it")
                    .channel(evidence.id())
                    .emit(self.format);
            }
            return Ok(());
        };
        match sender.post(purpose, &call).await {
            Ok(()) => looked.sent = looked.sent.saturating_add(1),
            Err(error) => {
                if let Some(first) = chunk.first() {
                    self.failed(first.id(), error, looked);
                }
            }
        }
        Ok(())
    }
}
