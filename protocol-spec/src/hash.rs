//! The two hash functions of the protocol: Keccak-256 (what the chain reads) and SHA-256 (what it does not).

use sha2::{Digest as _, Sha256, block_api::compress256};

/// Keccak-256.
pub(crate) fn keccak(bytes: &[u8]) -> [u8; 32] {
    alloy_primitives::keccak256(bytes).0
}

const BLOCK: usize = 64;
/// A message that is this long with its padding is hashed in one go.
const SHORT_BLOCKS: usize = 4;
/// One byte that ends the message, eight for its length.
const PADDING: usize = 9;

/// SHA-256 over the concatenation of `parts`.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    short(parts).unwrap_or_else(|| {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    })
}

/// The same for few bytes, which each payment hashes several times: in one go, without the library's buffer in between.
/// `None`: they are too many.
fn short(parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut blocks = [0; BLOCK * SHORT_BLOCKS];
    let mut length = 0_usize;
    for part in parts {
        let end = length.checked_add(part.len())?;
        blocks.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    let padded = length.checked_add(PADDING)?.next_multiple_of(BLOCK);
    *blocks.get_mut(length)? = 0x80;
    let bits = (length as u64).checked_mul(8)?;
    let whole = blocks.get_mut(..padded)?;
    *whole.last_chunk_mut()? = bits.to_be_bytes();
    let (whole, _) = whole.as_chunks::<BLOCK>();
    let mut state = INITIAL;
    compress256(&mut state, whole);
    let mut hash = [0; 32];
    for (to, from) in hash.as_chunks_mut().0.iter_mut().zip(state) {
        *to = from.to_be_bytes();
    }
    Some(hash)
}

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_hash_as_the_library_hashes_them() {
        let bytes: Vec<u8> = (0..=255_u8).chain(0..=255).collect();
        for length in 0..300 {
            for cut in [0, length / 3, length] {
                let (first, rest) = bytes[..length].split_at(cut);
                let whole: [u8; 32] = Sha256::digest(&bytes[..length]).into();
                assert_eq!(sha256(&[first, rest]), whole, "{length} bytes cut at {cut}");
                assert_eq!(short(&[first, rest]).is_some(), length <= 247, "{length} bytes");
            }
        }
    }
}
