//! Little-endian 64-bit words: the integer arithmetic under the field and the group order.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "constant bounds over arrays; loops unroll"
)]

/// 256 bits, least significant word first.
pub(crate) type U256 = [u64; 4];

/// From 32 big-endian bytes.
#[inline(always)]
pub(crate) fn from_be(bytes: &[u8; 32]) -> U256 {
    let mut out = [0; 4];
    for (word, chunk) in out.iter_mut().rev().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_be_bytes(*chunk);
    }
    out
}

/// To 32 big-endian bytes.
pub(crate) fn to_be(words: &U256) -> [u8; 32] {
    let mut out = [0; 32];
    for (word, chunk) in words.iter().rev().zip(out.as_chunks_mut::<8>().0) {
        *chunk = word.to_be_bytes();
    }
    out
}

/// a < b.
#[inline(always)]
pub(crate) fn less(a: &U256, b: &U256) -> bool {
    sub(a, b).1
}

/// a + b and the carry.
#[inline(always)]
pub(crate) fn add(a: &U256, b: &U256) -> (U256, bool) {
    let (mut out, mut carry) = ([0; 4], false);
    for i in 0..4 {
        (out[i], carry) = a[i].carrying_add(b[i], carry);
    }
    (out, carry)
}

/// a - b and the borrow.
#[inline(always)]
pub(crate) fn sub(a: &U256, b: &U256) -> (U256, bool) {
    let (mut out, mut borrow) = ([0; 4], false);
    for i in 0..4 {
        (out[i], borrow) = a[i].borrowing_sub(b[i], borrow);
    }
    (out, borrow)
}

/// a * b, modulo 2^(64 R).
#[inline(always)]
pub(crate) fn mul<const A: usize, const B: usize, const R: usize>(a: &[u64; A], b: &[u64; B]) -> [u64; R] {
    let mut out = [0; R];
    for i in 0..A {
        let mut carry = 0;
        for j in 0..B {
            if i + j < R {
                (out[i + j], carry) = a[i].carrying_mul_add(b[j], carry, out[i + j]);
            }
        }
        if i + B < R {
            out[i + B] = carry;
        }
    }
    out
}
