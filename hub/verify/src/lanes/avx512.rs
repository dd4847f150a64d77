//! The lanes as AVX-512 instructions: one each. The kernels over them run inside functions compiled for the features,
//! into which all of this is inlined.

#![expect(
    unsafe_code,
    reason = "CPU instructions beyond the baseline; every block has its argument"
)]

use super::Lanes;
use core::arch::x86_64::*;

/// A 512-bit register. Values of this type are only made by kernels that [`available`] let start.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512i);

/// Whether this CPU has what [`Avx512`] uses.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512ifma")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("adx")
}

/// One instruction. SAFETY: the CPU has avx512f and avx512ifma: nobody comes here but through a kernel
/// that checked [`available`]; no instruction touches memory but `load` and `store`, through valid references.
macro_rules! instruction {
    ($intrinsic:expr) => {{
        // SAFETY: as above.
        unsafe { $intrinsic }
    }};
}

impl Lanes for Avx512 {
    #[inline(always)]
    fn splat(value: u64) -> Self {
        Self(instruction!(_mm512_set1_epi64(value.cast_signed())))
    }
    #[inline(always)]
    fn load(values: &[u64; 8]) -> Self {
        Self(instruction!(_mm512_loadu_epi64(values.as_ptr().cast())))
    }
    #[inline(always)]
    fn store(self) -> [u64; 8] {
        let mut out = [0; 8];
        instruction!(_mm512_storeu_epi64(out.as_mut_ptr().cast(), self.0));
        out
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(instruction!(_mm512_add_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(instruction!(_mm512_sub_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(instruction!(_mm512_and_si512(self.0, other.0)))
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(instruction!(_mm512_or_si512(self.0, other.0)))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(instruction!(_mm512_xor_si512(self.0, other.0)))
    }
    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        Self(instruction!(_mm512_slli_epi64::<BITS>(self.0)))
    }
    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        Self(instruction!(_mm512_srli_epi64::<BITS>(self.0)))
    }
    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Self {
        Self(instruction!(_mm512_rol_epi64::<BITS>(self.0)))
    }
    #[inline(always)]
    fn multiply_add_low(self, a: Self, b: Self) -> Self {
        Self(instruction!(_mm512_madd52lo_epu64(self.0, a.0, b.0)))
    }
    #[inline(always)]
    fn multiply_add_high(self, a: Self, b: Self) -> Self {
        Self(instruction!(_mm512_madd52hi_epu64(self.0, a.0, b.0)))
    }
    #[inline(always)]
    fn equal(self, other: Self) -> u8 {
        instruction!(_mm512_cmpeq_epi64_mask(self.0, other.0))
    }
    #[inline(always)]
    fn select(self, other: Self, mask: u8) -> Self {
        Self(instruction!(_mm512_mask_blend_epi64(mask, self.0, other.0)))
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        Self(instruction!(_mm512_ternarylogic_epi64::<0x96>(self.0, b.0, c.0)))
    }
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        Self(instruction!(_mm512_ternarylogic_epi64::<0xd2>(self.0, b.0, c.0)))
    }
    #[inline(always)]
    fn even_lanes(self, other: Self) -> Self {
        Self(instruction!(_mm512_unpacklo_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn odd_lanes(self, other: Self) -> Self {
        Self(instruction!(_mm512_unpackhi_epi64(self.0, other.0)))
    }
    #[inline(always)]
    fn even_pairs(self, other: Self) -> Self {
        Self(instruction!(_mm512_shuffle_i64x2::<0x88>(self.0, other.0)))
    }
    #[inline(always)]
    fn odd_pairs(self, other: Self) -> Self {
        Self(instruction!(_mm512_shuffle_i64x2::<0xdd>(self.0, other.0)))
    }
}
