//! Fuzz targets: each takes any bytes and panics when something is wrong.
//!
//! The same functions run under libFuzzer (`libfuzzer/`), under the small mutating fuzzer of this crate, which needs nothing but
//! stable Rust, and over the committed corpus in every test run.

#![allow(
    missing_docs,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a target says what is wrong by panicking"
)]

mod bytes;
mod channel;
mod codecs;
mod engines;
mod files;
mod journal;
mod mutate;
mod panics;
mod rpc;
pub mod runner;
mod seeds;
mod session;
mod store;
mod trees;

/// One target.
pub struct Target {
    pub name: &'static str,
    /// What it reads, for tables.
    pub reads: &'static str,
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input that makes sense.
    pub longest: usize,
}

pub const TARGETS: [Target; 11] = [
    Target {
        name: "json",
        reads: "messages in JSON",
        run: codecs::json,
        seeds: seeds::json,
        longest: 8192,
    },
    Target {
        name: "borsh",
        reads: "messages in Borsh",
        run: codecs::borsh,
        seeds: seeds::borsh,
        longest: 8192,
    },
    Target {
        name: "channel",
        reads: "actions of a client that may sign anything, beside a reference of R1-R4",
        run: channel::run,
        seeds: seeds::actions,
        longest: 512,
    },
    Target {
        name: "trees",
        reads: "batch proofs",
        run: trees::run,
        seeds: seeds::actions,
        longest: 1024,
    },
    Target {
        name: "engines",
        reads: "keys, digests and signatures, judged by every engine",
        run: engines::run,
        seeds: seeds::signatures,
        longest: 130,
    },
    Target {
        name: "evidence",
        reads: "evidence files and packages of watchtowers",
        run: files::evidence,
        seeds: seeds::evidence,
        longest: 8192,
    },
    Target {
        name: "config",
        reads: "hub.toml",
        run: files::config,
        seeds: seeds::config,
        longest: 8192,
    },
    Target {
        name: "journal",
        reads: "journal records and rows of channels",
        run: journal::run,
        seeds: seeds::journal,
        longest: 4096,
    },
    Target {
        name: "store",
        reads: "what a store does, and what its disk does to it: power, errors, flipped bits",
        run: store::run,
        seeds: seeds::disks,
        longest: 512,
    },
    Target {
        name: "session",
        reads: "connections to the session server and engine: handshakes, frames, logins, calls of three clients",
        run: session::run,
        seeds: seeds::sessions,
        longest: 2048,
    },
    Target {
        name: "rpc",
        reads: "answers of Ethereum nodes: alone, behind HTTP, one of three; reads, logs, sends",
        run: rpc::run,
        seeds: seeds::node_answers,
        longest: 1024,
    },
];

pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
