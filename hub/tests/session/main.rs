//! Sessions over real sockets; the engine behind them is scripted, but for the tests of `signers`.
#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that fails should say so loudly"
)]

#[path = "../support/client.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the engine, which use other parts"
)]
mod client;
mod floods;
mod handshake;
mod login;
mod messages;
mod shutdown;
mod signers;
#[path = "../support/engine.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the engine, which use other parts"
)]
mod support;
mod world;
