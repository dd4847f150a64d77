//! What the watchtower says: one line per event, for programs or for people.

use super::folder::Ward;
use crate::settle::{args::Format, files::say, output::line};
use protocol_spec::ChannelId;
use serde_json::{Map, Value, json};

/// One event. Its name is a stable word.
pub(super) struct Event {
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

    /// The words.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Prints it only where programs read.
    pub(super) fn emit_for_programs(self, format: Format) {
        if format != Format::Table {
            self.emit(format);
        }
    }

    /// Prints it: JSON to stdout, words to stderr.
    pub(super) fn emit(self, format: Format) {
        if format == Format::Table {
            let channel = self.fields.get("channel_id").and_then(Value::as_str);
            let about = channel.map_or_else(String::new, |id| format!(" {id}"));
            return say(&format!("{}{about}: {}", self.name, self.text));
        }
        let mut object = Map::new();
        object.insert("event".to_owned(), self.name.into());
        object.insert("text".to_owned(), self.text.into());
        object.extend(self.fields);
        line(&Value::Object(object));
    }
}
