//! Test harness of Channel Hub.

pub mod evm;
