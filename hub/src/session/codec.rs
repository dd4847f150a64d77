//! The two encodings of one connection: JSON in text frames, Borsh in binary frames.

use super::limits::FRAME_HEADER_BYTES_MAX;
use crate::engine::Mail;
use protocol_spec::message::{
    ErrorCode, Message, RpcError, SUBPROTOCOL_BORSH, SUBPROTOCOL_JSON, binary, json,
};
use tokio_tungstenite::tungstenite::{
    Message as Frame,
    protocol::frame::{
        FrameHeader,
        coding::{Data, OpCode},
    },
};

/// The header of most messages' frames, bytes: those of 126 to 65,535 bytes.
const HEADER_BYTES: usize = 4;

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

    /// Appends a frame with this message to `frames`. What the message takes in it, bytes.
    pub(crate) fn encode(self, mail: &Mail, frames: &mut Vec<u8>) -> usize {
        let start = frames.len();
        let body = start.saturating_add(HEADER_BYTES);
        frames.resize(body, 0);
        let kind = match (self, mail) {
            (Self::Json, Mail::Message(message)) => {
                frames.extend_from_slice(json::encode(message).as_bytes());
                Data::Text
            }
            (Self::Json, mail) => {
                frames.extend_from_slice(json::encode(&mail.message()).as_bytes());
                Data::Text
            }
            (Self::Borsh, mail) => {
                mail.borsh(frames);
                Data::Binary
            }
        };
        let bytes = frames.len().saturating_sub(body);
        // Nearly always as long as the room for it; else what follows is moved.
        drop(frames.splice(start..body, header(kind, bytes)));
        bytes
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

/// The header of a whole message of so many bytes.
fn header(kind: Data, bytes: usize) -> impl Iterator<Item = u8> {
    let header = FrameHeader {
        opcode: OpCode::Data(kind),
        ..FrameHeader::default()
    };
    let mut room = [0; FRAME_HEADER_BYTES_MAX];
    // It fits, so that this cannot fail.
    let _ = header.format(bytes as u64, &mut room.as_mut_slice());
    room.into_iter().take(header.len(bytes as u64))
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
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::{WebSocket, protocol::Role};

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

    /// Of all lengths at which the header changes, one after the other in one buffer.
    #[test]
    fn frames_are_read_as_they_were_written() {
        let sent: Vec<Mail> = [0, 1, 90, 125, 126, 127, 300, 65_000, 65_535, 65_536, 70_000]
            .into_iter()
            .map(|length| {
                Mail::Message(Message::Response {
                    id: Some(7),
                    result: Err(RpcError::because(ErrorCode::Internal, "x".repeat(length))),
                })
            })
            .collect();
        for encoding in [Encoding::Json, Encoding::Borsh] {
            let mut frames = Vec::new();
            let lengths: Vec<usize> = sent
                .iter()
                .map(|mail| encoding.encode(mail, &mut frames))
                .collect();
            let mut reader = WebSocket::from_raw_socket(Cursor::new(frames), Role::Client, None);
            for (mail, length) in sent.iter().zip(lengths) {
                let frame = reader.read().unwrap();
                assert_eq!(frame.len(), length);
                assert_eq!(encoding.decode(&frame).unwrap().unwrap(), mail.message());
            }
            assert!(reader.read().is_err(), "nothing is left");
        }
        for bytes in [0, 125, 126, 65_535, 65_536] {
            let written: Vec<u8> = header(Data::Binary, bytes).collect();
            let read = FrameHeader::parse(&mut Cursor::new(&written)).unwrap().unwrap();
            assert_eq!(read.1, bytes as u64);
            assert_eq!(read.0.len(read.1), written.len(), "no longer than need be");
        }
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
