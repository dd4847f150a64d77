//! Messages: what one encoding takes both encodings carry, unchanged.

use protocol_spec::{
    limits,
    message::{Message, binary, json},
};

pub(crate) fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(message) = json::decode(text) {
        carried(&message);
    }
}

/// Borsh has one encoding of each message.
pub(crate) fn borsh(bytes: &[u8]) {
    if let Ok(message) = binary::decode(bytes) {
        assert!(bytes.len() <= limits::MESSAGE_BYTES_MAX);
        assert_eq!(binary::encode(&message), bytes, "two encodings of {message:?}");
        carried(&message);
    }
}

fn carried(message: &Message) {
    let text = json::encode(message);
    if text.len() <= limits::MESSAGE_BYTES_MAX {
        let again = json::decode(&text).unwrap_or_else(|error| panic!("{error:?} of {text}"));
        assert_eq!(&again, message);
    }
    let bytes = binary::encode(message);
    if bytes.len() <= limits::MESSAGE_BYTES_MAX {
        let again = binary::decode(&bytes).unwrap_or_else(|error| panic!("{error:?} of {message:?}"));
        assert_eq!(&again, message);
    }
}
