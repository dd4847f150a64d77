//! Keccak-256 of many messages of one length: eight at a time with AVX-512, four at a time with AVX2, else one by one.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "constant bounds over arrays; lengths are checked at the entry"
)]

use crate::lanes::Lanes;
#[cfg(test)]
use crate::lanes::emulated::Emulated;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{
    avx2::Avx2,
    avx512::{self, Avx512},
};

/// Bytes that one permutation absorbs.
const RATE: usize = 136;
const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// `digests[i]` = Keccak-256 of the i-th of `digests.len()` messages of equal length, which lie one behind the other.
///
/// # Panics
/// When `messages` cannot be divided so.
pub fn keccak256_each(messages: &[u8], digests: &mut [[u8; 32]]) {
    let Some(length) = messages.len().checked_div(digests.len()) else {
        assert!(messages.is_empty(), "messages without digests");
        return;
    };
    assert_eq!(length * digests.len(), messages.len(), "messages of equal length");
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "compiled for CPU features that were detected")]
    {
        // SAFETY: the features that each function is compiled for were detected.
        if digests.len() >= 4 && avx512::available() {
            return unsafe { each_avx512(messages, length, digests) };
        }
        if digests.len() >= 2 && is_x86_feature_detected!("avx2") {
            return unsafe { each_avx2(messages, length, digests) };
        }
    }
    each::<One>(messages, length, digests);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
fn each_avx512(messages: &[u8], length: usize, digests: &mut [[u8; 32]]) {
    each::<Avx512>(messages, length, digests);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn each_avx2(messages: &[u8], length: usize, digests: &mut [[u8; 32]]) {
    each::<Avx2>(messages, length, digests);
}

/// Words of several states side by side.
trait Words: Copy {
    const WIDTH: usize;
    fn zero() -> Self;
    /// Lane i is `word(i)`.
    fn gather(word: impl Fn(usize) -> u64) -> Self;
    fn lane(&self, lane: usize) -> u64;
    fn xor(self, other: Self) -> Self;
    fn xor3(self, b: Self, c: Self) -> Self;
    /// self ^ (!b & c).
    fn chi(self, b: Self, c: Self) -> Self;
    fn rotate<const BITS: i32>(self) -> Self;
}

macro_rules! words_of_lanes {
    ($type:ty) => {
        impl Words for $type {
            const WIDTH: usize = 8;
            #[inline(always)]
            fn zero() -> Self {
                Self::splat(0)
            }
            #[inline(always)]
            fn gather(word: impl Fn(usize) -> u64) -> Self {
                Self::load(&[
                    word(0),
                    word(1),
                    word(2),
                    word(3),
                    word(4),
                    word(5),
                    word(6),
                    word(7),
                ])
            }
            #[inline(always)]
            fn lane(&self, lane: usize) -> u64 {
                self.store()[lane]
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                Lanes::xor(self, other)
            }
            #[inline(always)]
            fn xor3(self, b: Self, c: Self) -> Self {
                Lanes::xor3(self, b, c)
            }
            #[inline(always)]
            fn chi(self, b: Self, c: Self) -> Self {
                Lanes::chi(self, b, c)
            }
            #[inline(always)]
            fn rotate<const BITS: i32>(self) -> Self {
                self.rotate_left::<BITS>()
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
words_of_lanes!(Avx512);
#[cfg(test)]
words_of_lanes!(Emulated);

/// One state.
#[derive(Clone, Copy)]
struct One(u64);

impl Words for One {
    const WIDTH: usize = 1;
    #[inline(always)]
    fn zero() -> Self {
        Self(0)
    }
    #[inline(always)]
    fn gather(word: impl Fn(usize) -> u64) -> Self {
        Self(word(0))
    }
    #[inline(always)]
    fn lane(&self, _lane: usize) -> u64 {
        self.0
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Self(self.0 ^ b.0 ^ c.0)
    }
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        Self(self.0 ^ (!b.0 & c.0))
    }
    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        Self(self.0.rotate_left(BITS.cast_unsigned()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Words for Avx2 {
    const WIDTH: usize = 4;
    #[inline(always)]
    fn zero() -> Self {
        Self::load(&[0; 4])
    }
    #[inline(always)]
    fn gather(word: impl Fn(usize) -> u64) -> Self {
        Self::load(&[word(0), word(1), word(2), word(3)])
    }
    #[inline(always)]
    fn lane(&self, lane: usize) -> u64 {
        self.store()[lane]
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Avx2::xor(self, other)
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Avx2::xor(Avx2::xor(self, b), c)
    }
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        Avx2::xor(self, b.and_not(c))
    }
    #[inline(always)]
    fn rotate<const BITS: i32>(self) -> Self {
        self.rotate_left::<BITS>()
    }
}

#[inline(always)]
fn each<W: Words>(messages: &[u8], length: usize, digests: &mut [[u8; 32]]) {
    for (at, digests) in digests.chunks_mut(W::WIDTH).enumerate() {
        // Behind the last message it is the last one again.
        let last = digests.len() - 1;
        let message = |lane: usize| &messages[(at * W::WIDTH + lane.min(last)) * length..][..length];
        let mut state = [W::zero(); 25];
        for block in 0..=length / RATE {
            for word in 0..RATE / 8 {
                let from = block * RATE + word * 8;
                state[word] = state[word].xor(W::gather(|lane| padded_word(message(lane), from, block)));
            }
            permute(&mut state);
        }
        for (lane, digest) in digests.iter_mut().enumerate() {
            for (word, bytes) in digest.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *bytes = state[word].lane(lane).to_le_bytes();
            }
        }
    }
}

/// Eight bytes of the padded message: a one bit behind its end, another at the end of its last block.
#[inline(always)]
fn padded_word(message: &[u8], from: usize, block: usize) -> u64 {
    if let Some(bytes) = message.get(from..).and_then(|rest| rest.first_chunk()) {
        return u64::from_le_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    if from <= message.len() {
        let rest = &message[from..];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 1;
    }
    if from + 8 == (block + 1) * RATE {
        bytes[7] |= 0x80;
    }
    u64::from_le_bytes(bytes)
}

/// Keccak-f[1600].
#[inline(always)]
fn permute<W: Words>(a: &mut [W; 25]) {
    for constant in ROUNDS {
        // No closures: they would not be inlined into code for other CPU features.
        let mut c = [W::zero(); 5];
        let mut d = c;
        for x in 0..5 {
            c[x] = a[x].xor3(a[x + 5], a[x + 10]).xor3(a[x + 15], a[x + 20]);
            d[x] = c[x].rotate::<1>();
        }
        // Theta, rho and pi: row y of the result takes words (x + y, x) of the state.
        macro_rules! moved {
            ($from:literal, $bits:literal) => {
                a[$from]
                    .xor3(c[($from + 4) % 5], d[($from + 1) % 5])
                    .rotate::<$bits>()
            };
        }
        let rows = [
            [
                moved!(0, 0),
                moved!(6, 44),
                moved!(12, 43),
                moved!(18, 21),
                moved!(24, 14),
            ],
            [
                moved!(3, 28),
                moved!(9, 20),
                moved!(10, 3),
                moved!(16, 45),
                moved!(22, 61),
            ],
            [
                moved!(1, 1),
                moved!(7, 6),
                moved!(13, 25),
                moved!(19, 8),
                moved!(20, 18),
            ],
            [
                moved!(4, 27),
                moved!(5, 36),
                moved!(11, 10),
                moved!(17, 15),
                moved!(23, 56),
            ],
            [
                moved!(2, 62),
                moved!(8, 55),
                moved!(14, 39),
                moved!(15, 41),
                moved!(21, 2),
            ],
        ];
        for y in 0..5 {
            for x in 0..5 {
                a[5 * y + x] = rows[y][x].chi(rows[y][(x + 1) % 5], rows[y][(x + 2) % 5]);
            }
        }
        a[0] = a[0].xor(W::gather(|_| constant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::keccak256;

    type Each = fn(&[u8], usize, &mut [[u8; 32]]);

    #[test]
    fn every_width_hashes_as_alloy_does() {
        let widths: [(&str, Each); 3] = [
            ("one", |m, l, d| each::<One>(m, l, d)),
            ("eight, emulated", |m, l, d| each::<Emulated>(m, l, d)),
            ("detected", |m, _, d| keccak256_each(m, d)),
        ];
        for length in [
            0, 1, 7, 8, 32, 64, 66, 127, 128, 135, 136, 137, 143, 144, 256, 271, 272, 300,
        ] {
            for count in [1, 2, 4, 7, 8, 9, 17] {
                let messages: Vec<u8> = (0..length * count)
                    .map(|at| u8::try_from(at * 131 % 251).unwrap())
                    .collect();
                for (name, hash) in widths {
                    let mut digests = vec![[0; 32]; count];
                    hash(&messages, length, &mut digests);
                    for (at, digest) in digests.iter().enumerate() {
                        let message = &messages[at * length..][..length];
                        assert_eq!(
                            *digest,
                            keccak256(message).0,
                            "{name}: {at} of {count}, {length} bytes"
                        );
                    }
                }
            }
        }
    }
}
