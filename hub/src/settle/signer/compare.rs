//! What came back from a signer against what was asked of it.

use crate::settle::exit::SettleError;
use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Decodable2718 as _,
    primitives::{Address, Bytes, Signature},
    rlp::Decodable as _,
};

/// The transaction behind `tx`: `settle` sends no other type.
///
/// # Errors
/// [`SettleError::Internal`].
pub(super) fn asked(tx: &dyn SignableTransaction<Signature>) -> Result<TxEip1559, SettleError> {
    let bytes = tx.encoded_for_signing();
    let decoded = match bytes.split_first() {
        Some((2, mut rest)) => TxEip1559::decode(&mut rest).ok(),
        _ => None,
    };
    decoded.ok_or_else(|| SettleError::Internal("not an EIP-1559 transaction".to_owned()))
}

/// The signature in `raw`, if `raw` is `asked` and nothing else.
///
/// # Errors
/// [`SettleError::Refused`] with the fields that differ. Nothing of it is used.
pub(super) fn signature_of(raw: &Bytes, asked: &TxEip1559) -> Result<Signature, SettleError> {
    let refuse = |what: String| {
        Err(SettleError::Refused(format!(
            "the signer {what}; nothing was sent"
        )))
    };
    let mut rest: &[u8] = raw;
    let signed = match TxEnvelope::decode_2718(&mut rest) {
        Ok(TxEnvelope::Eip1559(signed)) if rest.is_empty() => signed,
        Ok(_) => return refuse("returned a transaction of another type, or more than one".to_owned()),
        Err(_) => return refuse("returned no transaction".to_owned()),
    };
    let differs = differences(signed.tx(), asked);
    match differs.is_empty() {
        true => Ok(*signed.signature()),
        false => refuse(format!("signed another transaction: {}", differs.join(", "))),
    }
}

/// The fields in which `got` is not `asked`, with both values.
fn differences(got: &TxEip1559, asked: &TxEip1559) -> Vec<String> {
    fields(got)
        .into_iter()
        .zip(fields(asked))
        .filter(|(got, asked)| got != asked)
        .map(|((name, got), (_, asked))| format!("{name} {} instead of {}", shown(&got), shown(&asked)))
        .collect()
}

/// Every field by name, with its value: one that a later version adds does not pass unseen.
fn fields(tx: &TxEip1559) -> [(&'static str, String); 9] {
    let TxEip1559 {
        chain_id,
        nonce,
        gas_limit,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to,
        value,
        access_list,
        input,
    } = tx;
    [
        ("chain", chain_id.to_string()),
        ("nonce", nonce.to_string()),
        ("gas limit", gas_limit.to_string()),
        ("fee per gas", max_fee_per_gas.to_string()),
        ("tip per gas", max_priority_fee_per_gas.to_string()),
        ("receiver", format!("{:?}", to.to())),
        ("value", value.to_string()),
        ("call", input.to_string()),
        ("access list", format!("{access_list:?}")),
    ]
}

/// Calls and lists can be long.
fn shown(value: &str) -> String {
    value.chars().take(80).collect()
}

/// A signature that is not by `expected`, or over something else: the two cannot be told apart.
pub(super) fn stranger(expected: Address, got: Option<Address>) -> SettleError {
    let got = got.map_or_else(|| "nobody".to_owned(), |got| got.to_string());
    SettleError::Refused(format!(
        "the signature is by {got}, expected {expected}: another key, or something else was signed; nothing was sent"
    ))
}
