//! A handwritten contract. The first byte of the calldata chooses: 1 logs a word, 2 reverts with what follows,
//! 3 returns block number and timestamp, 4 stores a word, 5 returns it.

use alloy::primitives::{B256, Bytes, U256, bytes};
use hub_chain::TxRequest;

/// Creation code: copies the 106 bytes of runtime code and returns them.
pub(crate) const CREATION: Bytes = bytes!(
    "606a8060093d393df3"
    // dispatch on the first byte
    "60003560f81c"
    "80600114602a57" "80600214603a57" "80600314604857" "80600414605657" "80600514605e57" "00"
    // 1: LOG2(data = timestamp, topics = 0xaa, word)
    "5b42600052600135" "60aa60206000a200"
    // 2: revert with calldata[1..]
    "5b600136038060016000376000fd"
    // 3: return (number, timestamp)
    "5b436000524260205260406000f3"
    // 4: sstore(0, word)
    "5b60013560005500"
    // 5: return sload(0)
    "5b60005460005260206000f3"
);

/// First topic of the contract's logs.
pub(crate) const TOPIC: B256 = B256::with_last_byte(0xaa);

pub(crate) fn calldata(what: u8, rest: &[u8]) -> Bytes {
    [&[what], rest].concat().into()
}

pub(crate) fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

pub(crate) fn topic(value: u64) -> B256 {
    B256::from(word(value))
}

pub(crate) fn log(to: alloy::primitives::Address, value: u64) -> TxRequest {
    TxRequest {
        to: Some(to),
        data: calldata(1, &word(value)),
        ..TxRequest::default()
    }
}

pub(crate) fn store(to: alloy::primitives::Address, value: u64) -> TxRequest {
    TxRequest {
        to: Some(to),
        data: calldata(4, &word(value)),
        ..TxRequest::default()
    }
}
