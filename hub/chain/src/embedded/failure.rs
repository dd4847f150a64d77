//! The error that the JSON-RPC methods return.

use alloy::primitives::Bytes;
use std::fmt::Display;

/// A JSON-RPC error: a code that nodes agree on, words, and the revert data where there is any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{message} (code {code})")]
pub struct RpcFailure {
    /// JSON-RPC error code.
    pub code: i64,
    /// What is wrong.
    pub message: String,
    /// Revert data of a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Bytes>,
}

impl RpcFailure {
    /// The execution ended in a revert.
    pub(super) const REVERTED: i64 = 3;
    const PARSE: i64 = -32_700;
    const SERVER: i64 = -32_000;
    const TX_REJECTED: i64 = -32_003;
    const LIMIT: i64 = -32_005;
    const UNKNOWN_METHOD: i64 = -32_601;
    const PARAMS: i64 = -32_602;
    const INTERNAL: i64 = -32_603;

    fn of(code: i64, message: impl Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            data: None,
        }
    }

    pub(super) fn parse(message: impl Display) -> Self {
        Self::of(Self::PARSE, message)
    }

    pub(super) fn server(message: impl Display) -> Self {
        Self::of(Self::SERVER, message)
    }

    /// The node does not take this transaction.
    pub(super) fn rejected(message: impl Display) -> Self {
        Self::of(Self::TX_REJECTED, message)
    }

    pub(super) fn limit(message: impl Display) -> Self {
        Self::of(Self::LIMIT, message)
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        Self::of(Self::UNKNOWN_METHOD, format_args!("method not found: {method}"))
    }

    pub(super) fn params(message: impl Display) -> Self {
        Self::of(Self::PARAMS, message)
    }

    pub(super) fn internal(message: impl Display) -> Self {
        Self::of(Self::INTERNAL, message)
    }

    /// A call that reverted with `data`.
    pub(super) fn reverted(data: Bytes) -> Self {
        let reason = revert_reason(&data)
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        Self {
            code: Self::REVERTED,
            message: format!("execution reverted{reason}"),
            data: Some(data),
        }
    }
}

/// The text of `Error(string)` or `Panic(uint256)`, if `data` is one of them.
pub(crate) fn revert_reason(data: &[u8]) -> Option<String> {
    alloy::sol_types::decode_revert_reason(data)
}

impl RpcFailure {
    /// The error as alloy's JSON-RPC types carry it.
    pub(super) fn payload(&self) -> alloy::rpc::json_rpc::ErrorPayload {
        let data = self
            .data
            .as_ref()
            .and_then(|data| serde_json::value::to_raw_value(data).ok());
        alloy::rpc::json_rpc::ErrorPayload {
            code: self.code,
            message: self.message.clone().into(),
            data,
        }
    }
}
