//! One look: read the directory, read every channel's state, act on the disputes. Nothing is remembered that matters.

use super::{
    again::{Again, Shown, Turn},
    event::{Event, Voice},
    folder::{Folder, Ward, ward},
    late::missed,
    reverted::Reverted,
    send::{Pending, Sender},
    told::Told,
    trust::Trust,
    watchtower::WatchOptions,
};
use crate::settle::{
    Intent, Node, SettleError, Verb,
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
    canary::{Canary, planted},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Reads under way at once.
const READS_AT_ONCE: usize = 16;

/// What a look came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Channels guarded.
    pub guarded: usize,
    /// Of them in a dispute.
    pub disputed: usize,
    /// Transactions sent.
    pub sent: usize,
    /// Channels for which something was due that could not be done.
    pub cannot: usize,
    /// Channels whose window ended before their voucher was on chain.
    pub too_late: usize,
    /// Files that cannot be used.
    pub faults: usize,
    /// True when the chain did not answer.
    pub unreachable: bool,
    /// True when the newest block is so old that what it shows is not what the chain is now.
    pub stale: bool,
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
    trust: Trust,
    key: Address,
    folder: Folder,
    sender: Option<Sender>,
    told: BTreeMap<Ward, Told>,
    again: Again,
    reverted: Reverted,
    /// The last look found the newest block too old.
    stale: bool,
    every: Duration,
    voice: Voice,
}

impl Tower {
    pub(super) fn new(
        options: &WatchOptions,
        (node, trust): (Node, Trust),
        signer: &Signer,
        journal: Option<Journal>,
        voice: Voice,
    ) -> Self {
        let key = signer.address();
        Self {
            sender: journal.map(|journal| {
                let voice = voice.clone();
                Sender::new(options, node.clone(), signer, journal, voice)
            }),
            folder: Folder::new(&options.dir, key),
            node,
            trust,
            key,
            told: BTreeMap::new(),
            again: Again::default(),
            reverted: Reverted::default(),
            stale: false,
            every: options.every,
            voice,
        }
    }

    pub(super) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// Waits for what was sent.
    ///
    /// # Errors
    /// [`SettleError::Unreachable`], [`SettleError::NotIncluded`], the journal's.
    pub(super) async fn finish(&mut self) -> Result<(), SettleError> {
        match &mut self.sender {
            Some(sender) => sender.finish(&mut self.again).await,
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
            Ok(events) => events.into_iter().for_each(|event| event.emit(&self.voice)),
            Err(error) if self.folder.wards().is_empty() => return Err(error),
            Err(error) => Event::new("bad_file", error.to_string()).emit(&self.voice),
        }
        (looked.guarded, looked.faults) = (self.folder.channels(), self.folder.faults());
        match self.act(&mut looked).await {
            Ok(()) => {}
            Err(error @ (SettleError::Unreachable(_) | SettleError::NotIncluded(_))) => {
                looked.unreachable = true;
                Event::new("unreachable", error.to_string()).emit(&self.voice);
            }
            Err(error) => {
                looked.cannot = looked.cannot.saturating_add(1);
                Event::new("cannot", error.to_string()).emit(&self.voice);
            }
        }
        Event::new(
            "looked",
            format!("{} channels, {} disputed", looked.guarded, looked.disputed),
        )
        .with("guarded", json!(looked.guarded))
        .with("disputed", json!(looked.disputed))
        .with("sent", json!(looked.sent))
        .emit_for_programs(&self.voice);
        Ok(looked)
    }

    async fn act(&mut self, looked: &mut Looked) -> Result<(), SettleError> {
        let stale = self.node.stale(self.node.head().await?);
        looked.stale = stale.is_some();
        // What is due by the blocks that are shown is done all the same.
        if let Some(text) = stale.filter(|_| !self.stale) {
            Event::new("stale", text).emit(&self.voice);
        }
        self.stale = looked.stale;
        let pending = match &mut self.sender {
            Some(sender) => sender.resume(&mut self.again).await?,
            None => Pending::default(),
        };
        let mut disputed = self.states(looked).await?;
        looked.disputed = disputed
            .iter()
            .map(|((id, _), _)| *id)
            .collect::<BTreeSet<_>>()
            .len();
        // The most urgent first.
        disputed.sort_by_key(|(_, state)| state.windowEnd);
        // By channel: it is paid out once, whichever of its sides are guarded.
        let mut finals: BTreeMap<Address, BTreeMap<ChannelId, CheckedEvidence>> = BTreeMap::new();
        for (ward, _) in disputed.into_iter().filter(|(ward, _)| !pending.covers(*ward)) {
            let Some(evidence) = self.folder.wards().get(&ward).cloned() else {
                continue;
            };
            match self.defend(&evidence, looked).await {
                Ok(false) => {}
                Ok(true) => {
                    let channels = finals.entry(evidence.raw().adjudicator).or_default();
                    channels.insert(evidence.id(), evidence);
                }
                Err(error) => self.failed(ward, error, looked),
            }
        }
        for channels in finals.into_values() {
            let channels: Vec<_> = channels.into_values().collect();
            for chunk in channels.chunks(CHANNELS_PER_TX_MAX) {
                self.finalize(chunk, looked).await?;
            }
        }
        Ok(())
    }

    /// A failure for one channel must not keep the others waiting.
    fn failed(&mut self, ward: Ward, error: SettleError, looked: &mut Looked) {
        match error {
            // Somebody else was faster (E17).
            SettleError::NothingToDo(_) => return,
            SettleError::Unreachable(_) | SettleError::NotIncluded(_) => looked.unreachable = true,
            // A journal that cannot be written, too: the next look tries again.
            _ => looked.cannot = looked.cannot.saturating_add(1),
        }
        self.told
            .entry(ward)
            .or_default()
            .fault(ward, &error, &self.voice);
    }

    /// Reads every channel's state, tells what changed, and returns those in a dispute.
    async fn states(&mut self, looked: &mut Looked) -> Result<Vec<(Ward, ChannelState)>, SettleError> {
        let mut good = Vec::new();
        let guarded = self.folder.wards().iter();
        let guarded: Vec<_> = guarded
            .map(|(ward, evidence)| (*ward, *evidence.domain()))
            .collect();
        // One that does not answer must not keep the channels of the others waiting.
        let mut faults: BTreeMap<(u64, Address), SettleError> = BTreeMap::new();
        for (ward, domain) in guarded {
            let adjudicator = (domain.chain_id, domain.adjudicator);
            let checked = match faults.get(&adjudicator) {
                Some(error) => Err(error.clone()),
                None => self.trust.check(&domain).await,
            };
            match checked {
                Ok(()) => good.push((ward, domain.adjudicator)),
                Err(error) => {
                    faults.insert(adjudicator, error.clone());
                    self.failed(ward, error, looked);
                }
            }
        }
        let node = &self.node;
        let reads = good.into_iter().map(|(ward, adjudicator)| async move {
            let call = IAdjudicator::channelCall {
                channelId: B256::from(ward.0.0),
            };
            (ward, node.read(adjudicator, &call, BlockId::latest()).await)
        });
        let states: Vec<_> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .collect()
            .await;
        let mut disputed = Vec::new();
        for (ward, state) in states {
            match state {
                Ok(state) => {
                    self.told
                        .entry(ward)
                        .or_default()
                        .phase(ward, &state, &self.voice);
                    if matches!(state.status, Status::Disputed) {
                        disputed.push((ward, state));
                    }
                }
                Err(error) => self.failed(ward, error, looked),
            }
        }
        Ok(disputed)
    }

    /// R21. True when it is to be finalized.
    async fn defend(&mut self, evidence: &CheckedEvidence, looked: &mut Looked) -> Result<bool, SettleError> {
        let mut view = View::read(&self.node, evidence).await?;
        if planted(Canary::IdleTower) {
            return Ok(false);
        }
        if let Some(shown) = self.again.take_reverted(ward(evidence)) {
            self.reverted.add(ward(evidence), evidence, &shown);
        }
        let Phase::Disputed {
            window_end, final_at, ..
        } = view.phase
        else {
            return Ok(false);
        };
        let now = view.head.time;
        let told = self.told.entry(ward(evidence)).or_default();
        if now >= window_end
            && let Some(missed) = missed(&view, evidence)
        {
            looked.too_late = looked.too_late.saturating_add(1);
            told.late(ward(evidence), missed, &self.voice);
        }
        if now >= final_at {
            return Ok(true);
        }
        let (verb, until) = match now < window_end {
            true => (Verb::Submit, window_end),
            false => (Verb::Resolve, final_at),
        };
        let offered = |view: &View| match now < window_end {
            true => offer(view, evidence, false),
            false => offer_locks(view, evidence),
        };
        let offer = self.reverted.offer(ward(evidence), &mut view, offered);
        if offer.is_empty() {
            return Ok(false);
        }
        told.alarm(evidence, now, window_end, &self.voice);
        let shown = Shown::new(evidence, &offer);
        match self.again.turn(ward(evidence), &shown, (now, until), self.every) {
            Turn::Go => {}
            Turn::Wait(news) => {
                told.in_vain(evidence, news, &self.voice);
                looked.cannot = looked.cannot.saturating_add(1);
                return Ok(false);
            }
        }
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
            Some(sender) => {
                sender.show(&plan, evidence).await?;
                self.again.sent(ward(evidence), shown);
            }
            None => {
                let text = format!("{} is due; --broadcast would send it", plan.command);
                Event::new("due", text).ward(ward(evidence)).emit(&self.voice);
                return Ok(false);
            }
        }
        looked.sent = looked.sent.saturating_add(1);
        Ok(false)
    }

    /// Pays these channels out in one transaction. When the chain does not take that, or it needs more gas than a block has,
    /// in halves, so that what is wrong with one does not stop the others.
    async fn finalize(&mut self, chunk: &[CheckedEvidence], looked: &mut Looked) -> Result<(), SettleError> {
        let Some(sender) = &mut self.sender else {
            for evidence in chunk {
                Event::new("due", "finalize is due; --broadcast would send it")
                    .ward(ward(evidence))
                    .emit(&self.voice);
            }
            return Ok(());
        };
        let (mut left, mut failed) = (vec![chunk], Vec::new());
        while let Some(part) = left.pop() {
            let channels: Vec<_> = part.iter().collect();
            let (call, purpose) = sweep::finalize(&channels, self.key)?;
            match (sender.post(purpose, &call).await, part) {
                (Ok(()), _) => looked.sent = looked.sent.saturating_add(1),
                (Err(SettleError::Refused(_) | SettleError::Reverted(_)), [_, _, ..]) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    left.extend([second, first]);
                }
                (Err(error), _) => failed.extend(part.first().map(|first| (ward(first), error))),
            }
        }
        for (ward, error) in failed {
            self.failed(ward, error, looked);
        }
        Ok(())
    }
}
