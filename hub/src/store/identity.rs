//! The pin: what a database was made for, written into both files at their creation.

use std::path::Path;

use super::OpenError;
use super::row::{self, Kind, take};

/// What a database belongs to. Opening it with other facts is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
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

/// Which of the two files it is: swapped files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::store) enum Role {
    Journal = 1,
    State = 2,
}

/// Identity plus a random number shared by the two files, so that copies of different age or of different
/// hubs are not mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Pin {
    pub(in crate::store) identity: Identity,
    pub(in crate::store) store_id: [u8; 16],
}

impl Pin {
    /// The row of the file with this role. The version comes first, so that every version can read it.
    pub(in crate::store) fn to_row(self, role: Role) -> Vec<u8> {
        let id = &self.identity;
        let body = [
            id.format_version.to_le_bytes().as_slice(),
            &self.store_id,
            &id.chain_id.to_le_bytes(),
            &id.genesis_hash,
            &id.adjudicator,
            &id.code_hash,
            &id.hub_signer,
        ]
        .concat();
        row::seal(Kind::Pin, &[&[role as u8]], &body)
    }

    /// Reads the row back: the version alone when it is not ours, else the pin.
    pub(in crate::store) fn from_row(role: Role, bytes: &[u8], version: u32) -> Option<Result<Self, u32>> {
        let body = &mut row::open(Kind::Pin, &[&[role as u8]], bytes)?;
        let format_version = u32::from_le_bytes(*take(body)?);
        if format_version != version {
            return Some(Err(format_version));
        }
        let store_id = *take(body)?;
        let identity = Identity {
            format_version,
            chain_id: u64::from_le_bytes(*take(body)?),
            genesis_hash: *take(body)?,
            adjudicator: *take(body)?,
            code_hash: *take(body)?,
            hub_signer: *take(body)?,
        };
        body.is_empty().then_some(Ok(Self { identity, store_id }))
    }
}

/// Refuses a database of another version.
pub(in crate::store) fn refuse_version(path: &Path, expected: u32, found: u32) -> OpenError {
    let path = path.to_path_buf();
    if found > expected {
        OpenError::FormatNewer {
            path,
            expected,
            found,
        }
    } else {
        OpenError::FormatOlder {
            path,
            expected,
            found,
        }
    }
}

/// Compares the facts one by one and names the first that differs.
pub(in crate::store) fn compare(path: &Path, expected: &Identity, found: &Identity) -> Result<(), OpenError> {
    let hex = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let facts = [
        (
            "chain id",
            expected.chain_id.to_string(),
            found.chain_id.to_string(),
        ),
        (
            "genesis hash",
            hex(&expected.genesis_hash),
            hex(&found.genesis_hash),
        ),
        ("adjudicator", hex(&expected.adjudicator), hex(&found.adjudicator)),
        (
            "adjudicator code hash",
            hex(&expected.code_hash),
            hex(&found.code_hash),
        ),
        ("hub signer", hex(&expected.hub_signer), hex(&found.hub_signer)),
    ];
    match facts.into_iter().find(|(_, expected, found)| expected != found) {
        None => Ok(()),
        Some((fact, expected, found)) => Err(OpenError::IdentityMismatch {
            path: path.to_path_buf(),
            fact,
            expected,
            found,
        }),
    }
}
