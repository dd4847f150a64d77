//! Merkle trees (OpenZeppelin's commutative pairs) and batch signatures over them.
//!
//! Leaves stay in the order given; neighbours are paired level by level; an odd last node moves up unchanged.

use crate::{Digest, Domain, Reject, abi, hash::keccak, limits};
use alloy_primitives::B256;

/// A node from its two children, smaller one first.
#[must_use]
pub fn pair(a: &Digest, b: &Digest) -> Digest {
    Digest(keccak(&pair_bytes(a, b)))
}

fn pair_bytes(a: &Digest, b: &Digest) -> [u8; 64] {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut bytes = [0; 64];
    let (left, right) = bytes.split_at_mut(32);
    left.copy_from_slice(&low.0);
    right.copy_from_slice(&high.0);
    bytes
}

/// All levels of a tree, leaves first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// Builds the tree. The root of no leaves is zero.
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        Self::hashed_by(leaves, |pairs| {
            pairs.iter().map(|bytes| Digest(keccak(bytes))).collect()
        })
    }

    /// The same with somebody else's Keccak-256 of many messages: `keccak_each` gives one digest for each.
    #[must_use]
    pub fn hashed_by(leaves: Vec<Digest>, keccak_each: impl Fn(&[[u8; 64]]) -> Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|level| level.len() > 1) {
            let (pairs, odd) = last.as_chunks::<2>();
            let pairs: Vec<[u8; 64]> = pairs.iter().map(|[a, b]| pair_bytes(a, b)).collect();
            let mut next = keccak_each(&pairs);
            next.extend(odd);
            levels.push(next);
        }
        Self { levels }
    }

    /// One leaf more; to be repaired from it on.
    pub(crate) fn push(&mut self, leaf: Digest) {
        match self.levels.first_mut() {
            Some(leaves) => leaves.push(leaf),
            None => self.levels.push(vec![leaf]),
        }
    }

    /// Takes out the leaf at `index`, which must be there; to be repaired from it on.
    pub(crate) fn remove(&mut self, index: usize) {
        if let Some(leaves) = self.levels.first_mut() {
            leaves.remove(index);
        }
    }

    /// Hashes again what hangs on the leaves from `from` on; those before it have not changed.
    pub(crate) fn repair(&mut self, mut from: usize) {
        let mut depth = 0_usize;
        while let Some(level) = self.levels.get(depth).filter(|level| level.len() > 1) {
            from >>= 1;
            let changed = level.get(from << 1..).unwrap_or_default();
            let (pairs, odd) = changed.as_chunks::<2>();
            let nodes: Vec<Digest> = pairs
                .iter()
                .map(|[a, b]| pair(a, b))
                .chain(odd.iter().copied())
                .collect();
            depth = depth.saturating_add(1);
            match self.levels.get_mut(depth) {
                Some(above) => {
                    above.truncate(from);
                    above.extend(nodes);
                }
                None => self.levels.push(nodes),
            }
        }
        self.levels.truncate(depth.saturating_add(1));
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.levels
            .last()
            .and_then(|level| level.first())
            .copied()
            .unwrap_or_default()
    }

    /// The siblings from the leaf at `index` up to the root; empty for an index beyond the leaves.
    #[must_use]
    pub fn proof(&self, index: usize) -> Vec<Digest> {
        let mut proof = Vec::with_capacity(self.levels.len());
        proof.extend(self.siblings(index).copied());
        proof
    }

    /// What [`Tree::proof`] is made of.
    pub fn siblings(&self, index: usize) -> impl Iterator<Item = &Digest> + Clone {
        let leaves = self.levels.first().map_or(0, Vec::len);
        let levels = if index < leaves {
            self.levels.as_slice()
        } else {
            &[]
        };
        let levels = levels.iter().enumerate();
        levels.filter_map(move |(depth, level)| level.get((index >> depth) ^ 1))
    }
}

/// The root that `leaf` and `proof` lead to. Errors: [`Reject::ProofTooDeep`], before any hashing.
pub fn root_of(leaf: &Digest, proof: &[Digest]) -> Result<Digest, Reject> {
    if proof.len() > limits::PROOF_DEPTH_MAX {
        return Err(Reject::ProofTooDeep {
            max: limits::PROOF_DEPTH_MAX,
            got: proof.len(),
        });
    }
    Ok(proof.iter().fold(*leaf, |node, sibling| pair(&node, sibling)))
}

/// EIP-712 digest of `Batch(root)`: what the hub's one signature per commit covers.
#[must_use]
pub fn batch_digest(domain: &Domain, root: &Digest) -> Digest {
    domain.digest(&abi::Batch {
        root: B256::from(root.0),
    })
}
