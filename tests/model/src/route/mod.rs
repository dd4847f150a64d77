//! A payer, an honest hub, a payee: two channels. Payer and payee are one and sign, withhold and submit what they can;
//! the hub must never have less than at the start, and its fee for every payment that was made (R22-R24).
//!
//! Steps are those of one channel; besides, a transaction of the hub waits in the mempool for up to `ACT` steps, while
//! those of the others are mined at once.

pub mod contract;
pub mod hub;
pub mod instances;
pub mod tx;
pub mod world;

use crate::chain::Status;
use crate::rules::Rules;
use crate::search::Model;
use contract::Facts;
use hub::{At, FEE, IN, OUT};
use world::{Act, State};

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Rules in force.
    pub rules: Rules,
    /// Both channels.
    pub facts: [Facts; 2],
    /// Events.
    pub bounds: instances::Bounds,
}

impl Route {
    fn at(&self, now: u8) -> At {
        At {
            rules: self.rules,
            now,
            facts: self.facts,
        }
    }
}

impl Model for Route {
    type State = State;
    type Action = Act;

    fn start(&self) -> State {
        State::default()
    }

    fn next(&self, state: &State, out: &mut Vec<(Act, State)>) {
        if self.ended(state) {
            return;
        }
        let (at, bounds) = (self.at(state.now), &self.bounds);
        state.hub_acts(&at, bounds, out);
        state.disk_acts(&at, bounds.crashes, out);
        state.tx_acts(&at, out);
        state.others_act(&at, bounds, out);
        if state.reorgs < bounds.reorgs && state.chain != state.base {
            out.push((Act::Reorg, state.reorg()));
        }
        if state.now < bounds.time && state.may_wait(&at) {
            out.push((Act::Tick, state.tick(&at)));
        }
        for (_, next) in out {
            *next = next.tidy();
        }
    }

    fn ended(&self, state: &State) -> bool {
        state
            .chain
            .iter()
            .all(|contract| contract.status == Status::Closed)
    }

    fn fault(&self, state: &State) -> Option<String> {
        if !self.ended(state) {
            return None;
        }
        let (got, gave) = (state.chain[IN].payout, state.chain[OUT].payout);
        let payments = u8::from(state.disk.forwarded) + u8::from(state.disk.credited);
        let need = gave + FEE * payments.min(gave);
        (got < need).then(|| format!("got {got} instead of {need}, {gave} of it given on"))
    }
}
