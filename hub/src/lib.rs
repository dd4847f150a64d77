//! The Channel Hub daemon: sessions, signature checks, ledger, journal, chain.

pub mod app;
pub mod backup;
mod bounded_listener;
pub use hub_chain as chain;
pub mod cli;
pub mod digests;
pub mod driver;
pub mod engine;
pub mod execution;
pub mod ledger;
pub mod liquidity;
pub mod now;
pub mod ops;
pub mod session;
pub mod settle;
pub mod settlement;
pub mod store;
