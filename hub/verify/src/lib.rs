//! The signature engine.

mod cached;
mod field;
mod field8;
mod invert;
mod item;
mod keccak;
mod kernel;
mod key;
mod lanes;
mod layout;
mod order;
mod portable;
mod reference;
mod sum;
mod table;
mod tables;
mod words;

pub use cached::Cached;
pub use item::{Engine, Item, Signature, Verdict};
pub use keccak::keccak256_each;
pub use key::Key;
pub use portable::Portable;
pub use reference::Reference;
pub use tables::Tables;
