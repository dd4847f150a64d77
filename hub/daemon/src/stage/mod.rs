//! What demo and benchmark stand on: a chain with the contracts, a hub as a child process, a directory.

pub(crate) mod child;
pub(crate) mod cores;
mod free_address;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod world;

use std::io::Write;

/// One line for people, on stderr.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
