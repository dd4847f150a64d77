//! Sessions over real sockets; only the engine behind them is scripted.
#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that fails should say so loudly"
)]

mod floods;
mod handshake;
mod login;
mod messages;
mod shutdown;
mod world;
