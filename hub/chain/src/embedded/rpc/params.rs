//! Positional parameters, with the number formats that wallets and tools really send.

use super::super::failure::RpcFailure;
use alloy::primitives::U256;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// The parameters of one request.
pub(super) struct Params(Vec<Value>);

impl Params {
    pub(super) fn parse(raw: Option<&RawValue>) -> Result<Self, RpcFailure> {
        let Some(raw) = raw else {
            return Ok(Self(Vec::new()));
        };
        match serde_json::from_str(raw.get()) {
            Ok(Value::Array(values)) => Ok(Self(values)),
            Ok(Value::Null) => Ok(Self(Vec::new())),
            // alloy sends the options of `anvil_reorg` and others as the only parameter, unwrapped.
            Ok(object @ Value::Object(_)) => Ok(Self(vec![object])),
            Ok(_) => Err(RpcFailure::params("params must be an array")),
            Err(error) => Err(RpcFailure::params(error)),
        }
    }

    /// Parameter `index`, `None` if it is absent or null.
    pub(super) fn value(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(super) fn optional<T: DeserializeOwned>(&self, index: usize) -> Result<Option<T>, RpcFailure> {
        let parse = |value: &Value| {
            T::deserialize(value).map_err(|error| RpcFailure::params(format!("parameter {index}: {error}")))
        };
        self.value(index).map(parse).transpose()
    }

    pub(super) fn required<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcFailure> {
        self.optional(index)?
            .ok_or_else(|| RpcFailure::params(format!("parameter {index} is missing")))
    }

    /// A number as JSON number, hex or decimal string.
    pub(super) fn number(&self, index: usize) -> Result<u64, RpcFailure> {
        self.number_or_none(index)?
            .ok_or_else(|| RpcFailure::params(format!("parameter {index} is missing: expected a number")))
    }

    pub(super) fn number_or_none(&self, index: usize) -> Result<Option<u64>, RpcFailure> {
        self.value(index).map(number).transpose()
    }

    pub(super) fn amount(&self, index: usize) -> Result<U256, RpcFailure> {
        let value = self.value(index);
        value
            .and_then(quantity)
            .ok_or_else(|| RpcFailure::params(format!("parameter {index}: expected a number")))
    }
}

/// A number as JSON number, hex or decimal string.
pub(super) fn number(value: &Value) -> Result<u64, RpcFailure> {
    let number = quantity(value).and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| RpcFailure::params(format!("expected a number of at most 64 bits, got {value}")))
}

fn quantity(value: &Value) -> Option<U256> {
    match value {
        Value::Number(number) => number.as_u64().map(U256::from),
        Value::String(text) => match text.strip_prefix("0x") {
            Some("") => Some(U256::ZERO),
            Some(hex) => U256::from_str_radix(hex, 16).ok(),
            None => U256::from_str_radix(text, 10).ok(),
        },
        _ => None,
    }
}
