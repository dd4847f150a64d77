//! What may happen between two honest parties.

use super::instances::Bounds;
use crate::chain::{Chain, LOCKS, Status, Terms, Voucher, Withdraw, sum};
use crate::honest::{Honest, Known, Op, Sight};
use crate::rules::Rules;

/// A withdrawal may be mined for so long after it was proposed, steps.
const LIFE: u8 = 2;

/// A state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// The step.
    pub now: u8,
    /// The contract now.
    pub chain: Chain,
    /// The contract when the step began: what is final and seen.
    pub base: Chain,
    /// What each party remembers; it is party 0 in its own view.
    pub h: [Honest; 2],
    /// Signed by one party and under way to the other.
    pub offer: [Option<Withdraw>; 2],
    /// Signed by both.
    pub signed: Option<Withdraw>,
}

/// What happened. Parties by number, withdrawals in the view of party 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The party signs its next voucher and sends it.
    Issues(usize, Op),
    /// The party accepts the next voucher of the other.
    Accepts(usize, Voucher),
    /// The party learns the witness of a lock it was given, and tells it.
    Tells(usize, usize),
    /// The party consents to the end of a lock it was given.
    Consents(usize, usize),
    /// The other side of a lock has the consent.
    GetsConsent(usize, usize),
    /// The party signs a withdrawal first.
    Proposes(usize, Withdraw),
    /// The party signs what the other proposed.
    Agrees(usize, Withdraw),
    /// The withdrawal is mined.
    Mines,
    /// Everything sent was tried; each shows the newest it accepted, and the channel is paid out.
    Settles,
    /// Time passes.
    Tick,
}

/// A withdrawal in the view of the other party.
fn mirrored(w: &Withdraw) -> Withdraw {
    Withdraw {
        side: 1 - w.side,
        seq: swapped(w.seq),
        paid: swapped(w.paid),
        ..*w
    }
}

fn swapped<T: Copy>([a, b]: [T; 2]) -> [T; 2] {
    [b, a]
}

/// What `v` does to `before`.
fn op_of(before: &Voucher, v: &Voucher) -> Op {
    let pays = v.paid > before.paid;
    let changed = (0..LOCKS).find(|i| before.locks[*i] != v.locks[*i]);
    match changed {
        None if pays => Op::Pay,
        None => Op::Ack,
        Some(i) if v.locks[i] > before.locks[i] => Op::Add(i),
        Some(i) if pays => Op::Convert(i),
        Some(i) => Op::Drop(i),
    }
}

impl State {
    fn sight(&self, terms: &Terms, party: usize) -> Sight {
        let sight = Sight {
            now: self.now,
            dep: self.base.dep,
            wd: self.base.wd,
            marked: [[false; LOCKS]; 2],
            expiry: terms.expiry,
        };
        if party == 0 {
            return sight;
        }
        Sight {
            dep: swapped(sight.dep),
            wd: swapped(sight.wd),
            expiry: swapped(sight.expiry),
            ..sight
        }
    }

    fn with(&self, party: usize, h: Honest) -> Self {
        let mut next = *self;
        next.h[party] = h;
        next
    }

    /// The vouchers for `party` that are under way, in order, and what each does.
    fn under_way(&self, party: usize) -> impl Iterator<Item = (Voucher, Op)> {
        let (acc, other) = (self.h[party].acc, self.h[1 - party]);
        let mut last = acc;
        (usize::from(acc.seq)..usize::from(other.n)).map(move |at| {
            let before = std::mem::replace(&mut last, other.mine[at]);
            (last, op_of(&before, &last))
        })
    }

    fn accepted(&self, terms: &Terms, party: usize) -> Option<Self> {
        let (v, op) = self.under_way(party).next()?;
        let sight = self.sight(terms, party);
        let next = self.h[party].accept(terms.rules, &sight, &v, op, op.frame())?;
        Some(self.with(party, next))
    }

    /// Signs and accepts.
    pub fn vouchers(&self, terms: &Terms, bounds: &Bounds, party: usize, out: &mut Vec<(Act, Self)>) {
        if let Some(next) = self.accepted(terms, party) {
            out.push((Act::Accepts(party, next.h[party].acc), next));
        }
        let h = &self.h[party];
        if h.n >= bounds.vouchers[party] {
            return;
        }
        let mut ops = vec![Op::Ack];
        if bounds.pays[party] {
            ops.push(Op::Pay);
        }
        for i in 0..bounds.locks[party] {
            ops.extend([Op::Add(i), Op::Convert(i), Op::Drop(i)]);
        }
        let sight = self.sight(terms, party);
        for op in ops {
            if let Some(next) = h.issue(terms.rules, &sight, op) {
                out.push((Act::Issues(party, op), self.with(party, next)));
            }
        }
    }

    /// Witnesses and consents for locks that `party` was given.
    pub fn locks(&self, terms: &Terms, bounds: &Bounds, party: usize, out: &mut Vec<(Act, Self)>) {
        let (h, other) = (&self.h[party], &self.h[1 - party]);
        for i in 0..bounds.locks[1 - party] {
            let open = h.acc.locks[i] > 0 && h.known[i] == Known::No && !h.given[i];
            if open && self.now < terms.expiry[1 - party][i] {
                let mut next = *self;
                next.h[party].known[i] = Known::InTime;
                next.h[1 - party].told[i] = true;
                out.push((Act::Tells(party, i), next));
            }
            if open {
                let mut next = *self;
                next.h[party].given[i] = true;
                out.push((Act::Consents(party, i), next));
            }
            if h.given[i] && !other.got[i] {
                let mut next = *self;
                next.h[1 - party].got[i] = true;
                out.push((Act::GetsConsent(1 - party, i), next));
            }
        }
    }

    /// Proposals and answers.
    pub fn withdrawals(&self, terms: &Terms, bounds: &Bounds, party: usize, out: &mut Vec<(Act, Self)>) {
        let sight = self.sight(terms, party);
        let h = &self.h[party];
        let view = |w: &Withdraw| if party == 0 { *w } else { mirrored(w) };
        if let Some(w) = self.offer[1 - party]
            && self.signed.is_none()
            && let Some(next) = h.sign_withdraw(terms.rules, &sight, &view(&w))
        {
            let mut next = self.with(party, next);
            (next.offer[1 - party], next.signed) = (None, Some(w));
            out.push((Act::Agrees(party, w), next));
        }
        // One that is mined is enough; after one that was not there may be another.
        if self.offer[party].is_some() || self.base.wd != [0; 2] {
            return;
        }
        for side in bounds.withdraws.into_iter().flatten() {
            for own in 0..=h.n {
                for total in 1..=bounds.dep[0] + bounds.dep[1] {
                    let own_paid = own.checked_sub(1).map_or(0, |at| h.mine[usize::from(at)].paid);
                    let w = Withdraw {
                        side: if party == 0 { side } else { 1 - side },
                        total,
                        seq: [own, h.acc.seq],
                        paid: [own_paid, h.acc.paid],
                        deadline: self.now + LIFE,
                    };
                    if let Some(next) = h.sign_withdraw(terms.rules, &sight, &w) {
                        let mut next = self.with(party, next);
                        next.offer[party] = Some(view(&w));
                        out.push((Act::Proposes(party, view(&w)), next));
                    }
                }
            }
        }
    }

    /// Whoever wants mines the withdrawal.
    pub fn mines(&self, terms: &Terms, out: &mut Vec<(Act, Self)>) {
        let mut next = *self;
        if let Some(w) = self.signed
            && next.chain.withdraw(terms, &w, self.now)
        {
            next.signed = None;
            out.push((Act::Mines, next));
        }
    }

    /// The end, when all is quiet: no withdrawal pends, no lock is alive, and what is still under way is refused.
    pub fn settles(&self, terms: &Terms, out: &mut Vec<(Act, Self)>) {
        let quiet = |party: usize| {
            let h = &self.h[party];
            let locks = sum(h.newest().locks) + sum(h.acc.locks);
            h.wd.is_none()
                && (locks == 0 || self.under_way(1 - party).next().is_some())
                && self.accepted(terms, party).is_none()
        };
        if self.offer == [None; 2] && self.signed.is_none() && quiet(0) && quiet(1) {
            let mut next = *self;
            next.chain.dispute(terms, self.now);
            for party in 0..2 {
                if self.h[party].acc.seq > 0 {
                    next.chain.submit(terms, 1 - party, &self.h[party].acc);
                }
            }
            next.chain.finalize(terms);
            out.push((Act::Settles, next));
        }
    }

    /// A lock must have arrived before it expires.
    #[must_use]
    pub fn may_wait(&self, terms: &Terms) -> bool {
        self.chain.status != Status::Closed
            && (0..2).all(|party| {
                self.under_way(party).all(|(_, op)| match op {
                    Op::Add(i) => self.now + 1 < terms.expiry[1 - party][i],
                    _ => true,
                })
            })
    }

    /// Time passes: what was mined is final and seen.
    #[must_use]
    pub fn tick(&self, rules: Rules, terms: &Terms) -> Self {
        let mut next = Self {
            now: self.now + 1,
            base: self.chain,
            ..*self
        };
        next.signed = self.signed.filter(|w| w.deadline > self.now);
        next.offer = self.offer.map(|offer| offer.filter(|w| w.deadline > next.now));
        for party in 0..2 {
            let sight = next.sight(terms, party);
            next.h[party].tick(rules, &sight);
        }
        next
    }

    /// What `party` has by the newest vouchers of both.
    #[must_use]
    pub fn owed(&self, party: usize) -> i16 {
        let (h, other) = (&self.h[party], &self.h[1 - party]);
        i16::from(self.chain.dep[party]) + i16::from(other.newest().paid) - i16::from(h.newest().paid)
    }
}
