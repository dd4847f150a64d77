//! What is wrong with a configuration, in sentences that name the key.

use super::environment;
use figment::error::Kind;
use std::fmt;

/// What is wrong with a configuration, all of it, one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Sentences that name the key, what it is and what it may be.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.problems
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// One sentence per error of figment. Under `keys` the value is left out: it may be a key.
pub(super) fn describe(error: &figment::Error) -> String {
    let key = match error.path.join(".") {
        path if path.is_empty() => "the file".to_owned(),
        path => path,
    };
    let from = error
        .metadata
        .as_ref()
        .map_or_else(String::new, |metadata| format!(" (in {})", metadata.name));
    // A whole-table mismatch at the top can carry anything, too.
    let private = error.path.first().is_none_or(|first| first == "keys");
    let what = match &error.kind {
        Kind::MissingField(name) => format!("`{name}` is missing; see the file `hub init` writes"),
        Kind::UnknownField(name, known) => {
            // Whether the path of an unknown key ends with it is up to the source.
            let mut path: Vec<&str> = error.path.iter().map(String::as_str).collect();
            if path.last() != Some(&name.as_str()) {
                path.push(name);
            }
            let by = environment::setting(&path).map_or_else(String::new, |variable| {
                format!(" (set by the variable {variable})")
            });
            format!("unknown key `{name}`{by}; known here: {}", known.join(", "))
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if private => {
            format!("must be {expected}")
        }
        Kind::InvalidType(got, expected) | Kind::InvalidValue(got, expected) => {
            format!("is {got}, must be {expected}")
        }
        other => other.to_string(),
    };
    format!("{key}: {what}{from}")
}
