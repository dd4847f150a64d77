//! A signed message as the JSON of `eth_signTypedData_v4`.

use alloy::sol_types::SolStruct;
use protocol_spec::Domain;
use serde_json::{Value, json};

/// Types, domain and fields of `message`. Numbers are decimal strings: JSON's are not exact.
pub(super) fn json(message: &protocol_spec::abi::Accept, domain: &Domain) -> Value {
    json!({
        "types": {
            "EIP712Domain": members("string name,string version,uint256 chainId,address verifyingContract"),
            "Accept": members(&arguments::<protocol_spec::abi::Accept>()),
        },
        "primaryType": "Accept",
        "domain": {
            "name": Domain::NAME,
            "version": Domain::VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.adjudicator,
        },
        "message": {
            "voucher": message.voucher,
            "submitter": message.submitter,
            "mayDispute": message.mayDispute,
            "deadline": message.deadline.to_string(),
        },
    })
}

/// What is between the parentheses of the type: `bytes32 voucher,address submitter,...`.
fn arguments<T: SolStruct>() -> String {
    let text = T::eip712_root_type();
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or_default().to_owned()
}

fn members(list: &str) -> Vec<Value> {
    let member = |text: &str| {
        let (kind, name) = text.split_once(' ').unwrap_or_default();
        json!({ "name": name, "type": kind })
    };
    list.split(',').map(member).collect()
}
