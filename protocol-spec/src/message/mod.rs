//! Wire messages: JSON-RPC 2.0 as WebSocket text, and the same messages as Borsh in binary frames.
//!
//! [`Message`] is the whole vocabulary. [`json`] and [`binary`] turn it into bytes and back; neither panics,
//! and both refuse what is larger than [`crate::limits::MESSAGE_BYTES_MAX`] before they allocate for it.

pub mod binary;
mod error;
pub mod json;
mod types;

pub use error::{ErrorCode, RpcError};
pub use types::*;

/// `#[serde(with)]` for a u64 as a decimal string.
pub(crate) mod decimal_u64 {
    use crate::Seq;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        Seq(*value).serialize(serializer)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Seq::deserialize(deserializer).map(|seq| seq.0)
    }
}

/// `#[serde(with)]` for bytes as `0x` hex.
pub(crate) mod hex_bytes {
    use crate::text;
    use alloy_primitives::hex;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode_prefixed(value))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        text::deserialize(deserializer, |text| {
            hex::decode(text::digits(text)?).map_err(|_| "not bytes in hex")
        })
    }
}
