//! Keccak-256 of many equal messages at a time, as `hub-verify` does it: EIP-712 digests and Merkle trees.

use hub_verify::keccak256_each;
use protocol_spec::{ChannelId, Credit, Digest, Domain, EncodedStruct, PaymentId, batch::Tree};

/// EIP-712 digests of encoded structs, in their order.
#[must_use]
pub fn of_structs(domain: &Domain, encoded: &[EncodedStruct]) -> Vec<Digest> {
    let hashes = keccak_each(encoded);
    let preimages: Vec<[u8; 66]> = hashes.iter().map(|hash| domain.preimage(&hash.0)).collect();
    keccak_each(&preimages)
}

/// What `Credit::payer_of` is for each payment, in their order.
pub(crate) fn payers(payments: impl Iterator<Item = (ChannelId, PaymentId)>) -> Vec<Digest> {
    let preimages = payments.map(|(channel, id)| Credit::payer_preimage(&channel, &id));
    keccak_each(&preimages.collect::<Vec<_>>())
}

/// The Merkle tree over `leaves`.
#[must_use]
pub fn tree(leaves: Vec<Digest>) -> Tree {
    Tree::hashed_by(leaves, keccak_each)
}

fn keccak_each<const N: usize>(messages: &[[u8; N]]) -> Vec<Digest> {
    let mut hashes = vec![[0; 32]; messages.len()];
    keccak256_each(messages.as_flattened(), &mut hashes);
    hashes.into_iter().map(Digest).collect()
}

#[cfg(test)]
pub(crate) mod samples {
    use protocol_spec::{Amount, ChannelId, Digest, PaymentId, Receipt, Seq, UnixSeconds, Voucher};

    pub(crate) fn voucher(number: u8) -> Voucher {
        Voucher {
            channel_id: ChannelId([number; 32]),
            seq: Seq(u64::from(number) << 20),
            paid: Amount(u128::from(number) << 70),
            ack_seq: Seq(u64::from(number)),
            ack_paid: Amount(1 << 87),
            locks: Digest([3; 32]),
            history: Digest([number; 32]),
        }
    }

    pub(crate) fn receipt(number: u8) -> Receipt {
        Receipt {
            payment_id: PaymentId([number; 16]),
            invoice: Digest([7; 32]),
            payer: Digest([number; 32]),
            payee_channel: ChannelId([9; 32]),
            payee_seq: Seq(u64::from(number)),
            amount: Amount(u128::from(number) << 80),
            at: UnixSeconds(1_700_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        samples::{receipt, voucher},
        *,
    };
    use protocol_spec::{Address, Receipt, Voucher};

    #[test]
    fn many_digests_are_those_of_alloy_one_by_one() {
        let domain = Domain::new(31_337, Address::repeat_byte(3));
        for count in 0..40 {
            let vouchers: Vec<Voucher> = (0..count).map(voucher).collect();
            let encoded: Vec<_> = vouchers.iter().map(Voucher::encoded).collect();
            let expected: Vec<_> = vouchers.iter().map(|one| domain.digest(&one.to_abi())).collect();
            assert_eq!(of_structs(&domain, &encoded), expected);
            let receipts: Vec<Receipt> = (0..count).map(receipt).collect();
            let encoded: Vec<_> = receipts.iter().map(Receipt::encoded).collect();
            let expected: Vec<_> = receipts.iter().map(|one| domain.digest(&one.to_abi())).collect();
            assert_eq!(of_structs(&domain, &encoded), expected);
        }
    }

    #[test]
    fn payers_are_those_of_the_protocol() {
        let payments: Vec<_> = (0..9)
            .map(|number| (ChannelId([number; 32]), PaymentId([number | 64; 16])))
            .collect();
        let expected: Vec<_> = payments
            .iter()
            .map(|(channel, id)| Credit::payer_of(channel, id))
            .collect();
        assert_eq!(payers(payments.into_iter()), expected);
    }

    #[test]
    fn trees_are_those_of_the_protocol() {
        for count in 0..70 {
            let leaves: Vec<Digest> = (0..count).map(|number| Digest([number; 32])).collect();
            let (ours, theirs) = (tree(leaves.clone()), Tree::new(leaves));
            assert_eq!(ours.root(), theirs.root());
            assert!((0..usize::from(count)).all(|index| ours.proof(index) == theirs.proof(index)));
        }
    }
}
