//! Four 64-bit lanes as AVX2 and FMA instructions: for Keccak, and for the field in doubles.

#![expect(
    unsafe_code,
    reason = "CPU instructions beyond the baseline; every block has its argument"
)]

use super::Quads;
use crate::field4;
use core::arch::x86_64::*;

/// A 256-bit register. Values of this type are only made in functions that run where AVX2 was detected; as [`Quads`] only
/// by kernels that [`available`] let start.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i);

/// Whether this CPU has what the field's kernel uses.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("adx")
}

/// One instruction. SAFETY: the CPU has avx2, and fma for [`Quads`], by the promise of [`Avx2`]; no instruction touches
/// memory but `load` and `store`, through valid references.
macro_rules! instruction {
    ($intrinsic:expr) => {{
        // SAFETY: as above.
        unsafe { $intrinsic }
    }};
}

impl Avx2 {
    #[inline(always)]
    pub(crate) fn load(values: &[u64; 4]) -> Self {
        Self(instruction!(_mm256_loadu_si256(values.as_ptr().cast())))
    }
    #[inline(always)]
    pub(crate) fn store(self) -> [u64; 4] {
        let mut out = [0; 4];
        instruction!(_mm256_storeu_si256(out.as_mut_ptr().cast(), self.0));
        out
    }
    #[inline(always)]
    pub(crate) fn xor(self, other: Self) -> Self {
        Self(instruction!(_mm256_xor_si256(self.0, other.0)))
    }
    /// !self & other.
    #[inline(always)]
    pub(crate) fn and_not(self, other: Self) -> Self {
        Self(instruction!(_mm256_andnot_si256(self.0, other.0)))
    }
    /// The two shifts of a rotation; one by 64 gives zero.
    #[inline(always)]
    pub(crate) fn rotate_left<const BITS: i32>(self) -> Self {
        Self(instruction!(_mm256_or_si256(
            _mm256_sllv_epi64(self.0, _mm256_set1_epi64x(i64::from(BITS))),
            _mm256_srlv_epi64(self.0, _mm256_set1_epi64x(64_i64.wrapping_sub(i64::from(BITS))))
        )))
    }
}

/// An instruction on doubles.
macro_rules! doubles {
    ($intrinsic:ident, $($operand:expr),+) => {
        Avx2(instruction!(_mm256_castpd_si256($intrinsic($(_mm256_castsi256_pd($operand.0)),+))))
    };
}

impl Quads for Avx2 {
    #[inline(always)]
    fn splat(value: u64) -> Self {
        Self(instruction!(_mm256_set1_epi64x(value.cast_signed())))
    }
    #[inline(always)]
    fn load(values: &[u64; 4]) -> Self {
        Self::load(values)
    }
    #[inline(always)]
    fn store(self) -> [u64; 4] {
        self.store()
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(instruction!(_mm256_add_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(instruction!(_mm256_and_si256(self.0, other.0)))
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(instruction!(_mm256_or_si256(self.0, other.0)))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.xor(other)
    }
    #[inline(always)]
    fn shift_left<const BITS: i32>(self) -> Self {
        Self(instruction!(_mm256_slli_epi64::<BITS>(self.0)))
    }
    #[inline(always)]
    fn shift_right<const BITS: i32>(self) -> Self {
        Self(instruction!(_mm256_srli_epi64::<BITS>(self.0)))
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        doubles!(_mm256_add_pd, self, other)
    }
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        doubles!(_mm256_sub_pd, self, other)
    }
    #[inline(always)]
    fn multiply_add(self, a: Self, b: Self) -> Self {
        doubles!(_mm256_fmadd_pd, a, b, self)
    }
    #[inline(always)]
    fn even_lanes(self, other: Self) -> Self {
        Self(instruction!(_mm256_unpacklo_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn odd_lanes(self, other: Self) -> Self {
        Self(instruction!(_mm256_unpackhi_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn low_pairs(self, other: Self) -> Self {
        Self(instruction!(_mm256_permute2x128_si256::<0x20>(self.0, other.0)))
    }
    #[inline(always)]
    fn high_pairs(self, other: Self) -> Self {
        Self(instruction!(_mm256_permute2x128_si256::<0x31>(self.0, other.0)))
    }
    #[inline(always)]
    fn field_limbs(words: &[Self; 4]) -> [Self; 5] {
        instruction!(limbs(words))
    }
    #[inline(always)]
    fn field_sum(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        instruction!(sum(a, b))
    }
    #[inline(always)]
    fn field_product(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        instruction!(product(a, b))
    }
    #[inline(always)]
    fn field_product_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5] {
        instruction!(product_less(a, b, c))
    }
    #[inline(always)]
    fn field_square(a: &[Self; 5]) -> [Self; 5] {
        instruction!(square(a))
    }
    #[inline(always)]
    fn field_square_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5] {
        instruction!(square_less(a, b, c))
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn limbs(words: &[Avx2; 4]) -> [Avx2; 5] {
    field4::limbs(words)
}
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn sum(a: &[Avx2; 5], b: &[Avx2; 5]) -> [Avx2; 5] {
    field4::sum(a, b)
}
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn product(a: &[Avx2; 5], b: &[Avx2; 5]) -> [Avx2; 5] {
    field4::product(a, b)
}
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn product_less(a: &[Avx2; 5], b: &[Avx2; 5], c: &[Avx2; 5]) -> [Avx2; 5] {
    field4::product_less(a, b, c)
}
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn square(a: &[Avx2; 5]) -> [Avx2; 5] {
    field4::square(a)
}
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
fn square_less(a: &[Avx2; 5], b: &[Avx2; 5], c: &[Avx2; 5]) -> [Avx2; 5] {
    field4::square_less(a, b, c)
}
