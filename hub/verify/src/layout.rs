//! How a double multiplication `u1 G + u2 Q` becomes a sum of table points.
//!
//! Both scalars are split over the endomorphism into halves of 130 bits, without zero windows ([`crate::order::split`]).
//! A half is read in windows; each window of a half picks one point of a table of odd multiples.
//! Windows of the signer are dealt out to [`COLUMNS`] columns, so that one table serves `COLUMNS` windows: the sums
//! of the columns are combined by `SIGNER_BITS` doublings per further column. The windows of G fill the
//! columns up to the same length: their tables are made for the column they are in, which costs nothing.
//!
//! Order of the leaves of a signature: column, half (first, then the endomorphism's), window.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "small constants, and windows of a known width"
)]

use crate::order::HALF_BITS;

/// Bits of a window of the signer.
pub(crate) const SIGNER_BITS: usize = 5;
/// Columns: 1, 2 or 4.
pub(crate) const COLUMNS: usize = 2;
const SIGNER_WINDOWS: usize = HALF_BITS / SIGNER_BITS;
/// Tables of a signer; table t is for windows `t * COLUMNS + column`.
pub(crate) const SIGNER_TABLES: usize = SIGNER_WINDOWS.div_ceil(COLUMNS);
/// Points of each of them.
pub(crate) const SIGNER_ROW: usize = 1 << (SIGNER_BITS - 1);
/// Points of a signer.
pub(crate) const SIGNER_POINTS: usize = SIGNER_TABLES * SIGNER_ROW;

/// Bits of a window of G.
pub(crate) const BASE_BITS: usize = 13;
/// Windows of G, each with a table of its own.
pub(crate) const BASE_WINDOWS: usize = HALF_BITS / BASE_BITS;
/// Points of each table of G.
pub(crate) const BASE_ROW: usize = 1 << (BASE_BITS - 1);

/// Points to add in each half of a column.
pub(crate) const LEAVES: usize = (SIGNER_WINDOWS + BASE_WINDOWS) / COLUMNS;
/// Points to add for a signature.
pub(crate) const LEAVES_ALL: usize = LEAVES * 2 * COLUMNS;

const _: () = assert!(SIGNER_WINDOWS * SIGNER_BITS == HALF_BITS && BASE_WINDOWS * BASE_BITS == HALF_BITS);
const _: () = assert!(LEAVES * COLUMNS == SIGNER_WINDOWS + BASE_WINDOWS);

/// Windows of the signer in a column.
pub(crate) const fn signer_windows(column: usize) -> usize {
    (SIGNER_WINDOWS - column).div_ceil(COLUMNS)
}

/// The first window of G in a column; those of the column follow one another.
pub(crate) const fn first_base_window(column: usize) -> usize {
    let (mut before, mut at) = (0, 0);
    while at < column {
        before += LEAVES - signer_windows(at);
        at += 1;
    }
    before
}

/// A leaf: which point of which table, and whether it is negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick(u32);

const NEGATIVE: u32 = 1 << 31;
const BASE: u32 = 1 << 30;

impl Pick {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn negative(self) -> bool {
        self.0 & NEGATIVE != 0
    }
    /// Of the tables of G, not of the signer.
    #[inline(always)]
    pub(crate) fn of_base(self) -> bool {
        self.0 & BASE != 0
    }
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        (self.0 & (BASE - 1)) as usize
    }

    /// The point for the bits of a window: they stand for `2 bits + 1 - 2^width`.
    #[inline(always)]
    fn of(half: &[u64; 3], window: usize, width: usize, table: usize, kind: u32) -> Self {
        let at = window * width;
        let low = half.get(at / 64).copied().unwrap_or_default();
        let high = half.get(at / 64 + 1).copied().unwrap_or_default();
        let both = u128::from(low) | u128::from(high) << 64;
        let row = 1_u32 << (width - 1);
        #[allow(clippy::cast_possible_truncation, reason = "the low bits are meant")]
        let bits = (both >> (at % 64)) as u32;
        let positive = bits & row != 0;
        let (bits, sign) = if positive { (bits, 0) } else { (!bits, NEGATIVE) };
        #[allow(clippy::cast_possible_truncation, reason = "tables are few")]
        let start = table as u32 * row;
        Self((start + (bits & (row - 1))) | sign | kind)
    }
}

/// The leaves of one signature, `put(leaf number, pick)`, from the halves of u1 and u2.
#[inline(always)]
pub(crate) fn picks(base: &[[u64; 3]; 2], signer: &[[u64; 3]; 2], mut put: impl FnMut(usize, Pick)) {
    let mut leaf = 0;
    for column in 0..COLUMNS {
        for (base, signer) in base.iter().zip(signer) {
            for table in 0..signer_windows(column) {
                let window = table * COLUMNS + column;
                put(leaf, Pick::of(signer, window, SIGNER_BITS, table, 0));
                leaf += 1;
            }
            let first = first_base_window(column);
            for window in first..first + LEAVES - signer_windows(column) {
                put(leaf, Pick::of(base, window, BASE_BITS, window, BASE));
                leaf += 1;
            }
        }
    }
}
