//! Why there is no answer.

use alloy::transports::{RpcError, TransportError, TransportErrorKind};
use serde::de::Error as _;
use serde_json::error::Category;
use std::error::Error;

/// Why there is no answer. The text names the node by its host, never by its URL, which may hold a key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// The answer is longer than any honest one.
    #[error("{host}: the node's answer exceeds {} MiB and was not read", bytes_max >> 20)]
    TooLarge {
        /// Host, and port if the URL names one.
        host: String,
        /// The bound.
        bytes_max: usize,
    },
    /// The node was not reached, or its answer got lost.
    #[error("{host}: {cause}")]
    Lost {
        /// Host, and port if the URL names one.
        host: String,
        /// The innermost reason.
        cause: String,
    },
}

impl Failure {
    /// The innermost reason of `error`.
    pub(crate) fn lost(host: &str, error: &(dyn Error + 'static)) -> Self {
        Self::because(host, &innermost(error))
    }

    pub(crate) fn because(host: &str, cause: &str) -> Self {
        Self::Lost {
            host: host.to_owned(),
            cause: cause.to_owned(),
        }
    }

    /// Whether `error` says that an answer was too large.
    #[must_use]
    pub fn is_too_large(error: &TransportErrorKind) -> bool {
        let TransportErrorKind::Custom(inner) = error else {
            return false;
        };
        matches!(inner.downcast_ref::<Self>(), Some(Self::TooLarge { .. }))
    }
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        TransportErrorKind::custom(failure)
    }
}

/// What failed, for people. It repeats no URL, and of an answer only what the node itself calls an error: the words of what
/// makes no sense may be anything, also a key.
#[must_use]
pub fn words(error: &TransportError) -> String {
    match error {
        RpcError::DeserError { err, .. } => nonsense(err),
        RpcError::Transport(error) => transport_cause(error),
        other => other.to_string(),
    }
}

/// Why JSON is not what it should be, and where, without a word of it: serde repeats the strings that it does not like.
#[must_use]
pub fn nonsense(error: &serde_json::Error) -> String {
    match (error.classify(), error.line()) {
        (Category::Data, 0) => NOT_ASKED_FOR.to_owned(),
        (Category::Data, line) => format!("{NOT_ASKED_FOR} at line {line} column {}", error.column()),
        (Category::Io | Category::Syntax | Category::Eof, _) => error.to_string(),
    }
}

/// The same error with [`nonsense`] in place of its words.
pub(crate) fn wordless(error: serde_json::Error) -> serde_json::Error {
    match error.is_data() {
        true => serde_json::Error::custom(nonsense(&error)),
        false => error,
    }
}

const NOT_ASKED_FOR: &str = "the answer is not what was asked for";

/// The innermost reason why a node was not reached.
#[must_use]
pub fn transport_cause(error: &TransportErrorKind) -> String {
    innermost(error)
}

/// The outer reasons repeat the URL, which may hold a key.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let said = causes.map(ToString::to_string);
    let said = said.filter(|text| !text.contains("://")).last();
    said.unwrap_or_else(|| "the connection failed".to_owned())
}

/// The beginning of what a node sent, for an error's text.
pub(crate) fn beginning(body: &[u8]) -> String {
    const SHOWN_MAX: usize = 256;
    String::from_utf8_lossy(body.get(..SHOWN_MAX).unwrap_or(body)).into_owned()
}
