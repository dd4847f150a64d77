//! Errors of the chain port, sorted by what to do next.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::json_rpc::ErrorPayload;
use alloy::transports::{RpcError, TransportErrorKind};
use std::time::Duration;

/// Why the chain did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The node was not reached, or its answer got lost. Retry.
    #[error("chain node not reached: {0}")]
    Transport(String),
    /// The node did not answer in time. Retry; a transaction may have arrived all the same.
    #[error("chain node did not answer {what} within {after:?}")]
    Timeout {
        /// The JSON-RPC method.
        what: &'static str,
        /// The limit.
        after: Duration,
    },
    /// The node is busy or limits our rate. Retry later.
    #[error("chain node is busy: {0}")]
    Busy(String),
    /// The answer contradicts itself or is not what the method returns. Retry, or ask another node.
    #[error("chain node gave a useless answer: {0}")]
    BadAnswer(String),
    /// The contract reverted; `data` decodes into its custom error. Do not retry unchanged.
    #[error("execution reverted: {message}")]
    Reverted {
        /// The node's words.
        message: String,
        /// ABI-encoded error; empty when the node or the contract gives none.
        data: Bytes,
    },
    /// The node refuses the request or transaction (nonce, funds, gas, parameters). Do not retry unchanged.
    #[error("chain node refused: {message} (code {code})")]
    Rejected {
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The account cannot pay. Fund it.
    #[error("not enough funds to send: {0}")]
    InsufficientFunds(String),
    /// A transaction of ours is in no block and no mempool any more (reorg, drop, replacement). Decide and send again.
    #[error("transaction {hash} vanished from chain and mempool")]
    Dropped {
        /// The transaction.
        hash: B256,
    },
    /// A transaction is not deep enough yet; it may still get there.
    #[error("transaction {hash} had not got {confirmations} confirmations after {after:?}")]
    WaitTimeout {
        /// The transaction.
        hash: B256,
        /// Blocks wanted on top.
        confirmations: u64,
        /// How long it was waited for.
        after: Duration,
    },
    /// Wrong URL, wrong chain, no key. Fix the configuration.
    #[error("chain configuration: {0}")]
    Config(String),
    /// This node cannot do that: time travel on a real chain, for example.
    #[error("chain node does not support {0}")]
    Unsupported(&'static str),
}

impl ChainError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::Timeout { .. } | Self::Busy(_) | Self::BadAnswer(_)
        )
    }

    /// The ABI-encoded error of a revert.
    #[must_use]
    pub fn revert_data(&self) -> Option<&Bytes> {
        match self {
            Self::Reverted { data, .. } => Some(data),
            _ => None,
        }
    }

    /// Sorts an error of alloy.
    pub(super) fn classify(what: &'static str, error: RpcError<TransportErrorKind>) -> Self {
        match error {
            RpcError::ErrorResp(payload) => Self::classify_payload(what, &payload),
            RpcError::NullResp => Self::BadAnswer(format!("{what}: null")),
            RpcError::DeserError { err, .. } => Self::BadAnswer(format!("{what}: {err}")),
            RpcError::UnsupportedFeature(feature) => Self::Unsupported(feature),
            RpcError::SerError(error) => Self::Config(format!("{what}: {error}")),
            RpcError::LocalUsageError(error) => Self::Config(format!("{what}: {error}")),
            RpcError::Transport(TransportErrorKind::HttpError(error)) => match error.status {
                429 | 503 => Self::Busy(format!("HTTP status {}", error.status)),
                401 | 403 | 404 => {
                    Self::Config(format!("the node answers with HTTP status {}", error.status))
                }
                status => Self::Transport(format!("{what}: HTTP status {status}")),
            },
            RpcError::Transport(error) => Self::Transport(format!("{what}: {error}")),
        }
    }

    fn classify_payload(what: &'static str, payload: &ErrorPayload) -> Self {
        let message = payload.message.to_string();
        let lower = message.to_lowercase();
        let (code, data) = (payload.code, payload.as_revert_data());
        let words = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if code == 3 || data.is_some() || words(&["execution reverted"]) {
            return Self::Reverted {
                message,
                data: data.unwrap_or_default(),
            };
        }
        if code == -32_601
            || words(&[
                "method not found",
                "method does not exist",
                "not supported",
                "not available",
            ])
        {
            return Self::Unsupported(what);
        }
        if words(&["insufficient funds"]) {
            return Self::InsufficientFunds(message);
        }
        if !is_range_limit(&message)
            && (payload.is_retry_err() || words(&["rate limit", "timeout", "timed out"]))
        {
            return Self::Busy(message);
        }
        Self::Rejected { code, message }
    }

    /// Whether `eth_getLogs` was refused for being too wide, so that a narrower range may do.
    pub(super) fn is_range_limit(&self) -> bool {
        match self {
            Self::Rejected { message, .. } | Self::Busy(message) => is_range_limit(message),
            // A node that needs too long or sends too much for so many blocks.
            Self::Timeout { .. } | Self::BadAnswer(_) => true,
            _ => false,
        }
    }
}

/// Providers word this limit in many ways; all name a range, or too many results.
fn is_range_limit(message: &str) -> bool {
    let lower = message.to_lowercase();
    let words = [
        "range",
        "too many",
        "more than",
        "results",
        "response size",
        "blocks distance",
        "block limit",
        "too large",
        "exceeds max",
        "query timeout",
        "limited to",
    ];
    words.iter().any(|word| lower.contains(word))
}
