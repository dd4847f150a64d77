//! Why there is no answer.

use alloy::transports::{TransportError, TransportErrorKind};
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
    /// The innermost reason of `error`: the outer ones repeat the URL.
    pub(crate) fn lost(host: &str, error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut said = None;
        while let Some(error) = cause {
            let text = error.to_string();
            if !text.contains("://") {
                said = Some(text);
            }
            cause = error.source();
        }
        Self::because(host, said.as_deref().unwrap_or("the connection failed"))
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

/// The beginning of what a node sent, for an error's text.
pub(crate) fn beginning(body: &[u8]) -> String {
    const SHOWN_MAX: usize = 256;
    String::from_utf8_lossy(body.get(..SHOWN_MAX).unwrap_or(body)).into_owned()
}
