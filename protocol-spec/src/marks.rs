//! Reading the marks of many locks (R17) by one `eth_call`: creation code, which needs no contract on chain.
//!
//! The code calls the adjudicator's `mark` for every leaf that follows it, and returns the answers in 8 bytes each: what
//! creation code returns costs gas by the byte and is limited. When a call fails, answers anything but one word, or a word
//! of more than 64 bits, it reverts: what is not known is never taken for "not marked".

use crate::{
    Address, ChannelId, Digest, Side,
    abi::IAdjudicator,
    creation::{CODE_BYTES_MAX, OUTPUT_BYTES_MAX, at, op},
};
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolCall as _;

/// Most leaves of one call. It takes about 6M gas; nodes allow a call 10M and more.
pub const LEAVES_MAX: usize = 1024;
/// Longer than the instructions.
const INSTRUCTIONS_MAX: usize = 256;
/// Calldata of `mark` before the leaf.
const HEAD: u8 = 4 + 32 + 32;

const _: () = assert!(INSTRUCTIONS_MAX + HEAD as usize + 32 * LEAVES_MAX <= CODE_BYTES_MAX);
const _: () = assert!(8 * LEAVES_MAX <= OUTPUT_BYTES_MAX);

/// Creation code that reads the marks of `leaves`, one to [`LEAVES_MAX`], which `payer` locked in `channel`. Run it by
/// `eth_call` without a receiver, and give the output to [`answer`].
#[must_use]
pub fn code(adjudicator: Address, channel: ChannelId, payer: Side, leaves: &[Digest]) -> Bytes {
    let call = IAdjudicator::markCall {
        channelId: B256::from(channel.0),
        payer: payer.index(),
        leaf: B256::ZERO,
    };
    let mut code = instructions(adjudicator, leaves.len());
    code.extend(call.abi_encode().iter().take(usize::from(HEAD)));
    leaves.iter().for_each(|leaf| code.extend(leaf.0));
    code.into()
}

/// What the output of [`code`] for `count` leaves says, in their order: the seq of the voucher in which the lock was last
/// counted; inside `None`: it is not marked. `None`: it is no output of that code.
#[must_use]
pub fn answer(output: &[u8], count: usize) -> Option<Vec<Option<u64>>> {
    let (marks, rest) = output.as_chunks::<8>();
    let whole = rest.is_empty() && marks.len() == count;
    // The adjudicator keeps the seq plus one.
    let marks = marks.iter().map(|mark| u64::from_be_bytes(*mark).checked_sub(1));
    whole.then(|| marks.collect())
}

/// Where a call's answer goes, and from where on the output is gathered.
const ANSWER: u8 = 0x80;
const OUTPUT: u8 = 0xa0;

/// The instructions; the head of the calldata and `count` leaves follow them. All jumps but the first go backwards, so every
/// target is known when it is needed.
fn instructions(adjudicator: Address, count: usize) -> Vec<u8> {
    use op::*;
    // At most 2^15.
    let [.., len_2, len_1, len_0] = count.saturating_mul(32).to_be_bytes();
    let mut code = vec![PUSH1, 8, JUMP];
    let fail = at(&code);
    code.extend([JUMPDEST, PUSH1, 0, DUP1, REVERT]);
    // [leaf]: where in the code the next leaf is.
    code.extend([JUMPDEST, PUSH3, len_2, len_1, len_0, CODESIZE, SUB]);
    // codecopy(0, leaf - HEAD, HEAD)
    code.extend([PUSH1, HEAD, DUP1, DUP3, SUB, PUSH1, 0, CODECOPY]);
    // [leaf, out]: where in memory its mark goes.
    code.extend([PUSH1, OUTPUT]);
    let each = at(&code);
    // codecopy(HEAD, leaf, 32)
    code.extend([JUMPDEST, PUSH1, 32, DUP3, PUSH1, HEAD, CODECOPY]);
    // unless staticcall(gas(), adjudicator, 0, HEAD + 32, ANSWER, 32): fail
    code.extend([PUSH1, 32, PUSH1, ANSWER, PUSH1, HEAD + 32, PUSH1, 0, PUSH20]);
    code.extend(adjudicator);
    code.extend([GAS, STATICCALL, ISZERO, PUSH1, fail, JUMPI]);
    // if returndatasize() != 32: fail
    code.extend([PUSH1, 32, RETURNDATASIZE, XOR, PUSH1, fail, JUMPI]);
    // if mload(ANSWER) >> 64: fail
    code.extend([PUSH1, ANSWER, MLOAD, DUP1, PUSH1, 64, SHR, PUSH1, fail, JUMPI]);
    // mstore(out, mark << 192); the 24 bytes behind it are the next ones'.
    code.extend([PUSH1, 192, SHL, DUP2, MSTORE]);
    // out += 8, leaf += 32; if codesize() > leaf: the next
    code.extend([PUSH1, 8, ADD, SWAP1, PUSH1, 32, ADD, SWAP1]);
    code.extend([DUP2, CODESIZE, GT, PUSH1, each, JUMPI]);
    // return(OUTPUT, out - OUTPUT)
    code.extend([PUSH1, OUTPUT, SWAP1, SUB, PUSH1, OUTPUT, RETURN]);
    code
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;

    #[test]
    fn the_code_ends_with_the_calldata_of_mark_and_the_leaves() {
        let leaves = [Digest([0; 32]), Digest([1; 32])];
        let code = code(Address::repeat_byte(7), ChannelId([9; 32]), Side::Hub, &leaves);
        let call = IAdjudicator::markCall {
            channelId: B256::repeat_byte(9),
            payer: Side::Hub.index(),
            leaf: B256::ZERO,
        };
        let tail = [call.abi_encode(), leaves[1].0.to_vec()].concat();
        assert!(code.ends_with(&tail), "the first leaf is zero");
        assert_eq!(code.len() - tail.len(), instructions(Address::ZERO, 2).len());
        assert!(instructions(Address::ZERO, LEAVES_MAX).len() < INSTRUCTIONS_MAX);
    }

    #[test]
    fn an_answer_has_eight_bytes_for_each_leaf() {
        let output = [[0; 8], 1_u64.to_be_bytes(), 0x102_u64.to_be_bytes()].concat();
        assert_eq!(answer(&output, 3), Some(vec![None, Some(0), Some(0x101)]));
        assert_eq!(answer(&output, 2), None);
        assert_eq!(answer(&output[..23], 3), None);
        assert_eq!(answer(&[], 1), None);
    }
}
