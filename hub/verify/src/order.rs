//! Arithmetic modulo the group order n, and the split of a scalar over the endomorphism.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "constant bounds over arrays; loops unroll"
)]

use crate::{
    invert::{self, Modulus},
    words::{self, U256},
};

/// The order of the group.
pub(crate) const N: U256 = [
    0xbfd2_5e8c_d036_4141,
    0xbaae_dce6_af48_a03b,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];
/// The largest s that is not high: floor(n / 2).
pub(crate) const HALF: U256 = [
    0xdfe9_2f46_681b_20a0,
    0x5d57_6e73_57a4_501d,
    u64::MAX,
    0x7fff_ffff_ffff_ffff,
];
/// p - n: an x below it stands for two values of r.
pub(crate) const P_LESS_N: U256 = [0x402d_a172_2fc9_baee, 0x4551_2319_50b7_5fc4, 1, 0];
/// 2^256 - n.
const FOLD: [u64; 3] = [0x402d_a173_2fc9_bebf, 0x4551_2319_50b7_5fc4, 1];
/// 1 + lambda.
const ONE_AND_LAMBDA: U256 = [
    0xdf02_967c_1b23_bd73,
    0x122e_22ea_2081_6678,
    0xa526_1c02_8812_645a,
    0x5363_ad4c_c05c_30e0,
];
/// The short lattice vectors (A1, -B1M) and (A2, A1), and round(2^384 A1 / n), round(2^384 B1M / n).
const A1: [u64; 2] = [0xe86c_90e4_9284_eb15, 0x3086_d221_a7d4_6bcd];
const B1M: [u64; 2] = [0x6f54_7fa9_0abf_e4c3, 0xe443_7ed6_010e_8828];
const A2: [u64; 3] = [0x57c1_108d_9d44_cfd8, 0x14ca_50f7_a8e2_f3f6, 1];
const G1: U256 = [
    0xe893_209a_45db_b031,
    0x3daa_8a14_71e8_ca7f,
    0xe86c_90e4_9284_eb15,
    0x3086_d221_a7d4_6bcd,
];
const G2: U256 = [
    0x1571_b4ae_8ac4_7f71,
    0x2212_08ac_9df5_06c6,
    0x6f54_7fa9_0abf_e4c4,
    0xe443_7ed6_010e_8828,
];
const MODULUS: Modulus = Modulus::new(N, 0x34f2_0099_aa77_4ec1);

/// The representative of `a` below n; `a` is any 256-bit number.
#[inline(always)]
pub(crate) fn reduce(a: &U256) -> U256 {
    let (less, borrow) = words::sub(a, &N);
    if borrow { *a } else { less }
}

/// a * b mod n, below n.
#[inline(always)]
pub(crate) fn mul(a: &U256, b: &U256) -> U256 {
    let wide: [u64; 8] = words::mul(a, b);
    let high = [wide[4], wide[5], wide[6], wide[7]];
    let mut folded: [u64; 7] = words::mul(&high, &FOLD);
    add_into(&mut folded, &wide[..4]);
    // The high part is below 2^130 now.
    let high = [folded[4], folded[5], folded[6]];
    let mut again: [u64; 5] = words::mul(&high, &FOLD);
    add_into(&mut again, &folded[..4]);
    let top: U256 = words::mul(&[again[4]], &FOLD);
    let (out, carry) = words::add(&[again[0], again[1], again[2], again[3]], &top);
    let out = if carry {
        words::add(&out, &[FOLD[0], FOLD[1], FOLD[2], 0]).0
    } else {
        out
    };
    reduce(&out)
}

#[inline(always)]
fn add_into(to: &mut [u64], from: &[u64]) {
    let mut carry = false;
    for (i, word) in to.iter_mut().enumerate() {
        (*word, carry) = word.carrying_add(from.get(i).copied().unwrap_or(0), carry);
    }
}

/// The inverse modulo n; zero for zero.
pub(crate) fn invert(a: &U256) -> U256 {
    invert::invert(a, &MODULUS)
}

/// Bits of each half of a recoded scalar.
pub(crate) const HALF_BITS: usize = 130;

/// Two numbers (a, b) of [`HALF_BITS`] bits with
/// `scalar = C(a) + C(b) lambda mod n` where `C(a)` reads bit i of `a` as +2^i if set and -2^i if clear.
/// So no window of `a` or `b` is ever zero. `scalar` is below n.
#[inline(always)]
pub(crate) fn split(scalar: &U256) -> [[u64; 3]; 2] {
    // C(a) = 2 a + 1 - 2^130; with a = v + 2^129 that is 2 v + 1. So v1 + v2 lambda = (scalar - 1 - lambda) / 2.
    let (mut k, borrow) = words::sub(scalar, &ONE_AND_LAMBDA);
    if borrow {
        k = words::add(&k, &N).0;
    }
    let carry = if k[0] & 1 == 1 {
        let (sum, carry) = words::add(&k, &N);
        k = sum;
        carry
    } else {
        false
    };
    let k = [
        k[0] >> 1 | k[1] << 63,
        k[1] >> 1 | k[2] << 63,
        k[2] >> 1 | k[3] << 63,
        k[3] >> 1 | u64::from(carry) << 63,
    ];
    let (c1, c2) = (round(&k, &G1), round(&k, &G2));
    // v1 = k - c1 A1 - c2 A2, v2 = c1 B1M - c2 A1: below 2^128 in size, so 192 bits hold them.
    let v1 = sub3(
        &sub3(&[k[0], k[1], k[2]], &words::mul(&c1, &A1)),
        &words::mul(&c2, &A2),
    );
    let v2 = sub3(&words::mul(&c1, &B1M), &words::mul(&c2, &A1));
    [v1, v2].map(|v| [v[0], v[1], v[2].wrapping_add(2) & 3])
}

/// round(k g / 2^384).
#[inline(always)]
fn round(k: &U256, g: &U256) -> [u64; 2] {
    let wide: [u64; 8] = words::mul(k, g);
    let (low, carry) = wide[6].carrying_add(0, wide[5] >> 63 == 1);
    [low, wide[7].carrying_add(0, carry).0]
}

#[inline(always)]
fn sub3(a: &[u64; 3], b: &[u64; 3]) -> [u64; 3] {
    let (mut out, mut borrow) = ([0; 3], false);
    for i in 0..3 {
        (out[i], borrow) = a[i].borrowing_sub(b[i], borrow);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::{
        FieldBytes, Scalar,
        elliptic_curve::{Field, PrimeField},
    };

    fn k256(a: &U256) -> Scalar {
        Scalar::from_repr(FieldBytes::from(words::to_be(a))).unwrap()
    }

    fn scalars() -> Vec<U256> {
        let below = |distance| words::sub(&N, &[distance, 0, 0, 0]).0;
        let mut out = vec![
            [0; 4],
            [1, 0, 0, 0],
            [2, 0, 0, 0],
            below(1),
            below(2),
            HALF,
            P_LESS_N,
        ];
        out.push(ONE_AND_LAMBDA);
        out.push(words::sub(&ONE_AND_LAMBDA, &[1, 0, 0, 0]).0);
        for bit in 0..255 {
            let mut power = [0; 4];
            power[bit / 64] = 1 << (bit % 64);
            out.push(power);
        }
        let mut seed = 5_u64;
        for _ in 0..60 {
            out.push(reduce(&std::array::from_fn(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                seed ^ seed >> 31
            })));
        }
        out
    }

    #[test]
    fn scalars_multiply_and_invert_as_k256_does() {
        let scalars = scalars();
        for (at, a) in scalars.iter().enumerate() {
            let b = &scalars[(at * 7 + 3) % scalars.len()];
            let bytes: [u8; 32] = (k256(a) * k256(b)).to_repr().into();
            assert_eq!(words::to_be(&mul(a, b)), bytes);
            let one = if *a == [0; 4] { 0 } else { 1 };
            assert_eq!(mul(&invert(a), a), [one, 0, 0, 0]);
        }
        assert_eq!(reduce(&N), [0; 4]);
        assert_eq!(reduce(&[u64::MAX; 4]), words::sub(&[u64::MAX; 4], &N).0);
    }

    /// C(a) + C(b) lambda gives the scalar back, and both halves have 130 bits.
    #[test]
    fn halves_make_the_scalar() {
        let lambda = k256(&words::sub(&ONE_AND_LAMBDA, &[1, 0, 0, 0]).0);
        let two_to_130 = Scalar::from(1_u64 << 43).pow_vartime([3]) * Scalar::from(2_u64);
        let read = |half: &[u64; 3]| {
            assert!(half[2] < 4);
            let value = k256(&[half[0], half[1], half[2], 0]);
            value + value + Scalar::ONE - two_to_130
        };
        for scalar in scalars() {
            let [a, b] = split(&scalar);
            assert_eq!(read(&a) + read(&b) * lambda, k256(&scalar));
        }
    }
}
