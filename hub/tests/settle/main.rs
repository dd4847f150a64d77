//! `settle` against real anvil (and once against the embedded chain): the real binary, stdout and stderr captured.
//!
//! Anvil is the native binary at `ANVIL`, or the one that `npm ci` puts under `protocol-spec/contracts/node_modules`.
//! Without it the tests fail and say so; `CHANNELHUB_SKIP_ANVIL=1` skips them.
#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test code"
)]

mod anvil;
mod batch;
mod batch_locks;
mod batch_messages;
mod cli;
mod cooperative;
mod embedded;
mod exits;
mod fleet;
mod ledger;
mod locks;
mod many_calls;
mod many_locks;
mod nodes;
mod offline;
mod packages;
mod plan;
mod refusals;
mod resume;
mod signers;
mod small_blocks;
mod stuck;
mod tower_foes;
mod tower_locks;
mod vouchers;
mod watch;
mod world;
