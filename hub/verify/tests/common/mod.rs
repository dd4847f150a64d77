//! Keys and signatures from a seed, for tests, the fuzzer and the benchmark.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs,
    reason = "shared by tests, fuzzer and benchmark; each takes what it needs"
)]

use hub_verify::{Cached, Engine, Item, Key, Portable, Reference, Signature, Tables};
use k256::ecdsa::SigningKey;
use std::sync::Arc;

/// SplitMix64: the same numbers for the same seed everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.word() >> 32).unwrap() % bound
    }
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for chunk in out.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.word().to_le_bytes());
        }
        out
    }
    pub fn signer(&mut self) -> Signer {
        loop {
            if let Ok(secret) = SigningKey::from_slice(&self.bytes()) {
                return Signer::new(secret);
            }
        }
    }
}

/// A secret key and its public key.
pub struct Signer {
    pub secret: SigningKey,
    pub key: Key,
}

impl Signer {
    pub fn new(secret: SigningKey) -> Self {
        let key = Key::from_sec1(secret.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
        Self { secret, key }
    }

    /// A valid signature, r || s || v.
    pub fn sign(&self, digest: &[u8; 32]) -> [u8; 65] {
        let (signature, id) = self.secret.sign_prehash_recoverable(digest);
        let mut out = [0; 65];
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = 27 + id.to_byte();
        out
    }
}

/// A case that owns its bytes.
#[derive(Clone, Debug)]
pub struct Case {
    pub key: Key,
    pub digest: [u8; 32],
    pub signature: [u8; 65],
    /// Whether v is part of the signature.
    pub with_parity: bool,
}

impl Case {
    pub fn signed(random: &mut Random, signer: &Signer) -> Self {
        let digest = random.bytes();
        Self {
            key: signer.key,
            digest,
            signature: signer.sign(&digest),
            with_parity: true,
        }
    }

    pub fn item(&self) -> Item<'_> {
        Item {
            key: &self.key,
            digest: &self.digest,
            signature: if self.with_parity {
                Signature::Recoverable(&self.signature)
            } else {
                Signature::Plain(self.signature.first_chunk().unwrap())
            },
        }
    }
}

/// The items of many cases.
pub fn items(cases: &[Case]) -> Vec<Item<'_>> {
    cases.iter().map(Case::item).collect()
}

pub mod cases;

/// Every engine, with tables for the keys of `cases` where it uses some, and one that has none.
pub fn engines(cases: &[Case]) -> Vec<Box<dyn Engine>> {
    let tables = Arc::new(Tables::new(cases.len() * Tables::BYTES_PER_SIGNER));
    for case in cases {
        tables.want(&case.key);
        tables.build_wanted(usize::MAX);
    }
    let cold = Arc::new(Tables::new(0));
    let best = Cached::new(Arc::clone(&tables));
    println!("the engine of this CPU: {}", best.name());
    let mut out: Vec<Box<dyn Engine>> = vec![
        Box::new(Reference),
        Box::new(Portable::default()),
        Box::new(Cached::new(cold)),
    ];
    for engine in Cached::all(&tables) {
        out.push(Box::new(engine));
    }
    out
}
