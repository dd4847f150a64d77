//! The pin: what a database was made for, written once at its creation.

/// What a database belongs to. Opening it with other facts is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Version of the stored bytes that the program writes.
    pub format_version: u32,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Hash of block 0: two chains may share an id.
    pub genesis_hash: [u8; 32],
    /// Address of the adjudicator.
    pub adjudicator: [u8; 20],
    /// Hash of the adjudicator's runtime code.
    pub code_hash: [u8; 32],
    /// Address of the hub's signing key.
    pub hub_signer: [u8; 20],
}
