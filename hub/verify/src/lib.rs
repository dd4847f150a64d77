//! The signature engine: ECDSA over secp256k1 in batches.
//!
//! | engine | what it is for |
//! |---|---|
//! | [`Reference`] | k256, straight from the definition: the judge |
//! | [`Portable`] | libsecp256k1: no tables, for keys seen for the first time |
//! | [`Cached`] | tables of the signer and of G, no doublings to speak of, one inversion for many additions; one lane in general registers, four with AVX2 and FMA, or eight with AVX-512 IFMA, as the CPU can |
//!
//! ```
//! use hub_verify::{Cached, Engine, Item, Key, Signature, Tables, Verdict};
//! use std::sync::Arc;
//!
//! # let generator = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
//! # let generator: Vec<u8> = (0..33).map(|at| u8::from_str_radix(&generator[2 * at..2 * at + 2], 16).unwrap()).collect();
//! let tables = Arc::new(Tables::new(256 << 20)); // one for all threads
//! let mut engine = Cached::new(Arc::clone(&tables)); // one for each thread
//! let key = Key::from_sec1(&generator).unwrap();
//! tables.want(&key); // the engine does by itself after a first valid signature
//! tables.build_wanted(8); // on a thread that has time
//! let mut verdicts = [Verdict::Valid];
//! let signature = Signature::Recoverable(&[27; 65]);
//! engine.verify(&[Item { key: &key, digest: &[1; 32], signature }], &mut verdicts);
//! assert_eq!(verdicts, [Verdict::Invalid]);
//! ```
//!
//! **Keys.** Signatures are checked against a known public key. The protocol names addresses: the key is recovered once, at login,
//! and stays with the session.
//!
//! **Exactness.** Each lane is a whole verification: limits of r and s, low s, and the nonce point itself in affine form, whose x is
//! compared with r and whose parity with v. The formulas have exceptions (equal and opposite points); a lane that meets one
//! is marked. Whatever a lane does not accept, the reference decides before it is refused. So an engine can be slow, but not
//! differ, unless it accepts too much; the tests and `examples/differential` look for that.
//!
//! **Tables** are shared by all threads: a signer's vouchers may be verified by any of them, and a copy per thread would
//! double the memory. Reading takes a shared lock once for each 64 signatures.
//!
//! **Unsafe code** is in `lanes/avx512.rs`, `lanes/avx2.rs` and `prefetch.rs`, one instruction per function, and where functions
//! compiled for CPU features are called. The kernel is generic over the lanes: the tests run it over portable code that computes what Intel specifies for
//! each instruction, everywhere, and over the instructions themselves where the CPU has them (the test prints whether).
//! On a CPU without AVX-512 IFMA, or without AVX2 and FMA, those functions are compiled and not run.

mod cached;
mod field;
mod field4;
mod field8;
mod invert;
mod item;
mod keccak;
mod kernel;
mod key;
#[cfg(target_arch = "x86_64")]
mod known;
mod lanes;
mod layout;
mod order;
mod portable;
mod prefetch;
mod reference;
mod sum;
mod table;
mod tables;
mod words;

pub use cached::Cached;
pub use item::{Counts, Engine, Item, Signature, Verdict};
pub use keccak::keccak256_each;
pub use key::Key;
pub use portable::Portable;
pub use prefetch::prefetch;
pub use reference::Reference;
pub use tables::Tables;
