//! Two honest parties in one channel and a network that delivers late (R13).
//!
//! The vouchers of a party arrive in order, everything else whenever it may; whoever wants mines what both signed. Steps
//! are those of one channel. A voucher that adds a lock arrives before that lock expires.

pub mod instances;
pub mod world;

use crate::chain::{Status, Terms};
use crate::search::Model;
use instances::Bounds;
use world::{Act, State};

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Rules in force, times.
    pub terms: Terms,
    /// Events.
    pub bounds: Bounds,
}

impl Model for Pair {
    type State = State;
    type Action = Act;

    fn start(&self) -> State {
        let mut start = State::default();
        start.chain.dep = self.bounds.dep;
        start.base.dep = self.bounds.dep;
        start
    }

    fn next(&self, state: &State, out: &mut Vec<(Act, State)>) {
        if self.ended(state) {
            return;
        }
        for party in 0..2 {
            state.vouchers(&self.terms, &self.bounds, party, out);
            state.locks(&self.terms, &self.bounds, party, out);
            state.withdrawals(&self.terms, &self.bounds, party, out);
        }
        state.mines(&self.terms, out);
        state.settles(&self.terms, out);
        if state.now < self.bounds.time && state.may_wait(&self.terms) {
            out.push((Act::Tick, state.tick(self.terms.rules, &self.terms)));
        }
    }

    fn ended(&self, state: &State) -> bool {
        state.chain.status == Status::Closed
    }

    /// Whoever is owed what the other's newest voucher says must get it.
    fn fault(&self, state: &State) -> Option<String> {
        if !self.ended(state) {
            return None;
        }
        (0..2).find_map(|party| {
            let got = i16::from(state.chain.payout[party]) + i16::from(state.chain.wd[party]);
            let least = state.owed(party);
            (got < least).then(|| format!("party {party} got {got} instead of {least}"))
        })
    }
}
