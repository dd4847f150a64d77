//! Fixed-size byte strings with a meaning. JSON: lower-case hex with `0x`.

use crate::text;
use alloy_primitives::hex;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

macro_rules! bytes {
    ($(#[$meta:meta])* $name:ident, $len:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// All zero bytes.
            pub const ZERO: Self = Self([0; $len]);
        }
        impl Default for $name {
            fn default() -> Self {
                Self::ZERO
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(hex::Buffer::<$len, true>::new().format(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = hex::FromHexError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(s, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                text::serialize_hex(&self.0, serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let otherwise = concat!(stringify!($name), " must be ", stringify!($len), " bytes of 0x-hex");
                text::deserialize_hex(deserializer, otherwise).map(Self)
            }
        }
    };
}

bytes!(
    /// EIP-712 digest of a channel's [`crate::Config`].
    ChannelId, 32
);
bytes!(
    /// Any other 32-byte hash: digests, commitments, histories.
    Digest, 32
);
bytes!(
    /// Sixteen random bytes chosen by the payer; names a payment for good.
    PaymentId, 16
);
bytes!(
    /// The 32 bytes whose SHA-256 is a lock's `hash`.
    Preimage, 32
);

impl From<alloy_primitives::B256> for Digest {
    fn from(value: alloy_primitives::B256) -> Self {
        Self(value.0)
    }
}
