//! Test harness of Channel Hub: a bare EVM for the differential, and a seeded world for everything else.
//!
//! The world is one thread with virtual time. In it run the real hub (sessions, engine, ledger, journal, driver, redb),
//! the real SDK and the real contract bytecode; network, disk, clock and chain access are simulated and go wrong on
//! demand. The same seed and the same faults give the same run.

pub mod evm;
pub mod world;
