//! The Channel Hub daemon: sessions, signature checks, ledger, journal, chain.

pub mod chain;
pub mod driver;
pub mod engine;
pub mod ledger;
pub mod settle;
pub mod store;
