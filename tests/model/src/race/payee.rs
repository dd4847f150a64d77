//! What the payee remembers and accepts (R2-R6).

use crate::honest::{ACT, LAG};
use crate::route::contract::{Contract, Facts, Voucher};
use crate::rules::{Rule, Rules};

/// What the other party's next voucher does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Adds the lock.
    Add,
    /// Converts it.
    Convert,
    /// Drops it.
    Drop,
    /// Pays 1.
    Pay,
}

/// What the payee remembers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Payee {
    /// The last accepted voucher.
    pub acc: Voucher,
    /// The lock was added.
    pub added: bool,
    /// The witness is known, early enough to be mined before the expiry.
    pub known: bool,
    /// A dispute was seen.
    pub seen: bool,
}

impl Payee {
    /// R2-R6, at `now`; `mark` is the final chain's.
    #[must_use]
    pub fn accept(&self, facts: &Facts, now: u8, mark: u8, op: Op) -> Option<Self> {
        let chain_time = now.saturating_sub(LAG);
        let mut next = *self;
        let v = &mut next.acc;
        v.seq += 1;
        match op {
            Op::Add if !self.added && chain_time < facts.expiry => (v.lock, next.added) = (true, true),
            Op::Convert if v.lock => (v.lock, v.paid) = (false, v.paid + facts.amount),
            Op::Drop if v.lock && chain_time >= facts.expiry && !self.known && mark == 0 => v.lock = false,
            Op::Pay => v.paid += 1,
            _ => return None,
        }
        let locked = if next.acc.lock { facts.amount } else { 0 };
        (!self.seen && next.acc.paid + locked <= facts.deposit).then_some(next)
    }

    /// The witness becomes known.
    #[must_use]
    pub fn learn(&self, facts: &Facts, now: u8) -> Option<Self> {
        let in_time = now + ACT < facts.expiry;
        (self.acc.lock && !self.known && in_time).then_some(Self { known: true, ..*self })
    }

    /// R27: whether a cancel that can be mined until `deadline` takes no lock's last chance.
    #[must_use]
    pub fn may_cancel(
        &self,
        facts: &Facts,
        rules: Rules,
        contract: &Contract,
        now: u8,
        deadline: u8,
    ) -> bool {
        let chain_time = now.saturating_sub(LAG);
        let over = !self.acc.lock || contract.mark != 0 || chain_time >= facts.expiry;
        let safe = over || deadline + LAG + 2 * ACT < facts.expiry;
        self.seen && (safe || !rules.has(Rule::R27Locks))
    }

    /// What it must get.
    #[must_use]
    pub fn fair(&self) -> u8 {
        self.acc.paid + u8::from(self.acc.lock && self.known)
    }
}
