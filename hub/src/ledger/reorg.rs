//! A confirmed block vanished. Until the channels have been compared with the chain nothing new is accepted or signed;
//! then those that the chain shows poorer than they were believed stay frozen until it does not. Disputes are answered
//! all the while.

use super::{
    ChainFact, Commit, Ledger,
    entry::Entry,
    input::{Change, OnChain, Reconciled},
};
use protocol_spec::{
    Amount, ChannelId, Config, Seq, Side, UnixSeconds,
    channel::{Clock, Event, Phase},
    message::{ErrorCode, RpcError},
};

/// What the ledger believes of a channel, to be compared with the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Belief {
    /// The channel.
    pub channel: ChannelId,
    /// Its facts.
    pub config: Config,
    /// Its money.
    pub money: OnChain,
    /// It was paid out.
    pub closed: bool,
}

impl Ledger {
    /// What is believed of every channel.
    #[must_use]
    pub fn beliefs(&self) -> Vec<Belief> {
        self.entries.each().map(|entry| entry.belief()).collect()
    }

    /// True while the channels have to be compared with the chain.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// The same of those that are frozen.
    #[must_use]
    pub fn frozen(&self) -> Vec<Belief> {
        let frozen = self.frozen.iter().filter_map(|index| self.entries.get(*index));
        frozen.map(Entry::belief).collect()
    }

    /// Told again it changes nothing and is not journaled.
    pub(super) fn chain_broken(&mut self, commit: &mut Commit) {
        if !std::mem::replace(&mut self.broken, true) {
            commit.changes.push(&Change::ChainBroken);
        }
    }

    /// All channels were compared with a block that the chain has now.
    pub(super) fn reconciled(&mut self, told: Reconciled, clock: Clock, commit: &mut Commit) {
        let now = clock.now;
        if !self.broken {
            return;
        }
        self.broken = false;
        let seen = self.chain.timestamp;
        self.chain = told.position;
        for config in &told.opened {
            let before = self.entries.len();
            self.opened(config);
            if self.entries.len() > before {
                self.freeze(before);
            }
            self.doubt_opened(before, seen, told.position.timestamp);
        }
        // Before anything is given up: a preimage is used first (R23).
        for fact in &told.resolved {
            self.fact(fact, self.chain.timestamp, now, commit);
        }
        for channel in told.concerned.iter().chain(&told.unpaid) {
            if let Some(index) = self.index(channel) {
                self.freeze(index);
            }
        }
        for channel in &told.unpaid {
            self.enter(channel, &Event::PayoutGone, now, commit);
        }
        for channel in &told.paid {
            self.closed(channel, now, commit);
        }
        self.disputes_again(&told.disputed, now, commit);
        // The chain's time may have gone back, too.
        self.look_at_all_reserves();
        for index in 0..self.entries.len() {
            self.catch_up(index, self.clock(now), commit);
        }
        commit.changes.push(&Change::Reconciled(told));
    }

    /// R27: final is what the chain shows in the block that was compared with, and what it shows of later ones is not.
    fn disputes_again(&mut self, disputed: &[(ChannelId, Seq)], now: UnixSeconds, commit: &mut Commit) {
        let known = self.disputed.iter().filter_map(|index| self.entries.get(*index));
        let doubted: Vec<_> = known
            .filter_map(|entry| Some((entry.channel.id(), entry.dispute()?)))
            .collect();
        for (channel, dispute_no) in doubted {
            self.enter(&channel, &Event::DisputeSeen { dispute_no }, now, commit);
        }
        for (channel, dispute_no) in disputed {
            let (channel, dispute_no) = (*channel, *dispute_no);
            let disputed = ChainFact::Disputed { channel, dispute_no };
            self.fact(&disputed, self.chain.timestamp, now, commit);
        }
    }

    /// What was told while nothing could be signed. It adds nothing that was not promised: it cannot overflow.
    pub(super) fn catch_up(&mut self, index: usize, clock: Clock, commit: &mut Commit) {
        let behind = self.entries.look(index).is_some_and(|entry| entry.is_behind());
        if !behind || self.uncertain(index) {
            return;
        }
        let _ = self.convert_told(index, clock, commit);
        // What is converted now is not dropped, too.
        self.drop_given_up(index, clock, commit);
        // An acknowledgement may be due.
        commit.touched.insert(index);
    }

    fn freeze(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.stored.frozen = true;
            self.frozen.insert(index);
            self.dirty.insert(index);
        }
    }

    /// The chain shows a frozen channel at least as rich as it was believed to be: it goes on with what is there.
    pub(super) fn thawed(&mut self, channel: &ChannelId, money: OnChain, clock: Clock, commit: &mut Commit) {
        let Some(index) = self.index(channel).filter(|index| self.frozen.contains(index)) else {
            return;
        };
        self.frozen.remove(&index);
        let before = self.hub_deposit(index);
        self.change(channel, clock.now, commit, |entry| {
            entry.stored.frozen = false;
            let channel = &mut entry.channel;
            channel.deposit_confirmed(Side::Client, money.client_deposit);
            channel.deposit_confirmed(Side::Hub, money.hub_deposit);
            channel.withdraw_confirmed(Side::Client, money.client_withdrawn);
            channel.withdraw_confirmed(Side::Hub, money.hub_withdrawn);
        });
        // An order that was paid in meanwhile is not paid in again.
        let arrived = self.hub_deposit(index).saturating_minus(before);
        if !arrived.is_zero() {
            self.reserve_arrived(index, arrived);
        }
        self.catch_up(index, clock, commit);
        let channel = *channel;
        commit.changes.push(&Change::Thawed { channel, money });
    }

    fn hub_deposit(&self, index: usize) -> Amount {
        let entry = self.entries.get(index);
        entry.map_or(Amount::ZERO, |entry| entry.channel.funds().hub_deposit)
    }

    /// No voucher is accepted while the chain is not seen (R6) or not certain.
    pub(super) fn require_chain(&self, index: usize, clock: Clock) -> Result<(), RpcError> {
        self.require_certain(index)?;
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        entry.require_fresh(clock)
    }

    /// What both sides sign for the chain needs certain deposits, but no fresh view: if it does not fit, it reverts.
    pub(super) fn require_certain(&self, index: usize) -> Result<(), RpcError> {
        if self.broken || self.frozen.contains(&index) {
            return Err(RpcError::because(
                ErrorCode::ChainStale,
                "a reorganisation of the chain took away what this channel rests on; it goes on when that is back",
            ));
        }
        Ok(())
    }

    /// True when nothing may be signed in the channel because its money, or what was signed before, is not certain.
    pub(super) fn uncertain(&self, index: usize) -> bool {
        self.broken
            || self.frozen.contains(&index)
            || self.unsynced.contains(&index)
            || self.entries.get(index).is_some_and(Entry::is_overdrawn)
    }
}

impl Entry {
    /// Something was told that the hub's vouchers do not show yet.
    fn is_behind(&self) -> bool {
        let channel = &self.channel;
        let locks = channel.told_witnesses().next().is_some() || channel.consented_locks().next().is_some();
        *channel.phase() == Phase::Open && (locks || channel.must_ack())
    }

    fn belief(&self) -> Belief {
        let funds = self.channel.funds();
        Belief {
            channel: self.channel.id(),
            config: self.channel.config().clone(),
            money: OnChain {
                client_deposit: funds.client_deposit,
                hub_deposit: funds.hub_deposit,
                client_withdrawn: funds.client_withdrawn,
                hub_withdrawn: funds.hub_withdrawn,
            },
            closed: *self.channel.phase() == Phase::Closed,
        }
    }
}

impl OnChain {
    /// True when no deposit is smaller than in `believed`, and no withdrawal is missing.
    #[must_use]
    pub fn covers(&self, believed: &Self) -> bool {
        self.client_deposit >= believed.client_deposit
            && self.hub_deposit >= believed.hub_deposit
            && self.client_withdrawn >= believed.client_withdrawn
            && self.hub_withdrawn >= believed.hub_withdrawn
    }
}
