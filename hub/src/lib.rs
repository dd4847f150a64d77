//! The Channel Hub daemon: sessions, signature checks, ledger, journal, chain.

pub mod engine;
pub mod settle;
