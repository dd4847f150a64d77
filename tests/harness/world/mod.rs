//! A hub, some people and a chain in one thread; faults that are drawn or placed; oracles that look at all of it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test tool on small numbers and its own indexes: a panic here is a failed test"
)]

mod bank;
mod behind;
mod book;
mod clock;
mod court;
mod damage;
mod drive;
mod enforce;
mod faults;
mod forge;
mod forwarding;
mod frames;
mod hub;
mod lanes;
mod mallory;
mod network;
mod oracle;
mod part;
mod person;
mod power;
mod reckoning;
mod restore;
mod rogue;
mod rules;
mod run;
mod store;
mod strangers;
mod swarm;
mod trace;
mod watchtower;
mod weather;
mod wires;

pub use faults::{Fault, Faults, Kind, Rates};
pub use part::Part;
pub use run::{Report, Scenario, run};
