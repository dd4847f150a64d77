//! The lanes in portable code. Most of it is not inlined: the kernels would take minutes to compile.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_arithmetic,
    reason = "constant bounds; the low bits are meant"
)]

use super::{Lanes, Quads};
use crate::{field4, field8};

/// Eight numbers in memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Emulated([u64; 8]);

const LOW: u64 = (1 << 52) - 1;

#[inline(always)]
fn each(f: impl Fn(usize) -> u64) -> Emulated {
    let mut out = [0; 8];
    for (lane, value) in out.iter_mut().enumerate() {
        *value = f(lane);
    }
    Emulated(out)
}

/// All 104 bits of the product of two 52-bit numbers.
#[inline(always)]
fn product(a: u64, b: u64) -> u128 {
    u128::from(a & LOW).wrapping_mul(u128::from(b & LOW))
}

impl Lanes for Emulated {
    #[inline(never)]
    fn splat(value: u64) -> Self {
        Self([value; 8])
    }
    #[inline(never)]
    fn load(values: &[u64; 8]) -> Self {
        Self(*values)
    }
    #[inline(never)]
    fn store(self) -> [u64; 8] {
        self.0
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each(|lane| self.0[lane].wrapping_add(other.0[lane]))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        each(|lane| self.0[lane].wrapping_sub(other.0[lane]))
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        each(|lane| self.0[lane] & other.0[lane])
    }
    #[inline(never)]
    fn or(self, other: Self) -> Self {
        each(|lane| self.0[lane] | other.0[lane])
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        each(|lane| self.0[lane] ^ other.0[lane])
    }
    #[inline(always)]
    fn shift_left<const BITS: u32>(self) -> Self {
        each(|lane| self.0[lane] << BITS)
    }
    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Self {
        each(|lane| self.0[lane] >> BITS)
    }
    #[inline(always)]
    fn rotate_left<const BITS: i32>(self) -> Self {
        each(|lane| self.0[lane].rotate_left(BITS as u32))
    }
    #[inline(always)]
    fn multiply_add_low(self, a: Self, b: Self) -> Self {
        each(|lane| self.0[lane].wrapping_add(product(a.0[lane], b.0[lane]) as u64 & LOW))
    }
    #[inline(always)]
    fn multiply_add_high(self, a: Self, b: Self) -> Self {
        each(|lane| self.0[lane].wrapping_add((product(a.0[lane], b.0[lane]) >> 52) as u64))
    }
    #[inline(never)]
    fn equal(self, other: Self) -> u8 {
        (0..8).fold(0, |mask, lane| {
            mask | u8::from(self.0[lane] == other.0[lane]) << lane
        })
    }
    #[inline(never)]
    fn select(self, other: Self, mask: u8) -> Self {
        each(|lane| {
            if mask >> lane & 1 == 1 {
                other.0[lane]
            } else {
                self.0[lane]
            }
        })
    }
    #[inline(always)]
    fn xor3(self, b: Self, c: Self) -> Self {
        each(|lane| self.0[lane] ^ b.0[lane] ^ c.0[lane])
    }
    #[inline(always)]
    fn chi(self, b: Self, c: Self) -> Self {
        each(|lane| self.0[lane] ^ (!b.0[lane] & c.0[lane]))
    }
    #[inline(never)]
    fn even_lanes(self, other: Self) -> Self {
        each(|lane| {
            if lane % 2 == 0 {
                self.0[lane]
            } else {
                other.0[lane - 1]
            }
        })
    }
    #[inline(never)]
    fn odd_lanes(self, other: Self) -> Self {
        each(|lane| {
            if lane % 2 == 0 {
                self.0[lane + 1]
            } else {
                other.0[lane]
            }
        })
    }
    #[inline(never)]
    fn even_pairs(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        Self([a[0], a[1], a[4], a[5], b[0], b[1], b[4], b[5]])
    }
    #[inline(never)]
    fn odd_pairs(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        Self([a[2], a[3], a[6], a[7], b[2], b[3], b[6], b[7]])
    }
    #[inline(never)]
    fn field_product(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        field8::product(a, b)
    }
    #[inline(never)]
    fn field_square(a: &[Self; 5]) -> [Self; 5] {
        field8::square(a)
    }
    #[inline(never)]
    fn field_normal(a: [Self; 5]) -> [Self; 5] {
        field8::normal(a)
    }
}

/// Four numbers in memory.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct EmulatedFour([u64; 4]);

#[inline(always)]
fn each4(f: impl Fn(usize) -> u64) -> EmulatedFour {
    EmulatedFour([f(0), f(1), f(2), f(3)])
}

impl Quads for EmulatedFour {
    #[inline(never)]
    fn splat(value: u64) -> Self {
        Self([value; 4])
    }
    #[inline(never)]
    fn load(values: &[u64; 4]) -> Self {
        Self(*values)
    }
    #[inline(never)]
    fn store(self) -> [u64; 4] {
        self.0
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each4(|lane| self.0[lane].wrapping_add(other.0[lane]))
    }
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        each4(|lane| self.0[lane] & other.0[lane])
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        each4(|lane| self.0[lane] | other.0[lane])
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        each4(|lane| self.0[lane] ^ other.0[lane])
    }
    #[inline(always)]
    fn shift_left<const BITS: i32>(self) -> Self {
        each4(|lane| self.0[lane] << BITS)
    }
    #[inline(always)]
    fn shift_right<const BITS: i32>(self) -> Self {
        each4(|lane| self.0[lane] >> BITS)
    }
    #[inline(never)]
    fn plus(self, other: Self) -> Self {
        each4(|lane| (f64::from_bits(self.0[lane]) + f64::from_bits(other.0[lane])).to_bits())
    }
    #[inline(never)]
    fn minus(self, other: Self) -> Self {
        each4(|lane| (f64::from_bits(self.0[lane]) - f64::from_bits(other.0[lane])).to_bits())
    }
    #[inline(never)]
    fn multiply_add(self, a: Self, b: Self) -> Self {
        each4(|lane| {
            let (a, b) = (f64::from_bits(a.0[lane]), f64::from_bits(b.0[lane]));
            a.mul_add(b, f64::from_bits(self.0[lane])).to_bits()
        })
    }
    #[inline(always)]
    fn even_lanes(self, other: Self) -> Self {
        Self([self.0[0], other.0[0], self.0[2], other.0[2]])
    }
    #[inline(always)]
    fn odd_lanes(self, other: Self) -> Self {
        Self([self.0[1], other.0[1], self.0[3], other.0[3]])
    }
    #[inline(always)]
    fn low_pairs(self, other: Self) -> Self {
        Self([self.0[0], self.0[1], other.0[0], other.0[1]])
    }
    #[inline(always)]
    fn high_pairs(self, other: Self) -> Self {
        Self([self.0[2], self.0[3], other.0[2], other.0[3]])
    }
    #[inline(never)]
    fn field_limbs(words: &[Self; 4]) -> [Self; 5] {
        field4::limbs(words)
    }
    #[inline(never)]
    fn field_sum(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        field4::sum(a, b)
    }
    #[inline(never)]
    fn field_product(a: &[Self; 5], b: &[Self; 5]) -> [Self; 5] {
        field4::product(a, b)
    }
    #[inline(never)]
    fn field_product_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5] {
        field4::product_less(a, b, c)
    }
    #[inline(never)]
    fn field_square(a: &[Self; 5]) -> [Self; 5] {
        field4::square(a)
    }
    #[inline(never)]
    fn field_square_less(a: &[Self; 5], b: &[Self; 5], c: &[Self; 5]) -> [Self; 5] {
        field4::square_less(a, b, c)
    }
}
