//! Transactions that get in each other's way: the honest payee's wait in the mempool for up to `ACT`, those of the other
//! party are mined whenever it likes, and what does not fit the status it meets is reverted, as in the contract (R27).
//!
//! A transaction of the payee either starts a dispute or answers one, by what the newest block shows when it is sent. When
//! it is reverted the payee sends the other kind at once, within the same `ACT`; when that is reverted, too, it has to wait.
//!
//! Vouchers flow to the payee only. Steps are those of one channel.

pub mod instances;
pub mod payee;
pub mod tx;
pub mod world;

use crate::chain::Status;
use crate::route::contract::Facts;
use crate::rules::Rules;
use crate::search::Model;
use instances::Bounds;
use world::{Act, State};

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Race {
    /// Rules in force.
    pub rules: Rules,
    /// The channel.
    pub facts: Facts,
    /// Events.
    pub bounds: Bounds,
}

impl Model for Race {
    type State = State;
    type Action = Act;

    fn start(&self) -> State {
        State::default()
    }

    fn next(&self, state: &State, out: &mut Vec<(Act, State)>) {
        if self.ended(state) {
            return;
        }
        state.payee_acts(self, out);
        state.tx_acts(self, out);
        state.other_acts(self, out);
        if state.reorgs < self.bounds.reorgs && (state.chain, state.disputes) != state.base {
            out.push((Act::Reorg, state.reorg(self)));
        }
        if state.now < self.bounds.time && state.may_wait(self) {
            out.push((Act::Tick, state.tick(self)));
        }
    }

    fn ended(&self, state: &State) -> bool {
        state.chain.status == Status::Closed
    }

    fn fault(&self, state: &State) -> Option<String> {
        if !self.ended(state) {
            return None;
        }
        let (got, least) = (state.chain.payout, state.payee.fair());
        (got < least).then(|| format!("got {got} instead of {least}"))
    }
}
