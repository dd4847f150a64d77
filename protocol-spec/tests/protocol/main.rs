//! Tests of the protocol: one module per group of rules, then attacks, properties, codecs, vectors and SPEC.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::type_complexity,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod a10_locks;
mod attacks;
mod calls;
mod codec;
mod common;
mod guard_and_trees;
mod invoices_and_packages;
mod properties;
mod r01_r04;
mod r05_r06;
mod r07_r11;
mod r12_r15;
mod r16_r20;
mod r27_r28;
mod room;
mod samples;
mod signatures;
mod spec_text;
mod vectors;
mod witnesses;
