//! The Borsh encoding.

use super::{ErrorCode, Message, RpcError};
use crate::limits;

/// Encodes a message.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    // Writing to a Vec cannot fail; an empty message is refused by every decoder.
    borsh::to_vec(message).unwrap_or_default()
}

/// Decodes exactly one message. Errors: `MessageTooLarge`, `ParseError`.
pub fn decode(bytes: &[u8]) -> Result<Message, RpcError> {
    if bytes.len() > limits::MESSAGE_BYTES_MAX {
        return Err(RpcError::of(ErrorCode::MessageTooLarge).with(limits::MESSAGE_BYTES_MAX, bytes.len()));
    }
    borsh::from_slice(bytes)
        .map_err(|error| RpcError::because(ErrorCode::ParseError, format!("not a message: {error}")))
}
