//! The instances that are searched, and which of them shows the loss when a rule is removed.

use crate::chain::Terms;
use crate::link::{Bounds, LinkModel};
use crate::one::One;
use crate::rules::{Rule, Rules};
use protocol_spec::Side;

/// An instance with one channel.
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
    /// Small enough that the party on the hub's side is searched in CI, too.
    pub both_sides: bool,
    /// Rules whose removal is found in it.
    pub finds: &'static [Rule],
}

impl Instance {
    /// The model, with party 0 on `side`.
    #[must_use]
    pub fn model(&self, large: bool, rules: Rules, side: Side) -> One {
        let bounds = if large { self.large } else { self.small };
        One(LinkModel {
            terms: Terms {
                rules,
                side,
                window: 3,
                expiry: self.expiry,
            },
            bounds,
        })
    }
}

const BARE: Bounds = Bounds::BARE;

/// All instances with one channel.
pub const INSTANCES: &[Instance] = &[
    Instance {
        name: "pay",
        small: Bounds {
            checkpoints: [true, true],
            ..BARE
        },
        large: Bounds {
            vouchers: [3, 3],
            checkpoints: [true, true],
            leaves: true,
            dep: [2, 1],
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: true,
        finds: &[
            Rule::R2,
            Rule::R3Exact,
            Rule::R4,
            Rule::R6Dispute,
            Rule::R16Payee,
            Rule::R19,
        ],
    },
    Instance {
        name: "withdraw",
        small: Bounds {
            withdraws: true,
            time: 5,
            ..BARE
        },
        large: Bounds {
            withdraws: true,
            vouchers: [3, 2],
            time: 8,
            checkpoints: [true, true],
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: false,
        finds: &[Rule::R12, Rule::R13Co],
    },
    Instance {
        name: "withdraw-out",
        small: Bounds {
            withdraws: true,
            vouchers: [2, 1],
            pays: [false, false],
            locks: [1, 0],
            time: 7,
            ..BARE
        },
        large: Bounds {
            withdraws: true,
            vouchers: [3, 2],
            pays: [false, true],
            locks: [1, 0],
            time: 7,
            ..BARE
        },
        expiry: [[4, 4], [0; 2]],
        both_sides: true,
        finds: &[Rule::R13Older],
    },
    Instance {
        name: "withdraw-in",
        small: Bounds {
            dep: [0, 2],
            withdraws: true,
            vouchers: [0, 2],
            pays: [false, false],
            locks: [0, 1],
            time: 8,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            withdraws: true,
            vouchers: [1, 3],
            pays: [false, true],
            locks: [0, 1],
            time: 9,
            ..BARE
        },
        expiry: [[0; 2], [5, 5]],
        both_sides: true,
        finds: &[Rule::R13Theirs],
    },
    Instance {
        name: "close",
        small: Bounds {
            closes: true,
            withdraws: true,
            vouchers: [1, 2],
            ..BARE
        },
        large: Bounds {
            closes: true,
            withdraws: true,
            time: 8,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: true,
        finds: &[Rule::R6Close, Rule::R15Lapse],
    },
    Instance {
        name: "close-cancel",
        small: Bounds {
            dep: [0, 1],
            vouchers: [0, 1],
            pays: [false, true],
            closes: true,
            cancels: 1,
            reorgs: 1,
            ..BARE
        },
        large: Bounds {
            closes: true,
            cancels: 2,
            reorgs: 1,
            disputes: 2,
            time: 9,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: true,
        finds: &[Rule::R15Dispute],
    },
    Instance {
        name: "deposit",
        small: Bounds {
            deposits: true,
            reorgs: 1,
            vouchers: [1, 2],
            closes: true,
            ..BARE
        },
        large: Bounds {
            deposits: true,
            reorgs: 2,
            vouchers: [2, 3],
            closes: true,
            withdraws: true,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: false,
        finds: &[Rule::R26],
    },
    Instance {
        name: "locks-in",
        small: Bounds {
            dep: [0, 2],
            vouchers: [0, 3],
            pays: [false, false],
            locks: [0, 1],
            checkpoints: [true, false],
            time: 10,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            vouchers: [1, 4],
            pays: [false, true],
            locks: [0, 2],
            checkpoints: [true, true],
            time: 12,
            ..BARE
        },
        expiry: [[0; 2], [4, 5]],
        both_sides: true,
        finds: &[
            Rule::R5Once,
            Rule::R5Consent,
            Rule::R16Checkpoint,
            Rule::R17Newest,
        ],
    },
    Instance {
        name: "locks-long",
        small: Bounds {
            dep: [0, 1],
            vouchers: [0, 2],
            pays: [false, false],
            locks: [0, 1],
            time: 11,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            vouchers: [1, 3],
            pays: [false, true],
            locks: [0, 1],
            checkpoints: [true, false],
            time: 12,
            ..BARE
        },
        expiry: [[0; 2], [8, 8]],
        both_sides: true,
        finds: &[Rule::R18Expiry],
    },
    Instance {
        name: "locks-acked",
        small: Bounds {
            dep: [0, 1],
            vouchers: [1, 2],
            pays: [false, false],
            locks: [0, 1],
            time: 8,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            vouchers: [2, 3],
            pays: [false, true],
            locks: [0, 1],
            checkpoints: [false, true],
            time: 10,
            ..BARE
        },
        expiry: [[0; 2], [4, 4]],
        both_sides: true,
        finds: &[Rule::R21Locks],
    },
    Instance {
        name: "locks-out",
        small: Bounds {
            dep: [1, 0],
            vouchers: [3, 2],
            pays: [false, false],
            locks: [1, 0],
            time: 10,
            ..BARE
        },
        large: Bounds {
            dep: [2, 1],
            vouchers: [4, 2],
            pays: [true, true],
            locks: [2, 0],
            time: 10,
            ..BARE
        },
        expiry: [[4, 5], [0; 2]],
        both_sides: false,
        finds: &[Rule::R3Older, Rule::R8, Rule::R9Age, Rule::R10, Rule::R17Drop],
    },
    Instance {
        name: "cancel",
        small: Bounds {
            dep: [0, 2],
            vouchers: [0, 2],
            pays: [false, true],
            locks: [0, 1],
            cancels: 1,
            disputes: 2,
            reorgs: 1,
            time: 9,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            vouchers: [1, 3],
            pays: [true, true],
            locks: [0, 1],
            cancels: 2,
            disputes: 3,
            reorgs: 1,
            time: 12,
            ..BARE
        },
        expiry: [[0; 2], [3, 3]],
        both_sides: false,
        finds: &[Rule::R5Known, Rule::R27Keep, Rule::R27Final],
    },
    Instance {
        name: "cancel-final",
        small: Bounds {
            dep: [0, 1],
            vouchers: [0, 1],
            pays: [false, true],
            cancels: 1,
            reorgs: 1,
            disputes: 1,
            time: 6,
            ..BARE
        },
        large: Bounds {
            dep: [1, 1],
            vouchers: [1, 2],
            cancels: 2,
            reorgs: 2,
            disputes: 2,
            time: 9,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: true,
        finds: &[],
    },
    Instance {
        name: "marked-out",
        small: Bounds {
            dep: [1, 0],
            vouchers: [2, 0],
            pays: [false, false],
            locks: [1, 0],
            cancels: 1,
            disputes: 2,
            time: 11,
            ..BARE
        },
        large: Bounds {
            dep: [2, 0],
            vouchers: [3, 1],
            pays: [true, false],
            locks: [1, 0],
            cancels: 1,
            disputes: 2,
            time: 12,
            ..BARE
        },
        expiry: [[2, 2], [0; 2]],
        both_sides: true,
        finds: &[Rule::R9Mark],
    },
    Instance {
        name: "away",
        small: Bounds {
            withdraws: true,
            away: Some(false),
            vouchers: [1, 1],
            ..BARE
        },
        large: Bounds {
            withdraws: true,
            away: Some(true),
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: true,
        finds: &[Rule::R14Paid],
    },
    Instance {
        name: "away-locks",
        small: Bounds {
            dep: [2, 0],
            vouchers: [2, 0],
            pays: [false, false],
            locks: [1, 0],
            withdraws: true,
            away: Some(false),
            time: 7,
            ..BARE
        },
        large: Bounds {
            dep: [2, 1],
            vouchers: [2, 2],
            pays: [true, true],
            locks: [1, 0],
            withdraws: true,
            away: Some(false),
            time: 9,
            ..BARE
        },
        expiry: [[2, 2], [0; 2]],
        both_sides: false,
        finds: &[Rule::R14Seq],
    },
    Instance {
        name: "tower",
        small: Bounds {
            dep: [0, 1],
            vouchers: [0, 2],
            pays: [false, false],
            locks: [0, 1],
            cancels: 1,
            disputes: 2,
            away: Some(true),
            time: 10,
            ..BARE
        },
        large: Bounds {
            dep: [1, 1],
            vouchers: [1, 3],
            pays: [true, true],
            locks: [0, 1],
            cancels: 1,
            disputes: 2,
            away: Some(true),
            time: 10,
            ..BARE
        },
        expiry: [[0; 2], [4, 4]],
        both_sides: false,
        finds: &[Rule::R28],
    },
    Instance {
        name: "rollback",
        small: Bounds {
            rollback: true,
            vouchers: [2, 1],
            time: 7,
            ..BARE
        },
        large: Bounds {
            rollback: true,
            leaves: true,
            withdraws: true,
            time: 9,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: false,
        finds: &[Rule::A10],
    },
    Instance {
        name: "rollback-signed",
        small: Bounds {
            dep: [0, 1],
            rollback: true,
            withdraws: true,
            closes: true,
            vouchers: [1, 1],
            time: 6,
            ..BARE
        },
        large: Bounds {
            rollback: true,
            withdraws: true,
            closes: true,
            cancels: 1,
            disputes: 2,
            time: 8,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: false,
        finds: &[Rule::A10Held],
    },
    Instance {
        name: "rollback-out",
        small: Bounds {
            dep: [1, 0],
            rollback: true,
            vouchers: [2, 1],
            pays: [false, false],
            locks: [1, 0],
            time: 6,
            ..BARE
        },
        large: Bounds {
            dep: [2, 1],
            rollback: true,
            vouchers: [3, 2],
            locks: [1, 0],
            time: 9,
            ..BARE
        },
        expiry: [[1, 1], [0; 2]],
        both_sides: false,
        finds: &[Rule::A10Locks],
    },
    Instance {
        name: "rollback-in",
        small: Bounds {
            dep: [0, 1],
            rollback: true,
            vouchers: [1, 2],
            pays: [false, false],
            locks: [0, 1],
            time: 5,
            ..BARE
        },
        large: Bounds {
            dep: [1, 2],
            rollback: true,
            vouchers: [2, 3],
            locks: [0, 1],
            disputes: 2,
            cancels: 1,
            time: 8,
            ..BARE
        },
        expiry: [[0; 2], [3, 3]],
        both_sides: false,
        finds: &[Rule::A10Locks],
    },
    Instance {
        name: "reorg",
        small: Bounds {
            reorgs: 2,
            vouchers: [1, 2],
            checkpoints: [true, false],
            closes: true,
            ..BARE
        },
        large: Bounds {
            reorgs: 3,
            checkpoints: [true, true],
            closes: true,
            withdraws: true,
            ..BARE
        },
        expiry: [[0; 2]; 2],
        both_sides: false,
        finds: &[],
    },
];
