//! Batch proofs: a proof leads to the root for its own leaf and for no other, whatever is changed in it.

use crate::bytes::Bytes;
use protocol_spec::{Digest, batch};

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let count = usize::from(bytes.byte()) + 1;
    let leaves: Vec<Digest> = (0..count)
        .map(|number| {
            let mut leaf = [0; 32];
            leaf[..2].copy_from_slice(&(number as u16).to_le_bytes());
            leaf[2] = bytes.byte();
            Digest(leaf)
        })
        .collect();
    let tree = batch::Tree::new(leaves.clone());
    let root = tree.root();
    let at = usize::from(bytes.byte()) % count;
    let proof = tree.proof(at);
    let leads = |leaf: &Digest, proof: &[Digest]| batch::root_of(leaf, proof).ok() == Some(root);
    // A tree of one leaf has no proof: such a voucher is signed alone.
    if proof.is_empty() {
        return assert_eq!(count, 1);
    }
    assert!(leads(&leaves[at], &proof));
    let mut changed = proof.clone();
    match bytes.below(4) {
        0 => {
            let place = usize::from(bytes.byte()) % changed.len();
            changed[place].0[usize::from(bytes.below(32))] ^= bytes.byte();
        }
        1 => drop(changed.pop()),
        2 => changed.push(Digest(bytes.array())),
        _ => {
            let place = usize::from(bytes.byte()) % changed.len();
            changed.swap(0, place);
        }
    }
    // Pairs are sorted, so a swap may change nothing.
    assert_eq!(leads(&leaves[at], &changed), changed == proof);
    let stranger = Digest(bytes.array());
    assert!(leaves.contains(&stranger) || !leads(&stranger, &proof));
}
