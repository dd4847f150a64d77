//! The kernels: the sums of a chunk with one lane, four or eight, and whether they are the points that were signed.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "indices follow from the layout and from the chunk's length"
)]

#[cfg(target_arch = "x86_64")]
use crate::lanes::{
    avx2::{self, Avx2},
    avx512::{self, Avx512},
};
use crate::{
    field::{Fe, Field},
    field4::Fe4,
    field8::Fe8,
    item::Parts,
    lanes::{self, Lanes, Quads},
    layout::{LEAVES, LEAVES_ALL, Pick},
    order,
    prefetch::prefetch,
    sum::{Point, Source, Sums},
    table::{BaseTable, SignerTable, TablePoint},
    words,
};
/// What is to be summed: a table point for each leaf of each signature, and whether it is negated. In blocks of eight
/// signatures, leaf by leaf.
pub(crate) struct Leaves<'a> {
    blocks: Vec<Block<'a>>,
    count: usize,
}

/// Eight signatures.
struct Block<'a> {
    points: [[&'a TablePoint; BLOCK]; LEAVES_ALL],
    /// A bit for each of them.
    negative: [u8; LEAVES_ALL],
}

/// Signatures in a block.
const BLOCK: usize = 8;
/// Groups of a signature.
const GROUPS: usize = LEAVES_ALL / LEAVES;

impl<'a> Leaves<'a> {
    /// For `count` signatures; a point of G stands where none is [`Leaves::put`].
    pub(crate) fn new(count: usize, base: &'a BaseTable) -> Self {
        let block = || Block {
            points: [[&base[0]; BLOCK]; LEAVES_ALL],
            negative: [0; LEAVES_ALL],
        };
        let mut blocks = Vec::new();
        blocks.resize_with(count.div_ceil(BLOCK), block);
        Self { blocks, count }
    }

    /// The leaves of a signature: its picks, from its signer's table and from that of G.
    pub(crate) fn put(
        &mut self,
        signature: usize,
        picks: &[Pick; LEAVES_ALL],
        signer: &'a SignerTable,
        base: &'a BaseTable,
    ) {
        let (block, lane) = (&mut self.blocks[signature / BLOCK], signature % BLOCK);
        for (leaf, pick) in picks.iter().enumerate() {
            let point = if pick.of_base() {
                &base[pick.index()]
            } else {
                &signer[pick.index()]
            };
            // Tables of many signers are in no near cache, nor are those of G.
            prefetch(point);
            block.points[leaf][lane] = point;
            block.negative[leaf] |= u8::from(pick.negative()) << lane;
        }
    }

    /// Signatures.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// A leaf of a signature: group and index are as in [`Source`].
    #[inline(always)]
    fn leaf(&self, signature: usize, group: usize, index: usize) -> (&'a TablePoint, bool) {
        let block = &self.blocks[signature / BLOCK];
        let (leaf, lane) = (group * LEAVES + index, signature % BLOCK);
        (block.points[leaf][lane], block.negative[leaf] >> lane & 1 == 1)
    }

    /// The same leaf of eight signatures.
    #[inline(always)]
    fn eight<L: Lanes>(&self, group: usize, index: usize) -> ([L; 8], u8) {
        let block = &self.blocks[group / GROUPS];
        let leaf = group % GROUPS * LEAVES + index;
        let [p0, p1, p2, p3, p4, p5, p6, p7] = &block.points[leaf];
        let rows = [&p0.0, &p1.0, &p2.0, &p3.0, &p4.0, &p5.0, &p6.0, &p7.0];
        (lanes::transpose(rows), block.negative[leaf])
    }

    /// The same leaf of four signatures, and a sign bit in the lanes where it is negated.
    #[inline(always)]
    fn four(&self, group: usize, index: usize) -> ([&'a TablePoint; 4], [u64; 4]) {
        let four = group / GROUPS;
        let block = &self.blocks[four / 2];
        let leaf = group % GROUPS * LEAVES + index;
        let points = block.points[leaf].as_chunks::<4>().0[four % 2];
        let negative = u64::from(block.negative[leaf]) >> (four % 2 * 4);
        let sign = |lane: u32| (negative >> lane & 1) << 63;
        (points, [sign(0), sign(1), sign(2), sign(3)])
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

impl<Q: Quads> Source<Fe4<Q>> for Leaves<'_> {
    #[inline(always)]
    fn point(&self, group: usize, index: usize) -> Point<Fe4<Q>> {
        let ([a, b, c, d], signs) = self.four(group, index);
        let x = lanes::transpose4([a.x_words(), b.x_words(), c.x_words(), d.x_words()]);
        let y = lanes::transpose4([a.y_words(), b.y_words(), c.y_words(), d.y_words()]);
        Point {
            x: Fe4::from_words(x),
            y: Fe4::from_words(y).negate_lanes(Q::load(&signs)),
        }
    }
    #[inline(always)]
    fn x(&self, group: usize, index: usize) -> Fe4<Q> {
        let ([a, b, c, d], _) = self.four(group, index);
        Fe4::from_words(lanes::transpose4([
            a.x_words(),
            b.x_words(),
            c.x_words(),
            d.x_words(),
        ]))
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

#[inline(always)]
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
    sums.evaluate(leaves, leaves.count());
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
        self.sums.evaluate(leaves, leaves.count());
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        accepts(&self.sums, signature, parts)
    }
}

/// Four signatures at a time in portable code: for tests of what the instructions would compute.
pub(crate) struct FourEmulated(Sums<Fe4<lanes::emulated::EmulatedFour>>);

impl FourEmulated {
    pub(crate) const fn new() -> Self {
        Self(Sums::new())
    }
}

impl Kernel for FourEmulated {
    fn name(&self) -> &'static str {
        "four lanes, emulated"
    }

    fn evaluate(&mut self, leaves: &Leaves<'_>) {
        self.0.evaluate(leaves, leaves.count().div_ceil(4));
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        accepts(&self.0, signature, parts)
    }
}

/// Four signatures at a time with AVX2 and FMA; fewer than four one by one, which is faster.
#[cfg(target_arch = "x86_64")]
pub(crate) struct FourFma {
    sums: Sums<Fe4<Avx2>>,
    few: OneLane,
    /// Whether `few` has the sums.
    are_few: bool,
}

#[cfg(target_arch = "x86_64")]
impl FourFma {
    /// `None` if the CPU lacks an instruction.
    pub(crate) fn detect() -> Option<Self> {
        avx2::available().then(|| Self {
            sums: Sums::new(),
            few: OneLane::new(),
            are_few: false,
        })
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi2,adx")]
fn evaluate_fma(sums: &mut Sums<Fe4<Avx2>>, leaves: &Leaves<'_>) {
    sums.evaluate(leaves, leaves.count().div_ceil(4));
}

#[cfg(target_arch = "x86_64")]
impl Kernel for FourFma {
    fn name(&self) -> &'static str {
        "four lanes, AVX2"
    }

    fn evaluate(&mut self, leaves: &Leaves<'_>) {
        self.are_few = leaves.count() < 4;
        if self.are_few {
            return self.few.evaluate(leaves);
        }
        // SAFETY: there is no `FourFma` unless `detect` found all features.
        #[expect(unsafe_code, reason = "compiled for CPU features that were detected")]
        unsafe {
            evaluate_fma(&mut self.sums, leaves);
        }
    }

    fn accepts(&self, signature: usize, parts: &Parts) -> bool {
        if self.are_few {
            return self.few.accepts(signature, parts);
        }
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
        self.0.evaluate(leaves, leaves.count().div_ceil(8));
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
    sums.evaluate(leaves, leaves.count().div_ceil(8));
}

/// Compiled for the same features as what made the sums: what takes lanes out of them is inlined.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma,bmi2,adx")]
fn accepts_ifma(sums: &Sums<Fe8<Avx512>>, signature: usize, parts: &Parts) -> bool {
    accepts(sums, signature, parts)
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
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "compiled for CPU features that were detected")]
        unsafe {
            accepts_ifma(&self.0, signature, parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cached, Engine, Item, Key, Signature, Tables, Verdict, layout};
    use k256::{
        ProjectivePoint, Scalar,
        elliptic_curve::{
            Field as _, PrimeField, ops::Reduce, point::AffineCoordinates, scalar::IsHigh, sec1::ToSec1Point,
        },
    };
    use std::sync::Arc;

    fn bytes(scalar: &Scalar) -> [u8; 32] {
        scalar.to_repr().into()
    }
    fn halves(scalar: &Scalar) -> [[u64; 3]; 2] {
        order::split(&words::from_be(&bytes(scalar)))
    }
    fn power_of_two(exponent: usize) -> Scalar {
        Scalar::from(2_u64).pow_vartime([u64::try_from(exponent).unwrap()])
    }
    /// The multiple of G or of the key that a pick of column 0 stands for.
    fn multiple(pick: Pick) -> Scalar {
        let (row, bits) = if pick.of_base() {
            (layout::BASE_ROW, layout::BASE_BITS)
        } else {
            (layout::SIGNER_ROW, layout::SIGNER_BITS * layout::COLUMNS)
        };
        let odd = Scalar::from(u64::try_from(2 * (pick.index() % row) + 1).unwrap());
        let value = odd * power_of_two(pick.index() / row * bits);
        if pick.negative() { -value } else { value }
    }

    /// A signature whose nonce point is u1 G + u2 d G.
    fn signed(d: &Scalar, u1: &Scalar, u2: &Scalar) -> (Key, [u8; 32], [u8; 64]) {
        let affine = |scalar: &Scalar| (ProjectivePoint::GENERATOR * scalar).to_affine();
        let r = <Scalar as Reduce<k256::FieldBytes>>::reduce(&affine(&(*u1 + *u2 * d)).x());
        let s = r * u2.invert().unwrap();
        let low = if bool::from(s.is_high()) { -s } else { s };
        let key = Key::from_sec1(affine(d).to_sec1_point(false).as_bytes()).unwrap();
        let signature = [bytes(&r), bytes(&low)].concat().try_into().unwrap();
        (key, bytes(&(*u1 * s)), signature)
    }

    /// Two leaves that the first level adds are made equal, or opposite: the key is chosen for it. The lane is
    /// marked, the reference accepts the signature, and no other lane of the batch notices.
    #[test]
    fn equal_and_opposite_points_are_left_to_the_reference() {
        let (signer_leaf, base_leaf) = (layout::signer_windows(0) - 1, layout::signer_windows(0));
        assert!(
            signer_leaf % 2 == 0 && base_leaf < LEAVES,
            "the two are added first"
        );
        let number = |at: u64| {
            <Scalar as Reduce<k256::FieldBytes>>::reduce(&{
                let hash = alloy_primitives::keccak256(at.to_be_bytes()).0;
                k256::FieldBytes::from(hash)
            })
        };
        let mut made = Vec::new();
        for at in 0..40 {
            let mut u = [number(3 * at + 1), number(3 * at + 2)];
            // The verifier sees -u1 and -u2 if s had to be negated: find scalars for which it sees these.
            let mut d = number(3 * at + 3);
            if at % 5 == 0 {
                for sign in [1, -1] {
                    if sign == -1 {
                        u = u.map(|u| -u);
                    }
                    let mut picks = [Pick::NONE; LEAVES_ALL];
                    layout::picks(&halves(&u[0]), &halves(&u[1]), |leaf, pick| picks[leaf] = pick);
                    let (signer, base) = (multiple(picks[signer_leaf]), multiple(picks[base_leaf]));
                    d = base * signer.invert().unwrap();
                    if at % 10 == 0 {
                        d = -d;
                    }
                    let (_, digest, signature) = signed(&d, &u[0], &u[1]);
                    let s = words::from_be(signature.last_chunk().unwrap());
                    let z = words::from_be(&digest);
                    if words::to_be(&order::mul(&z, &order::invert(&s))) == bytes(&u[0]) {
                        break;
                    }
                    assert_eq!(sign, 1, "one of the two signs has a low s");
                }
            }
            made.push(signed(&d, &u[0], &u[1]));
        }
        let items: Vec<_> = made
            .iter()
            .map(|(key, digest, signature)| Item {
                key,
                digest,
                signature: Signature::Plain(signature),
            })
            .collect();
        let tables = Arc::new(Tables::new(usize::MAX));
        made.iter().for_each(|(key, ..)| tables.want(key));
        tables.build_wanted(usize::MAX);
        for mut engine in Cached::all(&tables) {
            let mut verdicts = vec![Verdict::Malformed; items.len()];
            engine.verify(&items, &mut verdicts);
            assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Valid));
            assert_eq!(engine.counts().rechecked, 8, "{}", engine.name());
        }
    }
}
