//! The base field of secp256k1, eight values at a time: five limbs of 52 bits, as VPMADD52 multiplies them.
//!
//! Between operations limbs 0 to 3 are below 2^52 and the value is below 2^256 + 2^220, so that limb 4 is below 2^49
//! and the only forms of zero are 0 and p.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "constant bounds over arrays; loops unroll"
)]

use crate::{
    field::{Fe, Field},
    lanes::Lanes,
    words::{self, U256},
};

const LOW: u64 = (1 << 52) - 1;
const TOP: u64 = (1 << 48) - 1;
/// p.
const P: [u64; 5] = [0xf_fffe_ffff_fc2f, LOW, LOW, LOW, TOP];
/// 2^256 mod p.
const FOLD_256: u64 = 0x1_0000_03d1;
/// 2^260 mod p.
const FOLD_260: u64 = FOLD_256 << 4;

/// Eight field elements.
#[derive(Clone, Copy)]
pub(crate) struct Fe8<L>([L; 5]);

impl<L: Lanes> Fe8<L> {
    /// From four words per lane, below 2^256.
    #[inline(always)]
    pub(crate) fn from_words(w: [L; 4]) -> Self {
        let low = L::splat(LOW);
        Self([
            w[0].and(low),
            w[0].shift_right::<52>().or(w[1].shift_left::<12>()).and(low),
            w[1].shift_right::<40>().or(w[2].shift_left::<24>()).and(low),
            w[2].shift_right::<28>().or(w[3].shift_left::<36>()).and(low),
            w[3].shift_right::<16>(),
        ])
    }

    /// p - self in the lanes of `mask`; every lane is below p and its limbs are normal.
    #[inline(always)]
    pub(crate) fn negate_lanes(&self, mask: u8) -> Self {
        let zero = Self([L::splat(0); 5]);
        self.select(&zero.sub(self), mask)
    }

    /// Carries upwards, and bits from 256 on are folded down. Limbs are below 2^58 before.
    #[inline(always)]
    fn normal(mut limbs: [L; 5]) -> Self {
        let top = limbs[4].shift_right::<48>();
        limbs[4] = limbs[4].and(L::splat(TOP));
        limbs[0] = limbs[0].multiply_add_low(top, L::splat(FOLD_256));
        Self::carried(limbs)
    }

    #[inline(always)]
    fn carried(mut limbs: [L; 5]) -> Self {
        let low = L::splat(LOW);
        for at in 0..4 {
            limbs[at + 1] = limbs[at + 1].add(limbs[at].shift_right::<52>());
            limbs[at] = limbs[at].and(low);
        }
        Self(limbs)
    }

    /// Ten columns, each below 2^57, to five limbs.
    #[inline(always)]
    fn reduced(mut c: [L; 10]) -> Self {
        let low = L::splat(LOW);
        for at in 5..9 {
            c[at + 1] = c[at + 1].add(c[at].shift_right::<52>());
            c[at] = c[at].and(low);
        }
        let fold = L::splat(FOLD_260);
        let mut t = [c[0], c[1], c[2], c[3], c[4]];
        for at in 0..5 {
            t[at] = t[at].multiply_add_low(c[at + 5], fold);
        }
        for at in 0..4 {
            t[at + 1] = t[at + 1].multiply_add_high(c[at + 5], fold);
        }
        let over = L::splat(0).multiply_add_high(c[9], fold);
        // All bits from 256 on: `over` has weight 2^260.
        let top = over.shift_left::<4>().add(t[4].shift_right::<48>());
        t[4] = t[4].and(L::splat(TOP));
        let fold = L::splat(FOLD_256);
        t[0] = t[0].multiply_add_low(top, fold);
        t[1] = t[1].multiply_add_high(top, fold);
        Self::carried(t)
    }

    /// The lanes as single values.
    fn each(&self) -> [Fe; 8] {
        let limbs = self.0.map(L::store);
        std::array::from_fn(|lane| {
            let [l0, l1, l2, l3, l4] = limbs.map(|limb| limb[lane]);
            let words = [
                l0 | l1 << 52,
                l1 >> 12 | l2 << 40,
                l2 >> 24 | l3 << 28,
                l3 >> 36 | l4 << 16,
            ];
            // The value is hardly above 2^256 if at all: what is left above it cannot overflow.
            Fe(words::add(&words, &[(l4 >> 48) * FOLD_256, 0, 0, 0]).0)
        })
    }

    fn from_each(each: &[Fe; 8]) -> Self {
        Self::from_words(std::array::from_fn(|word| {
            L::load(&std::array::from_fn(|lane| each[lane].0[word]))
        }))
    }
}

impl<L: Lanes> Field for Fe8<L> {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: &U256) -> Self {
        Self::from_words(value.map(L::splat))
    }

    #[inline(always)]
    fn mul(&self, other: &Self) -> Self {
        let zero = L::splat(0);
        // Two accumulators per column: the low and the high halves need not wait for each other.
        let (mut low, mut high) = ([zero; 10], [zero; 10]);
        for i in 0..5 {
            for j in 0..5 {
                low[i + j] = low[i + j].multiply_add_low(self.0[i], other.0[j]);
                high[i + j + 1] = high[i + j + 1].multiply_add_high(self.0[i], other.0[j]);
            }
        }
        for at in 1..10 {
            low[at] = low[at].add(high[at]);
        }
        Self::reduced(low)
    }

    #[inline(always)]
    fn square(&self) -> Self {
        let zero = L::splat(0);
        let (mut low, mut high) = ([zero; 10], [zero; 10]);
        for i in 0..5 {
            for j in i + 1..5 {
                low[i + j] = low[i + j].multiply_add_low(self.0[i], self.0[j]);
                high[i + j + 1] = high[i + j + 1].multiply_add_high(self.0[i], self.0[j]);
            }
        }
        let mut columns = [zero; 10];
        for at in 1..10 {
            let once = low[at].add(high[at]);
            columns[at] = once.add(once);
        }
        for i in 0..5 {
            columns[2 * i] = columns[2 * i].multiply_add_low(self.0[i], self.0[i]);
            columns[2 * i + 1] = columns[2 * i + 1].multiply_add_high(self.0[i], self.0[i]);
        }
        Self::reduced(columns)
    }

    #[inline(always)]
    fn add(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].add(other.0[at]);
        }
        Self::normal(limbs)
    }

    #[inline(always)]
    fn sub(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            // 2 p, limb by limb, is above every limb of `other`.
            limbs[at] = limbs[at].add(L::splat(2 * P[at])).sub(other.0[at]);
        }
        Self::normal(limbs)
    }

    #[inline(always)]
    fn zeros(&self) -> u8 {
        let (mut zero, mut p) = (u8::MAX, u8::MAX);
        for at in 0..5 {
            zero &= self.0[at].equal(L::splat(0));
            p &= self.0[at].equal(L::splat(P[at]));
        }
        zero | p
    }

    #[inline(always)]
    fn select(&self, other: &Self, mask: u8) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].select(other.0[at], mask);
        }
        Self(limbs)
    }

    /// One inversion for all lanes.
    #[inline(always)]
    fn invert(&self) -> Self {
        let values = self.each();
        let mut products = values;
        for lane in 1..8 {
            products[lane] = products[lane - 1].mul(&values[lane]);
        }
        let mut inverse = products[7].invert();
        let mut out = values;
        for lane in (1..8).rev() {
            out[lane] = inverse.mul(&products[lane - 1]);
            inverse = inverse.mul(&values[lane]);
        }
        out[0] = inverse;
        Self::from_each(&out)
    }

    #[inline(always)]
    fn lane(&self, lane: usize) -> U256 {
        self.each()[lane].canonical()
    }
}
