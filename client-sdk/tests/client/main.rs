//! The client against a scripted hub over real sockets, and in simulated time. One program: each costs a minute to build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panicking"
)]

mod capacity;
mod closed;
mod common;
mod court;
mod hub_faults;
mod marked;
mod pay;
mod ports;
mod receipts;
mod refused;
mod resolvers;
mod restored_locks;
mod retries;
mod signer;
mod stale;
mod status;
mod store;
mod tls;
mod towers;
mod withdrawals;
