//! Tables of odd multiples: of a signer's key, and of G.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "indices follow from the layout"
)]

use crate::{
    field::{Fe, Field, P},
    key::Key,
    layout::{self, BASE_BITS, BASE_ROW, BASE_WINDOWS, COLUMNS, SIGNER_BITS, SIGNER_POINTS, SIGNER_TABLES},
    order,
    sum::{self, Inverses, Jacobian, Point, Step, ToAffine},
    words::{self, U256},
};
use std::sync::LazyLock;

/// A point as tables hold it: canonical x and y, four words each, in one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct TablePoint(pub(crate) [u64; 8]);

impl TablePoint {
    pub(crate) const ZERO: Self = Self([0; 8]);

    fn of(point: &Point<Fe>) -> Self {
        let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (point.x.canonical(), point.y.canonical());
        Self([x0, x1, x2, x3, y0, y1, y2, y3])
    }

    #[inline(always)]
    pub(crate) fn x(&self) -> U256 {
        *self.x_words()
    }

    #[inline(always)]
    pub(crate) fn x_words(&self) -> &[u64; 4] {
        &self.0.as_chunks::<4>().0[0]
    }

    #[inline(always)]
    pub(crate) fn y_words(&self) -> &[u64; 4] {
        &self.0.as_chunks::<4>().0[1]
    }

    /// The point, or its negative. y is neither zero nor above p.
    #[inline(always)]
    pub(crate) fn load(&self, negative: bool) -> Point<Fe> {
        let mask = u64::from(negative).wrapping_neg();
        let y = *self.y_words();
        let minus = words::sub(&P, &y).0;
        let mut y = y;
        for i in 0..4 {
            y[i] ^= (y[i] ^ minus[i]) & mask;
        }
        Point {
            x: Fe(self.x()),
            y: Fe(y),
        }
    }
}

/// The tables of one signer.
pub(crate) type SignerTable = [TablePoint; SIGNER_POINTS];
/// The tables of G.
pub(crate) type BaseTable = [TablePoint];

static BASE: LazyLock<Box<BaseTable>> = LazyLock::new(build_base);

/// The tables of G: the same for everybody, made at first use in some milliseconds.
pub(crate) fn base() -> &'static BaseTable {
    &BASE
}

/// Makes tables; keeps its buffers.
pub(crate) struct Builder {
    inverses: Inverses<Fe>,
    jacobian: Vec<Jacobian<Fe>>,
    powers: Vec<Point<Fe>>,
    multiples: Vec<Point<Fe>>,
}

impl Builder {
    pub(crate) const fn new() -> Self {
        Self {
            inverses: Inverses::new(),
            jacobian: Vec::new(),
            powers: Vec::new(),
            multiples: Vec::new(),
        }
    }

    /// The tables of several keys: they share six inversions.
    pub(crate) fn build(&mut self, keys: &[&Key]) -> Vec<Box<SignerTable>> {
        self.jacobian.clear();
        for key in keys {
            self.push_powers(&key.point(), SIGNER_TABLES, SIGNER_BITS * COLUMNS, SIGNER_BITS);
        }
        self.multiply(SIGNER_BITS);
        self.multiples
            .chunks_exact(SIGNER_POINTS)
            .map(|points| {
                let mut table = vec![TablePoint::ZERO; SIGNER_POINTS].into_boxed_slice();
                for (to, from) in table.iter_mut().zip(points) {
                    *to = TablePoint::of(from);
                }
                table
                    .try_into()
                    .unwrap_or_else(|_| unreachable!("made with this length"))
            })
            .collect()
    }

    /// For each of `tables` bases, 2^`distance` apart: the base times 1, 2, 4 .. 2^(bits - 1).
    fn push_powers(&mut self, point: &Point<Fe>, tables: usize, distance: usize, bits: usize) {
        let mut power = Jacobian {
            x: point.x,
            y: point.y,
            z: Fe::splat(&[1, 0, 0, 0]),
        };
        for bit in 0..(tables - 1) * distance + bits {
            if bit % distance < bits {
                self.jacobian.push(power);
            }
            power = power.double();
        }
    }

    /// From powers to all odd multiples below 2^bits, row by row.
    fn multiply(&mut self, bits: usize) {
        let zero = Fe([0; 4]);
        let point = Point { x: zero, y: zero };
        self.powers.clear();
        self.powers.resize(self.jacobian.len(), point);
        // A point of prime order has no exceptional multiples here: nothing is ever marked.
        let mut marks = [0];
        let mut step = ToAffine {
            from: &self.jacobian,
            to: &mut self.powers,
        };
        let points = self.jacobian.len();
        self.inverses.run(points, 1, &mut step, &mut marks, points);
        let rows = points / bits;
        let row = 1 << (bits - 1);
        self.multiples.clear();
        self.multiples.resize(rows * row, point);
        for at in 0..rows {
            self.multiples[at * row] = self.powers[at * bits];
        }
        for bit in 1..bits {
            let mut step = Extend {
                powers: &self.powers,
                multiples: &mut self.multiples,
                bits,
                bit,
            };
            self.inverses
                .run(rows, 1 << (bit - 1), &mut step, &mut marks, rows);
        }
        debug_assert_eq!(marks, [0]);
    }
}

/// Adds 2^bit to the odd multiples below 2^bit.
struct Extend<'a> {
    powers: &'a [Point<Fe>],
    multiples: &'a mut [Point<Fe>],
    bits: usize,
    bit: usize,
}
impl Extend<'_> {
    fn points(&self, row: usize, index: usize) -> (Point<Fe>, Point<Fe>) {
        let multiple = self.multiples[(row << (self.bits - 1)) + index];
        (multiple, self.powers[row * self.bits + self.bit])
    }
}
impl Step<Fe> for Extend<'_> {
    fn denominator(&self, row: usize, index: usize) -> Fe {
        let (a, b) = self.points(row, index);
        b.x.sub(&a.x)
    }
    fn apply(&mut self, row: usize, index: usize, inverse: &Fe) {
        let (a, b) = self.points(row, index);
        let to = (row << (self.bits - 1)) + (1 << (self.bit - 1)) + index;
        self.multiples[to] = sum::add(&a, &b, inverse);
    }
}

fn build_base() -> Box<BaseTable> {
    let mut builder = Builder::new();
    for column in 0..COLUMNS {
        let first = layout::first_base_window(column);
        let count = layout::LEAVES - layout::signer_windows(column);
        // The column's sum is doubled SIGNER_BITS * column times: its share of G is made smaller by as much.
        let shift = order::invert(&power_of_two(SIGNER_BITS * column));
        let start = order::mul(&power_of_two(BASE_BITS * first), &shift);
        let point = Key::times_generator(&start);
        builder.push_powers(&point, count, BASE_BITS, BASE_BITS);
    }
    builder.multiply(BASE_BITS);
    assert_eq!(builder.multiples.len(), BASE_ROW * BASE_WINDOWS);
    builder.multiples.iter().map(TablePoint::of).collect()
}

/// 2^exponent, below 2^192.
fn power_of_two(exponent: usize) -> U256 {
    let mut out = [0; 4];
    out[exponent / 64] = 1 << (exponent % 64);
    out
}
