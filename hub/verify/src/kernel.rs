//! The kernels: the sums of a chunk with one lane or with eight, and whether they are the points that were signed.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "indices follow from the layout and from the chunk's length"
)]

#[cfg(target_arch = "x86_64")]
use crate::lanes::avx512::{self, Avx512};
use crate::{
    field::{Fe, Field},
    field8::Fe8,
    item::Parts,
    lanes::{self, Lanes},
    layout::{LEAVES, LEAVES_ALL, Pick},
    order,
    sum::{Point, Source, Sums},
    table::{BaseTable, SignerTable, TablePoint},
    words,
};
use std::sync::Arc;

/// What is to be summed: for each signature [`LEAVES_ALL`] picks and the tables of its signer.
pub(crate) struct Leaves<'a> {
    pub(crate) picks: &'a [Pick],
    pub(crate) tables: &'a [Arc<SignerTable>],
    pub(crate) base: &'a BaseTable,
}

/// Groups of a signature.
const GROUPS: usize = LEAVES_ALL / LEAVES;

impl<'a> Leaves<'a> {
    /// A leaf of a signature: group and index are as in [`Source`].
    #[inline(always)]
    fn leaf(&self, signature: usize, group: usize, index: usize) -> (&'a TablePoint, bool) {
        let pick = self.picks[signature * LEAVES_ALL + group * LEAVES + index];
        let point = if pick.of_base() {
            &self.base[pick.index()]
        } else {
            &self.tables[signature][pick.index()]
        };
        (point, pick.negative())
    }

    /// The same leaf of eight signatures; behind the last one it is the last one's again.
    #[inline(always)]
    fn eight<L: Lanes>(&self, group: usize, index: usize) -> ([L; 8], u8) {
        let (block, group) = (group / GROUPS, group % GROUPS);
        let mut negative = 0;
        let rows = std::array::from_fn(|lane| {
            let signature = (block * 8 + lane).min(self.tables.len() - 1);
            let (point, minus) = self.leaf(signature, group, index);
            negative |= u8::from(minus) << lane;
            &point.0
        });
        (lanes::transpose(rows), negative)
    }
}

impl Source<Fe> for Leaves<'_> {
    #[inline(always)]
    fn point(&self, group: usize, index: usize) -> Point<Fe> {
        let (point, negative) = self.leaf(group / GROUPS, group % GROUPS, index);
        point.load(negative)
    }
    #[inline(always)]
    fn x(&self, group: usize, index: usize) -> Fe {
        Fe(self.leaf(group / GROUPS, group % GROUPS, index).0.x())
    }
}

impl<L: Lanes> Source<Fe8<L>> for Leaves<'_> {
    #[inline(always)]
    fn point(&self, group: usize, index: usize) -> Point<Fe8<L>> {
        let ([x0, x1, x2, x3, y0, y1, y2, y3], negative) = self.eight(group, index);
        Point {
            x: Fe8::from_words([x0, x1, x2, x3]),
            y: Fe8::from_words([y0, y1, y2, y3]).negate_lanes(negative),
        }
    }
    #[inline(always)]
    fn x(&self, group: usize, index: usize) -> Fe8<L> {
        let ([x0, x1, x2, x3, ..], _) = self.eight(group, index);
        Fe8::from_words([x0, x1, x2, x3])
    }
}

/// Evaluates chunks.
pub(crate) trait Kernel: Send {
    fn name(&self) -> &'static str;
    /// Sums the leaves of every signature of the chunk, which is not empty.
    fn evaluate(&mut self, leaves: &Leaves<'_>);
    /// Whether the sum of a signature is known to be the point that it names. "No" is no answer: ask another engine.
    fn accepts(&self, signature: usize, parts: &Parts) -> bool;
}

fn accepts<F: Field>(sums: &Sums<F>, signature: usize, parts: &Parts) -> bool {
    let (block, lane) = (signature / F::LANES, signature % F::LANES);
    if sums.exceptional[block] >> lane & 1 == 1 {
        return false;
    }
    let point = &sums.results[block];
    let x = point.x.lane(lane);
    match parts.odd {
        Some(odd) => x == parts.r && (point.y.lane(lane)[0] & 1 == 1) == odd,
        // r + n is below p only for a small r.
        None => {
            x == parts.r || words::less(&parts.r, &order::P_LESS_N) && x == words::add(&parts.r, &order::N).0
        }
    }
}

/// One signature at a time, in general registers.
pub(crate) struct OneLane {
    sums: Sums<Fe>,
    /// Whether the CPU multiplies without flags.
    mulx: bool,
}

impl OneLane {
    pub(crate) fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        let mulx = is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("adx");
        #[cfg(not(target_arch = "x86_64"))]
        let mulx = false;
        Self {
            sums: Sums::new(),
            mulx,
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2,adx")]
fn evaluate_mulx(sums: &mut Sums<Fe>, leaves: &Leaves<'_>) {
    sums.evaluate(leaves, leaves.tables.len());
}

impl Kernel for OneLane {
    fn name(&self) -> &'static str {
        "cached tables"
    }

    fn evaluate(&mut self, leaves: &Leaves<'_>) {
        #[cfg(target_arch = "x86_64")]
        if self.mulx {
            // SAFETY: `new` detected bmi2 and adx.
            #[expect(unsafe_code, reason = "compiled for CPU features that were detected")]
            return unsafe { evaluate_mulx(&mut self.sums, leaves) };
        }
        self.sums.evaluate(leaves, leaves.tables.len());
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        accepts(&self.sums, signature, parts)
    }
}

/// Eight signatures at a time in portable code: for tests of what the instructions would compute.
pub(crate) struct EightEmulated(Sums<Fe8<lanes::emulated::Emulated>>);

impl EightEmulated {
    pub(crate) const fn new() -> Self {
        Self(Sums::new())
    }
}

impl Kernel for EightEmulated {
    fn name(&self) -> &'static str {
        "eight lanes, emulated"
    }

    fn evaluate(&mut self, leaves: &Leaves<'_>) {
        self.0.evaluate(leaves, leaves.tables.len().div_ceil(8));
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        accepts(&self.0, signature, parts)
    }
}

/// Eight signatures at a time with AVX-512 IFMA.
#[cfg(target_arch = "x86_64")]
pub(crate) struct EightIfma(Sums<Fe8<Avx512>>);

#[cfg(target_arch = "x86_64")]
impl EightIfma {
    /// `None` if the CPU lacks an instruction.
    pub(crate) fn detect() -> Option<Self> {
        avx512::available().then(|| Self(Sums::new()))
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma,bmi2,adx")]
fn evaluate_ifma(sums: &mut Sums<Fe8<Avx512>>, leaves: &Leaves<'_>) {
    sums.evaluate(leaves, leaves.tables.len().div_ceil(8));
}

#[cfg(target_arch = "x86_64")]
impl Kernel for EightIfma {
    fn name(&self) -> &'static str {
        "eight lanes, AVX-512 IFMA"
    }

    fn evaluate(&mut self, leaves: &Leaves<'_>) {
        // SAFETY: there is no `EightIfma` unless `detect` found all features.
        #[expect(unsafe_code, reason = "compiled for CPU features that were detected")]
        unsafe {
            evaluate_ifma(&mut self.0, leaves);
        }
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        accepts(&self.0, signature, parts)
    }
}
