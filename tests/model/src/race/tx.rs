//! The payee's transactions: when it may send them, when it must, what they do, and when they are reverted.

use super::Race;
use super::payee::Payee;
use super::world::{Act, State};
use crate::chain::Status;
use crate::honest::ACT;
use crate::route::contract::{Contract, Facts};

/// A transaction of the payee. What is in it is decided when it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `submit` of the newest voucher.
    Answer,
    /// `submit` with the lock's witness, and the newest voucher if true: only in a dispute.
    Show(bool),
    /// `dispute` with the newest voucher and the lock's witness: only while the channel is open.
    Dispute,
}

/// Where a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    None,
    /// In the mempool: mined in this step at the latest.
    Pool(Call, Try),
    /// In a block of this step.
    Block(Call, Try),
    /// Reverted, and not to be tried again before the next step.
    Failed(Call, Try),
}

/// Of a transaction, and of the one that takes its place when it is reverted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Try {
    /// Mined in this step at the latest.
    by: u8,
    /// The first was reverted.
    reverted: bool,
}

/// The places: of an answer, and of what claims the lock.
pub const ANSWER: usize = 0;
/// Of what claims the lock.
pub const CLAIM: usize = 1;

fn stored(payee: &Payee, contract: &Contract) -> bool {
    contract.seq == payee.acc.seq && contract.live.is_some()
}

fn answer(payee: &Payee, contract: &Contract, now: u8) -> Option<Call> {
    let adds = payee.acc.seq > contract.seq;
    (contract.in_window(now) && adds).then_some(Call::Answer)
}

/// R17, R21: what claims the lock by the newest block.
fn claim(payee: &Payee, contract: &Contract, facts: &Facts, now: u8) -> Option<Call> {
    let may = contract.mark != 0 || now < facts.expiry;
    if !(payee.acc.lock && payee.known && may) || contract.mark == payee.acc.seq + 1 {
        return None;
    }
    match contract.status {
        // R21: not before it must.
        Status::Open if contract.mark == 0 && now + ACT + 1 >= facts.expiry => Some(Call::Dispute),
        Status::Disputed if contract.ends(facts, now) => None,
        Status::Disputed if stored(payee, contract) => Some(Call::Show(false)),
        Status::Disputed if contract.in_window(now) => Some(Call::Show(true)),
        _ => None,
    }
}

/// The contract after `call`; `None` when it is reverted.
fn mined(call: Call, payee: &Payee, before: &Contract, facts: &Facts, now: u8) -> Option<Contract> {
    let mut contract = *before;
    if call == Call::Dispute {
        if contract.status != Status::Open {
            return None;
        }
        contract.dispute(now);
    }
    if call != Call::Show(false) {
        if contract.status != Status::Open && !contract.in_window(now) {
            return None;
        }
        contract.submit(facts, payee.acc);
    }
    if call != Call::Answer {
        let may = contract.mark != 0 || now < facts.expiry;
        if contract.status != Status::Disputed || contract.ends(facts, now) || contract.live.is_none() || !may
        {
            return None;
        }
        contract.resolve(facts, now);
    }
    Some(contract)
}

impl State {
    /// Sends and mines.
    pub fn tx_acts(&self, model: &Race, out: &mut Vec<(Act, Self)>) {
        let (payee, facts) = (&self.payee, &model.facts);
        let calls = [
            answer(payee, &self.chain, self.now),
            claim(payee, &self.chain, facts, self.now),
        ];
        for (place, call) in calls.into_iter().enumerate() {
            match (self.txs[place], call) {
                (Place::Pool(call, attempt), _) => self.mine(model, place, call, attempt, out),
                (Place::None, Some(call)) => {
                    let mut next = *self;
                    let (by, reverted) = (self.now + ACT, false);
                    next.txs[place] = Place::Pool(call, Try { by, reverted });
                    next.payee.seen = true;
                    out.push((Act::Sends(call), next));
                }
                _ => {}
            }
        }
    }

    fn mine(&self, model: &Race, place: usize, call: Call, attempt: Try, out: &mut Vec<(Act, Self)>) {
        let mut next = *self;
        if let Some(contract) = mined(call, &self.payee, &self.chain, &model.facts, self.now) {
            next.disputes += u8::from(call == Call::Dispute);
            next.chain = contract;
            next.txs[place] = Place::Block(call, attempt);
            out.push((Act::Mines(call), next));
            return;
        }
        let other = claim(&self.payee, &self.chain, &model.facts, self.now);
        next.txs[place] = match other {
            Some(other) if place == CLAIM && !attempt.reverted => Place::Pool(
                other,
                Try {
                    reverted: true,
                    ..attempt
                },
            ),
            _ => Place::Failed(call, attempt),
        };
        out.push((Act::Reverts(call), next));
    }

    /// After a reorg what was mined or reverted in this step is in the pool again, and the payee begins afresh by what the
    /// newest block shows then.
    pub(super) fn back(&self, model: &Race, place: usize) -> Place {
        let (call, attempt) = match self.txs[place] {
            Place::None => return Place::None,
            Place::Pool(call, attempt) | Place::Block(call, attempt) | Place::Failed(call, attempt) => {
                (call, attempt)
            }
        };
        let call = self.planned(model, place, call);
        Place::Pool(
            call,
            Try {
                reverted: false,
                ..attempt
            },
        )
    }

    /// When a step begins a transaction that waits is replaced by what the newest block calls for.
    pub(super) fn later(&self, model: &Race, place: usize) -> Place {
        match self.txs[place] {
            Place::Pool(call, attempt) => Place::Pool(self.planned(model, place, call), attempt),
            _ => Place::None,
        }
    }

    /// By what is final.
    fn planned(&self, model: &Race, place: usize, call: Call) -> Call {
        let planned = claim(&self.payee, &self.base.0, &model.facts, self.now);
        planned.filter(|_| place == CLAIM).unwrap_or(call)
    }

    /// True when nothing must happen in this step: what must be mined is, and whatever the rules call for (R21) is sent if
    /// the next step is too late for it.
    #[must_use]
    pub fn may_wait(&self, model: &Race) -> bool {
        let (payee, chain, facts, now) = (&self.payee, &self.chain, &model.facts, self.now);
        let waits = |place: &Place| matches!(place, Place::Pool(_, attempt) if attempt.by <= now);
        if self.txs.iter().any(waits) {
            return false;
        }
        let sent = self.txs.map(|place| place != Place::None);
        let last = now + 1 + ACT;
        let unanswered = last >= chain.window_end && answer(payee, chain, now).is_some();
        let end = if chain.mark == 0 {
            facts.expiry
        } else {
            chain.final_at(facts)
        };
        let unclaimed = last >= end && claim(payee, chain, facts, now).is_some();
        !(unanswered && !sent[ANSWER] && !sent[CLAIM]) && !(unclaimed && !sent[CLAIM])
    }
}
