//! What may happen: the payee's actions, and whatever the other party can do.

use super::Race;
use super::payee::{Op, Payee};
use super::tx::{ANSWER, CLAIM, Call, Place};
use crate::chain::Status;
use crate::route::contract::{Contract, WINDOW};
use crate::rules::Rule;

/// Disputes at most.
pub const DISPUTES: usize = 4;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The step.
    pub now: u8,
    /// The payee's memory.
    pub payee: Payee,
    /// The contract now.
    pub chain: Contract,
    /// Disputes so far.
    pub disputes: u8,
    /// Both when the step began: what is final.
    pub base: (Contract, u8),
    /// The payee's transactions.
    pub txs: [Place; 2],
    /// By dispute: 0, or 1 + the last step in which its cancel may be mined. The payee has signed it.
    pub cancels: [u8; DISPUTES],
    /// Reorgs so far.
    pub reorgs: u8,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The payee accepts the next voucher.
    Accepts(Op),
    /// It learns the lock's witness.
    Learns,
    /// It sees the dispute before it must.
    SeesDispute,
    /// It sees that the cancel is final.
    SeesOpen,
    /// It signs the cancel of the running dispute: number, last step.
    SignsCancel(u8, u8),
    /// It sends a transaction.
    Sends(Call),
    /// That is mined.
    Mines(Call),
    /// That is reverted.
    Reverts(Call),
    /// The other party starts a dispute.
    MDisputes,
    /// It mines the cancel with this number.
    MCancels(u8),
    /// The dispute's end is paid out.
    Finalizes,
    /// What was mined in this step is undone.
    Reorg,
    /// Time passes.
    Tick,
}

impl State {
    /// What the payee does in its memory.
    pub fn payee_acts(&self, model: &Race, out: &mut Vec<(Act, Self)>) {
        let (payee, facts) = (&self.payee, &model.facts);
        let mut then = |act: Act, next: Option<Payee>| {
            out.extend(next.map(|payee| (act, Self { payee, ..*self })));
        };
        if payee.acc.seq < model.bounds.vouchers {
            for op in [Op::Add, Op::Convert, Op::Drop, Op::Pay] {
                then(
                    Act::Accepts(op),
                    payee.accept(facts, self.now, self.base.0.mark, op),
                );
            }
        }
        then(Act::Learns, payee.learn(facts, self.now));
        let (open, disputed) = (
            self.base.0.status == Status::Open,
            self.chain.status == Status::Disputed,
        );
        let seen = |seen: bool| Some(Payee { seen, ..*payee });
        then(
            Act::SeesDispute,
            (disputed && !payee.seen).then(|| seen(true)).flatten(),
        );
        let idle = self.txs.iter().all(|place| *place == Place::None);
        then(
            Act::SeesOpen,
            (open && !disputed && payee.seen && idle)
                .then(|| seen(false))
                .flatten(),
        );
        let deadline = self.now + model.bounds.cancel_life;
        let place = usize::from(self.disputes).wrapping_sub(1);
        let is_final = self.base.0.status == Status::Disputed && self.base.1 == self.disputes;
        let named = is_final || !model.rules.has(Rule::R27Settled);
        let unsigned = disputed && named && self.cancels.get(place) == Some(&0);
        if unsigned && payee.may_cancel(facts, model.rules, &self.base.0, self.now, deadline) {
            let mut next = *self;
            next.cancels[place] = deadline + 1;
            out.push((Act::SignsCancel(self.disputes, deadline), next));
        }
    }

    /// What the other party does on chain, at once and in any order.
    pub fn other_acts(&self, model: &Race, out: &mut Vec<(Act, Self)>) {
        let facts = &model.facts;
        // A later one does not end within the bounds.
        let ends = self.now + WINDOW <= model.bounds.time;
        if self.chain.status == Status::Open && self.disputes < model.bounds.disputes && ends {
            let mut next = *self;
            next.chain.dispute(self.now);
            next.disputes += 1;
            out.push((Act::MDisputes, next));
        }
        if self.chain.ends(facts, self.now) {
            let mut next = *self;
            next.chain.finalize(facts);
            out.push((Act::Finalizes, next));
        } else if self.chain.status == Status::Disputed {
            for (number, end) in (1..).zip(self.cancels) {
                let fits = number == self.disputes || !model.rules.has(Rule::R27Number);
                if self.now < end && fits {
                    let mut next = *self;
                    next.chain.cancel();
                    out.push((Act::MCancels(number), next));
                }
            }
        }
    }

    /// What was mined in this step is undone.
    #[must_use]
    pub fn reorg(&self, model: &Race) -> Self {
        let txs = [ANSWER, CLAIM].map(|place| self.back(model, place));
        let (chain, disputes) = self.base;
        Self {
            chain,
            disputes,
            txs,
            reorgs: self.reorgs + 1,
            ..*self
        }
    }

    /// Time passes: what was mined is final and seen.
    #[must_use]
    pub fn tick(&self, model: &Race) -> Self {
        let mut next = Self {
            now: self.now + 1,
            base: (self.chain, self.disputes),
            ..*self
        };
        next.txs = [ANSWER, CLAIM].map(|place| next.later(model, place));
        next.payee.seen |= self.chain.status == Status::Disputed;
        for end in &mut next.cancels {
            *end = if *end > next.now { *end } else { 0 };
        }
        next
    }
}
