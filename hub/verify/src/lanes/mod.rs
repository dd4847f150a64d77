//! Eight or four 64-bit lanes: the few operations that the kernels are made of, once in portable code that computes what
//! the instructions are specified to compute, once as the AVX-512 or AVX2 instructions themselves.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod emulated;

use crate::field8;

/// Eight unsigned 64-bit numbers. Arithmetic wraps, lane by lane.
pub(crate) trait Lanes: Copy {
    fn splat(value: u64) -> Self;
    fn load(values: &[u64; 8]) -> Self;
    fn store(self) -> [u64; 8];
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_left<const BITS: u32>(self) -> Self;
    fn shift_right<const BITS: u32>(self) -> Self;
    fn rotate_left<const BITS: i32>(self) -> Self;
    /// self + the low 52 bits of the product of the low 52 bits of `a` and `b` (VPMADD52LUQ).
    fn multiply_add_low(self, a: Self, b: Self) -> Self;
    /// self + bits 52 to 103 of the product of the low 52 bits of `a` and `b` (VPMADD52HUQ).
    fn multiply_add_high(self, a: Self, b: Self) -> Self;
    /// One bit for each lane that is equal.
    fn equal(self, other: Self) -> u8;
    /// `other` in the lanes of `mask`.
    fn select(self, other: Self, mask: u8) -> Self;
    /// self ^ b ^ c.
    fn xor3(self, b: Self, c: Self) -> Self;
    /// self ^ (!b & c).
    fn chi(self, b: Self, c: Self) -> Self;
    /// The even lanes of both, alternating (VPUNPCKLQDQ).
    fn even_lanes(self, other: Self) -> Self;
    /// The odd lanes of both, alternating (VPUNPCKHQDQ).
    fn odd_lanes(self, other: Self) -> Self;
    /// Pairs 0 and 2 of self, then of `other` (VSHUFI64X2 0x88).
    fn even_pairs(self, other: Self) -> Self;
    /// Pairs 1 and 3 of self, then of `other` (VSHUFI64X2 0xdd).
    fn odd_pairs(self, other: Self) -> Self;

    // The field's operations on limbs: a place to say whether they are inlined.
    #[inline(always)]
    fn field_product(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        field8::product(a, b)
    }
    #[inline(always)]
    fn field_square(a: &[Self; 5]) -> [Self; 5] {
        field8::square(a)
    }
    #[inline(always)]
    fn field_normal(a: [Self; 5]) -> [Self; 5] {
        field8::normal(a)
    }
}

/// Columns from rows: lane i of result j is word j of row i.
#[inline(always)]
pub(crate) fn transpose<L: Lanes>(rows: [&[u64; 8]; 8]) -> [L; 8] {
    // No `map` here: the function that it takes would not be inlined into code for other CPU features.
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let (r0, r1, r2, r3) = (L::load(r0), L::load(r1), L::load(r2), L::load(r3));
    let (r4, r5, r6, r7) = (L::load(r4), L::load(r5), L::load(r6), L::load(r7));
    let (e0, e1, e2, e3) = (
        r0.even_lanes(r1),
        r2.even_lanes(r3),
        r4.even_lanes(r5),
        r6.even_lanes(r7),
    );
    let (o0, o1, o2, o3) = (
        r0.odd_lanes(r1),
        r2.odd_lanes(r3),
        r4.odd_lanes(r5),
        r6.odd_lanes(r7),
    );
    // Words 0 and 4, 2 and 6, of four rows each; then the odd ones.
    let (w04a, w26a) = (e0.even_pairs(e1), e0.odd_pairs(e1));
    let (w04b, w26b) = (e2.even_pairs(e3), e2.odd_pairs(e3));
    let (w15a, w37a) = (o0.even_pairs(o1), o0.odd_pairs(o1));
    let (w15b, w37b) = (o2.even_pairs(o3), o2.odd_pairs(o3));
    [
        w04a.even_pairs(w04b),
        w15a.even_pairs(w15b),
        w26a.even_pairs(w26b),
        w37a.even_pairs(w37b),
        w04a.odd_pairs(w04b),
        w15a.odd_pairs(w15b),
        w26a.odd_pairs(w26b),
        w37a.odd_pairs(w37b),
    ]
}

/// Four 64-bit lanes, which each operation reads as unsigned integers or as doubles, as it says.
pub(crate) trait Quads: Copy {
    fn splat(value: u64) -> Self;
    fn load(values: &[u64; 4]) -> Self;
    fn store(self) -> [u64; 4];
    /// The sum of integers, wrapping.
    fn add(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_left<const BITS: i32>(self) -> Self;
    fn shift_right<const BITS: i32>(self) -> Self;
    /// The sum of doubles.
    fn plus(self, other: Self) -> Self;
    /// The difference of doubles.
    fn minus(self, other: Self) -> Self;
    /// self + a b for doubles, rounded once, to nearest.
    fn multiply_add(self, a: Self, b: Self) -> Self;
    /// The even lanes of both, alternating (VPUNPCKLQDQ).
    fn even_lanes(self, other: Self) -> Self;
    /// The odd lanes of both, alternating (VPUNPCKHQDQ).
    fn odd_lanes(self, other: Self) -> Self;
    /// The lower halves of both (VPERM2I128 0x20).
    fn low_pairs(self, other: Self) -> Self;
    /// The upper halves of both (VPERM2I128 0x31).
    fn high_pairs(self, other: Self) -> Self;

    // The field's operations on limbs, as functions of their own: inlined everywhere they would fill the instruction cache.
    fn field_limbs(words: &[Self; 4]) -> [Self; 5];
    fn field_sum(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5];
    fn field_product(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5];
    fn field_product_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5];
    fn field_square(a: &[Self; 5]) -> [Self; 5];
    fn field_square_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5];
}

/// Columns from rows: lane i of result j is word j of row i.
#[inline(always)]
pub(crate) fn transpose4<Q: Quads>(rows: [&[u64; 4]; 4]) -> [Q; 4] {
    let [r0, r1, r2, r3] = rows;
    let (r0, r1, r2, r3) = (Q::load(r0), Q::load(r1), Q::load(r2), Q::load(r3));
    let (e0, e1) = (r0.even_lanes(r1), r2.even_lanes(r3));
    let (o0, o1) = (r0.odd_lanes(r1), r2.odd_lanes(r3));
    [
        e0.low_pairs(e1),
        o0.low_pairs(o1),
        e0.high_pairs(e1),
        o0.high_pairs(o1),
    ]
}
