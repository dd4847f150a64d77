//! The base field of secp256k1, eight values at a time: five limbs of 52 bits, as VPMADD52 multiplies them.
//!
//! Between operations limbs 0 to 3 are below 2^52 and the value is below 2^256 + 2^220, so that limb 4 is below 2^49
//! and the only forms of zero are 0 and p.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
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

    /// The lanes as single values.
    fn each(&self) -> [Fe; 8] {
        let limbs = self.0.map(L::store);
        std::array::from_fn(|lane| single(&limbs, lane))
    }

    fn from_each(each: &[Fe; 8]) -> Self {
        Self::from_words(std::array::from_fn(|word| {
            L::load(&std::array::from_fn(|lane| each[lane].0[word]))
        }))
    }
}

/// One lane of five limbs.
fn single(limbs: &[[u64; 8]; 5], lane: usize) -> Fe {
    let [l0, l1, l2, l3, l4] = limbs.each_ref().map(|limb| limb[lane]);
    let words = [
        l0 | l1 << 52,
        l1 >> 12 | l2 << 40,
        l2 >> 24 | l3 << 28,
        l3 >> 36 | l4 << 16,
    ];
    // The value is hardly above 2^256 if at all: what is left above it cannot overflow.
    Fe(words::add(&words, &[(l4 >> 48) * FOLD_256, 0, 0, 0]).0)
}

/// Carries upwards, and bits from 256 on are folded down. Limbs are below 2^58 before.
#[inline(always)]
pub(crate) fn normal<L: Lanes>(mut limbs: [L; 5]) -> [L; 5] {
    let top = limbs[4].shift_right::<48>();
    limbs[4] = limbs[4].and(L::splat(TOP));
    limbs[0] = limbs[0].multiply_add_low(top, L::splat(FOLD_256));
    carried(limbs)
}

#[inline(always)]
fn carried<L: Lanes>(mut limbs: [L; 5]) -> [L; 5] {
    let low = L::splat(LOW);
    for at in 0..4 {
        limbs[at + 1] = limbs[at + 1].add(limbs[at].shift_right::<52>());
        limbs[at] = limbs[at].and(low);
    }
    limbs
}

/// Ten columns, each below 2^57, to five limbs.
#[inline(always)]
fn reduced<L: Lanes>(mut c: [L; 10]) -> [L; 5] {
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
    carried(t)
}

/// a * b, limb by limb.
#[inline(always)]
pub(crate) fn product<L: Lanes>(a: &[L; 5], b: &[L; 5]) -> [L; 5] {
    let zero = L::splat(0);
    // Two accumulators per column: the low and the high halves need not wait for each other.
    let (mut low, mut high) = ([zero; 10], [zero; 10]);
    for i in 0..5 {
        for j in 0..5 {
            low[i + j] = low[i + j].multiply_add_low(a[i], b[j]);
            high[i + j + 1] = high[i + j + 1].multiply_add_high(a[i], b[j]);
        }
    }
    for at in 1..10 {
        low[at] = low[at].add(high[at]);
    }
    reduced(low)
}

/// a * a.
#[inline(always)]
pub(crate) fn square<L: Lanes>(a: &[L; 5]) -> [L; 5] {
    let zero = L::splat(0);
    let (mut low, mut high) = ([zero; 10], [zero; 10]);
    for i in 0..5 {
        for j in i + 1..5 {
            low[i + j] = low[i + j].multiply_add_low(a[i], a[j]);
            high[i + j + 1] = high[i + j + 1].multiply_add_high(a[i], a[j]);
        }
    }
    let mut columns = [zero; 10];
    for at in 1..10 {
        let once = low[at].add(high[at]);
        columns[at] = once.add(once);
    }
    for i in 0..5 {
        columns[2 * i] = columns[2 * i].multiply_add_low(a[i], a[i]);
        columns[2 * i + 1] = columns[2 * i + 1].multiply_add_high(a[i], a[i]);
    }
    reduced(columns)
}

impl<L: Lanes> Field for Fe8<L> {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(value: &U256) -> Self {
        let [w0, w1, w2, w3] = *value;
        Self::from_words([L::splat(w0), L::splat(w1), L::splat(w2), L::splat(w3)])
    }

    #[inline(always)]
    fn mul(&self, other: &Self) -> Self {
        Self(L::field_product(&self.0, &other.0))
    }

    #[inline(always)]
    fn square(&self) -> Self {
        Self(L::field_square(&self.0))
    }

    #[inline(always)]
    fn add(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].add(other.0[at]);
        }
        Self(L::field_normal(limbs))
    }

    #[inline(always)]
    fn sub(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            // 2 p, limb by limb, is above every limb of `other`.
            limbs[at] = limbs[at].add(L::splat(2 * P[at])).sub(other.0[at]);
        }
        Self(L::field_normal(limbs))
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
        single(&self.0.map(L::store), lane).canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{field, lanes::emulated::Emulated};

    /// Values around the borders of the representation, then random ones.
    fn values() -> Vec<U256> {
        let p = field::P;
        let mut out = vec![[0; 4], [1, 0, 0, 0], [2, 0, 0, 0], [u64::MAX; 4], p];
        for distance in 1..4 {
            out.push(words::sub(&p, &[distance, 0, 0, 0]).0);
            out.push(words::add(&p, &[distance, 0, 0, 0]).0);
        }
        for bit in [51, 52, 53, 103, 104, 156, 208, 255] {
            let mut power = [0; 4];
            power[bit / 64] = 1 << (bit % 64);
            out.push(power);
            out.push(words::sub(&power, &[1, 0, 0, 0]).0);
        }
        let mut seed = 7_u64;
        for _ in 0..40 {
            out.push(std::array::from_fn(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                seed ^ seed >> 29
            }));
        }
        out
    }

    fn check<L: Lanes>() {
        let values = values();
        for (at, a) in values.iter().enumerate() {
            for shift in 0..values.len() {
                // Lane by lane another partner.
                let b: [Fe; 8] = std::array::from_fn(|lane| Fe(values[(at + shift + lane) % values.len()]));
                let a8 = Fe8::<L>::splat(a);
                let b8 = Fe8::<L>::from_each(&b);
                let a = Fe(*a);
                for (lane, b) in b.iter().enumerate() {
                    assert_eq!(a8.mul(&b8).lane(lane), a.mul(b).canonical());
                    assert_eq!(a8.add(&b8).lane(lane), a.add(b).canonical());
                    assert_eq!(a8.sub(&b8).lane(lane), a.sub(b).canonical());
                    // Operations on results, whose limbs are not all normal.
                    let d8 = a8.sub(&b8);
                    assert_eq!(d8.mul(&d8).lane(lane), a.sub(b).square().canonical());
                    assert_eq!(
                        d8.square().sub(&d8).lane(lane),
                        a.sub(b).square().sub(&a.sub(b)).canonical()
                    );
                    assert_eq!(d8.zeros() >> lane & 1, a.sub(b).zeros());
                    assert_eq!(
                        b8.select(&a8, 0b1010_0101).lane(lane),
                        if 0b1010_0101_u8 >> lane & 1 == 1 { a } else { *b }.canonical()
                    );
                }
                if shift % 16 == 0 && b8.zeros() == 0 {
                    let inverse = b8.invert();
                    for lane in 0..8 {
                        assert_eq!(inverse.mul(&b8).lane(lane), [1, 0, 0, 0]);
                    }
                }
            }
        }
    }

    #[test]
    fn eight_lanes_compute_what_one_does() {
        check::<Emulated>();
    }

    /// Only where the CPU can; says so.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_instructions_compute_what_one_lane_does() {
        use crate::lanes::avx512::{Avx512, available};
        println!(
            "AVX-512 IFMA: {}",
            if available() {
                "tested"
            } else {
                "not on this CPU, not tested"
            }
        );
        if available() {
            check::<Avx512>();
        }
    }
}
