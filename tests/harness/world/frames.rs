//! Cuts a byte stream into what passes over it: the HTTP head of the handshake, then WebSocket frames.

use protocol_spec::message::{Message, binary, json};

/// One unit of a stream, whole.
#[derive(Debug)]
pub(super) struct Unit {
    /// As it goes over the wire.
    pub(super) bytes: Vec<u8>,
    /// What it is.
    pub(super) content: Content,
    /// Of a message: text, not binary.
    pub(super) text: bool,
}

impl Unit {
    /// A message as a client sends it: one masked frame.
    pub(super) fn from_client(message: Message, text: bool) -> Self {
        // A mask of zeros leaves it as it is.
        Self::framed(message, text, Some([0; 4]))
    }

    /// A message as the hub sends it.
    pub(super) fn from_hub(message: Message, text: bool) -> Self {
        Self::framed(message, text, None)
    }

    fn framed(message: Message, text: bool, mask: Option<[u8; 4]>) -> Self {
        let payload = match text {
            true => json::encode(&message).into_bytes(),
            false => binary::encode(&message),
        };
        let masked = if mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![if text { 0x81 } else { 0x82 }];
        match u16::try_from(payload.len()) {
            Ok(short @ ..126) => bytes.push(masked | short.to_be_bytes()[1]),
            Ok(medium) => {
                bytes.push(masked | 126);
                bytes.extend(medium.to_be_bytes());
            }
            Err(_) => {
                bytes.push(masked | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(mask.into_iter().flatten());
        bytes.extend(payload);
        Self {
            bytes,
            content: Content::Message(Box::new(message)),
            text,
        }
    }
}

#[derive(Debug)]
pub(super) enum Content {
    Head,
    Control,
    Message(Box<Message>),
    /// Neither side of the world sends such a thing.
    Unreadable(String),
}

impl Content {
    /// A word for the trace.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Head => "handshake".to_owned(),
            Self::Control => "control".to_owned(),
            Self::Unreadable(why) => format!("unreadable: {why}"),
            Self::Message(message) => match message.as_ref() {
                Message::Request { id, call } => format!("request {id} {}", variant(call)),
                Message::Response { id, result } => {
                    let id = id.map_or_else(|| "?".to_owned(), |id| id.to_string());
                    match result {
                        Ok(reply) => format!("response {id} {}", variant(reply)),
                        Err(error) => format!("response {id} error {error}"),
                    }
                }
                Message::Notification(body) => format!("notification {}", variant(body)),
            },
        }
    }
}

/// The first word of the debug form: the variant. Nothing after it is formatted.
fn variant(value: &impl std::fmt::Debug) -> String {
    use std::fmt::Write as _;
    let mut word = FirstWord::default();
    // It ends with an error as soon as the word does.
    let _ = write!(word, "{value:?}");
    word.0
}

#[derive(Default)]
struct FirstWord(String);

impl std::fmt::Write for FirstWord {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = text.find(['(', ' ', '{']);
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        match end {
            Some(_) => Err(std::fmt::Error),
            None => Ok(()),
        }
    }
}

/// Collects bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    buffer: Vec<u8>,
    greeted: bool,
}

impl Cutter {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole unit, if it is there.
    pub(super) fn next(&mut self) -> Option<Unit> {
        if !self.greeted {
            let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")?;
            self.greeted = true;
            return Some(Unit {
                bytes: self.buffer.drain(..end + 4).collect(),
                content: Content::Head,
                text: true,
            });
        }
        let frame = Header::read(&self.buffer)?;
        let size = frame.header + frame.payload;
        if self.buffer.len() < size {
            return None;
        }
        let bytes: Vec<u8> = self.buffer.drain(..size).collect();
        let content = frame.content(&bytes);
        let text = frame.opcode == 1;
        Some(Unit { bytes, content, text })
    }
}

struct Header {
    opcode: u8,
    mask: Option<[u8; 4]>,
    header: usize,
    payload: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (mut header, payload) = match second & 0x7f {
            126 => (
                4,
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            ),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let mask = if second & 0x80 != 0 {
            let mask = bytes.get(header..header + 4)?.try_into().ok()?;
            header += 4;
            Some(mask)
        } else {
            None
        };
        Some(Self {
            opcode: first & 0x0f,
            mask,
            header,
            payload: usize::try_from(payload).ok()?,
        })
    }

    fn content(&self, bytes: &[u8]) -> Content {
        let mut payload = bytes.get(self.header..).unwrap_or_default().to_vec();
        if let Some(mask) = self.mask {
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
        }
        let message = match self.opcode {
            1 => String::from_utf8(payload)
                .map_err(|error| error.to_string())
                .and_then(|text| json::decode(&text).map_err(|(_, error)| error.to_string())),
            2 => binary::decode(&payload).map_err(|error| error.to_string()),
            _ => return Content::Control,
        };
        match message {
            Ok(message) => Content::Message(Box::new(message)),
            Err(why) => Content::Unreadable(why),
        }
    }
}
