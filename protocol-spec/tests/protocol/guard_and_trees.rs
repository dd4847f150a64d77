//! The signing guard and the Merkle trees.

use crate::common::*;
use protocol_spec::{
    ChannelId, Digest, GuardError, Seq, Side, SignedVoucher, SigningGuard, VoucherSignature,
    batch::{Tree, batch_digest, pair, root_of},
    limits,
};

#[test]
fn guard_permits_once_and_again_but_never_a_second_digest_or_an_older_seq() {
    let (a, b) = (ChannelId([1; 32]), ChannelId([2; 32]));
    let (x, y) = (Digest([1; 32]), Digest([2; 32]));
    let mut guard = SigningGuard::default();
    guard.permit(a, Seq(5), x).unwrap();
    guard.permit(a, Seq(5), x).unwrap();
    assert!(matches!(
        guard.permit(a, Seq(5), y),
        Err(GuardError::SecondDigest { .. })
    ));
    assert!(matches!(
        guard.permit(a, Seq(4), y),
        Err(GuardError::OlderSeq { .. })
    ));
    assert!(matches!(
        guard.permit(a, Seq(4), x),
        Err(GuardError::OlderSeq { .. })
    ));
    guard.permit(b, Seq(5), y).unwrap();
    guard.permit(a, Seq(9), y).unwrap();
    guard.forget(&a);
    guard.permit(a, Seq(1), y).unwrap();
}

#[test]
fn every_leaf_of_every_tree_is_proven() {
    for count in 0..70_usize {
        let leaves: Vec<_> = (0..count).map(|n| Digest([n as u8; 32])).collect();
        let tree = Tree::new(leaves.clone());
        for (index, leaf) in leaves.iter().enumerate() {
            assert_eq!(root_of(leaf, &tree.proof(index)).unwrap(), tree.root());
            assert!(tree.proof(index).is_empty() == (count == 1));
        }
        for beyond in [count, count + 1, usize::MAX] {
            assert!(tree.proof(beyond).is_empty());
        }
    }
    assert_eq!(Tree::new(vec![]).root(), Digest::ZERO);
}

#[test]
fn pairs_commute_and_proofs_are_bounded() {
    let (a, b) = (Digest([1; 32]), Digest([2; 32]));
    assert_eq!(pair(&a, &b), pair(&b, &a));
    assert!(root_of(&a, &[b; limits::PROOF_DEPTH_MAX]).is_ok());
    assert_eq!(
        name(root_of(&a, &[b; limits::PROOF_DEPTH_MAX + 1])),
        "ProofTooDeep"
    );
}

#[test]
fn batch_signatures_prove_each_voucher_and_nothing_else() {
    let w = World::new();
    let voucher = w
        .forge(Side::Hub, &[credit(1, 1)], |_| {})
        .verified
        .voucher()
        .clone();
    let tree = Tree::new(vec![Digest([1; 32]), voucher.digest(&domain()), Digest([3; 32])]);
    let root_signature = key(2).sign(&batch_digest(&domain(), &tree.root()));
    let with = |proof| SignedVoucher {
        voucher: voucher.clone(),
        signature: VoucherSignature::Batch {
            root_signature,
            proof,
        },
    };
    let good = with(tree.proof(1));
    assert_eq!(good.signature.to_bytes().len(), 65 + 32 * 2);
    good.verify(&domain(), &key(2).public(), true).unwrap();
    assert_eq!(
        name(with(tree.proof(0)).verify(&domain(), &key(2).public(), true)),
        "SignatureInvalid"
    );
    assert_eq!(
        name(with(vec![]).verify(&domain(), &key(2).public(), true)),
        "SignatureMalformed"
    );
    assert_eq!(
        name(with(vec![Digest::ZERO; 17]).verify(&domain(), &key(2).public(), true)),
        "ProofTooDeep"
    );
}
