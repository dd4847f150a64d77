//! The Borsh encoding.

use super::{ErrorCode, Message, RpcError};
use crate::{Digest, Op, Signature, Voucher, limits};
use borsh::BorshSerialize;

/// Encodes a message.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    // Writing to a Vec cannot fail; an empty message is refused by every decoder.
    borsh::to_vec(message).unwrap_or_default()
}

/// Appends to `bytes` what [`encode`] makes of a message.
pub fn encode_into(bytes: &mut Vec<u8>, message: &Message) {
    let before = bytes.len();
    if message.serialize(bytes).is_err() {
        bytes.truncate(before);
    }
}

/// Appends to `bytes` a voucher of the hub, encoded from parts that it shares with other messages: what [`encode`] makes of the
/// notification.
/// `siblings`: the proof that leads to the root that `signature` is over; none when it is over the voucher's digest.
pub fn encode_voucher<'a>(
    bytes: &mut Vec<u8>,
    voucher: &Voucher,
    signature: &Signature,
    siblings: impl Iterator<Item = &'a Digest> + Clone,
    ops: &[Op],
) {
    let count = siblings.clone().count();
    let room = size_of::<Voucher>()
        .saturating_add(size_of::<Signature>())
        .saturating_add(count.saturating_mul(size_of::<Digest>()))
        .saturating_add(size_of_val(ops));
    bytes.reserve(room.saturating_add(16));
    let write = |bytes: &mut Vec<u8>| -> std::io::Result<()> {
        // A notification; of a voucher.
        [2_u8, 1].serialize(bytes)?;
        voucher.serialize(bytes)?;
        u8::from(count > 0).serialize(bytes)?;
        signature.serialize(bytes)?;
        if count > 0 {
            u32::try_from(count).unwrap_or(u32::MAX).serialize(bytes)?;
            siblings.for_each(|sibling| bytes.extend_from_slice(&sibling.0));
        }
        ops.serialize(bytes)
    };
    // Writing to a Vec cannot fail.
    let _ = write(bytes);
}

/// Decodes exactly one message. Errors: `MessageTooLarge`, `ParseError`.
pub fn decode(bytes: &[u8]) -> Result<Message, RpcError> {
    if bytes.len() > limits::MESSAGE_BYTES_MAX {
        return Err(RpcError::of(ErrorCode::MessageTooLarge).with(limits::MESSAGE_BYTES_MAX, bytes.len()));
    }
    borsh::from_slice(bytes)
        .map_err(|error| RpcError::because(ErrorCode::ParseError, format!("not a message: {error}")))
}
