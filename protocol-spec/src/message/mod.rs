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
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(value)))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
        let digits = text
            .strip_prefix("0x")
            .ok_or_else(|| de::Error::custom("hex must start with 0x"))?;
        hex::decode(digits).map_err(de::Error::custom)
    }
}
