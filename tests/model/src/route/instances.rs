//! The instances with two channels, and which of them shows the loss when a rule is removed.

use super::Route;
use super::contract::Facts;
use super::hub::FEE;
use crate::honest::{ACT, LAG};
use crate::instance::Instance;
use crate::rules::{Rule, Rules};
use protocol_spec::Side;

/// Which events there are, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The payer adds a lock.
    pub locks: bool,
    /// The payer pays unconditionally.
    pub direct: bool,
    /// How much longer than needed the payer's lock lives after the hub's.
    pub slack: u8,
    /// Expiry of the hub's lock.
    pub expiry: u8,
    /// The payee shows vouchers while the channel is open.
    pub checkpoints: bool,
    /// Reorgs.
    pub reorgs: u8,
    /// Crashes of the hub.
    pub crashes: u8,
    /// Last step.
    pub time: u8,
}

const LOCK: u8 = 2;

impl Instance<Bounds> {
    /// The model.
    #[must_use]
    pub fn model(&self, large: bool, rules: Rules) -> Route {
        let bounds = self.bounds(large);
        // R22.
        let delta = LAG + ACT - u8::from(!rules.has(Rule::R22Delta));
        let amount = LOCK - FEE * u8::from(rules.has(Rule::R22Amount));
        let deposit = if bounds.direct && bounds.locks {
            2 * LOCK
        } else {
            LOCK
        };
        let later = bounds.expiry + delta + bounds.slack;
        Route {
            rules,
            facts: [
                Facts::new(Side::Client, deposit, LOCK, later),
                Facts::new(Side::Hub, deposit, amount, bounds.expiry),
            ],
            bounds,
        }
    }
}

const BARE: Bounds = Bounds {
    locks: true,
    direct: false,
    slack: 0,
    expiry: 2,
    checkpoints: false,
    reorgs: 0,
    crashes: 0,
    time: 9,
};

/// All instances with two channels.
pub const INSTANCES: &[Instance<Bounds>] = &[
    Instance {
        name: "route",
        small: BARE,
        large: Bounds {
            expiry: 3,
            time: 10,
            reorgs: 1,
            checkpoints: true,
            ..BARE
        },
        finds: &[
            Rule::R10,
            Rule::R22Accepted,
            Rule::R22Hash,
            Rule::R22Amount,
            Rule::R22Delta,
            Rule::R23Consent,
            Rule::R23Use,
        ],
    },
    Instance {
        name: "route-open",
        small: Bounds {
            expiry: 3,
            time: 6,
            ..BARE
        },
        large: Bounds {
            expiry: 4,
            time: 11,
            reorgs: 1,
            ..BARE
        },
        finds: &[Rule::R22Open],
    },
    Instance {
        name: "route-slack",
        small: Bounds {
            slack: 1,
            time: 10,
            ..BARE
        },
        large: Bounds {
            slack: 1,
            expiry: 3,
            time: 12,
            checkpoints: true,
            ..BARE
        },
        finds: &[],
    },
    Instance {
        name: "route-crash",
        small: Bounds {
            expiry: 1,
            time: 8,
            crashes: 1,
            ..BARE
        },
        large: Bounds {
            crashes: 2,
            reorgs: 1,
            checkpoints: true,
            ..BARE
        },
        finds: &[],
    },
    Instance {
        name: "route-pay",
        small: Bounds {
            locks: false,
            direct: true,
            crashes: 1,
            reorgs: 1,
            time: 7,
            ..BARE
        },
        large: Bounds {
            direct: true,
            reorgs: 1,
            ..BARE
        },
        finds: &[Rule::R24Order, Rule::R24Durable],
    },
];
