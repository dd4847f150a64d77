//! The Channel Hub daemon: sessions, signature checks, ledger, journal, chain.

pub mod cli;
pub mod engine;
pub mod ops;
pub mod session;
