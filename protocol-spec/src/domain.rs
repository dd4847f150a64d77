//! The EIP-712 domain of one adjudicator on one chain, with its separator computed once.

use crate::{Address, Digest, hash::keccak};
use alloy_primitives::B256;
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain};

/// What the hash of a struct with seven fields is over: the type's hash, then each field as one word.
pub type EncodedStruct = [u8; 256];

/// Puts the type's hash and the fields behind each other. A field is at most a word; integers are big-endian, shorter
/// `bytesN` start at the left.
pub(crate) fn encode(type_hash: &[u8; 32], fields: [Field<'_>; 7]) -> EncodedStruct {
    let mut encoded = [0; 256];
    let (words, _) = encoded.as_chunks_mut::<32>();
    for (word, field) in words
        .iter_mut()
        .zip([Field::Left(type_hash)].into_iter().chain(fields))
    {
        match field {
            Field::Left(bytes) => word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from),
            Field::Number(number) => word[16..].copy_from_slice(&number.to_be_bytes()),
        }
    }
    encoded
}

/// Hash of a struct's type.
pub(crate) fn type_hash<T: SolStruct>() -> [u8; 32] {
    keccak(T::eip712_encode_type().as_bytes())
}

/// One field of an encoded struct.
pub(crate) enum Field<'a> {
    /// `bytesN`.
    Left(&'a [u8]),
    /// `uintN`.
    Number(u128),
}

/// Domain { name "Channel Hub", version "1", chain id, adjudicator }. Cheap to copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Domain {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The adjudicator's address.
    pub adjudicator: Address,
    separator: [u8; 32],
}

impl Domain {
    /// `name` of every domain.
    pub const NAME: &str = "Channel Hub";
    /// `version` of every domain.
    pub const VERSION: &str = "1";

    /// The domain of `adjudicator` on `chain_id`.
    #[must_use]
    pub fn new(chain_id: u64, adjudicator: Address) -> Self {
        Self {
            chain_id,
            adjudicator,
            separator: eip712(chain_id, adjudicator).separator().0,
        }
    }

    /// The same for signers that hash by themselves.
    #[must_use]
    pub fn to_eip712(&self) -> Eip712Domain {
        eip712(self.chain_id, self.adjudicator)
    }

    /// The domain separator.
    #[must_use]
    pub fn separator(&self) -> Digest {
        Digest(self.separator)
    }

    /// EIP-712 digest of `value`.
    #[must_use]
    pub fn digest<T: SolStruct>(&self, value: &T) -> Digest {
        self.digest_of_struct_hash(value.eip712_hash_struct())
    }

    /// EIP-712 digest of a struct hash.
    #[must_use]
    pub fn digest_of_struct_hash(&self, struct_hash: B256) -> Digest {
        Digest(keccak(&self.preimage(&struct_hash.0)))
    }

    /// The bytes whose Keccak-256 is the EIP-712 digest of a struct hash.
    #[must_use]
    pub fn preimage(&self, struct_hash: &[u8; 32]) -> [u8; 66] {
        let mut bytes = [0_u8; 66];
        let (prefix, rest) = bytes.split_at_mut(2);
        let (separator, hash) = rest.split_at_mut(32);
        prefix.copy_from_slice(&[0x19, 0x01]);
        separator.copy_from_slice(&self.separator);
        hash.copy_from_slice(struct_hash);
        bytes
    }

    /// EIP-712 digest of an encoded struct.
    #[must_use]
    pub fn digest_of_encoded(&self, encoded: &EncodedStruct) -> Digest {
        self.digest_of_struct_hash(B256::from(keccak(encoded)))
    }
}

fn eip712(chain_id: u64, adjudicator: Address) -> Eip712Domain {
    eip712_domain! {
        name: Domain::NAME,
        version: Domain::VERSION,
        chain_id: chain_id,
        verifying_contract: adjudicator,
    }
}
