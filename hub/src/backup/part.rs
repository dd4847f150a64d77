//! What segments hold. Borsh; the order of the variants is on disk.

use crate::store::{Identity, Row};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, UnixSeconds};

/// The body of one segment.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(super) enum Part {
    /// First of a generation.
    Start {
        /// What the database is pinned to.
        identity: Identity,
        /// The hub's account.
        hub: Address,
        /// Last record contained in the tables that follow.
        upto: u64,
    },
    /// Rows of one table, in key order.
    Rows {
        /// [`crate::store::Table::number`].
        table: u8,
        rows: Vec<Row>,
    },
    /// The tables are complete.
    Whole {
        /// How many rows there were.
        rows: u64,
    },
    /// Records of the journal, dense from `upto + 1` on: the number of the first, and the bytes of each.
    Records { first: u64, records: Vec<Vec<u8>> },
}

/// The body of a generation's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Head {
    /// Newest record exported.
    pub(super) record: u64,
    /// When it was exported, by the hub's clock: everything that was durable then is in.
    pub(super) at: UnixSeconds,
}

pub(super) fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}
