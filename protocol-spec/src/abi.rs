//! The adjudicator's types, events, errors and functions, read from `contracts/src/IAdjudicator.sol`.
//!
//! The Solidity compiler and this macro read the same file, so the two cannot drift apart.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::restriction)]

alloy_sol_types::sol!("contracts/src/IAdjudicator.sol");
