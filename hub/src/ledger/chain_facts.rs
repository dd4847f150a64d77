//! What the chain tells: opens, deposits, withdrawals, disputes, closes. Confirmed blocks only, but for disputes.

use super::{
    ChainBlock, ChainFact, Commit, Ledger, Output, ReserveNeed, TxKind, entry::Entry, input::Change,
    output::PendingTx,
};
use protocol_spec::{Amount, Channel, ChannelId, Config, Seq, Side, channel::Event};

impl Ledger {
    pub(super) fn chain_block(&mut self, block: ChainBlock, commit: &mut Commit) {
        for fact in &block.facts {
            self.fact(fact, commit);
        }
        if block.position.number >= self.chain.number {
            self.chain = block.position;
        }
        let clock = self.clock(self.chain.timestamp);
        for index in self.waiting.clone() {
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            let before = entry.channel.phase().clone();
            entry.channel.tick(clock);
            let lapsed = entry.stored.transaction.as_ref().is_some_and(|tx| {
                tx.deadline() < clock.chain
                    && !entry.channel.is_withdraw_pending()
                    && entry.channel.phase().name() == "open"
            });
            if lapsed {
                entry.stored.transaction = None;
                self.waiting.remove(&index);
            }
            if before != *entry.channel.phase() || lapsed {
                self.dirty.insert(index);
            }
        }
        commit.changes.push(Change::Chain(block));
    }

    fn fact(&mut self, fact: &ChainFact, commit: &mut Commit) {
        match fact {
            ChainFact::Opened(config) => self.opened(config),
            ChainFact::Deposited {
                channel,
                total,
                client_net,
            } => {
                self.change(channel, commit, |entry| {
                    deposited(&mut entry.channel, *total, *client_net)
                });
            }
            ChainFact::Reserved { channel, amount } => self.change(channel, commit, |entry| {
                let total = entry.channel.funds().hub_deposit.0.saturating_add(amount.0);
                entry.channel.deposit_confirmed(Side::Hub, Amount(total));
            }),
            ChainFact::Withdrawn { channel, side, total } => self.change(channel, commit, |entry| {
                entry.channel.withdraw_confirmed(*side, *total);
                entry.forget_transaction(
                    |kind| matches!(kind, TxKind::Withdraw(message) if message.side == *side),
                );
            }),
            ChainFact::Disputed { channel, dispute_no } => {
                self.enter(
                    channel,
                    &Event::DisputeSeen {
                        dispute_no: *dispute_no,
                    },
                    commit,
                );
            }
            ChainFact::DisputeCancelled { channel } => {
                self.enter(channel, &Event::DisputeGone, commit);
                self.change(channel, commit, |entry| {
                    entry.forget_transaction(|kind| matches!(kind, TxKind::Cancel(_)))
                });
            }
            ChainFact::Closed { channel } => {
                self.enter(channel, &Event::ClosedOnChain, commit);
                self.change(channel, commit, |entry| entry.forget_transaction(|_| true));
                self.unroute(channel);
            }
        }
    }

    fn opened(&mut self, config: &Config) {
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
            .entry(entry.channel.config().client_signer)
            .or_default()
            .push(index);
        self.entries.push(entry);
        index
    }

    pub(super) fn dispute_seen(&mut self, channel: &ChannelId, dispute_no: Seq, commit: &mut Commit) {
        self.enter(channel, &Event::DisputeSeen { dispute_no }, commit);
        commit.changes.push(Change::DisputeSeen {
            channel: *channel,
            dispute_no,
        });
    }

    /// Moves the channel; illegal moves (an event seen twice) are ignored.
    fn enter(&mut self, id: &ChannelId, event: &Event, commit: &mut Commit) {
        self.change(id, commit, |entry| drop(entry.channel.enter(event)));
    }

    /// Changes one channel's facts after issuing what had gathered under the old ones, and tells its client.
    fn change(&mut self, id: &ChannelId, commit: &mut Commit, change: impl FnOnce(&mut Entry)) {
        let Some(index) = self.index(id) else { return };
        let clock = self.clock(self.chain.timestamp);
        self.issue(index, clock, commit);
        self.dirty.insert(index);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let before = entry.info();
        change(entry);
        let after = entry.info();
        if let Some(session) = entry.session.filter(|_| before != after) {
            commit.outputs.push(Output::Channel(session, Box::new(after)));
        }
    }

    fn unroute(&mut self, id: &ChannelId) {
        let Some(index) = self.index(id) else { return };
        self.by_account.retain(|_, routed| *routed != index);
        self.waiting.remove(&index);
    }

    /// Channels whose reserve is below the policy.
    #[must_use]
    pub fn reserve_needs(&self) -> Vec<ReserveNeed> {
        self.entries
            .iter()
            .filter_map(|entry| self.reserve_need(entry))
            .collect()
    }

    fn reserve_need(&self, entry: &Entry) -> Option<ReserveNeed> {
        let reserve = &self.policy.tariff(entry.channel.config().token)?.reserve;
        if !entry.stored.registered || entry.channel.phase().name() != "open" {
            return None;
        }
        let hub_deposit = entry.channel.funds().hub_deposit;
        let amount = match () {
            () if hub_deposit.is_zero() => reserve.initial,
            () if entry.channel.spendable() < reserve.low => reserve.top_up,
            () => Amount::ZERO,
        };
        let (channel, config) = (entry.channel.id(), entry.channel.config().clone());
        (!amount.is_zero()).then_some(ReserveNeed {
            channel,
            config,
            hub_deposit,
            amount,
        })
    }

    /// Transactions both sides signed and the chain has not shown yet.
    #[must_use]
    pub fn pending_transactions(&self) -> Vec<PendingTx> {
        let waiting = self.waiting.iter().filter_map(|index| self.entries.get(*index));
        waiting
            .filter_map(|entry| entry.stored.transaction.clone())
            .collect()
    }

    /// Evidence to submit in disputes: the newest voucher of each disputed channel's client.
    #[must_use]
    pub fn disputed(&self) -> Vec<(Config, Option<protocol_spec::SignedVoucher>)> {
        let disputed = self
            .entries
            .iter()
            .filter(|entry| entry.channel.phase().name() == "disputed");
        disputed
            .map(|entry| {
                (
                    entry.channel.config().clone(),
                    entry.channel.received_signed().cloned(),
                )
            })
            .collect()
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
