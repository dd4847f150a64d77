//! The ledger alone, for `tests/mutants/run`: what it needs of the hub and no more.

pub mod digests;
pub mod ledger;
pub mod liquidity;

/// As `hub::engine` has them.
pub mod engine {
    use crate::ledger::{ReserveNeed, Surplus};
    use protocol_spec::{Address, Amount, ChannelId};
    use std::collections::BTreeMap;

    /// One connection.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub struct SessionId(pub u64);

    /// What the liquidity manager needs to know.
    #[derive(Clone, Debug, Default)]
    #[allow(missing_docs)]
    pub struct Reserves {
        pub block: u64,
        pub needs: Vec<ReserveNeed>,
        pub surpluses: Vec<Surplus>,
        pub awaited: Vec<ChannelId>,
        pub owed: BTreeMap<Address, Amount>,
        pub kept: BTreeMap<Address, Amount>,
    }
}

/// What a checkpoint is made of.
pub mod store {
    mod error;
    mod port;
    pub use error::StoreError;
    pub use port::{Checkpoint, Epoch, Row, ShardId, Table};
}
