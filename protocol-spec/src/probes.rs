//! Asking many resolvers by one `eth_call`, each as [`crate::probe`] asks one.

use crate::{
    Condition, Witness,
    creation::{CODE_BYTES_MAX, at, op},
    limits,
    probe::{GAS_NEEDED, query},
};
use alloy_primitives::Bytes;

/// Most questions of one call. It takes at most about 8M gas; nodes allow a call 10M and more.
pub const QUESTIONS_MAX: usize = 32;
/// Before a question: the resolver, and the length of what it is asked.
const HEAD: u8 = 20 + 2;
/// Calldata of `check` around the witness, which is padded to words.
const QUERY_BYTES_MAX: usize = 4 + 32 * 3 + limits::WITNESS_BYTES_MAX;
/// Longer than the instructions.
const INSTRUCTIONS_MAX: usize = 256;

const _: () = assert!(INSTRUCTIONS_MAX + QUESTIONS_MAX * (HEAD as usize + QUERY_BYTES_MAX) <= CODE_BYTES_MAX);
const _: () = assert!(limits::WITNESS_BYTES_MAX.is_multiple_of(32));

/// Creation code that asks whether each witness opens its condition, one to [`QUESTIONS_MAX`] of them. Run it by `eth_call`
/// without a receiver, and give the output to [`answers`]. With less gas at hand than the adjudicator demands it reverts.
#[must_use]
pub fn code(questions: &[(Condition, &Witness)]) -> Bytes {
    let mut asked = Vec::new();
    for (condition, witness) in questions {
        let query = query(condition, witness);
        let [.., len_1, len_0] = query.len().to_be_bytes();
        asked.extend(condition.resolver);
        asked.extend([len_1, len_0]);
        asked.extend(query);
    }
    let mut code = instructions(asked.len());
    code.extend(asked);
    code.into()
}

/// What the output of [`code`] for `count` questions says, in their order; `None`: it is no output of that code.
#[must_use]
pub fn answers(output: &[u8], count: usize) -> Option<Vec<bool>> {
    let whole = output.len() == count && output.iter().all(|byte| *byte <= 1);
    whole.then(|| output.iter().map(|byte| *byte == 1).collect())
}

/// Where a call's answer and the question go in memory. The output is gathered behind the longest question.
const ANSWER: u8 = 0x20;
const QUERY: u8 = 0x40;
const OUTPUT: [u8; 2] = [0x08, 0x00];
const _: () = assert!(QUERY as usize + QUERY_BYTES_MAX <= u16::from_be_bytes(OUTPUT) as usize);

/// The instructions; `len` bytes of questions follow them. All jumps but the first go backwards, so every target is known when
/// it is needed.
fn instructions(len: usize) -> Vec<u8> {
    use op::*;
    let [.., len_2, len_1, len_0] = len.to_be_bytes();
    let [.., needed_2, needed_1, needed_0] = GAS_NEEDED.to_be_bytes();
    let [.., cap_2, cap_1, cap_0] = limits::RESOLVER_GAS.to_be_bytes();
    let [output_1, output_0] = OUTPUT;
    let mut code = vec![PUSH1, 8, JUMP];
    let fail = at(&code);
    code.extend([JUMPDEST, PUSH1, 0, DUP1, REVERT]);
    // [at, out]: where in the code the next question is, and where in memory its answer goes.
    code.extend([JUMPDEST, PUSH3, len_2, len_1, len_0, CODESIZE, SUB]);
    code.extend([PUSH2, output_1, output_0]);
    let each = at(&code);
    // if gas() < needed: fail
    code.extend([
        JUMPDEST, PUSH3, needed_2, needed_1, needed_0, GAS, LT, PUSH1, fail, JUMPI,
    ]);
    // [at, out, head]: codecopy(0, at, 32); mload(0)
    code.extend([PUSH1, 32, DUP3, PUSH1, 0, CODECOPY, PUSH1, 0, MLOAD]);
    // [at, out, head, len]: (head >> 80) & 0xffff
    code.extend([DUP1, PUSH1, 80, SHR, PUSH2, 0xff, 0xff, AND]);
    // codecopy(QUERY, at + HEAD, len)
    code.extend([DUP1, DUP5, PUSH1, HEAD, ADD, PUSH1, QUERY, CODECOPY]);
    // [at, out, head, len, yes]: staticcall(cap, head >> 96, QUERY, len, ANSWER, 32)
    code.extend([PUSH1, 32, PUSH1, ANSWER, DUP3, PUSH1, QUERY, DUP6, PUSH1, 96, SHR]);
    code.extend([PUSH3, cap_2, cap_1, cap_0, STATICCALL]);
    // and returndatasize() == 32, and mload(ANSWER) == 1
    code.extend([PUSH1, 32, RETURNDATASIZE, EQ, AND]);
    code.extend([PUSH1, ANSWER, MLOAD, PUSH1, 1, EQ, AND]);
    // mstore8(out, yes)
    code.extend([DUP4, MSTORE8]);
    // [at, out]: at += HEAD + len, out += 1
    code.extend([PUSH1, HEAD, ADD, SWAP1, POP, DUP3, ADD, SWAP2, POP, PUSH1, 1, ADD]);
    // if codesize() > at: the next
    code.extend([DUP2, CODESIZE, GT, PUSH1, each, JUMPI]);
    // return(OUTPUT, out - OUTPUT)
    code.extend([
        PUSH2, output_1, output_0, SWAP1, SUB, PUSH2, output_1, output_0, RETURN,
    ]);
    code
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use crate::{Address, Digest};

    #[test]
    fn as_many_questions_as_there_may_be_fit_one_call() {
        let condition = Condition {
            hash: Digest([9; 32]),
            resolver: Address::repeat_byte(7),
        };
        let witness = Witness::new(vec![1; limits::WITNESS_BYTES_MAX]).unwrap();
        let code = code(&vec![(condition, &witness); QUESTIONS_MAX]);
        assert!(code.len() <= CODE_BYTES_MAX, "{}", code.len());
        assert!(instructions(code.len()).len() < INSTRUCTIONS_MAX);
        assert_eq!(query(&condition, &witness).len(), QUERY_BYTES_MAX);
        assert!(code.ends_with(&query(&condition, &witness)));
    }

    #[test]
    fn an_answer_is_a_zero_or_a_one_for_each_question() {
        assert_eq!(answers(&[0, 1, 1], 3), Some(vec![false, true, true]));
        assert_eq!(answers(&[0, 1], 3), None);
        assert_eq!(answers(&[0, 2], 2), None);
        assert_eq!(answers(&[], 1), None);
    }
}
