//! The instances with two honest parties, and which of them shows the loss when a rule is removed.

use super::Pair;
use crate::chain::Terms;
use crate::rules::{Rule, Rules};
use protocol_spec::Side;

/// Which events there are, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Deposits.
    pub dep: [u8; 2],
    /// Vouchers per party.
    pub vouchers: [u8; 2],
    /// Direct payments by each party.
    pub pays: [bool; 2],
    /// Locks of each party.
    pub locks: [usize; 2],
    /// Sides that may withdraw.
    pub withdraws: [Option<u8>; 2],
    /// Last step.
    pub time: u8,
}

/// An instance with two honest parties.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Name on the command line and in the tables.
    pub name: &'static str,
    /// Bounds for CI.
    pub small: Bounds,
    /// Bounds by command.
    pub large: Bounds,
    /// Expiries by direction.
    pub expiry: [[u8; 2]; 2],
    /// Rules whose removal is found in it.
    pub finds: &'static [Rule],
}

impl Instance {
    /// The model.
    #[must_use]
    pub fn model(&self, large: bool, rules: Rules) -> Pair {
        Pair {
            terms: Terms {
                rules,
                side: Side::Client,
                window: 3,
                expiry: self.expiry,
            },
            bounds: if large { self.large } else { self.small },
        }
    }
}

const BARE: Bounds = Bounds {
    dep: [1, 1],
    vouchers: [2, 2],
    pays: [true, true],
    locks: [0, 0],
    withdraws: [Some(0), None],
    time: 6,
};

/// All instances with two honest parties.
pub const INSTANCES: &[Instance] = &[
    Instance {
        name: "pair",
        small: BARE,
        large: Bounds {
            vouchers: [3, 3],
            withdraws: [Some(0), Some(1)],
            ..BARE
        },
        expiry: [[0; 2]; 2],
        finds: &[Rule::R13Own, Rule::R13Ack],
    },
    Instance {
        name: "pair-locks",
        small: Bounds {
            dep: [2, 0],
            vouchers: [3, 1],
            pays: [false, false],
            locks: [2, 0],
            time: 7,
            ..BARE
        },
        large: Bounds {
            dep: [2, 0],
            vouchers: [4, 1],
            pays: [true, false],
            locks: [2, 0],
            time: 7,
            ..BARE
        },
        expiry: [[2, 3], [0; 2]],
        finds: &[],
    },
];
