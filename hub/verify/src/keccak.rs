//! Keccak-256 of many messages of one length: eight at a time with AVX-512, four at a time with AVX2, else one by one.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "constant bounds over arrays; lengths are checked at the entry"
)]

#[cfg(test)]
use crate::lanes::emulated::Emulated;
use crate::lanes::{self, Lanes};
#[cfg(target_arch = "x86_64")]
use crate::lanes::{
    avx2::Avx2,
    avx512::{self, Avx512},
};

/// Bytes that one permutation absorbs.
const RATE: usize = 136;
/// The same in words.
const WORDS: usize = RATE / 8;
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
    fn splat(word: u64) -> Self;
    /// Lane i of word j is word `from + j` of row i.
    fn columns(rows: &[[u64; WORDS]; 8], from: usize) -> [Self; 8];
    /// Lane i of the result is word `at` of row i.
    fn column(rows: &[[u64; WORDS]; 8], at: usize) -> Self;
    /// The lanes, and nothing behind them.
    fn store(self) -> [u64; 8];
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
            fn splat(word: u64) -> Self {
                Lanes::splat(word)
            }
            #[inline(always)]
            fn columns(rows: &[[u64; WORDS]; 8], from: usize) -> [Self; 8] {
                let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
                lanes::transpose([
                    eight(r0, from),
                    eight(r1, from),
                    eight(r2, from),
                    eight(r3, from),
                    eight(r4, from),
                    eight(r5, from),
                    eight(r6, from),
                    eight(r7, from),
                ])
            }
            #[inline(always)]
            fn column(rows: &[[u64; WORDS]; 8], at: usize) -> Self {
                let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
                Self::load(&[
                    r0[at], r1[at], r2[at], r3[at], r4[at], r5[at], r6[at], r7[at],
                ])
            }
            #[inline(always)]
            fn store(self) -> [u64; 8] {
                Lanes::store(self)
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
    fn splat(word: u64) -> Self {
        Self(word)
    }
    #[inline(always)]
    fn columns(rows: &[[u64; WORDS]; 8], from: usize) -> [Self; 8] {
        let [w0, w1, w2, w3, w4, w5, w6, w7] = *eight(&rows[0], from);
        [
            Self(w0),
            Self(w1),
            Self(w2),
            Self(w3),
            Self(w4),
            Self(w5),
            Self(w6),
            Self(w7),
        ]
    }
    #[inline(always)]
    fn column(rows: &[[u64; WORDS]; 8], at: usize) -> Self {
        Self(rows[0][at])
    }
    #[inline(always)]
    fn store(self) -> [u64; 8] {
        [self.0, 0, 0, 0, 0, 0, 0, 0]
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
    fn splat(word: u64) -> Self {
        Self::load(&[word; 4])
    }
    #[inline(always)]
    fn columns(rows: &[[u64; WORDS]; 8], from: usize) -> [Self; 8] {
        [
            Self::column(rows, from),
            Self::column(rows, from + 1),
            Self::column(rows, from + 2),
            Self::column(rows, from + 3),
            Self::column(rows, from + 4),
            Self::column(rows, from + 5),
            Self::column(rows, from + 6),
            Self::column(rows, from + 7),
        ]
    }
    #[inline(always)]
    fn column(rows: &[[u64; WORDS]; 8], at: usize) -> Self {
        let [r0, r1, r2, r3, ..] = rows;
        Self::load(&[r0[at], r1[at], r2[at], r3[at]])
    }
    #[inline(always)]
    fn store(self) -> [u64; 8] {
        let [a, b, c, d] = Avx2::store(self);
        [a, b, c, d, 0, 0, 0, 0]
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

/// No closures in here: they would not be inlined into code for other CPU features.
#[inline(always)]
fn each<W: Words>(messages: &[u8], length: usize, digests: &mut [[u8; 32]]) {
    let mut rows = [[0; WORDS]; 8];
    for (at, digests) in digests.chunks_mut(W::WIDTH).enumerate() {
        let mut state = [W::splat(0); 25];
        for block in 0..=length / RATE {
            // What lanes without a message hash is thrown away.
            for lane in 0..digests.len() {
                let message = &messages[(at * W::WIDTH + lane) * length..][..length];
                rows[lane] = padded(&message[block * RATE..]);
            }
            for from in [0, 8] {
                let columns = W::columns(&rows, from);
                for word in 0..8 {
                    state[from + word] = state[from + word].xor(columns[word]);
                }
            }
            state[16] = state[16].xor(W::column(&rows, 16));
            permute(&mut state);
        }
        let words = [
            state[0].store(),
            state[1].store(),
            state[2].store(),
            state[3].store(),
        ];
        for (lane, digest) in digests.iter_mut().enumerate() {
            for (word, bytes) in digest.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *bytes = words[word][lane].to_le_bytes();
            }
        }
    }
}

/// Eight words of a row.
#[inline(always)]
fn eight(row: &[u64; WORDS], from: usize) -> &[u64; 8] {
    match row[from..].first_chunk() {
        Some(words) => words,
        None => unreachable!("eight words from {from} on"),
    }
}

/// The next block of a message of which `rest` is left: behind the message's end a one bit, and another at the end of
/// the block.
#[inline(always)]
fn padded(rest: &[u8]) -> [u64; WORDS] {
    let mut bytes = [0; RATE];
    match rest.first_chunk() {
        Some(whole) => bytes = *whole,
        None => {
            bytes[..rest.len()].copy_from_slice(rest);
            bytes[rest.len()] = 1;
            bytes[RATE - 1] |= 0x80;
        }
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// Keccak-f[1600].
#[inline(always)]
fn permute<W: Words>(a: &mut [W; 25]) {
    for constant in ROUNDS {
        let mut c = [W::splat(0); 5];
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
        a[0] = a[0].xor(W::splat(constant));
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
