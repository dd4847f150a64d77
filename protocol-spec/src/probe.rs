//! Asking a resolver as the adjudicator would: creation code for `eth_call`, which needs no contract on chain.
//!
//! The code runs `check(hash, witness)` by a static call with the adjudicator's gas cap and returns one word: 1 when
//! the call succeeded and answered exactly the 32-byte word 1, else 0. With less gas at hand than the adjudicator
//! demands it reverts, so that a node's small limit is never taken for a "no".

use crate::{Condition, Witness, abi::IResolver, limits};
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolCall;

/// Gas that must be left before the static call, as in the adjudicator's `Payout.requireGas`.
pub(crate) const GAS_NEEDED: u64 = limits::RESOLVER_GAS + limits::RESOLVER_GAS / 63 + 60_000;

/// Creation code that asks `condition.resolver` whether `witness` opens the condition. Run it by `eth_call` without a
/// receiver, and give the output to [`answer`].
#[must_use]
pub fn code(condition: &Condition, witness: &Witness) -> Bytes {
    let query = query(condition, witness);
    let mut code = program(condition, query.len());
    code.extend(query);
    code.into()
}

/// The calldata of `check`.
pub(crate) fn query(condition: &Condition, witness: &Witness) -> Vec<u8> {
    let query = IResolver::checkCall {
        hash: B256::from(condition.hash.0),
        witness: Bytes::copy_from_slice(witness.as_bytes()),
    };
    query.abi_encode()
}

/// What the output of [`code`] says; `None`: it is no output of that code.
#[must_use]
pub fn answer(output: &[u8]) -> Option<bool> {
    let (last, zeros) = output.split_last().filter(|_| output.len() == 32)?;
    match (zeros.iter().all(|byte| *byte == 0), *last) {
        (true, 0) => Some(false),
        (true, 1) => Some(true),
        _ => None,
    }
}

/// The instructions; `query_len` bytes of calldata follow them.
fn program(condition: &Condition, query_len: usize) -> Vec<u8> {
    const LEN: u8 = 77;
    /// Where `JUMPDEST` is.
    const FAIL: u8 = 71;
    let [.., needed_2, needed_1, needed_0] = GAS_NEEDED.to_be_bytes();
    let [.., cap_2, cap_1, cap_0] = limits::RESOLVER_GAS.to_be_bytes();
    // At most 4 + 3 * 32 bytes more than the longest witness.
    let [.., len_1, len_0] = query_len.to_be_bytes();
    let before: &[u8] = &[
        0x62, needed_2, needed_1, needed_0, 0x5a, 0x10, 0x60, FAIL, 0x57, // if gas() < needed: fail
        0x61, len_1, len_0, 0x80, 0x60, LEN, 0x60, 0,
        0x39, // codecopy(0, LEN, len), len stays on the stack
        0x60, 32, 0x60, 0, 0x82, 0x60, 0, 0x73, // staticcall(cap, resolver, 0, len, 0, 32)
    ];
    let after: &[u8] = &[
        0x62, cap_2, cap_1, cap_0, 0xfa, //
        0x60, 32, 0x3d, 0x14, // returndatasize() == 32
        0x60, 1, 0x60, 0, 0x51, 0x14, // mload(0) == 1
        0x16, 0x16, 0x60, 0, 0x52, // mstore(0, and of all three)
        0x60, 32, 0x60, 0, 0xf3, // return(0, 32)
    ];
    let fail: &[u8] = &[0x5b, 0x60, 0, 0x60, 0, 0xfd];
    [before, condition.resolver.as_slice(), after, fail].concat()
}
