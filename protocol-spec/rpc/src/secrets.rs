//! What of a node's URL nobody may read in an answer: many nodes have a key in it, and some repeat it when something is wrong.

use alloy::{
    rpc::json_rpc::{Response, ResponsePacket, ResponsePayload},
    transports::http::reqwest::Url,
};
use serde_json::value::RawValue;
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
        // As JSON has it, too.
        let escaped = secrets.iter().filter(|secret| secret.contains('\\'));
        let escaped: Vec<String> = escaped.map(|secret| secret.replace('\\', r"\\")).collect();
        secrets.extend(escaped);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without them, however their letters are written.
    pub(crate) fn hide(&self, text: &str) -> String {
        let plain = plain(text);
        let told = |secret: &String| plain.contains(secret.as_str());
        if !self.0.iter().any(told) {
            return text.to_owned();
        }
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), HIDDEN);
        self.0.iter().fold(plain.into_owned(), hide)
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
    /// digits of bytes are left in it.
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
                let told = |secret: &String| plain.contains(secret.as_str()) && !is_in_bytes(&plain, secret);
                if self.0.iter().any(told) {
                    self.hide_in_json(result);
                }
            }
        }
        answer
    }

    fn hide_in_json(&self, json: &mut Box<RawValue>) {
        let hidden = RawValue::from_string(self.hide(json.get()));
        // In a number there is no room for dots.
        let hidden = hidden.or_else(|_| RawValue::from_string(format!("\"{HIDDEN}\"")));
        if let Ok(hidden) = hidden {
            *json = hidden;
        }
    }
}

/// JSON as whoever reads it understands it: any letter may be written by its number. What was JSON still is; other text may be
/// given, too.
fn plain(json: &str) -> Cow<'_, str> {
    let mut plain = String::new();
    let mut rest = json;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        rest = match letter(after) {
            Some((letter, behind)) => {
                plain.push(letter);
                behind
            }
            None => {
                let (escaped, behind) = after.split_at_checked(1).unwrap_or(("", after));
                plain.push('\\');
                plain.push_str(escaped);
                behind
            }
        };
    }
    match plain.is_empty() {
        true => Cow::Borrowed(json),
        false => Cow::Owned(plain + rest),
    }
}

/// The letter that is written behind a backslash, and what comes behind it; `None` where it needs the backslash.
fn letter(escaped: &str) -> Option<(char, &str)> {
    if let Some(behind) = escaped.strip_prefix('/') {
        return Some(('/', behind));
    }
    let (digits, behind) = escaped.strip_prefix('u')?.split_at_checked(4)?;
    let letter = char::from(u8::from_str_radix(digits, 16).ok()?);
    let needs_none = (letter.is_ascii_graphic() || letter == ' ') && !matches!(letter, '"' | '\\');
    needs_none.then_some((letter, behind))
}

/// Whether it is nowhere but in digits after `0x`, which honest results have, or so short that it is in any.
fn is_in_bytes(text: &str, secret: &str) -> bool {
    let is_digit = |letter: char| letter.is_ascii_hexdigit();
    let digits = secret.strip_prefix("0x").unwrap_or(secret);
    if !digits.chars().all(is_digit) {
        return false;
    }
    if digits.len() < KEY_BYTES_MIN {
        return true;
    }
    let mut after_0x = false;
    text.split_inclusive(|letter| !is_digit(letter)).all(|run| {
        let is_bytes = std::mem::replace(&mut after_0x, run.ends_with("0x"));
        is_bytes || !run.contains(digits)
    })
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
        assert!(!told(format!(r#""result":{{"0x":"no {KEY}"}}"#)));
        assert!(told(format!(r#""result":"0x{KEY}""#)));
        assert!(told(format!(r#""result":["0x01","0x00{KEY}00"]"#)));
    }

    #[test]
    fn a_key_that_is_a_number_is_hidden() {
        const KEY: &str = "1234567890123456";
        let secrets = Secrets::of(&format!("https://node.example/{KEY}").parse().unwrap());
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{KEY}]}}"#);
        let answer = secrets.hide_in_one(serde_json::from_str(&answer).unwrap());
        assert!(
            serde_json::to_string(&answer)
                .unwrap()
                .contains(r#""result":"...""#)
        );
    }

    #[test]
    fn what_was_json_stays_the_same_json() {
        for json in [
            r#"{"a":"\\u006b \u006b \/ \n \u0022 \u005c \ud83d\ude00 é\\"}"#,
            r#""\"""#,
            r#"[""]"#,
        ] {
            let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
            assert_eq!(read(&plain(json)), read(json), "{json}");
        }
        for torn in ["\\", "\\u", "\\u006", "\\u00é", "\\é", "a\\"] {
            assert_eq!(plain(torn), torn);
        }
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
