//! The instances with transactions in each other's way, and which of them shows the loss when a rule is removed.

use super::Race;
use crate::instance::Instance;
use crate::route::contract::Facts;
use crate::rules::{Rule, Rules};
use protocol_spec::Side;

/// Which events there are, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Vouchers.
    pub vouchers: u8,
    /// Disputes by the other party.
    pub disputes: u8,
    /// A cancel may be mined for so long after it was signed, steps.
    pub cancel_life: u8,
    /// Reorgs.
    pub reorgs: u8,
    /// The lock's expiry.
    pub expiry: u8,
    /// Last step.
    pub time: u8,
}

impl Instance<Bounds> {
    /// The model.
    #[must_use]
    pub fn model(&self, large: bool, rules: Rules) -> Race {
        let bounds = self.bounds(large);
        Race {
            rules,
            facts: Facts::new(Side::Client, 2, 1, bounds.expiry),
            bounds,
        }
    }
}

const BARE: Bounds = Bounds {
    vouchers: 2,
    disputes: 3,
    cancel_life: 3,
    reorgs: 0,
    expiry: 6,
    time: 12,
};

/// All instances with transactions in each other's way.
pub const INSTANCES: &[Instance<Bounds>] = &[
    Instance {
        name: "race",
        small: BARE,
        large: Bounds {
            vouchers: 3,
            cancel_life: 4,
            expiry: 9,
            time: 17,
            ..BARE
        },
        finds: &[Rule::R27Number, Rule::R27Locks],
    },
    Instance {
        name: "race-reorg",
        small: Bounds {
            vouchers: 1,
            disputes: 2,
            reorgs: 1,
            ..BARE
        },
        large: Bounds {
            cancel_life: 4,
            reorgs: 1,
            expiry: 8,
            time: 16,
            ..BARE
        },
        finds: &[Rule::R27Settled],
    },
];
