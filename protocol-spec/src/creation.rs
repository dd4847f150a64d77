//! What programs for `eth_call` without a contract have in common: opcodes, and the limits of creation code.

/// Longest creation code (EIP-3860), bytes.
pub(crate) const CODE_BYTES_MAX: usize = 49_152;
/// Longest code that creation code may return (EIP-170), bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 24_576;

/// Where the next instruction will be.
pub(crate) fn at(code: &[u8]) -> u8 {
    u8::try_from(code.len()).unwrap_or(u8::MAX)
}

/// Opcodes.
pub(crate) mod op {
    pub(crate) const ADD: u8 = 0x01;
    pub(crate) const SUB: u8 = 0x03;
    pub(crate) const LT: u8 = 0x10;
    pub(crate) const GT: u8 = 0x11;
    pub(crate) const EQ: u8 = 0x14;
    pub(crate) const ISZERO: u8 = 0x15;
    pub(crate) const AND: u8 = 0x16;
    pub(crate) const XOR: u8 = 0x18;
    pub(crate) const SHL: u8 = 0x1b;
    pub(crate) const SHR: u8 = 0x1c;
    pub(crate) const CODESIZE: u8 = 0x38;
    pub(crate) const CODECOPY: u8 = 0x39;
    pub(crate) const RETURNDATASIZE: u8 = 0x3d;
    pub(crate) const POP: u8 = 0x50;
    pub(crate) const MLOAD: u8 = 0x51;
    pub(crate) const MSTORE: u8 = 0x52;
    pub(crate) const MSTORE8: u8 = 0x53;
    pub(crate) const JUMP: u8 = 0x56;
    pub(crate) const JUMPI: u8 = 0x57;
    pub(crate) const GAS: u8 = 0x5a;
    pub(crate) const JUMPDEST: u8 = 0x5b;
    pub(crate) const PUSH1: u8 = 0x60;
    pub(crate) const PUSH2: u8 = 0x61;
    pub(crate) const PUSH3: u8 = 0x62;
    pub(crate) const PUSH20: u8 = 0x73;
    pub(crate) const DUP1: u8 = 0x80;
    pub(crate) const DUP2: u8 = 0x81;
    pub(crate) const DUP3: u8 = 0x82;
    pub(crate) const DUP4: u8 = 0x83;
    pub(crate) const DUP5: u8 = 0x84;
    pub(crate) const DUP6: u8 = 0x85;
    pub(crate) const SWAP1: u8 = 0x90;
    pub(crate) const SWAP2: u8 = 0x91;
    pub(crate) const RETURN: u8 = 0xf3;
    pub(crate) const STATICCALL: u8 = 0xfa;
    pub(crate) const REVERT: u8 = 0xfd;
}
