//! The base field of secp256k1, four values at a time, for CPUs that multiply doubles four at a time but long integers only
//! one by one: five signed limbs of 52 bits, each a whole number in a double.
//!
//! A fused multiply-add rounds once, so two of them give all 104 bits of a product of limbs:
//! `h = RN(a b + 3 * 2^103)` is a multiple of 2^52, and `a b - (h - 3 * 2^103)` is exact and at most 2^51 in size. As long
//! as |a b| <= 2^103, h stays between 2^104 and 2^105, where the bits of the double, read as an integer, are those of
//! 3 * 2^103 plus one for each 2^52; those of the rest plus 3 * 2^51 are likewise those of 3 * 2^51 plus the rest. So
//! columns are sums of integers, and the constants are taken off by what each column starts with.
//!
//! A *normal* element has limbs 0 to 3 of at most 2^51 and limb 4 of at most 2^48 in size. A difference of two normal
//! ones, twice as large, may be multiplied by a normal one: 2^52 * 2^51 = 2^103. All else takes normal elements,
//! and all but the difference gives them.
//!
//! Measured on Zen 3 (both lanes of a core busy): 28-35 cycles a product and 20-25 a square, for each lane; one lane with
//! MULX takes 47-51 for either. A signature of a batch of 32 or more costs 0.76 of what it costs with one lane, as the
//! median of five runs on a busy machine. Products of 32 bits (VPMULUDQ, nine limbs of 29) were only counted: about as many
//! instructions, and elements of nearly twice the size.

#![allow(
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "constant bounds over arrays; loops unroll; doubles hold whole numbers"
)]

use crate::{
    field::{Fe, Field},
    lanes::Quads,
    words::U256,
};

const LOW: u64 = (1 << 52) - 1;
const TOP: u64 = (1 << 48) - 1;
/// 2^256 mod p.
const FOLD_256: u64 = 0x1_0000_03d1;
/// The bits of doubles: 3 * 2^103, 3 * 2^51, 2^52, 2^256 mod p and 2^260 mod p.
const HIGH_BASE: u64 = 0x4678_0000_0000_0000;
const LOW_BASE: u64 = 0x4338_0000_0000_0000;
const DIGIT_BASE: u64 = 0x4330_0000_0000_0000;
const FOLD_256_DOUBLE: u64 = 0x41f0_0000_3d10_0000;
const FOLD_260_DOUBLE: u64 = 0x4230_0000_3d10_0000;
const SIGN: u64 = 1 << 63;
/// Added to a column before its carry: it is positive then, and the carry too large by `EXTRA`.
const POSITIVE: u64 = 1 << 57;
const EXTRA: u64 = POSITIVE >> 52;
/// What rounds the carry to nearest.
const HALF: u64 = 1 << 51;
const HALF_TOP: u64 = 1 << 47;

/// Four field elements.
#[derive(Clone, Copy)]
pub(crate) struct Fe4<Q>([Q; 5]);

impl<Q: Quads> Fe4<Q> {
    /// From four words per lane, below 2^256.
    #[inline(always)]
    pub(crate) fn from_words(words: [Q; 4]) -> Self {
        Self(Q::field_limbs(&words))
    }

    /// The negative in the lanes that have the sign bit set in `signs`, which has no other.
    #[inline(always)]
    pub(crate) fn negate_lanes(&self, signs: Q) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].xor(signs);
        }
        Self(limbs)
    }

    /// The lanes as single values; also of a difference.
    fn each(&self) -> [Fe; 4] {
        let limbs = self.0.map(Q::store);
        std::array::from_fn(|lane| {
            let mut out = [0; 5];
            let mut carry = 0_i64;
            for at in 0..5 {
                // 4 p makes it positive.
                let limb = f64::from_bits(limbs[at][lane]) as i64 + FOUR_P[at] + carry;
                out[at] = limb as u64 & LOW;
                carry = limb >> 52;
            }
            let [l0, l1, l2, l3, l4] = out;
            let words = [
                l0 | l1 << 52,
                l1 >> 12 | l2 << 40,
                l2 >> 24 | l3 << 28,
                l3 >> 36 | l4 << 16,
            ];
            let above = (l4 >> 48) + ((carry as u64) << 4);
            Fe(words).add(&Fe([above * FOLD_256, 0, 0, 0]))
        })
    }

    fn from_each(each: &[Fe; 4]) -> Self {
        Self::from_words(std::array::from_fn(|word| {
            Q::load(&std::array::from_fn(|lane| each[lane].0[word]))
        }))
    }
}

/// 4 p.
const FOUR_P: [i64; 5] = [
    4 * 0xf_fffe_ffff_fc2f,
    4 * LOW as i64,
    4 * LOW as i64,
    4 * LOW as i64,
    4 * TOP as i64,
];

/// The low 52 bits of a column less 2^51, as a double.
#[inline(always)]
fn digit<Q: Quads>(column: Q) -> Q {
    // LOW_BASE is 2^52 + 2^51.
    column
        .and(Q::splat(LOW))
        .or(Q::splat(DIGIT_BASE))
        .minus(Q::splat(LOW_BASE))
}

/// A column that is LOW_BASE plus a small number, as a double.
#[inline(always)]
fn signed<Q: Quads>(column: Q) -> Q {
    column.minus(Q::splat(LOW_BASE))
}

/// Adds a product of limbs to a column and to the next.
#[inline(always)]
fn multiply<Q: Quads>(a: Q, b: Q, low: &mut Q, high: &mut Q) {
    let (high_base, low_base) = (Q::splat(HIGH_BASE), Q::splat(LOW_BASE));
    let h = high_base.multiply_add(a, b);
    let l = high_base.minus(h).multiply_add(a, b).plus(low_base);
    *low = low.add(l);
    *high = high.add(h);
}

/// What columns start with, if column k gets `lows[k]` low halves of products and `lows[k - 1]` high halves before it is
/// folded.
const fn start(lows: [u64; 10], more: u64) -> [u64; 10] {
    let mut out = [0_u64; 10];
    let mut at = 0;
    while at < 10 {
        let (mut low, mut high) = (lows[at], if at > 0 { lows[at - 1] } else { 0 });
        if at < 5 {
            // The fold, and one more fold for the bits above 2^256.
            low += more + 1 + (at == 0) as u64;
            high += (at > 0) as u64 + (at == 1) as u64;
        }
        let mut value = 0_u64
            .wrapping_sub(LOW_BASE.wrapping_mul(low))
            .wrapping_sub(HIGH_BASE.wrapping_mul(high));
        if at == 4 {
            value = value.wrapping_add(POSITIVE + HALF_TOP);
        } else if at == 9 {
            value = value.wrapping_add(LOW_BASE);
        } else {
            value = value.wrapping_add(POSITIVE + HALF);
        }
        // What the carry from below has too much.
        if at != 0 && at != 5 && at != 4 {
            value = value.wrapping_sub(EXTRA);
        }
        out[at] = value;
        at += 1;
    }
    out
}

const PRODUCT: [u64; 10] = [1, 2, 3, 4, 5, 4, 3, 2, 1, 0];
const SQUARE: [u64; 10] = [1, 1, 2, 2, 3, 2, 2, 1, 1, 0];

#[inline(always)]
fn columns<Q: Quads>(start: &[u64; 10]) -> [Q; 10] {
    let mut out = [Q::splat(start[0]); 10];
    for at in 1..10 {
        out[at] = Q::splat(start[at]);
    }
    out
}

/// column - limb, limb by limb: adds LOW_BASE to each.
#[inline(always)]
fn subtract<Q: Quads>(columns: &mut [Q; 10], limbs: &[Q; 5]) {
    for at in 0..5 {
        columns[at] = columns[at].add(Q::splat(LOW_BASE).minus(limbs[at]));
    }
}

#[inline(always)]
fn add_product<Q: Quads>(c: &mut [Q; 10], a: &[Q; 5], b: &[Q; 5]) {
    for i in 0..5 {
        for j in 0..5 {
            let (low, high) = c.split_at_mut(i + j + 1);
            multiply(a[i], b[j], &mut low[i + j], &mut high[0]);
        }
    }
}

#[inline(always)]
fn add_square<Q: Quads>(c: &mut [Q; 10], a: &[Q; 5]) {
    for i in 0..5 {
        let twice = a[i].plus(a[i]);
        for j in i..5 {
            let (low, high) = c.split_at_mut(i + j + 1);
            let factor = if i == j { a[i] } else { twice };
            multiply(factor, a[j], &mut low[i + j], &mut high[0]);
        }
    }
}

/// Columns that are less than 2^56 in size, without their constants, to a normal element.
#[inline(always)]
fn reduced<Q: Quads>(mut c: [Q; 10]) -> [Q; 5] {
    let fold = Q::splat(FOLD_260_DOUBLE);
    let mut over = Q::splat(0_u64.wrapping_sub(HIGH_BASE));
    for at in 5..9 {
        c[at + 1] = c[at + 1].add(c[at].shift_right::<52>());
        let (low, high) = c.split_at_mut(at - 4);
        multiply(digit(high[4]), fold, &mut low[at - 5], &mut high[0]);
    }
    multiply(signed(c[9]), fold, &mut c[4], &mut over);
    // All bits from 256 on: `over` has weight 2^260.
    let top = over
        .shift_left::<4>()
        .add(c[4].shift_right::<48>())
        .add(Q::splat(LOW_BASE.wrapping_sub(POSITIVE >> 48)));
    let [mut c0, mut c1, c2, c3, c4, ..] = c;
    multiply(signed(top), Q::splat(FOLD_256_DOUBLE), &mut c0, &mut c1);
    carried([c0, c1, c2, c3, c4])
}

/// The carries of five columns; what is left of column 4 are its low 48 bits.
#[inline(always)]
fn carried<Q: Quads>(mut c: [Q; 5]) -> [Q; 5] {
    c[4] = c[4].and(Q::splat(TOP)).add(Q::splat(LOW_BASE - HALF_TOP - EXTRA));
    for at in 0..4 {
        c[at + 1] = c[at + 1].add(c[at].shift_right::<52>());
        c[at] = digit(c[at]);
    }
    c[4] = signed(c[4]);
    c
}

/// Five columns that are less than 2^56 in size, without their constants, to a normal element.
#[inline(always)]
fn normal<Q: Quads>(mut c: [Q; 5]) -> [Q; 5] {
    let top = c[4]
        .shift_right::<48>()
        .add(Q::splat(LOW_BASE.wrapping_sub(POSITIVE >> 48)));
    // A small number times FOLD_256 has no high half.
    let low = Q::splat(LOW_BASE).multiply_add(signed(top), Q::splat(FOLD_256_DOUBLE));
    c[0] = c[0].add(low);
    carried(c)
}

/// What the columns of a sum of two elements start with.
const SUM: [u64; 10] = start_of_sum();
const fn start_of_sum() -> [u64; 10] {
    let mut out = start([0; 10], 0);
    // `start` reckoned with one low half in each, with two in column 0, and with the high halves of the folds.
    let mut at = 0;
    while at < 5 {
        let highs = if at == 0 {
            0
        } else if at == 1 {
            2
        } else {
            1
        };
        out[at] = out[at]
            .wrapping_add(HIGH_BASE.wrapping_mul(highs))
            .wrapping_sub(LOW_BASE);
        at += 1;
    }
    out
}

/// From four words, below 2^256.
#[inline(always)]
pub(crate) fn limbs<Q: Quads>(w: &[Q; 4]) -> [Q; 5] {
    let low = Q::splat(LOW);
    let half = Q::splat(HALF);
    let mut limbs = [
        w[0].and(low),
        w[0].shift_right::<52>().or(w[1].shift_left::<12>()).and(low),
        w[1].shift_right::<40>().or(w[2].shift_left::<24>()).and(low),
        w[2].shift_right::<28>().or(w[3].shift_left::<36>()).and(low),
        w[3].shift_right::<16>(),
    ];
    for at in 0..4 {
        limbs[at] = limbs[at].add(half);
        limbs[at + 1] = limbs[at + 1].add(limbs[at].shift_right::<52>());
        limbs[at] = digit(limbs[at]);
    }
    limbs[4] = signed(limbs[4].add(Q::splat(LOW_BASE)));
    limbs
}

/// a + b.
#[inline(always)]
pub(crate) fn sum<Q: Quads>(a: &[Q; 5], b: &[Q; 5]) -> [Q; 5] {
    let base = Q::splat(LOW_BASE);
    let [mut c0, mut c1, mut c2, mut c3, mut c4, ..] = columns::<Q>(&SUM);
    c0 = c0.add(base.plus(a[0])).add(base.plus(b[0]));
    c1 = c1.add(base.plus(a[1])).add(base.plus(b[1]));
    c2 = c2.add(base.plus(a[2])).add(base.plus(b[2]));
    c3 = c3.add(base.plus(a[3])).add(base.plus(b[3]));
    c4 = c4.add(base.plus(a[4])).add(base.plus(b[4]));
    normal([c0, c1, c2, c3, c4])
}

/// a * b, for a or b a difference.
#[inline(always)]
pub(crate) fn product<Q: Quads>(a: &[Q; 5], b: &[Q; 5]) -> [Q; 5] {
    let mut c = columns(const { &start(PRODUCT, 0) });
    add_product(&mut c, a, b);
    reduced(c)
}

/// a * b - less, for a or b a difference.
#[inline(always)]
pub(crate) fn product_less<Q: Quads>(a: &[Q; 5], b: &[Q; 5], less: &[Q; 5]) -> [Q; 5] {
    let mut c = columns(const { &start(PRODUCT, 1) });
    subtract(&mut c, less);
    add_product(&mut c, a, b);
    reduced(c)
}

/// a * a.
#[inline(always)]
pub(crate) fn square<Q: Quads>(a: &[Q; 5]) -> [Q; 5] {
    let mut c = columns(const { &start(SQUARE, 0) });
    add_square(&mut c, a);
    reduced(c)
}

/// a * a - less - more.
#[inline(always)]
pub(crate) fn square_less<Q: Quads>(a: &[Q; 5], less: &[Q; 5], more: &[Q; 5]) -> [Q; 5] {
    let mut c = columns(const { &start(SQUARE, 2) });
    subtract(&mut c, less);
    subtract(&mut c, more);
    add_square(&mut c, a);
    reduced(c)
}

impl<Q: Quads> Field for Fe4<Q> {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(value: &U256) -> Self {
        let [w0, w1, w2, w3] = *value;
        Self::from_words([Q::splat(w0), Q::splat(w1), Q::splat(w2), Q::splat(w3)])
    }

    #[inline(always)]
    fn mul(&self, other: &Self) -> Self {
        Self(Q::field_product(&self.0, &other.0))
    }

    #[inline(always)]
    fn square(&self) -> Self {
        Self(Q::field_square(&self.0))
    }

    #[inline(always)]
    fn add(&self, other: &Self) -> Self {
        Self(Q::field_sum(&self.0, &other.0))
    }

    #[inline(always)]
    fn sub(&self, other: &Self) -> Self {
        self.add(&other.negate_lanes(Q::splat(SIGN)))
    }

    #[inline(always)]
    fn difference(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].minus(other.0[at]);
        }
        Self(limbs)
    }

    #[inline(always)]
    fn mul_sub(&self, other: &Self, less: &Self) -> Self {
        Self(Q::field_product_less(&self.0, &other.0, &less.0))
    }

    #[inline(always)]
    fn square_sub(&self, less: &Self, more: &Self) -> Self {
        Self(Q::field_square_less(&self.0, &less.0, &more.0))
    }

    #[inline(always)]
    fn zeros(&self) -> u8 {
        let [a, b, c, d] = self.each();
        a.zeros() | b.zeros() << 1 | c.zeros() << 2 | d.zeros() << 3
    }

    #[inline(always)]
    fn select(&self, other: &Self, mask: u8) -> Self {
        let mut lanes = [0; 4];
        for lane in 0..4 {
            lanes[lane] = u64::from(mask >> lane & 1).wrapping_neg();
        }
        let mask = Q::load(&lanes);
        let mut limbs = self.0;
        for at in 0..5 {
            limbs[at] = limbs[at].xor(limbs[at].xor(other.0[at]).and(mask));
        }
        Self(limbs)
    }

    /// One inversion for all lanes.
    #[inline(always)]
    fn invert(&self) -> Self {
        let [a, b, c, d] = self.each();
        let (ab, cd) = (a.mul(&b), c.mul(&d));
        let inverse = ab.mul(&cd).invert();
        let (ab, cd) = (inverse.mul(&cd), inverse.mul(&ab));
        Self::from_each(&[ab.mul(&b), ab.mul(&a), cd.mul(&d), cd.mul(&c)])
    }

    #[inline(always)]
    fn lane(&self, lane: usize) -> U256 {
        self.each()[lane].canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{field, lanes::emulated::EmulatedFour, words};

    /// Values around the borders of the representation, then random ones.
    fn values() -> Vec<U256> {
        let p = field::P;
        let mut out = vec![[0; 4], [1, 0, 0, 0], [u64::MAX; 4], p];
        for distance in 1..3 {
            out.push(words::sub(&p, &[distance, 0, 0, 0]).0);
            out.push(words::add(&p, &[distance, 0, 0, 0]).0);
        }
        // Limbs of 2^51 in size, of either sign: one more or less carries.
        let half = [1 << 51, 1 << 39, 1 << 27, 1 << 15];
        for distance in [0, 1, 2] {
            out.push(words::add(&half, &[distance, 0, 0, 0]).0);
            out.push(words::sub(&half, &[distance, 0, 0, 0]).0);
            out.push(words::sub(&p, &words::add(&half, &[distance, 0, 0, 0]).0).0);
        }
        for bit in [51, 52, 103, 104, 155, 208, 254, 255] {
            let mut power = [0; 4];
            power[bit / 64] = 1 << (bit % 64);
            out.push(power);
            out.push(words::sub(&power, &[1, 0, 0, 0]).0);
        }
        let mut seed = 7_u64;
        for _ in 0..25 {
            out.push(std::array::from_fn(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                seed ^ seed >> 29
            }));
        }
        out
    }

    fn assert_normal<Q: Quads>(element: &Fe4<Q>) {
        for (at, limb) in element.0.iter().enumerate() {
            for lane in limb.store() {
                let value = f64::from_bits(lane);
                let most = if at == 4 { 1_u64 << 48 } else { 1 << 51 };
                assert!(value.abs() <= most as f64 && value.fract() == 0.0);
            }
        }
    }

    fn check<Q: Quads>() {
        let values = values();
        for (at, a) in values.iter().enumerate() {
            for shift in 0..values.len() {
                // Lane by lane another partner.
                let b: [Fe; 4] = std::array::from_fn(|lane| Fe(values[(at + shift + lane) % values.len()]));
                let a4 = Fe4::<Q>::splat(a);
                let b4 = Fe4::<Q>::from_each(&b);
                let a = Fe(*a);
                let (sum, difference) = (a4.add(&b4), a4.sub(&b4));
                let (product, square) = (b4.mul(&a4), b4.square());
                let lazy = a4.difference(&b4);
                let minus = b4.negate_lanes(Q::splat(SIGN));
                for element in [&a4, &b4, &sum, &difference, &product, &square, &minus] {
                    assert_normal(element);
                }
                for (lane, b) in b.iter().enumerate() {
                    let d = a.sub(b);
                    let is = |element: Fe4<Q>, value: Fe| {
                        assert_normal(&element);
                        assert_eq!(element.lane(lane), value.canonical());
                    };
                    is(product, a.mul(b));
                    is(square, b.square());
                    is(sum, a.add(b));
                    is(difference, d);
                    is(minus, Fe([0; 4]).sub(b));
                    is(lazy.mul(&a4), d.mul(&a));
                    is(minus.mul(&lazy), Fe([0; 4]).sub(b).mul(&d));
                    is(b4.mul_sub(&lazy, &a4), b.mul(&d).sub(&a));
                    is(b4.mul_sub(&lazy, &minus), b.mul(&d).add(b));
                    is(difference.square_sub(&a4, &minus), d.square().sub(&a).add(b));
                    is(product.square_sub(&b4, &b4), a.mul(b).square().sub(b).sub(b));
                    assert_eq!(lazy.zeros() >> lane & 1, d.zeros());
                    assert_eq!(difference.zeros() >> lane & 1, d.zeros());
                    let mask = 0b0101_u8;
                    is(b4.select(&a4, mask), if mask >> lane & 1 == 1 { a } else { *b });
                }
                if shift % 16 == 0 && b4.zeros() == 0 {
                    let inverse = b4.invert();
                    for lane in 0..4 {
                        assert_eq!(inverse.mul(&b4).lane(lane), [1, 0, 0, 0]);
                    }
                }
            }
        }
    }

    /// Elements with the largest limbs that are normal, in every combination of signs, and their differences.
    fn check_largest<Q: Quads>() {
        let extreme = |signs: usize| {
            let mut limbs = [Q::splat(0); 5];
            for (at, limb) in limbs.iter_mut().enumerate() {
                let size = if at == 4 { 1_u64 << 48 } else { 1 << 51 } as f64;
                let value = if signs >> at & 1 == 1 { -size } else { size };
                *limb = Q::splat(value.to_bits());
            }
            Fe4(limbs)
        };
        for one in 0..32 {
            for two in 0..32 {
                let (a, b) = (extreme(one), extreme(two));
                let (x, y) = (a.each()[0], b.each()[0]);
                // Twice as large as any: a less its negative.
                let lazy = a.difference(&extreme(31 - one));
                let twice = x.add(&x);
                let is = |element: Fe4<Q>, value: Fe| {
                    assert_normal(&element);
                    assert_eq!(element.lane(3), value.canonical());
                };
                is(a.mul(&b), x.mul(&y));
                is(lazy.mul(&b), twice.mul(&y));
                is(lazy.mul_sub(&b, &a), twice.mul(&y).sub(&x));
                is(a.square(), x.square());
                is(a.square_sub(&b, &b), x.square().sub(&y).sub(&y));
                is(a.add(&b), x.add(&y));
                is(a.sub(&b), x.sub(&y));
            }
        }
    }

    #[test]
    fn four_lanes_compute_what_one_does() {
        check::<EmulatedFour>();
        check_largest::<EmulatedFour>();
    }

    /// Only where the CPU can; says so.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_instructions_compute_what_one_lane_does() {
        use crate::lanes::avx2::{Avx2, available};
        println!(
            "AVX2 and FMA: {}",
            if available() {
                "tested"
            } else {
                "not on this CPU, not tested"
            }
        );
        if available() {
            check::<Avx2>();
            check_largest::<Avx2>();
        }
    }
}
