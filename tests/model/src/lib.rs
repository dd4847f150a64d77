//! An abstract model of the protocol, searched exhaustively at small bounds. `README.md` has the tables.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::unnecessary_lazy_evaluations,
    clippy::nonminimal_bool,
    reason = "small numbers; a model may stop at whatever surprises it"
)]

pub mod chain;
pub mod honest;
pub mod instance;
pub mod instances;
pub mod link;
pub mod one;
pub mod pair;
pub mod race;
pub mod replay;
pub mod route;
pub mod rules;
pub mod search;
