//! The same inputs to a ledger whose channels go cold at random, after any commit, and to one in which none ever does.

use super::{state::state, world::World};
use crate::ledger::{Commit, Input, Ledger};
use protocol_spec::UnixSeconds;

/// The ledger in which all channels stay hot.
#[derive(Debug)]
pub(super) struct Twin {
    ledger: Ledger,
    dice: u64,
    pub(super) cooled: u64,
}

impl Twin {
    /// A world with a twin. `build` makes the same world twice.
    pub(super) fn of(build: impl Fn() -> World) -> World {
        let twin = Self {
            ledger: build().ledger,
            dice: 1,
            cooled: 0,
        };
        let mut world = build();
        world.twin = Some(twin);
        world
    }

    /// What came of the same inputs where some channels were cold.
    pub(super) fn compare(&mut self, commit: &Commit, inputs: Vec<Input>, now: UnixSeconds) {
        let own = self.ledger.commit(inputs, now);
        assert_eq!(commit.record, own.record, "another record");
        assert_eq!(
            format!("{:?}", commit.outputs),
            format!("{:?}", own.outputs),
            "other effects"
        );
    }

    /// Makes about half of those cold that can be, whatever is going on in them.
    pub(super) fn cool(&mut self, ledger: &mut Ledger) {
        let dice = std::cell::Cell::new(self.dice);
        let throw = |_| {
            let next = dice.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            dice.set(next);
            next >> 63 == 0
        };
        let before = ledger.entries.hot();
        ledger.entries.cool(before, before, throw);
        self.dice = dice.get();
        self.cooled += (before - ledger.entries.hot()) as u64;
        ledger.entries.check();
        // What is asked all the time looks at cold and hot ones.
        let asked = |ledger: &Ledger| {
            let reserves = ledger.reserves();
            let of_chain = (ledger.disputed(), ledger.pending_transactions(), ledger.frozen());
            format!(
                "{reserves:?} {of_chain:?} {:?} {:?}",
                ledger.beliefs(),
                ledger.liquidity()
            )
        };
        assert_eq!(asked(ledger), asked(&self.ledger));
    }

    pub(super) fn same_in_the_end(&self, ledger: &Ledger) {
        assert_eq!(state(ledger), state(&self.ledger));
    }
}
