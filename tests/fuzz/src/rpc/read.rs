//! A second reading of what nodes answer, which shares nothing with the first.

use alloy::primitives::{Address, B256, Bytes, U256};
use hub_chain::{BlockRef, ChainLog, TxReceipt};
use serde_json::Value;

fn digits(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    Some(
        text.strip_prefix("0x")
            .or(text.strip_prefix("0X"))
            .unwrap_or(text),
    )
}

/// Digits, or a number, or a text that begins with no 0x: no node sends those, but they have one meaning only.
pub(super) fn quantity(value: &Value) -> Option<U256> {
    match value {
        Value::Number(number) => number.as_u64().map(U256::from),
        Value::String(text) => match text.get(..2) {
            Some("0x" | "0X") => U256::from_str_radix(&text[2..], 16).ok(),
            _ => U256::from_str_radix(text, 10).ok(),
        },
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    u64::try_from(quantity(value)?).ok()
}

pub(super) fn wide(value: &Value) -> Option<u128> {
    u128::try_from(quantity(value)?).ok()
}

/// Digits, or an array of bytes: no node sends that, but it has one meaning only.
pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    if let Value::Array(items) = value {
        let bytes = items.iter().map(|item| u8::try_from(item.as_u64()?).ok());
        return bytes.collect::<Option<Vec<u8>>>().map(Bytes::from);
    }
    let digits = digits(value)?.as_bytes();
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => {
            let (high, low) = ((*high as char).to_digit(16)?, (*low as char).to_digit(16)?);
            u8::try_from(high * 16 + low).ok()
        }
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Bytes::from)
}

pub(super) fn hash(value: &Value) -> Option<B256> {
    B256::try_from(bytes(value)?.as_ref()).ok()
}

fn address(value: &Value) -> Option<Address> {
    Address::try_from(bytes(value)?.as_ref()).ok()
}

pub(super) fn block(value: &Value) -> Option<BlockRef> {
    Some(BlockRef {
        number: number(value.get("number")?)?,
        hash: hash(value.get("hash")?)?,
        parent_hash: hash(value.get("parentHash")?)?,
        timestamp_s: number(value.get("timestamp")?)?,
        gas_limit: number(value.get("gasLimit")?)?,
    })
}

pub(super) fn is_removed(log: &Value) -> bool {
    log.get("removed") == Some(&Value::Bool(true))
}

pub(super) fn log(value: &Value) -> Option<ChainLog> {
    let topics = value.get("topics")?.as_array()?;
    Some(ChainLog {
        address: address(value.get("address")?)?,
        topics: topics.iter().map(hash).collect::<Option<_>>()?,
        data: bytes(value.get("data")?)?,
        block_number: number(value.get("blockNumber")?)?,
        block_hash: hash(value.get("blockHash")?)?,
        tx_hash: hash(value.get("transactionHash")?)?,
        log_index: number(value.get("logIndex")?)?,
    })
}

pub(super) fn receipt(value: &Value) -> Option<TxReceipt> {
    let logs = value.get("logs")?.as_array()?;
    let contract = value.get("contractAddress").filter(|value| !value.is_null());
    Some(TxReceipt {
        tx_hash: hash(value.get("transactionHash")?)?,
        block_number: number(value.get("blockNumber")?)?,
        block_hash: hash(value.get("blockHash")?)?,
        success: match number(value.get("status")?)? {
            0 => false,
            1 => true,
            _ => return None,
        },
        gas_used: number(value.get("gasUsed")?)?,
        // Nodes of old say no price.
        effective_gas_price: match value.get("effectiveGasPrice") {
            None | Some(Value::Null) => 0,
            Some(price) => wide(price)?,
        },
        contract_address: match contract {
            Some(contract) => Some(address(contract)?),
            None => None,
        },
        logs: logs.iter().map(log).collect::<Option<_>>()?,
    })
}
