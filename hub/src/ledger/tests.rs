//! Tests of the ledger: a hub's ledger against clients that run the real `Channel` with real keys.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "test code on small numbers"
)]

#[path = "../../tests/support/client.rs"]
#[allow(
    dead_code,
    clippy::duplicate_mod,
    reason = "shared with the tests of the engine, which use other parts"
)]
mod client;
mod cold;
mod cooperation;
mod damage;
mod day;
mod events;
mod liquidity;
mod locks;
mod opens;
mod payments;
mod random;
mod remembered;
mod reorg;
mod resolvers;
mod resume;
mod rollback;
mod rollback_locks;
mod rollback_locks_random;
mod slots;
mod state;
mod store;
mod twin;
mod unsettled;
mod world;
