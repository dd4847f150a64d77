//! Witnesses: what opens a lock, and the knowledge that one does.

use crate::{Address, Digest, Lock, Preimage, Reject, hash, limits, message::hex_bytes};
use borsh::{BorshDeserialize, BorshSerialize, io};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What opens a lock: the 32-byte preimage, or what the resolver takes. At most [`limits::WITNESS_BYTES_MAX`] bytes.
/// JSON: `0x` and hex. Borsh: length and bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, BorshSerialize)]
pub struct Witness(Vec<u8>);

impl Witness {
    /// Takes the bytes. Errors: [`Reject::WitnessTooLong`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, Reject> {
        match bytes.len() {
            0..=limits::WITNESS_BYTES_MAX => Ok(Self(bytes)),
            got => Err(Reject::WitnessTooLong {
                max: limits::WITNESS_BYTES_MAX,
                got,
            }),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The preimage, when it is one: exactly 32 bytes.
    #[must_use]
    pub fn preimage(&self) -> Option<Preimage> {
        <[u8; 32]>::try_from(self.0.as_slice()).ok().map(Preimage)
    }
}

impl From<Preimage> for Witness {
    fn from(preimage: Preimage) -> Self {
        Self(preimage.0.to_vec())
    }
}

impl Serialize for Witness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hex_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Witness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(hex_bytes::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl BorshDeserialize for Witness {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let bytes = Vec::<u8>::deserialize_reader(reader)?;
        Self::new(bytes).map_err(|reject| io::Error::new(io::ErrorKind::InvalidData, reject.to_string()))
    }
}

/// When a lock opens.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// SHA-256 of the preimage, or of the condition's data for a resolver.
    pub hash: Digest,
    /// Zero: the witness is a 32-byte preimage. Otherwise a contract with `check(hash, witness)`.
    pub resolver: Address,
}

impl Condition {
    /// Opened by `preimage`.
    #[must_use]
    pub fn preimage(preimage: &Preimage) -> Self {
        Self {
            hash: Digest(hash::sha256(&[&preimage.0])),
            resolver: Address::ZERO,
        }
    }

    /// Opened by what `resolver` accepts for `data`, which the witness has to show.
    #[must_use]
    pub fn data(resolver: Address, data: &[u8]) -> Self {
        Self {
            hash: Digest(hash::sha256(&[data])),
            resolver,
        }
    }

    /// True when only the chain can tell what opens it.
    #[must_use]
    pub fn has_resolver(&self) -> bool {
        self.resolver != Address::ZERO
    }

    /// What resolving a lock on it costs at most, in locks on a preimage. R22's caps and transactions count with it.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self.has_resolver() {
            true => limits::RESOLVER_LOCK_WEIGHT,
            false => 1,
        }
    }

    /// True when `witness` is the preimage (never with a resolver). A preimage is exactly 32 bytes.
    #[must_use]
    pub fn opened_by(&self, witness: &[u8]) -> bool {
        !self.has_resolver() && witness.len() == 32 && hash::sha256(&[witness]) == self.hash.0
    }
}

/// A witness that is known to open a condition: all or nothing, as on chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    condition: Condition,
    witness: Witness,
}

impl Opened {
    /// Without a resolver the hash tells. `None`: it does not open the condition, or the chain must be asked.
    #[must_use]
    pub fn by_hash(condition: Condition, witness: Witness) -> Option<Self> {
        let opens = condition.opened_by(witness.as_bytes());
        opens.then_some(Self { condition, witness })
    }

    /// With a resolver the caller vouches: it asked the chain with [`crate::probe`] and the answer was yes, or the
    /// adjudicator resolved a lock on this condition with this witness, or it was itself paid against this witness and
    /// so loses nothing. `None`: there is no resolver.
    #[must_use]
    pub fn vouched(condition: Condition, witness: Witness) -> Option<Self> {
        condition.has_resolver().then_some(Self { condition, witness })
    }

    /// What is opened.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What opens it.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// True when it opens `lock`.
    #[must_use]
    pub fn opens(&self, lock: &Lock) -> bool {
        self.condition == lock.condition()
    }
}
