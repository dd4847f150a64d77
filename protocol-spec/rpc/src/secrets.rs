//! What of a node's URL nobody may read in an answer: many nodes have a key in it, and some repeat it when something is wrong.

use alloy::{
    rpc::json_rpc::{Response, ResponsePacket, ResponsePayload},
    transports::http::reqwest::Url,
};
use serde_json::{Value, value::RawValue};
use std::borrow::Cow;

/// In place of a secret.
const HIDDEN: &str = "...";
/// Parts of a path or a query that are as long as this may be keys by themselves, bytes. Shorter ones are words.
const KEY_BYTES_MIN: usize = 16;

/// The secrets of one URL, longest first.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    pub(crate) fn of(url: &Url) -> Self {
        let (path, query) = (url.path(), url.query().unwrap_or_default());
        let parts = path.split('/').chain(query.split(['&', '=']));
        let parts = parts.chain([url.username(), url.password().unwrap_or_default()]);
        let keys = parts.filter(|part| part.len() >= KEY_BYTES_MIN);
        let whole = [path, query].into_iter().filter(|whole| whole.len() > 1);
        let mut secrets: Vec<String> = whole.chain(keys).map(str::to_owned).collect();
        // As JSON may have it, too.
        let escaped = secrets.iter().filter(|secret| secret.contains('/'));
        let escaped: Vec<String> = escaped.map(|secret| secret.replace('/', "\\/")).collect();
        secrets.extend(escaped);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
        self.0.iter().fold(text.to_owned(), hide)
    }

    pub(crate) fn hide_in(&self, packet: ResponsePacket) -> ResponsePacket {
        match packet {
            ResponsePacket::Single(answer) => ResponsePacket::Single(self.hide_in_one(answer)),
            ResponsePacket::Batch(answers) => {
                let answers = answers.into_iter().map(|answer| self.hide_in_one(answer));
                ResponsePacket::Batch(answers.collect())
            }
        }
    }

    /// An error's text and data. A result that is no number and no bytes is an error for whoever reads it, who may repeat it;
    /// what looks like bytes is left in it.
    pub(crate) fn hide_in_one(&self, mut answer: Response) -> Response {
        match &mut answer.payload {
            ResponsePayload::Failure(error) => {
                error.message = self.hide(&error.message).into();
                if let Some(data) = &mut error.data {
                    self.hide_in_json(data);
                }
            }
            ResponsePayload::Success(result) => {
                let plain = plain(result.get());
                let told = |secret: &String| !is_hex(secret) && plain.contains(secret.as_str());
                if self.0.iter().any(told) {
                    self.hide_in_json(result);
                }
            }
        }
        answer
    }

    fn hide_in_json(&self, json: &mut Box<RawValue>) {
        if let Ok(hidden) = RawValue::from_string(self.hide(&plain(json.get()))) {
            *json = hidden;
        }
    }
}

/// JSON as whoever reads it understands it: any letter may be written by its number. What cannot be read says nothing.
fn plain(json: &str) -> Cow<'_, str> {
    match json.contains('\\') {
        false => Cow::Borrowed(json),
        true => {
            let read = serde_json::from_str::<Value>(json);
            Cow::Owned(read.map_or_else(|_| format!("\"{HIDDEN}\""), |read| read.to_string()))
        }
    }
}

/// Such digits are in honest results.
fn is_hex(secret: &str) -> bool {
    secret.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many keys are hexadecimal digits, and so is what nodes are asked for.
    #[test]
    fn a_key_of_digits_is_hidden_in_errors_and_left_in_results() {
        const KEY: &str = "0123456789abcdef0123456789abcdef";
        let url = format!("https://node.example/v3/{KEY}").parse().unwrap();
        let secrets = Secrets::of(&url);
        let told = |member: String| {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":1,{member}}}"#);
            let answer = secrets.hide_in_one(serde_json::from_str(&answer).unwrap());
            serde_json::to_string(&answer).unwrap().contains(KEY)
        };
        assert!(!told(format!(
            r#""error":{{"code":1,"message":"{KEY}","data":"no {KEY}"}}"#
        )));
        assert!(!told(format!(r#""result":"/v3/{KEY}""#)));
        assert!(told(format!(r#""result":"0x{KEY}""#)));
    }

    /// A letter by its number is the same letter to whoever reads it.
    #[test]
    fn a_key_in_other_letters_is_hidden() {
        const KEY: &str = "key-0123456789abcdef";
        let secrets = Secrets::of(&format!("https://node.example/v3/{KEY}").parse().unwrap());
        for written in ["\\u006bey-0123456789abcdef", "key\\u002d0123456789abcdef"] {
            for member in [
                format!(r#""result":"{written}""#),
                format!(r#""result":{{"{written}":["\/v3\/{written}"]}}"#),
                format!(r#""error":{{"code":1,"message":"{written}","data":"{written}"}}"#),
            ] {
                let answer = format!(r#"{{"jsonrpc":"2.0","id":1,{member}}}"#);
                let answer = secrets.hide_in_one(serde_json::from_str(&answer).unwrap());
                let told = serde_json::to_string(&answer).unwrap();
                assert!(
                    told.contains(HIDDEN) && !told.contains("0123456789abcdef"),
                    "{told}"
                );
            }
        }
    }
}
