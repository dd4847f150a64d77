//! The two hash functions of the protocol: Keccak-256 (what the chain reads) and SHA-256 (what it does not).

use sha2::{Digest as _, Sha256};

/// Keccak-256.
pub(crate) fn keccak(bytes: &[u8]) -> [u8; 32] {
    alloy_primitives::keccak256(bytes).0
}

/// SHA-256 over the concatenation of `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
