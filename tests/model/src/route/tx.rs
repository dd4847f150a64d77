//! The hub's transactions: when it may send them, when it must, and what they do when they are mined.

use super::contract::Contract;
use super::hub::{At, IN, OUT};
use super::world::{Act, State};
use crate::chain::Status;
use crate::honest::ACT;

/// A transaction of the hub.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tx {
    /// Shows the payer's newest voucher in a dispute.
    Answer,
    /// Starts the dispute if there is none, shows the payer's newest voucher and resolves its lock (R17, R21).
    Claim,
    /// Shows what the payee has acknowledged.
    Acks,
}

/// All of them.
pub const TXS: [Tx; 3] = [Tx::Answer, Tx::Claim, Tx::Acks];

impl Tx {
    fn channel(self) -> usize {
        if self == Self::Acks { OUT } else { IN }
    }
}

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    None,
    /// In the mempool: mined in this step at the latest.
    Pool(u8),
    /// In a block of this step, and after a reorg back in the pool.
    Block(u8),
}

impl State {
    /// The hub's transactions. They say what is durable.
    pub fn tx_acts(&self, at: &At, out: &mut Vec<(Act, Self)>) {
        for (i, tx) in TXS.into_iter().enumerate() {
            let channel = tx.channel();
            let (contract, facts) = (&self.chain[channel], &at.facts[channel]);
            if let Place::Pool(by) = self.txs[i] {
                let mut next = *self;
                next.txs[i] = Place::Block(by);
                self.mine(tx, at, &mut next.chain[channel]);
                out.push((Act::Mines(tx), next));
            }
            if self.txs[i] != Place::None || self.hub != self.disk {
                continue;
            }
            let shows = self.hub.seen[channel] && contract.in_window(at.now);
            let wanted = match tx {
                Tx::Answer => shows && self.hub.acc.seq > contract.seq && !self.hub.claims(),
                Tx::Claim => {
                    let may = contract.status == Status::Open || contract.live.is_some() || shows;
                    self.hub.claims() && may && contract.mark == 0 && at.now < facts.expiry
                }
                Tx::Acks => shows && self.hub.ack > contract.seq,
            };
            if wanted {
                let mut next = *self;
                next.txs[i] = Place::Pool(at.now + ACT);
                // It is over with vouchers.
                next.hub.seen[channel] = true;
                next.disk = next.hub;
                out.push((Act::Sends(tx), next));
            }
        }
    }

    fn mine(&self, tx: Tx, at: &At, contract: &mut Contract) {
        let facts = &at.facts[tx.channel()];
        if tx == Tx::Claim && contract.status == Status::Open {
            contract.dispute(at.now);
        }
        if contract.in_window(at.now) {
            if tx == Tx::Acks {
                contract.acknowledge(facts, self.disk.at(self.disk.ack));
            } else {
                contract.submit(facts, self.disk.acc);
            }
        }
        if tx == Tx::Claim {
            contract.resolve(facts, at.now);
        }
    }

    /// True when nothing must happen in this step: all is durable, what must be mined is, and every transaction that the
    /// rules call for (R21, R23) is sent if the next step is too late for it.
    #[must_use]
    pub fn may_wait(&self, at: &At) -> bool {
        let (hub, now) = (&self.hub, at.now);
        if self.hub != self.disk
            || self
                .txs
                .iter()
                .any(|tx| matches!(tx, Place::Pool(by) if *by <= now))
        {
            return false;
        }
        let [answer, claim, acks] = self.txs.map(|place| place != Place::None);
        let last_call = |channel: usize| {
            let contract = &self.chain[channel];
            contract.in_window(now) && now + 1 + ACT == contract.window_end
        };
        // It need not show what it makes no use of: a lock that it did not forward.
        let adds = hub.acc.paid > self.chain[IN].paid || (hub.acc.lock && hub.forwarded && !hub.given);
        let news = adds && hub.acc.seq > self.chain[IN].seq;
        let unanswered = news && last_call(IN) && !answer && !claim;
        let unshown = hub.ack > self.chain[OUT].seq && last_call(OUT) && !acks;
        let contract = &self.chain[IN];
        let unused = hub.claims()
            && contract.mark == 0
            && contract.status != Status::Closed
            && now + 1 + ACT == at.facts[IN].expiry
            && !claim;
        !(unanswered || unshown || unused)
    }
}
