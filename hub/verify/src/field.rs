//! The base field of secp256k1, one value at a time: four words, any representative below 2^256.

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

/// 2^256 mod p.
const FOLD: u64 = 0x1_0000_03d1;
/// p = 2^256 - 2^32 - 977.
pub(crate) const P: U256 = [0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX];
/// A cube root of one: (beta x, y) = lambda (x, y).
pub(crate) const BETA: U256 = [
    0xc139_6c28_7195_01ee,
    0x9cf0_4975_12f5_8995,
    0x6e64_479e_ac34_34e9,
    0x7ae9_6a2b_657c_0710,
];
const MODULUS: Modulus = Modulus::new(P, 0x27c7_f6e2_2dda_cacf);

/// What the sums of points need of a field: one value, or one value per lane.
pub(crate) trait Field: Copy {
    /// Values held side by side.
    const LANES: usize;
    /// The same canonical value in every lane.
    fn splat(value: &U256) -> Self;
    fn mul(&self, other: &Self) -> Self;
    fn square(&self) -> Self;
    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    /// self - other, only to be multiplied, once or more, by what is no such difference.
    #[inline(always)]
    fn difference(&self, other: &Self) -> Self {
        self.sub(other)
    }
    /// self * other - less.
    #[inline(always)]
    fn mul_sub(&self, other: &Self, less: &Self) -> Self {
        self.mul(other).sub(less)
    }
    /// self * self - less - more.
    #[inline(always)]
    fn square_sub(&self, less: &Self, more: &Self) -> Self {
        self.square().sub(less).sub(more)
    }
    /// One bit for each lane that is zero.
    fn zeros(&self) -> u8;
    /// `other` in the lanes of `mask`.
    fn select(&self, other: &Self, mask: u8) -> Self;
    /// The inverse of every lane; all are non-zero.
    fn invert(&self) -> Self;
    /// The canonical value of one lane.
    fn lane(&self, lane: usize) -> U256;
}

/// One field element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fe(pub(crate) U256);

impl Fe {
    #[inline(always)]
    fn reduce(wide: &[u64; 8]) -> Self {
        let (mut out, mut carry) = ([0; 4], 0);
        for i in 0..4 {
            (out[i], carry) = wide[i + 4].carrying_mul_add(FOLD, carry, wide[i]);
        }
        let (low, high) = carry.carrying_mul(FOLD, 0);
        let mut over;
        (out[0], over) = out[0].carrying_add(low, false);
        (out[1], over) = out[1].carrying_add(high, over);
        (out[2], over) = out[2].carrying_add(0, over);
        (out[3], over) = out[3].carrying_add(0, over);
        // After an overflow what is left is below 2^67: adding the fold cannot overflow again.
        if over {
            out = words::add(&out, &[FOLD, 0, 0, 0]).0;
        }
        Self(out)
    }

    /// The representative below p.
    #[inline(always)]
    pub(crate) fn canonical(&self) -> U256 {
        let (less, borrow) = words::sub(&self.0, &P);
        if borrow { self.0 } else { less }
    }
}

impl Field for Fe {
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(value: &U256) -> Self {
        Self(*value)
    }

    #[inline(always)]
    fn mul(&self, other: &Self) -> Self {
        Self::reduce(&words::mul(&self.0, &other.0))
    }

    #[inline(always)]
    fn square(&self) -> Self {
        Self::reduce(&words::mul(&self.0, &self.0))
    }

    #[inline(always)]
    fn add(&self, other: &Self) -> Self {
        let (mut out, carry) = words::add(&self.0, &other.0);
        let again;
        (out, again) = words::add(&out, &[if carry { FOLD } else { 0 }, 0, 0, 0]);
        if again {
            out = words::add(&out, &[FOLD, 0, 0, 0]).0;
        }
        Self(out)
    }

    #[inline(always)]
    fn sub(&self, other: &Self) -> Self {
        let (mut out, borrow) = words::sub(&self.0, &other.0);
        let again;
        (out, again) = words::sub(&out, &[if borrow { FOLD } else { 0 }, 0, 0, 0]);
        if again {
            out = words::sub(&out, &[FOLD, 0, 0, 0]).0;
        }
        Self(out)
    }

    #[inline(always)]
    fn zeros(&self) -> u8 {
        u8::from(self.0 == [0; 4] || self.0 == P)
    }

    #[inline(always)]
    fn select(&self, other: &Self, mask: u8) -> Self {
        if mask & 1 == 1 { *other } else { *self }
    }

    #[inline(always)]
    fn invert(&self) -> Self {
        Self(invert::invert(&self.canonical(), &MODULUS))
    }

    #[inline(always)]
    fn lane(&self, _lane: usize) -> U256 {
        self.canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a + b mod p for a, b below p.
    fn plus(a: &U256, b: &U256) -> U256 {
        let (sum, carry) = words::add(a, b);
        if carry || !words::less(&sum, &P) {
            words::sub(&sum, &P).0
        } else {
            sum
        }
    }
    fn minus(a: &U256) -> U256 {
        if *a == [0; 4] { *a } else { words::sub(&P, a).0 }
    }
    /// Doubling and adding.
    fn times(a: &U256, b: &U256) -> U256 {
        (0..256).rev().fold([0; 4], |product, bit| {
            let twice = plus(&product, &product);
            if b[bit / 64] >> (bit % 64) & 1 == 1 {
                plus(&twice, a)
            } else {
                twice
            }
        })
    }

    /// Against the plainest arithmetic; among the operands all that carry, borrow or fold twice.
    #[test]
    fn one_lane_computes_modulo_p() {
        let mut values = vec![
            [0; 4],
            [1, 0, 0, 0],
            [u64::MAX; 4],
            P,
            words::sub(&P, &[1, 0, 0, 0]).0,
        ];
        for distance in [1, 2, FOLD - 2, FOLD - 1, FOLD, FOLD + 1] {
            values.push([distance, 0, 0, 0]);
            values.push(words::sub(&[u64::MAX; 4], &[distance, 0, 0, 0]).0);
            values.push([distance, u64::MAX, u64::MAX, u64::MAX]);
        }
        let mut seed = 3_u64;
        for _ in 0..30 {
            values.push(std::array::from_fn(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                seed ^ seed >> 31
            }));
        }
        for a in values.iter().map(|value| Fe(*value)) {
            for b in values.iter().map(|value| Fe(*value)) {
                let (x, y) = (a.canonical(), b.canonical());
                assert_eq!(a.mul(&b).canonical(), times(&x, &y));
                assert_eq!(a.add(&b).canonical(), plus(&x, &y));
                assert_eq!(a.sub(&b).canonical(), plus(&x, &minus(&y)));
            }
            let x = a.canonical();
            assert_eq!(a.square().canonical(), times(&x, &x));
            assert_eq!(a.zeros() == 1, x == [0; 4]);
            if a.zeros() == 0 {
                assert_eq!(times(&a.invert().canonical(), &x), [1, 0, 0, 0]);
            }
        }
    }
}
