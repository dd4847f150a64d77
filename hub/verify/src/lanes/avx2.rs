//! Four 64-bit lanes as AVX2 instructions, for Keccak only: AVX2 has no multiplication that would serve the field.

#![expect(
    unsafe_code,
    reason = "CPU instructions beyond the baseline; every block has its argument"
)]

use core::arch::x86_64::*;

/// A 256-bit register. Values of this type are only made in functions that run where AVX2 was detected.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i);

/// One instruction. SAFETY: the CPU has avx2, by the promise of [`Avx2`]; no instruction touches memory but `load`
/// and `store`, through valid references.
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
