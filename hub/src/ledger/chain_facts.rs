//! What the chain tells: opens, deposits, withdrawals, disputes, closes. Confirmed blocks only, but for disputes.

use super::{
    Adopted, ChainBlock, ChainFact, Commit, Defence, Ledger, Output, TxKind, entry::Entry, input::Change,
    output::PendingTx, touched::keep,
};
use protocol_spec::{
    Amount, Channel, ChannelId, Config, DirectionEvidence, ReturnReason, Seq, Side, UnixSeconds, Witness,
    canary::{Canary, planted},
    channel::{Clock, Event, Phase},
    message::Notification,
};
use std::collections::BTreeSet;

impl Ledger {
    /// A block is taken in once: what it adds up must not count twice when it is told again.
    pub(super) fn chain_block(&mut self, block: ChainBlock, now: UnixSeconds, commit: &mut Commit) {
        if self.chain.hash != [0; 32] && block.position.number <= self.chain.number {
            return;
        }
        let (known, at) = (self.entries.len(), block.position.timestamp);
        for fact in &block.facts {
            self.fact(fact, at, now, commit);
        }
        self.doubt_opened(known, self.chain.timestamp, at);
        // A lock that was forwarded in this commit is signed under the time it was checked against.
        for index in commit.touched.clone().take() {
            if self.entries.get(index).is_some_and(Entry::adds_locks) {
                self.issue(index, self.clock(now), commit);
            }
        }
        self.chain = block.position;
        self.tick_waiting(commit);
        self.forget_quotes();
        self.drop_expired(self.clock(now), commit);
        commit.changes.push(&Change::Chain(block));
    }

    /// R12, R15: what both sides signed and the chain never showed lapses after deadline + lag.
    fn tick_waiting(&mut self, commit: &mut Commit) {
        let clock = self.clock(self.chain.timestamp);
        for index in self.waiting.clone() {
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            let unsigned = |entry: &Entry| *entry.channel.phase() != Phase::Open || entry.is_overdrawn();
            let before = unsigned(entry);
            entry.channel.tick(clock);
            let goes_on = before && !unsigned(entry);
            entry.tick_offer(clock.chain);
            let lag_s = entry.channel.delays().lag_s;
            if let Some(transaction) = &entry.stored.transaction
                && clock.chain > transaction.deadline().after(lag_s)
            {
                entry.stored.transaction = None;
            }
            self.dirty.insert(index);
            self.note_waiting(index);
            if goes_on {
                self.catch_up(index, clock, commit);
            }
        }
    }

    /// Keeps the lists of waiting and disputed channels what a restored ledger would make of the entry.
    pub(super) fn note_waiting(&mut self, index: usize) {
        let found = self.entries.get(index).map(Entry::waiting);
        if let Some(found) = found {
            self.keep_waiting(index, found);
        }
    }

    pub(super) fn keep_waiting(&mut self, index: usize, (waits, disputed): (bool, bool)) {
        keep(&mut self.waiting, index, waits);
        keep(&mut self.disputed, index, disputed);
    }

    /// `at`: chain time of the newest block that is told of now.
    pub(super) fn fact(&mut self, fact: &ChainFact, at: UnixSeconds, now: UnixSeconds, commit: &mut Commit) {
        if let Some(channel) = fact.money()
            && self
                .index(&channel)
                .is_some_and(|index| self.frozen.contains(&index))
        {
            return; // Compared as a whole: what is told in parts may have been counted before.
        }
        match fact {
            ChainFact::Opened(config) => self.opened(config),
            ChainFact::Deposited {
                channel,
                total,
                client_net,
            } => {
                self.change(channel, now, commit, |entry| {
                    deposited(&mut entry.channel, *total, *client_net)
                });
            }
            ChainFact::Reserved { channel, amount } => {
                self.change(channel, now, commit, |entry| {
                    let total = entry.channel.funds().hub_deposit.0.saturating_add(amount.0);
                    entry.channel.deposit_confirmed(Side::Hub, Amount(total));
                });
                if let Some(index) = self.index(channel) {
                    self.reserve_arrived(index, *amount);
                }
            }
            ChainFact::Withdrawn { channel, side, total } => self.change(channel, now, commit, |entry| {
                entry.channel.withdraw_confirmed(*side, *total);
                entry.forget_transaction(
                    |kind| matches!(kind, TxKind::Withdraw(message) if message.side == *side && message.total <= *total),
                );
            }),
            ChainFact::Disputed { channel, dispute_no } => {
                let dispute_no = *dispute_no;
                if !self.in_later_dispute(channel, dispute_no) {
                    self.enter(channel, &Event::DisputeFinal { dispute_no }, now, commit);
                }
            }
            ChainFact::Resolved {
                channel,
                payer,
                lock_id,
                witness,
            } => {
                // The facts of many blocks may come together after an outage: what the hub can still do with a witness is a
                // matter of the newest.
                let mut clock = self.clock(now);
                clock.chain = clock.chain.max(at);
                self.resolved_on_chain(channel, *payer, *lock_id, witness, clock, commit);
            }
            ChainFact::DisputeCancelled { channel, dispute_no } => {
                if !self.in_later_dispute(channel, *dispute_no) {
                    self.reopened(channel, self.clock(now), commit);
                }
                self.change(channel, now, commit, |entry| {
                    entry.forget_transaction(|kind| matches!(kind, TxKind::Cancel(_)))
                });
            }
            ChainFact::Closed { channel } => self.closed(channel, now, commit),
        }
    }

    /// Paid out; a channel that is frozen or in doubt has nothing more to wait for.
    pub(super) fn closed(&mut self, channel: &ChannelId, now: UnixSeconds, commit: &mut Commit) {
        self.enter(channel, &Event::ClosedOnChain, now, commit);
        self.change(channel, now, commit, |entry| {
            entry.stored.frozen = false;
            if std::mem::take(&mut entry.stored.unsynced) {
                // Of its locks nothing more will be known.
                entry.stored.adopted = Some(Adopted::default());
            }
            entry.forget_transaction(|_| true);
        });
        self.unroute(channel);
        if let Some(index) = self.index(channel) {
            self.frozen.remove(&index);
            self.unsynced.remove(&index);
            self.reserve_over(index);
            self.release_dead(index, ReturnReason::PayeeClosed, commit);
        }
    }

    pub(super) fn opened(&mut self, config: &Config) {
        let ours = config.hub == self.hub && config.hub_signer == self.hub_signer;
        let delays = self.policy.delays;
        let Ok(channel) = Channel::new(config.clone(), &self.domain, Side::Hub, delays) else {
            return;
        };
        if !ours || self.by_id.contains_key(&channel.id()) {
            return;
        }
        let index = self.insert(Entry::new(channel));
        self.dirty.insert(index);
    }

    /// Adds an entry and its look-ups (not the route).
    pub(super) fn insert(&mut self, entry: Entry) -> usize {
        let index = self.entries.len();
        self.by_id.insert(entry.channel.id(), index);
        self.by_signer
            .insert((entry.channel.config().client_signer, index));
        self.entries.push(entry);
        self.dirty.look_at(index);
        index
    }

    /// R6, before the block is confirmed. Told again it changes nothing and is not journaled.
    pub(super) fn dispute_seen(
        &mut self,
        channel: &ChannelId,
        dispute_no: Seq,
        now: UnixSeconds,
        commit: &mut Commit,
    ) {
        let Some(entry) = self.index(channel).and_then(|index| self.entries.get(index)) else {
            return;
        };
        let known = entry.dispute().is_some_and(|known| known >= dispute_no);
        if known || *entry.channel.phase() == Phase::Closed {
            return;
        }
        self.enter(channel, &Event::DisputeSeen { dispute_no }, now, commit);
        commit.changes.push(&Change::DisputeSeen {
            channel: *channel,
            dispute_no,
        });
    }

    /// True when a dispute after this one was seen: what becomes of this one concerns the channel no more (R6).
    fn in_later_dispute(&self, channel: &ChannelId, earlier: Seq) -> bool {
        let entry = self.index(channel).and_then(|index| self.entries.get(index));
        entry
            .and_then(Entry::dispute)
            .is_some_and(|known| known > earlier)
    }

    /// R27: no dispute any more.
    fn reopened(&mut self, channel: &ChannelId, clock: Clock, commit: &mut Commit) {
        self.enter(channel, &Event::DisputeGone, clock.now, commit);
        if let Some(index) = self.index(channel) {
            self.catch_up(index, clock, commit);
        }
    }

    /// A reorg took the dispute away. Told again it changes nothing and is not journaled.
    pub(super) fn dispute_gone(&mut self, channel: &ChannelId, clock: Clock, commit: &mut Commit) {
        let entry = self.index(channel).and_then(|index| self.entries.get(index));
        if entry.and_then(Entry::dispute).is_none() {
            return;
        }
        self.reopened(channel, clock, commit);
        commit.changes.push(&Change::DisputeGone { channel: *channel });
    }

    /// Moves the channel; illegal moves (an event seen twice) are ignored.
    pub(super) fn enter(&mut self, id: &ChannelId, event: &Event, now: UnixSeconds, commit: &mut Commit) {
        self.change(id, now, commit, |entry| drop(entry.channel.enter(event)));
    }

    /// Changes one channel's facts after issuing what had gathered under the old ones, and tells its client.
    pub(super) fn change(
        &mut self,
        id: &ChannelId,
        now: UnixSeconds,
        commit: &mut Commit,
        change: impl FnOnce(&mut Entry),
    ) {
        let Some(index) = self.index(id) else { return };
        self.issue(index, self.clock(now), commit);
        self.dirty.insert(index);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let (before, weight, overdrawn) = (entry.info(), entry.forwarded_weight(), entry.is_overdrawn());
        change(entry);
        let covered = overdrawn && !entry.is_overdrawn();
        let (after, left) = (entry.info(), entry.forwarded_weight());
        self.forwarded = self.forwarded.saturating_sub(weight).saturating_add(left);
        if let Some(session) = entry.session.filter(|_| before != after) {
            let told = Notification::Channel(after);
            commit.outputs.push(Output::Tell(session, Box::new(told)));
        }
        self.note_waiting(index);
        if covered {
            self.catch_up(index, self.clock(now), commit);
        }
    }

    fn unroute(&mut self, id: &ChannelId) {
        let Some(index) = self.index(id) else { return };
        if let Some(entry) = self.entries.get_mut(index) {
            entry.stored.routed = false;
            let account = (entry.channel.config().client, entry.channel.config().token);
            if self.by_account.get(&account) == Some(&index) {
                self.by_account.remove(&account);
            }
        }
    }

    /// Transactions both sides signed and the chain has not shown yet.
    #[must_use]
    pub fn pending_transactions(&self) -> Vec<PendingTx> {
        let waiting = self.waiting.iter().filter_map(|index| self.entries.get(*index));
        waiting
            .filter_map(|entry| entry.stored.transaction.as_deref().cloned())
            .collect()
    }

    /// What to defend in disputes.
    #[must_use]
    pub fn disputed(&self) -> Vec<Defence> {
        let disputed = self.disputed.iter().filter_map(|index| self.entries.get(*index));
        disputed.map(Entry::defence).collect()
    }
}

impl ChainFact {
    /// The channel whose money changed.
    fn money(&self) -> Option<ChannelId> {
        match self {
            Self::Deposited { channel, .. }
            | Self::Reserved { channel, .. }
            | Self::Withdrawn { channel, .. } => Some(*channel),
            _ => None,
        }
    }
}

/// Gross deposits from the contract's net figures; withdrawals up to here are already known.
fn deposited(channel: &mut Channel, total: Amount, (plus, minus): (Amount, Amount)) {
    let client_withdrawn = channel.funds().client_withdrawn.0;
    let gross = plus.0.saturating_add(client_withdrawn).saturating_sub(minus.0);
    channel.deposit_confirmed(Side::Client, Amount(gross));
    let withdrawn = client_withdrawn.saturating_add(channel.funds().hub_withdrawn.0);
    let hub = total.0.saturating_add(withdrawn).saturating_sub(gross);
    channel.deposit_confirmed(Side::Hub, Amount(hub));
}

impl Entry {
    /// The dispute it is in.
    pub(super) fn dispute(&self) -> Option<Seq> {
        match self.channel.phase() {
            Phase::Disputed { dispute_no, .. } => Some(*dispute_no),
            _ => None,
        }
    }

    /// Whether it waits for the chain, and whether it is in a dispute.
    pub(super) fn waiting(&self) -> (bool, bool) {
        (self.waits(), self.dispute().is_some())
    }

    pub(super) fn defence(&self) -> Defence {
        let mut received = DirectionEvidence::received_by(&self.channel);
        // R17: what was resolved may have to be counted again in a newer voucher; the adjudicator reads no witness then.
        let known: BTreeSet<u64> = self.channel.known_witnesses().map(|(id, _)| id).collect();
        let marked = received.locks.iter().map(|lock| lock.id);
        let marked = marked.filter(|id| self.channel.is_marked(Side::Client, *id) && !known.contains(id));
        let marked: Vec<_> = marked.map(|id| (id.to_string(), Witness::default())).collect();
        received.witnesses.extend(marked);
        if planted(Canary::ForgetLocks) {
            received.witnesses.clear();
        }
        Defence {
            config: self.channel.config().clone(),
            received,
            gave_locks: self.channel.sent().newest_lock != 0,
        }
    }

    fn forget_transaction(&mut self, done: impl FnOnce(&TxKind) -> bool) {
        if self.stored.transaction.as_ref().is_some_and(|tx| done(&tx.kind)) {
            self.stored.transaction = None;
        }
    }
}

impl PendingTx {
    /// Not mined after this chain time.
    #[must_use]
    pub fn deadline(&self) -> protocol_spec::UnixSeconds {
        match &self.kind {
            TxKind::Withdraw(message) => message.deadline,
            TxKind::Close(message) => message.deadline,
            TxKind::Cancel(message) => message.deadline,
        }
    }
}
