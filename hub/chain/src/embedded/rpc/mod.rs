//! The one JSON-RPC dispatcher: every door (in process, HTTP) comes through here.

mod control;
mod params;
mod read;

use super::failure::RpcFailure;
use super::node::Node;
use params::Params;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

type Answer = Result<Box<RawValue>, RpcFailure>;

/// Answers one request.
pub(super) fn dispatch(node: &mut Node, method: &str, params: Option<&RawValue>) -> Answer {
    let params = Params::parse(params)?;
    match read::answer(node, method, &params) {
        Some(answer) => answer,
        None => {
            control::answer(node, method, &params).unwrap_or_else(|| Err(RpcFailure::unknown_method(method)))
        }
    }
}

fn json(value: &impl Serialize) -> Answer {
    to_raw_value(value).map_err(RpcFailure::internal)
}
