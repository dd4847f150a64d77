//! Errors of the chain port, sorted by what to do next.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::json_rpc::ErrorPayload;
use alloy::transports::{RpcError, TransportErrorKind};
use node_rpc::{Failure, nonsense, transport_cause};
use std::fmt;
use std::time::Duration;

/// A range of so many blocks is narrow: if it fails without a reason, narrower ones will fail too.
const NARROW_BLOCKS: u64 = 1_000;

/// Most characters of a node's words that are kept.
const MESSAGE_MAX: usize = 500;

/// What one of several endpoints said, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSaid {
    /// Name of the endpoint, such as `rpc 1 (host)`; never its URL, which may hold an API key.
    pub endpoint: String,
    /// Its answer in short, or why there is none.
    pub said: String,
}

impl fmt::Display for EndpointSaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} says: {}", self.endpoint, self.said)
    }
}

fn list(said: &[EndpointSaid]) -> String {
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    said.join("; ")
}

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
    /// The answer is longer than any honest one, and was not read. Ask for less, or another node.
    #[error("chain node sends too much: {0}")]
    TooLarge(String),
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
    /// Blocks ask for more than the transaction may cost: nothing was sent. Raise the limit, or try when gas is cheaper.
    #[error("gas is too dear: blocks ask for {base_fee} wei per gas, at most {offer} may be paid")]
    TooDear {
        /// Most wei per gas that its budget and limit allow.
        offer: u128,
        /// Base fee of the next block, wei per gas.
        base_fee: u128,
    },
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
    /// Endpoints contradict each other and no answer has the agreement that was asked for: one of them lies, or they
    /// are on two branches. Nothing was believed. Retry; if it lasts, look at the endpoints.
    #[error("chain endpoints disagree on {what}, {agree} must agree: {}", list(said))]
    Disagreement {
        /// What was asked.
        what: &'static str,
        /// Endpoints that must agree.
        agree: usize,
        /// Every endpoint that was asked, with its answer.
        said: Vec<EndpointSaid>,
    },
    /// Too few endpoints answered, without contradicting each other: the others are down or behind. Retry.
    #[error("too few chain endpoints answer {what}, {agree} must agree: {}", list(said))]
    TooFewAnswers {
        /// What was asked.
        what: &'static str,
        /// Endpoints that must agree.
        agree: usize,
        /// Every endpoint, with its answer or why there is none.
        said: Vec<EndpointSaid>,
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
            Self::Transport(_)
                | Self::Timeout { .. }
                | Self::Busy(_)
                | Self::BadAnswer(_)
                | Self::TooLarge(_)
                | Self::Disagreement { .. }
                | Self::TooFewAnswers { .. }
        )
    }

    /// Whether nobody, or too few, answered at all.
    pub(super) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::Timeout { .. } | Self::TooFewAnswers { .. }
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
            RpcError::DeserError { err, .. } => Self::BadAnswer(format!("{what}: {}", nonsense(&err))),
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
            RpcError::Transport(error) => {
                let text = format!("{what}: {}", transport_cause(&error));
                match Failure::is_too_large(&error) {
                    true => Self::TooLarge(text),
                    false => Self::Transport(text),
                }
            }
        }
    }

    fn classify_payload(what: &'static str, payload: &ErrorPayload) -> Self {
        let message: String = payload.message.chars().take(MESSAGE_MAX).collect();
        let lower = message.to_lowercase();
        let (code, data) = (payload.code, payload.as_revert_data());
        let words = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if code == 3 || data.is_some() || words(&["execution reverted"]) {
            return Self::Reverted {
                message,
                data: data.unwrap_or_default(),
            };
        }
        let no_method = [
            "not found",
            "not exist",
            "not available",
            "not supported",
            "not allowed",
        ];
        if code == -32_601 || (words(&["method"]) && words(&no_method)) {
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

    /// Whether an `eth_getLogs` over `width` blocks was refused for being too wide, so that less may do.
    pub(super) fn is_range_limit(&self, width: u64) -> bool {
        match self {
            Self::Rejected { message, .. } | Self::Busy(message) => is_range_limit(message),
            Self::TooLarge(_) => true,
            // A node that needs too long or sends what makes no sense; a few blocks are not why.
            Self::Timeout { .. } | Self::BadAnswer(_) => width > NARROW_BLOCKS,
            _ => false,
        }
    }
}

/// Providers word this limit in many ways; all name a range, or too many results.
fn is_range_limit(message: &str) -> bool {
    let lower = message.to_lowercase();
    let words = [
        "range",
        "results",
        "response size",
        "too many logs",
        "too many blocks",
        "blocks distance",
        "block limit",
        "too large",
        "exceeds max",
        "query timeout",
    ];
    words.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(code: i64, message: &'static str) -> ChainError {
        let payload = ErrorPayload {
            code,
            message: message.into(),
            data: None,
        };
        ChainError::classify_payload("eth_x", &payload)
    }

    #[test]
    fn what_nodes_say_is_sorted() {
        let reverted = |error: &ChainError| matches!(error, ChainError::Reverted { .. });
        let busy = |error: &ChainError| matches!(error, ChainError::Busy(_)) && error.is_retryable();
        let unsupported = |error: &ChainError| matches!(error, ChainError::Unsupported(_));
        let funds = |error: &ChainError| matches!(error, ChainError::InsufficientFunds(_));
        let refused =
            |error: &ChainError| matches!(error, ChainError::Rejected { .. }) && !error.is_retryable();
        type Class<'a> = &'a dyn Fn(&ChainError) -> bool;
        let cases: [(i64, &'static str, Class<'_>); 12] = [
            (3, "execution reverted", &reverted),
            (-32_000, "execution reverted: Stale()", &reverted),
            (429, "Too Many Requests", &busy),
            (-32_005, "project ID request rate exceeded", &busy),
            (-32_000, "request timed out", &busy),
            (-32_601, "rpc method is not whitelisted", &unsupported),
            (
                -32_000,
                "the method evm_increaseTime does not exist/is not available",
                &unsupported,
            ),
            (-32_000, "transaction type not supported", &refused),
            (-32_000, "insufficient funds for gas * price + value", &funds),
            (-32_000, "nonce too low: next nonce 5, tx nonce 4", &refused),
            (-32_000, "replacement transaction underpriced", &refused),
            (-32_602, "invalid argument 0", &refused),
        ];
        for (code, message, class) in cases {
            let error = classified(code, message);
            assert!(class(&error), "{code} {message}: {error:?}");
        }
    }

    #[test]
    fn range_limits_are_known_by_their_words() {
        let limits = [
            (-32_005, "query returned more than 10000 results"),
            (
                -32_600,
                "You can make eth_getLogs requests with up to a 10 block range",
            ),
            (-32_602, "Log response size exceeded"),
            (-32_614, "eth_getLogs is limited to a 10,000 range"),
            (-32_000, "block range is too wide"),
            (-32_000, "exceed maximum block range: 5000"),
        ];
        for (code, message) in limits {
            assert!(classified(code, message).is_range_limit(2), "{message}");
        }
        for (code, message) in [
            (-32_000, "header not found"),
            (429, "Too Many Requests"),
            (3, "execution reverted"),
        ] {
            assert!(!classified(code, message).is_range_limit(5_000), "{message}");
        }
        let slow = ChainError::Timeout {
            what: "eth_getLogs",
            after: Duration::from_secs(1),
        };
        assert!(slow.is_range_limit(1_001) && !slow.is_range_limit(1_000));
    }
}
