//! Errors on the wire: a stable code, a stable name, a sentence, and what was expected and received.

use crate::Reject;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// An error answer.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcError {
    /// JSON-RPC codes below zero, session codes 1000 to 1999, rules 2000 to 2999.
    pub code: i32,
    /// One sentence: whose fault, what next.
    pub message: String,
    /// Details.
    pub data: ErrorData,
}

/// Details of an error.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorData {
    /// Stable name of the code.
    pub name: String,
    /// What was expected.
    pub expected: Option<String>,
    /// What was received.
    pub got: Option<String>,
    /// Milliseconds after which the same call may succeed.
    pub retry_after_ms: Option<u32>,
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Codes that are not about a rule of the protocol.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum ErrorCode { $($(#[$meta])* $name),* }

        impl ErrorCode {
            /// The number on the wire.
            #[must_use]
            pub fn code(self) -> i32 {
                match self { $(Self::$name => $code),* }
            }
            /// The name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
            fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
            /// The whole registry: code, name, text. SPEC.md prints it.
            pub const REGISTRY: &[(i32, &str, &str)] = &[$(($code, stringify!($name), $text)),*];
        }
    };
}

codes! {
    /// Not JSON, or not Borsh of a message.
    ParseError = -32700, "the message cannot be read";
    /// Not a JSON-RPC 2.0 request.
    InvalidRequest = -32600, "not a JSON-RPC 2.0 request";
    /// No such method.
    MethodNotFound = -32601, "no such method";
    /// Missing, unknown or ill-typed parameters.
    InvalidParams = -32602, "the parameters are not those of the method";
    /// The hub's fault.
    Internal = -32603, "the hub failed; the connection may be retried";
    /// A call before `login`.
    NotLoggedIn = 1001, "log in first";
    /// Wrong signature, signer or nonce.
    LoginFailed = 1002, "the login signature is not the signer's over this challenge";
    /// The hub does not serve this channel.
    UnknownChannel = 1003, "the hub does not know this channel; register it";
    /// The session's signer is not the channel's.
    NotYourChannel = 1004, "the channel belongs to another signer";
    /// Queues are full.
    Busy = 1005, "the hub is busy; retry later";
    /// Longer than the limit.
    MessageTooLarge = 1006, "the message is too large";
    /// More messages than the session may send.
    RateLimited = 1007, "too many messages; slow down";
    /// The hub's database is older than what it signed (A10).
    RolledBack = 1008, "the hub's database was rolled back; it signs nothing until it has re-synced";
    /// The cursor is older than the events kept.
    CursorTooOld = 1009, "events before `expected` are no longer kept";
    /// The cursor is ahead of the log or of another epoch.
    CursorAhead = 1010, "the cursor is not of this log; the hub may have been rolled back";
    /// Opened too recently, or not at all.
    NotConfirmed = 1011, "the channel is not open on chain with enough confirmations yet";
    /// The hub is about to exit.
    ShuttingDown = 1012, "the hub is shutting down; reconnect later";
    /// The hub's view of the chain is too old.
    ChainStale = 1013, "the hub's view of the chain is too old to accept updates";
    /// Vouchers before `resume`.
    NotResumed = 1014, "resume the channel first";
    /// The channel's config is not for this hub.
    WrongHub = 1015, "the channel is not with this hub, or its terms are not the hub's";
    /// The transaction failed.
    ChainFailed = 1016, "the transaction failed or could not be sent";
    /// More reserve cannot be ordered now: not sold here, or not covered by the hub's vault.
    NoCapacity = 1017, "the hub cannot promise that much more reserve in this channel now";
}

impl RpcError {
    /// An error of `code` with its standard sentence.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        Self::because(code, code.text())
    }

    /// An error of `code` with a sentence of its own.
    #[must_use]
    pub fn because(code: ErrorCode, message: impl Into<String>) -> Self {
        let data = ErrorData {
            name: code.name().to_owned(),
            ..ErrorData::default()
        };
        Self {
            code: code.code(),
            message: message.into(),
            data,
        }
    }

    /// Adds what was expected and received.
    #[must_use]
    pub fn with(mut self, expected: impl ToString, got: impl ToString) -> Self {
        self.data.expected = Some(expected.to_string());
        self.data.got = Some(got.to_string());
        self
    }

    /// Adds a hint when to retry.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u32) -> Self {
        self.data.retry_after_ms = Some(ms);
        self
    }

    /// True for an error of `code`.
    #[must_use]
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == code.code()
    }
}

impl From<&Reject> for RpcError {
    fn from(reject: &Reject) -> Self {
        let (expected, got) = reject.expected_got().unzip();
        let data = ErrorData {
            name: reject.name().to_owned(),
            expected,
            got,
            retry_after_ms: None,
        };
        Self {
            code: reject.code(),
            message: reject.to_string(),
            data,
        }
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} {})", self.message, self.code, self.data.name)
    }
}

impl std::error::Error for RpcError {}
