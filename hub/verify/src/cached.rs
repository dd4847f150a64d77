//! The engine with cached tables: one signature at a time through the field, many at a time through each inversion.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "indices follow from the layout and from the batch's own length"
)]

use crate::{
    Counts, Engine, Item, Tables, Verdict,
    item::Parts,
    kernel::{EightEmulated, FourEmulated, Kernel, Leaves, OneLane},
    layout::{self, LEAVES_ALL, Pick},
    order,
    portable::Portable,
    reference,
    table::{self, BaseTable},
    tables::SharedTable,
    words::{self, U256},
};
#[cfg(target_arch = "x86_64")]
use crate::{
    kernel::{EightIfma, FourFma},
    known,
};
use std::sync::Arc;

/// Signatures that share one set of inversions. More would gain little and leave the L2 cache.
const CHUNK: usize = 64;

/// Verifies with cached tables; keys without tables go to [`crate::Portable`] until [`Tables`] has some.
/// Whatever is not accepted is decided by [`crate::Reference`].
pub struct Cached {
    tables: Arc<Tables>,
    base: &'static BaseTable,
    kernel: Box<dyn Kernel>,
    /// For a signature that is alone in its chunk: lanes that stay empty cost as much as full ones.
    alone: OneLane,
    portable: Portable,
    chunk: Vec<Pending>,
    signer_tables: Vec<SharedTable>,
    /// Places of items whose keys have no tables.
    cold: Vec<usize>,
    inverses: Vec<U256>,
    rechecked: u64,
    with_tables: u64,
    without_tables: u64,
}

/// A signature of the chunk.
#[derive(Clone, Copy)]
struct Pending {
    /// Its place in the batch.
    item: usize,
    parts: Parts,
}

impl Cached {
    /// The fastest that the CPU can do, over shared `tables`: eight lanes, four, or one.
    #[must_use]
    pub fn new(tables: Arc<Tables>) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if known::eight_lanes_answer_right()
                && let Some(engine) = Self::eight(Arc::clone(&tables))
            {
                return engine;
            }
            if known::four_lanes_answer_right()
                && let Some(engine) = Self::four(Arc::clone(&tables))
            {
                return engine;
            }
        }
        Self::one_lane(tables)
    }

    /// Every kernel that can run here, also those that [`Cached::new`] would not take, and the emulated ones; for tests.
    #[must_use]
    pub fn all(tables: &Arc<Tables>) -> Vec<Self> {
        let mut out = vec![
            Self::one_lane(Arc::clone(tables)),
            Self::with(Arc::clone(tables), Box::new(FourEmulated::new())),
            Self::with(Arc::clone(tables), Box::new(EightEmulated::new())),
        ];
        #[cfg(target_arch = "x86_64")]
        out.extend(
            [Self::four(Arc::clone(tables)), Self::eight(Arc::clone(tables))]
                .into_iter()
                .flatten(),
        );
        out
    }

    /// The eight-lane kernel with the CPU's own instructions; `None` if it lacks one.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn eight(tables: Arc<Tables>) -> Option<Self> {
        let kernel = EightIfma::detect()?;
        Some(Self::with(tables, Box::new(kernel)))
    }

    /// The four-lane kernel, likewise.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn four(tables: Arc<Tables>) -> Option<Self> {
        let kernel = FourFma::detect()?;
        Some(Self::with(tables, Box::new(kernel)))
    }

    /// The kernel for every CPU, one signature at a time.
    #[must_use]
    pub fn one_lane(tables: Arc<Tables>) -> Self {
        Self::with(tables, Box::new(OneLane::new()))
    }

    fn with(tables: Arc<Tables>, kernel: Box<dyn Kernel>) -> Self {
        Self {
            tables,
            base: table::base(),
            kernel,
            alone: OneLane::new(),
            portable: Portable::default(),
            chunk: Vec::with_capacity(CHUNK),
            signer_tables: Vec::with_capacity(CHUNK),
            cold: Vec::with_capacity(CHUNK),
            inverses: Vec::with_capacity(CHUNK),
            rechecked: 0,
            with_tables: 0,
            without_tables: 0,
        }
    }

    /// Decides what is malformed or has no table; the rest becomes the chunk.
    fn admit(&mut self, batch: &[Item<'_>], verdicts: &mut [Verdict]) {
        self.chunk.clear();
        self.signer_tables.clear();
        self.cold.clear();
        let tables = self.tables.read();
        for (at, item) in batch.iter().enumerate() {
            let Some(parts) = item.signature.parts() else {
                verdicts[at] = Verdict::Malformed;
                continue;
            };
            match tables.find(item.key) {
                Some(table) => {
                    self.chunk.push(Pending { item: at, parts });
                    self.signer_tables.push(table);
                }
                None => self.cold.push(at),
            }
        }
    }

    /// u1 = z / s and u2 = r / s for the chunk, as points to be summed.
    fn plan<'a>(&mut self, batch: &[Item<'_>], tables: &'a [SharedTable], base: &'a BaseTable) -> Leaves<'a> {
        self.inverses.clear();
        let mut product = [1, 0, 0, 0];
        for pending in &self.chunk {
            self.inverses.push(product);
            product = order::mul(&product, &pending.parts.s);
        }
        let mut inverse = order::invert(&product);
        let mut leaves = Leaves::new(tables.len(), base);
        let mut picks = [Pick::NONE; LEAVES_ALL];
        for (at, pending) in self.chunk.iter().enumerate().rev() {
            let s_inverse = order::mul(&inverse, &self.inverses[at]);
            inverse = order::mul(&inverse, &pending.parts.s);
            let z = order::reduce(&words::from_be(batch[pending.item].digest));
            let u1 = order::split(&order::mul(&z, &s_inverse));
            let u2 = order::split(&order::mul(&pending.parts.r, &s_inverse));
            layout::picks(&u1, &u2, |leaf, pick| picks[leaf] = pick);
            leaves.put(at, &picks, &tables[at], base);
        }
        leaves
    }
}

impl Engine for Cached {
    fn name(&self) -> &'static str {
        self.kernel.name()
    }

    fn counts(&self) -> Counts {
        Counts {
            rechecked: self.rechecked,
            with_tables: self.with_tables,
            without_tables: self.without_tables,
        }
    }

    fn verify(&mut self, batch: &[Item<'_>], verdicts: &mut [Verdict]) {
        self.verify_with(batch, verdicts, &mut |at| reference::check(&batch[at]));
    }
}

impl Cached {
    /// [`Engine::verify`] with another reference: `judge(place)` decides the item in that place of the batch. For tests,
    /// that know what k256 says.
    pub fn verify_with(
        &mut self,
        batch: &[Item<'_>],
        verdicts: &mut [Verdict],
        judge: &mut dyn FnMut(usize) -> Verdict,
    ) {
        assert_eq!(batch.len(), verdicts.len(), "one verdict per item");
        let chunks = batch.chunks(CHUNK).zip(verdicts.chunks_mut(CHUNK));
        for ((batch, verdicts), first) in chunks.zip((0..).step_by(CHUNK)) {
            self.admit(batch, verdicts);
            for at in &self.cold {
                let item = &batch[*at];
                self.without_tables += 1;
                verdicts[*at] = match self.portable.check(item) {
                    Verdict::Valid => {
                        self.tables.want(item.key);
                        Verdict::Valid
                    }
                    _ => judge(first + at),
                };
            }
            if !self.chunk.is_empty() {
                self.with_tables += self.chunk.len() as u64;
                self.run(batch, verdicts, first, judge);
            }
        }
    }

    fn run(
        &mut self,
        batch: &[Item<'_>],
        verdicts: &mut [Verdict],
        first: usize,
        judge: &mut dyn FnMut(usize) -> Verdict,
    ) {
        // Borrowed by the leaves.
        let tables = std::mem::take(&mut self.signer_tables);
        let leaves = self.plan(batch, &tables, self.base);
        let kernel: &mut dyn Kernel = match self.chunk.len() {
            1 => &mut self.alone,
            _ => self.kernel.as_mut(),
        };
        kernel.evaluate(&leaves);
        drop(leaves);
        self.signer_tables = tables;
        for (at, pending) in self.chunk.iter().enumerate() {
            verdicts[pending.item] = if kernel.accepts(at, &pending.parts) {
                Verdict::Valid
            } else {
                self.rechecked += 1;
                judge(first + pending.item)
            };
        }
    }
}
