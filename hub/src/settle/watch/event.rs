//! What the watchtower says: one line per event, for programs or for people.

use super::folder::Ward;
use crate::settle::{args::Format, files::say, output::line};
use protocol_spec::ChannelId;
use serde_json::{Map, Value, json};
use std::{fmt, sync::Arc};

/// Hears of an event.
type Told = dyn Fn(&Event) + Send + Sync;

/// Where events go.
#[derive(Clone)]
pub(super) enum Voice {
    /// JSON to stdout, or words to stderr.
    Console(Format),
    /// Whoever runs it in its own program.
    Ear(Arc<Told>),
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Voice")
    }
}

/// What a watchtower tells.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    name: &'static str,
    text: String,
    fields: Map<String, Value>,
}

impl Event {
    pub(super) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
            fields: Map::new(),
        }
    }

    pub(super) fn channel(self, id: ChannelId) -> Self {
        self.with("channel_id", json!(id))
    }

    /// One side of a channel.
    pub(super) fn ward(self, (id, side): Ward) -> Self {
        self.channel(id).with("side", json!(side))
    }

    pub(super) fn with(mut self, key: &'static str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// What happened: a stable word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The same in words, for people.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is about, for programs: `channel_id`, `side`, `transaction`, ... as `settle watch` prints them.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Tells it only where programs read.
    pub(super) fn emit_for_programs(self, voice: &Voice) {
        if !matches!(voice, Voice::Console(Format::Table)) {
            self.emit(voice);
        }
    }

    /// Tells it.
    pub(super) fn emit(self, voice: &Voice) {
        match voice {
            Voice::Ear(told) => told(&self),
            Voice::Console(Format::Table) => {
                let channel = self.fields.get("channel_id").and_then(Value::as_str);
                let about = channel.map_or_else(String::new, |id| format!(" {id}"));
                say(&format!("{}{about}: {}", self.name, self.text));
            }
            Voice::Console(_) => self.print(),
        }
    }

    fn print(self) {
        let mut object = Map::new();
        object.insert("event".to_owned(), self.name.into());
        object.insert("text".to_owned(), self.text.into());
        object.extend(self.fields);
        line(&Value::Object(object));
    }
}
