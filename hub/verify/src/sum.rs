//! Sums of affine points, many at a time: every level of additions shares one inversion.
//!
//! An affine addition costs 5 multiplications and a squaring, 3 of them for its share of the inversion
//! (Montgomery's trick); a mixed Jacobian one costs 8 and 3. The formulas have two exceptions: equal points and
//! opposite points. Both show as a zero denominator; the lane is marked, its value is meaningless from there on,
//! and the caller asks another engine.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::needless_range_loop,
    reason = "indices follow from the layout, which the buffers are sized by; wrong ones panic in the first test"
)]

use crate::field::{BETA, Field};
use crate::layout::{COLUMNS, LEAVES, SIGNER_BITS};

/// An affine point; never the identity.
#[derive(Clone, Copy)]
pub(crate) struct Point<F> {
    pub(crate) x: F,
    pub(crate) y: F,
}

/// A Jacobian point: (x / z^2, y / z^3).
#[derive(Clone, Copy)]
pub(crate) struct Jacobian<F> {
    pub(crate) x: F,
    pub(crate) y: F,
    pub(crate) z: F,
}

impl<F: Field> Jacobian<F> {
    /// 2 * point.
    #[inline(always)]
    pub(crate) fn twice(point: &Point<F>) -> Self {
        let z = point.y.add(&point.y);
        Self::doubled(&point.x, &point.y, z)
    }

    /// 2 * self. Exact also for a zero z, which stays zero.
    #[inline(always)]
    pub(crate) fn double(&self) -> Self {
        let yz = self.y.mul(&self.z);
        Self::doubled(&self.x, &self.y, yz.add(&yz))
    }

    #[inline(always)]
    fn doubled(x: &F, y: &F, z: F) -> Self {
        let xx = x.square();
        let yy = y.square();
        let yyyy = yy.square();
        let half = x.mul(&yy);
        let two = half.add(&half);
        let d = two.add(&two);
        let e = xx.add(&xx).add(&xx);
        let x3 = e.square().sub(&d).sub(&d);
        let y2 = yyyy.add(&yyyy);
        let y4 = y2.add(&y2);
        let y3 = e.mul(&d.sub(&x3)).sub(&y4).sub(&y4);
        Self { x: x3, y: y3, z }
    }
}

/// Work that needs one inverse per item: items are numbered by group and index within the group.
pub(crate) trait Step<F> {
    /// May be a [`Field::difference`].
    fn denominator(&self, group: usize, index: usize) -> F;
    fn apply(&mut self, group: usize, index: usize, inverse: &F);
}

/// Buffers of the shared inversion.
pub(crate) struct Inverses<F> {
    denominators: Vec<F>,
    products: Vec<F>,
}

/// Independent running products, so that one multiplication need not wait for the one before.
const CHAINS: usize = 2;

impl<F: Field> Inverses<F> {
    pub(crate) const fn new() -> Self {
        Self {
            denominators: Vec::new(),
            products: Vec::new(),
        }
    }

    /// Runs `step` for `groups` times `count` items. Lanes with a zero denominator are marked in `exceptional`,
    /// which has one entry for every `groups_per_block` groups.
    #[inline(always)]
    pub(crate) fn run<S: Step<F>>(
        &mut self,
        groups: usize,
        count: usize,
        step: &mut S,
        exceptional: &mut [u8],
        groups_per_block: usize,
    ) {
        let items = groups * count;
        let one = F::splat(&[1, 0, 0, 0]);
        if self.products.len() < items {
            self.products.resize(items, one);
            self.denominators.resize(items, one);
        }
        let denominators = &mut self.denominators[..items];
        let products = &mut self.products[..items];
        let mut item = 0;
        for group in 0..groups {
            for index in 0..count {
                denominators[item] = step.denominator(group, index);
                item += 1;
            }
        }
        let mut inverses = Self::multiply_up(denominators, products);
        let product = inverses[0].mul(&inverses[1]);
        if product.zeros() != 0 {
            // Rare, and no more than one more pass over the denominators: ones take the place of zeros.
            let mut item = 0;
            for group in 0..groups {
                for _ in 0..count {
                    let zeros = denominators[item].zeros();
                    exceptional[group / groups_per_block] |= zeros;
                    denominators[item] = denominators[item].select(&one, zeros);
                    item += 1;
                }
            }
            inverses = Self::multiply_up(denominators, products);
        }
        let inverse = inverses[0].mul(&inverses[1]).invert();
        inverses = [inverse.mul(&inverses[1]), inverse.mul(&inverses[0])];
        let mut item = items;
        for group in (0..groups).rev() {
            for index in (0..count).rev() {
                item -= 1;
                let chain = &mut inverses[item % CHAINS];
                let one_inverse = chain.mul(&products[item]);
                *chain = chain.mul(&denominators[item]);
                step.apply(group, index, &one_inverse);
            }
        }
    }

    #[inline(always)]
    fn multiply_up(denominators: &[F], products: &mut [F]) -> [F; CHAINS] {
        let mut running = [F::splat(&[1, 0, 0, 0]); CHAINS];
        for (item, (denominator, product)) in denominators.iter().zip(products.iter_mut()).enumerate() {
            let chain = &mut running[item % CHAINS];
            *product = *chain;
            *chain = chain.mul(denominator);
        }
        running
    }
}

/// Where the points of a group come from.
pub(crate) trait Source<F> {
    fn point(&self, group: usize, index: usize) -> Point<F>;
    fn x(&self, group: usize, index: usize) -> F;
}

/// Points in memory, `count` for each group.
struct Memory<'a, F> {
    points: &'a [Point<F>],
    count: usize,
}
impl<F: Field> Source<F> for Memory<'_, F> {
    #[inline(always)]
    fn point(&self, group: usize, index: usize) -> Point<F> {
        self.points[group * self.count + index]
    }
    #[inline(always)]
    fn x(&self, group: usize, index: usize) -> F {
        self.points[group * self.count + index].x
    }
}

/// `a + b` with the inverse of `b.x - a.x`.
#[inline(always)]
pub(crate) fn add<F: Field>(a: &Point<F>, b: &Point<F>, inverse: &F) -> Point<F> {
    let slope = b.y.difference(&a.y).mul(inverse);
    let x = slope.square_sub(&a.x, &b.x);
    let y = slope.mul_sub(&a.x.difference(&x), &a.y);
    Point { x, y }
}

/// One level of a tree: neighbours are added, an odd last one is kept.
struct Level<'a, F, S> {
    source: &'a S,
    count: usize,
    out: &'a mut [Point<F>],
}
impl<F: Field, S: Source<F>> Step<F> for Level<'_, F, S> {
    #[inline(always)]
    fn denominator(&self, group: usize, index: usize) -> F {
        self.source
            .x(group, 2 * index + 1)
            .difference(&self.source.x(group, 2 * index))
    }
    #[inline(always)]
    fn apply(&mut self, group: usize, index: usize, inverse: &F) {
        let a = self.source.point(group, 2 * index);
        let b = self.source.point(group, 2 * index + 1);
        let count = self.count.div_ceil(2);
        self.out[group * count + index] = add(&a, &b, inverse);
        if index == 0 && self.count % 2 == 1 {
            self.out[group * count + count - 1] = self.source.point(group, self.count - 1);
        }
    }
}

/// Jacobian points to affine ones.
pub(crate) struct ToAffine<'a, F> {
    pub(crate) from: &'a [Jacobian<F>],
    pub(crate) to: &'a mut [Point<F>],
}
impl<F: Field> Step<F> for ToAffine<'_, F> {
    #[inline(always)]
    fn denominator(&self, group: usize, _index: usize) -> F {
        self.from[group].z
    }
    #[inline(always)]
    fn apply(&mut self, group: usize, _index: usize, inverse: &F) {
        let square = inverse.square();
        let from = &self.from[group];
        self.to[group] = Point {
            x: from.x.mul(&square),
            y: from.y.mul(&square).mul(inverse),
        };
    }
}

/// Buffers for the sums of a batch.
pub(crate) struct Sums<F> {
    inverses: Inverses<F>,
    front: Vec<Point<F>>,
    back: Vec<Point<F>>,
    jacobian: Vec<Jacobian<F>>,
    /// The sum of each block, after [`Sums::evaluate`].
    pub(crate) results: Vec<Point<F>>,
    /// For each block the lanes whose sum means nothing.
    pub(crate) exceptional: Vec<u8>,
}

impl<F: Field> Sums<F> {
    pub(crate) const fn new() -> Self {
        Self {
            inverses: Inverses::new(),
            front: Vec::new(),
            back: Vec::new(),
            jacobian: Vec::new(),
            results: Vec::new(),
            exceptional: Vec::new(),
        }
    }

    fn reserve(&mut self, blocks: usize) {
        let zero = F::splat(&[0; 4]);
        let point = Point { x: zero, y: zero };
        let points = blocks * COLUMNS * 2 * LEAVES.div_ceil(2);
        if self.front.len() < points {
            self.front.resize(points, point);
            self.back.resize(points, point);
        }
        self.results.resize(blocks, point);
        self.jacobian.resize(
            blocks,
            Jacobian {
                x: zero,
                y: zero,
                z: zero,
            },
        );
        self.exceptional.clear();
        self.exceptional.resize(blocks, 0);
    }

    /// Sums the leaves of every block: `2 * COLUMNS` groups of `LEAVES` points each, in the order of
    /// [`crate::layout`].
    #[inline(always)]
    pub(crate) fn evaluate<S: Source<F>>(&mut self, leaves: &S, blocks: usize) {
        self.reserve(blocks);
        let groups = blocks * COLUMNS * 2;
        self.level(leaves, groups, LEAVES);
        let (mut groups, mut count, mut halves) = (groups, LEAVES.div_ceil(2), 2);
        loop {
            if count == 1 {
                if halves == 1 {
                    break;
                }
                // Of two neighbours the second is the half that belongs to the endomorphism.
                let beta = F::splat(&BETA);
                for pair in self.front[..groups].chunks_exact_mut(2) {
                    pair[1].x = pair[1].x.mul(&beta);
                }
                (groups, count, halves) = (groups / 2, 2, 1);
            }
            self.fold(groups, count);
            count = count.div_ceil(2);
        }
        for block in 0..blocks {
            self.results[block] = self.front[block * COLUMNS + COLUMNS - 1];
        }
        for column in (0..COLUMNS - 1).rev() {
            self.shift_and_add(blocks, column);
        }
    }

    /// results = results * 2^SIGNER_BITS + front[column].
    #[inline(always)]
    fn shift_and_add(&mut self, blocks: usize, column: usize) {
        for (point, jacobian) in self.results.iter().zip(self.jacobian.iter_mut()) {
            *jacobian = Jacobian::twice(point);
            for _ in 1..SIGNER_BITS {
                *jacobian = jacobian.double();
            }
        }
        let mut step = ToAffine {
            from: &self.jacobian,
            to: &mut self.results,
        };
        self.inverses.run(blocks, 1, &mut step, &mut self.exceptional, 1);
        for block in 0..blocks {
            self.back[2 * block] = self.results[block];
            self.back[2 * block + 1] = self.front[block * COLUMNS + column];
        }
        let pairs = Memory {
            points: &self.back,
            count: 2,
        };
        let mut step = Level {
            source: &pairs,
            count: 2,
            out: &mut self.results,
        };
        self.inverses.run(blocks, 1, &mut step, &mut self.exceptional, 1);
    }

    #[inline(always)]
    fn level<S: Source<F>>(&mut self, source: &S, groups: usize, count: usize) {
        let mut step = Level {
            source,
            count,
            out: &mut self.front,
        };
        let per_block = groups / self.exceptional.len();
        self.inverses
            .run(groups, count / 2, &mut step, &mut self.exceptional, per_block);
    }

    /// front = one level above front.
    #[inline(always)]
    fn fold(&mut self, groups: usize, count: usize) {
        let from = std::mem::take(&mut self.front);
        self.front = std::mem::take(&mut self.back);
        self.level(&Memory { points: &from, count }, groups, count);
        self.back = from;
    }
}
