//! What may happen: the hub's actions, and whatever payer and payee, who are one, can do.

use super::contract::{Contract, Voucher, WINDOW};
use super::hub::{At, Hub, IN, OUT, Op};
use super::instances::Bounds;
use super::tx::{Place, Tx};
use crate::chain::Status;
use crate::rules::{Rule, Rules};

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The step.
    pub now: u8,
    /// The hub's memory.
    pub hub: Hub,
    /// What of it is durable.
    pub disk: Hub,
    /// The contracts now.
    pub chain: [Contract; 2],
    /// The contracts when the step began: what is final.
    pub base: [Contract; 2],
    /// The hub's transactions.
    pub txs: [Place; 3],
    /// Only with R24Durable removed: a voucher that left before it was durable.
    pub leaked: Voucher,
    /// Reorgs so far.
    pub reorgs: u8,
    /// Crashes so far.
    pub crashes: u8,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The hub accepts the payer's next voucher; an unconditional payment is credited with it (R24).
    Accepts(Op),
    /// Only with R24Order removed: the credit comes first.
    CreditsFirst,
    /// The hub forwards the lock (R22).
    Forwards,
    /// It signs its next voucher.
    Issues(Op),
    /// It consents to the end of the payer's lock (R23).
    Consents,
    /// It accepts a voucher of the payee that acknowledges this seq.
    PayeeAcks(u8),
    /// The payee tells the witness.
    PayeeTells,
    /// The payee consents to the end of the hub's lock.
    PayeeConsents,
    /// The hub sees a dispute or a close, by channel, before it must.
    Sees(usize),
    /// It sees the witness on chain before it must.
    SeesWitness,
    /// It makes its memory durable; only then anything leaves.
    Commits,
    /// It loses what is not durable.
    Crashes,
    /// It sends a transaction.
    Sends(Tx),
    /// That is mined.
    Mines(Tx),
    /// The other party starts a dispute, by channel.
    Disputes(usize),
    /// The payee shows the hub's voucher with this seq.
    PayeeSubmits(u8),
    /// The payee resolves.
    PayeeResolves,
    /// A dispute's end is paid out, by channel.
    Finalizes(usize),
    /// What was mined in this step is undone.
    Reorg,
    /// Time passes.
    Tick,
}

impl State {
    /// What the hub may do in its own memory; durable at once where it does not crash.
    pub fn hub_acts(&self, at: &At, bounds: &Bounds, out: &mut Vec<(Act, Self)>) {
        let (hub, Bounds { locks, direct, .. }) = (&self.hub, *bounds);
        let mut then = |act: Act, next: Option<Hub>| {
            if let Some(hub) = next {
                let disk = if bounds.crashes == 0 { hub } else { self.disk };
                out.push((act, Self { hub, disk, ..*self }));
            }
        };
        if locks {
            for op in [Op::Add, Op::Convert, Op::Drop] {
                then(Act::Accepts(op), hub.accept(at, op));
            }
            then(Act::Forwards, hub.forward(at));
            for op in [Op::Convert, Op::Drop] {
                then(Act::Issues(op), hub.issue(at, op));
            }
            then(Act::Consents, hub.consent(at));
            then(Act::PayeeTells, hub.hear(at));
            let got = hub.newest().lock && !hub.got;
            then(Act::PayeeConsents, got.then_some(Hub { got: true, ..*hub }));
            let seen = Self::witness_seen(hub, &self.chain[OUT], at.rules);
            then(Act::SeesWitness, (seen != *hub).then_some(seen));
        }
        if direct {
            then(Act::Accepts(Op::Pay), hub.accept(at, Op::Pay));
            if !at.rules.has(Rule::R24Order) && !hub.direct {
                then(Act::CreditsFirst, hub.issue(at, Op::Pay));
            }
        }
        if !hub.seen[OUT] {
            // The payee has what is durable, and acknowledges nothing else.
            for ack in hub.ack + 1..=self.disk.n.min(hub.n) {
                then(Act::PayeeAcks(ack), Some(Hub { ack, ..*hub }));
            }
        }
        for channel in [IN, OUT] {
            if self.chain[channel].status != Status::Open && !hub.seen[channel] {
                let mut next = *hub;
                next.seen[channel] = true;
                then(Act::Sees(channel), Some(next));
            }
        }
    }

    fn witness_seen(hub: &Hub, contract: &Contract, rules: Rules) -> Hub {
        let mut next = *hub;
        if contract.mark != 0 && rules.has(Rule::R23Use) {
            next.learn(rules);
        }
        next
    }

    /// Commits and crashes.
    pub fn disk_acts(&self, at: &At, crashes: u8, out: &mut Vec<(Act, Self)>) {
        if self.hub == self.disk {
            return;
        }
        let mut leaked = self.leaked;
        if !at.rules.has(Rule::R24Durable) && self.hub.credited && !self.disk.credited {
            leaked = self.hub.newest();
        }
        let (hub, disk) = (self.hub, self.disk);
        out.push((Act::Commits, Self { disk: hub, ..*self }));
        if self.crashes < crashes {
            out.push((
                Act::Crashes,
                Self {
                    hub: disk,
                    crashes: self.crashes + 1,
                    leaked,
                    ..*self
                },
            ));
        }
    }

    /// What payer and payee do on chain, at once and in any order.
    pub fn others_act(&self, at: &At, bounds: &Bounds, out: &mut Vec<(Act, Self)>) {
        let mut mined = |act: Act, channel: usize, change: &dyn Fn(&mut Contract)| {
            let mut next = *self;
            change(&mut next.chain[channel]);
            if next != *self {
                out.push((act, next));
            }
        };
        for channel in [IN, OUT] {
            let (contract, facts) = (&self.chain[channel], &at.facts[channel]);
            // A later one does not end within the bounds.
            if contract.status == Status::Open && at.now + WINDOW <= bounds.time {
                mined(Act::Disputes(channel), channel, &|c| c.dispute(at.now));
            }
            if contract.ends(facts, at.now) {
                mined(Act::Finalizes(channel), channel, &|c| c.finalize(facts));
            }
        }
        let (contract, facts) = (&self.chain[OUT], &at.facts[OUT]);
        if contract.in_window(at.now) || (bounds.checkpoints && contract.status == Status::Open) {
            // R24Durable removed: what left is known although it is not durable.
            for voucher in self
                .disk
                .mine
                .iter()
                .take(self.disk.n.into())
                .chain([&self.leaked])
            {
                mined(Act::PayeeSubmits(voucher.seq), OUT, &|c| {
                    c.submit(facts, *voucher)
                });
            }
        }
        mined(Act::PayeeResolves, OUT, &|c| c.resolve(facts, at.now));
    }

    /// Forgets what can matter no more, so that states that differ in nothing else are one.
    #[must_use]
    pub fn tidy(mut self) -> Self {
        let closed = self.base.map(|contract| contract.status == Status::Closed);
        for hub in [&mut self.hub, &mut self.disk] {
            hub.tidy(closed);
        }
        self
    }

    /// What was mined in this step is undone; the hub's transactions are in the pool again.
    #[must_use]
    pub fn reorg(&self) -> Self {
        let txs = self.txs.map(|place| match place {
            Place::Block(by) => Place::Pool(by),
            place => place,
        });
        Self {
            chain: self.base,
            txs,
            reorgs: self.reorgs + 1,
            ..*self
        }
    }

    /// Time passes: what was mined is final and seen.
    #[must_use]
    pub fn tick(&self, at: &At) -> Self {
        let mut next = Self {
            now: self.now + 1,
            base: self.chain,
            ..*self
        };
        next.txs = self.txs.map(|place| match place {
            Place::Block(_) => Place::None,
            place => place,
        });
        let mut hub = Self::witness_seen(&self.hub, &self.chain[OUT], at.rules);
        for channel in [IN, OUT] {
            hub.seen[channel] |= self.chain[channel].status != Status::Open;
        }
        hub.out_closed = self.chain[OUT].status == Status::Closed;
        (next.hub, next.disk) = (hub, hub);
        next
    }
}
