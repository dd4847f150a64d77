//! The two encodings of one connection: JSON in text frames, Borsh in binary frames.

use crate::engine::Mail;
use protocol_spec::message::{
    ErrorCode, Message, RpcError, SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON, binary, json,
};
use tokio_tungstenite::tungstenite::Message as Frame;

/// The subprotocol negotiated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Encoding {
    /// `channelhub.v1+json`.
    Json,
    /// `channelhub.v1+borsh`.
    Borsh,
}

/// What could not be read, with the request's id if that could.
pub(crate) type Unreadable = (Option<u64>, RpcError);

impl Encoding {
    /// The first subprotocol of the client's offers that the hub speaks.
    pub(crate) fn choose<'a>(offers: impl Iterator<Item = &'a str>) -> Option<Self> {
        offers
            .flat_map(|line| line.split(','))
            .find_map(|offer| match offer.trim() {
                SUBPROTOCOL_JSON => Some(Self::Json),
                SUBPROTOCOL_BORSH => Some(Self::Borsh),
                _ => None,
            })
    }

    /// Its name in the handshake and in `Login`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Borsh => SUBPROTOCOL_BORSH,
        }
    }

    /// A frame with this message.
    pub(crate) fn encode(self, mail: &Mail) -> Frame {
        match (self, mail) {
            (Self::Json, Mail::Message(message)) => Frame::text(json::encode(message)),
            (Self::Json, mail) => Frame::text(json::encode(&mail.message())),
            (Self::Borsh, mail) => Frame::binary(mail.borsh()),
        }
    }

    /// The message in a data frame. `None` for control frames.
    pub(crate) fn decode(self, frame: &Frame) -> Option<Result<Message, Unreadable>> {
        match (self, frame) {
            (Self::Json, Frame::Text(text)) => Some(json::decode(text.as_str())),
            (Self::Borsh, Frame::Binary(bytes)) => {
                Some(binary::decode(bytes).map_err(|error| (borsh_request_id(bytes), error)))
            }
            (Self::Json, Frame::Binary(_)) => Some(Err(mismatch("text frames", "a binary frame"))),
            (Self::Borsh, Frame::Text(_)) => Some(Err(mismatch("binary frames", "a text frame"))),
            _ => None,
        }
    }
}

fn mismatch(expected: &str, got: &str) -> Unreadable {
    let text = "the frame type is not that of the negotiated subprotocol";
    let error = RpcError::because(ErrorCode::InvalidRequest, text);
    (None, error.with(expected, got))
}

/// A Borsh request starts with the variant 0 and its id.
fn borsh_request_id(bytes: &[u8]) -> Option<u64> {
    match bytes.split_first()? {
        (0, rest) => Some(u64::from_le_bytes(rest.first_chunk().copied()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_first_offer_it_speaks() {
        let choose = |lines: &[&str]| Encoding::choose(lines.iter().copied());
        assert_eq!(
            choose(&["soap, channelhub.v1+borsh,channelhub.v1+json"]),
            Some(Encoding::Borsh)
        );
        assert_eq!(choose(&["soap", "channelhub.v1+json"]), Some(Encoding::Json));
        assert_eq!(choose(&["channelhub.v2+json", "CHANNELHUB.V1+JSON", ""]), None);
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn the_id_of_a_broken_borsh_request_is_read() {
        let bytes = [&[0_u8][..], &7_u64.to_le_bytes(), &[250]].concat();
        let answer = Encoding::Borsh
            .decode(&Frame::binary(bytes))
            .unwrap()
            .unwrap_err();
        assert_eq!(answer.0, Some(7));
        assert!(answer.1.is(ErrorCode::ParseError));
        let short = Encoding::Borsh
            .decode(&Frame::binary(vec![0_u8, 1]))
            .unwrap()
            .unwrap_err();
        assert_eq!(short.0, None);
    }
}
