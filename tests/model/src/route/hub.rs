//! What the hub remembers of a payer's and a payee's channel, and what it does by R5-R11 and R22-R24.

use super::contract::{Facts, Voucher};
use crate::honest::LAG;
use crate::rules::{Rule, Rules};

/// Own vouchers at most.
pub const MINE: usize = 3;
/// The payer's channel, in which the hub is paid.
pub const IN: usize = 0;
/// The payee's channel, in which the hub pays.
pub const OUT: usize = 1;
/// Fee of a payment.
pub const FEE: u8 = 1;
/// An unconditional payment carries this, fee included.
pub const DIRECT: u8 = 2;

/// What a voucher does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Adds the lock.
    Add,
    /// Converts it.
    Convert,
    /// Drops it.
    Drop,
    /// Pays unconditionally.
    Pay,
}

/// What the hub remembers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Hub {
    /// The payer's last accepted voucher.
    pub acc: Voucher,
    /// The payer has added its lock.
    pub added: bool,
    /// The payer has paid unconditionally.
    pub direct: bool,
    /// Own vouchers, by seq - 1.
    pub mine: [Voucher; MINE],
    /// How many.
    pub n: u8,
    /// What the payee has acknowledged.
    pub ack: u8,
    /// The lock was forwarded.
    pub forwarded: bool,
    /// The unconditional payment was credited.
    pub credited: bool,
    /// A dispute, or a close, was seen.
    pub seen: [bool; 2],
    /// The close of the payee's channel was seen, final.
    pub out_closed: bool,
    /// The payee told the witness before the expiry (R8).
    pub told: bool,
    /// What opens the payer's lock is known.
    pub known: bool,
    /// The payee consented.
    pub got: bool,
    /// The own voucher that removed the lock by consent; 0 for none.
    pub leaving: u8,
    /// The own lock left for its age (R9).
    pub expired: bool,
    /// Consented to the end of the payer's lock.
    pub given: bool,
}

/// Time and terms at an action.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Rules in force.
    pub rules: Rules,
    /// The step.
    pub now: u8,
    /// Both channels.
    pub facts: [Facts; 2],
}

impl At {
    fn chain_time(&self) -> u8 {
        self.now.saturating_sub(LAG)
    }
}

impl Hub {
    /// Newest own voucher.
    #[must_use]
    pub fn newest(&self) -> Voucher {
        self.at(self.n)
    }

    /// Own voucher with this seq.
    #[must_use]
    pub fn at(&self, seq: u8) -> Voucher {
        match seq {
            0 => Voucher::default(),
            seq => self.mine[usize::from(seq) - 1],
        }
    }

    /// R10: the own lock can take nothing any more.
    fn dead(&self, rules: Rules) -> bool {
        let acknowledged = self.leaving != 0 && self.ack >= self.leaving;
        let told = !rules.has(Rule::R10) && (self.got || self.leaving != 0);
        acknowledged || told || self.expired || self.out_closed
    }

    /// R2-R6: the payer's next voucher.
    #[must_use]
    pub fn accept(&self, at: &At, op: Op) -> Option<Self> {
        let facts = &at.facts[IN];
        let mut next = *self;
        let v = &mut next.acc;
        v.seq += 1;
        if self.seen[IN] {
            return None;
        }
        match op {
            Op::Add if !self.added && at.chain_time() < facts.expiry => {
                (v.lock, next.added) = (true, true);
            }
            Op::Convert if v.lock => (v.lock, v.paid) = (false, v.paid + facts.amount),
            Op::Drop if v.lock => {
                let old = at.chain_time() >= facts.expiry && !self.known;
                if !self.given && !old {
                    return None;
                }
                v.lock = false;
            }
            Op::Pay if !self.direct => {
                (v.paid, next.direct) = (v.paid + DIRECT, true);
                // R24: one commit. A payee whose channel is not open is paid by nobody, and the payer not charged.
                if !self.credited {
                    next = next.issue(at, Op::Pay)?;
                }
            }
            _ => return None,
        }
        let locked = if next.acc.lock { facts.amount } else { 0 };
        (next.acc.paid + locked <= facts.deposit).then_some(next)
    }

    /// R7-R9: the own next voucher.
    #[must_use]
    pub fn issue(&self, at: &At, op: Op) -> Option<Self> {
        let facts = &at.facts[OUT];
        if self.seen[OUT] || usize::from(self.n) == MINE {
            return None;
        }
        let mut next = *self;
        let mut v = self.newest();
        v.seq += 1;
        match op {
            Op::Add if !self.forwarded && at.chain_time() < facts.expiry => {
                (v.lock, next.forwarded) = (true, true);
            }
            Op::Convert if v.lock && self.told => (v.lock, v.paid) = (false, v.paid + facts.amount),
            Op::Drop if v.lock => {
                if at.chain_time() >= facts.expiry + LAG && !self.told {
                    next.expired = true;
                } else if self.got {
                    next.leaving = v.seq;
                } else {
                    return None;
                }
                v.lock = false;
            }
            Op::Pay if !self.credited => (v.paid, next.credited) = (v.paid + DIRECT - FEE, true),
            _ => return None,
        }
        next.mine[usize::from(self.n)] = v;
        next.n += 1;
        let locked = if v.lock { facts.amount } else { 0 };
        (v.paid + locked <= facts.deposit).then_some(next)
    }

    /// R22.
    #[must_use]
    pub fn forward(&self, at: &At) -> Option<Self> {
        let accepted = self.acc.lock || !(at.rules.has(Rule::R22Accepted) || self.added);
        let open = !self.seen[IN] || !at.rules.has(Rule::R22Open);
        (accepted && open && !self.given)
            .then(|| self.issue(at, Op::Add))
            .flatten()
    }

    /// R11 and R23: gives the payer's lock up.
    #[must_use]
    pub fn consent(&self, at: &At) -> Option<Self> {
        let safe = !self.forwarded || self.dead(at.rules) || !at.rules.has(Rule::R23Consent);
        (self.acc.lock && !self.given && !self.known && safe).then(|| Self { given: true, ..*self })
    }

    /// The payee tells the witness.
    #[must_use]
    pub fn hear(&self, at: &At) -> Option<Self> {
        let mut next = *self;
        if self.newest().lock && at.now < at.facts[OUT].expiry {
            next.told = true;
        }
        next.learn(at.rules);
        (next != *self).then_some(next)
    }

    /// A witness of the own lock opens the payer's, too, if it has the same hash.
    pub fn learn(&mut self, rules: Rules) {
        self.known |= self.forwarded && !self.given && rules.has(Rule::R22Hash);
    }

    /// Forgets what can matter no more: about a lock that has left, and about a channel that is closed for good.
    pub fn tidy(&mut self, closed: [bool; 2]) {
        if closed[OUT] {
            (self.mine, self.n, self.ack) = ([Voucher::default(); MINE], 0, 0);
            (self.leaving, self.expired) = (0, false);
        }
        if self.seen[OUT] || !self.newest().lock {
            (self.told, self.got) = (false, false);
        }
        let over = closed[IN] || (self.added && !self.acc.lock);
        if over {
            (self.known, self.given) = (false, false);
        }
        if over || self.given {
            (self.leaving, self.expired) = (0, false);
        }
    }

    /// It has a witness for a lock that the payer has not converted.
    #[must_use]
    pub fn claims(&self) -> bool {
        self.acc.lock && self.known && !self.given
    }
}
