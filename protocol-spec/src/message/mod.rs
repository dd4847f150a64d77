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

use crate::{Lock, LockSet, limits};

/// The lists of locks that a message shows with two vouchers, in ascending id. None for a voucher without locks, and where
/// both together are more than [`limits::SHOWN_LOCKS_MAX`]: the first goes before the second.
#[must_use]
pub fn shown_locks(first: &LockSet, second: &LockSet) -> (Option<Vec<Lock>>, Option<Vec<Lock>>) {
    let mut room = limits::SHOWN_LOCKS_MAX;
    let mut list = |locks: &LockSet| {
        let left = room.checked_sub(locks.len()).filter(|_| !locks.is_empty())?;
        room = left;
        Some(locks.iter().cloned().collect())
    };
    (list(first), list(second))
}

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
