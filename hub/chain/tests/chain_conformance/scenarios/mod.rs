//! What every chain must do.

pub(crate) mod adjudicator;
pub(crate) mod basics;
pub(crate) mod control;
pub(crate) mod pool;
pub(crate) mod stuck;
pub(crate) mod view;

use alloy::primitives::U256;
use serde_json::Value;

/// A hex quantity.
pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("not a quantity: {value}"));
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

pub(crate) fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10_u64.pow(18))
}
