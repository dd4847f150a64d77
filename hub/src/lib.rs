//! The Channel Hub daemon: sessions, signature checks, ledger, journal, chain.

pub mod chain;
