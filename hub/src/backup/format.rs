//! The bytes of a segment and of a generation's head: a header in the clear, authenticated, and a sealed body.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CHBACKUP` |
//! | 1 | version, 1 |
//! | 1 | kind: 1 segment, 2 head, 3 owner of the directory |
//! | 8 | id of the key |
//! | 8 | number of the generation, little-endian; of an owner: 0 |
//! | 32 | id of the generation, random; of an owner: one of its own |
//! | 8 | index of the segment in it; of a head: of the newest segment |
//! | 32 | SHA-256 of the segment before, as it is on disk; zero for the first; of a head: of the newest segment |
//! | 12 | nonce, random |
//! | rest | body, AES-256-GCM, the header as additional data, 16 bytes of tag |

use super::{
    BackupError, BackupKey,
    key::{Cipher, GenerationId, NONCE_BYTES, TAG_BYTES},
};
use rand::{TryRngCore, rngs::OsRng};
use sha2::{Digest, Sha256};
use std::path::Path;

const MAGIC: &[u8; 8] = b"CHBACKUP";
const VERSION: u8 = 1;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 110;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Kind {
    Segment = 1,
    Head = 2,
    Owner = 3,
}

/// The header of a file, but for its constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) key_id: [u8; 8],
    pub(super) number: u64,
    pub(super) generation: GenerationId,
    pub(super) index: u64,
    pub(super) previous: [u8; 32],
    pub(super) nonce: [u8; NONCE_BYTES],
}

/// Random bytes of the system. Errors: it gave none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| BackupError::Cipher("the system gave no randomness"))?;
    Ok(bytes)
}

/// Names a file's content, for the chain.
pub(super) fn digest(file: &[u8]) -> [u8; 32] {
    Sha256::digest(file).into()
}

impl Header {
    fn to_bytes(self) -> Vec<u8> {
        [
            MAGIC.as_slice(),
            &[VERSION, self.kind as u8],
            &self.key_id,
            &self.number.to_le_bytes(),
            &self.generation,
            &self.index.to_le_bytes(),
            &self.previous,
            &self.nonce,
        ]
        .concat()
    }

    /// The whole file.
    pub(super) fn seal(self, cipher: &Cipher, body: Vec<u8>) -> Result<Vec<u8>, BackupError> {
        let header = self.to_bytes();
        let sealed = cipher.seal(self.nonce, &header, body)?;
        Ok([header, sealed].concat())
    }

    /// Reads the header of a file; nothing of it is trusted yet.
    fn read(file: &[u8]) -> Result<Self, String> {
        let rest = &mut &file[..];
        let (magic, [version, kind]) = (take::<8>(rest)?, take::<2>(rest)?);
        if magic != *MAGIC {
            return Err("is no file of a backup".to_owned());
        }
        if version != VERSION {
            return Err(format!("has version {version}, this program knows {VERSION}"));
        }
        let kind = match kind {
            1 => Kind::Segment,
            2 => Kind::Head,
            3 => Kind::Owner,
            other => return Err(format!("is of an unknown kind {other}")),
        };
        Ok(Self {
            kind,
            key_id: take(rest)?,
            number: u64::from_le_bytes(take(rest)?),
            generation: take(rest)?,
            index: u64::from_le_bytes(take(rest)?),
            previous: take(rest)?,
            nonce: take(rest)?,
        })
    }

    /// Header and body of a file of this kind. Errors: another key, or not what was written.
    pub(super) fn open(
        key: &BackupKey,
        kind: Kind,
        path: &Path,
        file: &[u8],
    ) -> Result<(Self, Vec<u8>), BackupError> {
        let damaged = |what: String| BackupError::damaged(path, what);
        let header = Self::read(file).map_err(damaged)?;
        if header.key_id != key.id() {
            return Err(BackupError::WrongKey {
                path: path.to_owned(),
                expected: hex::encode(key.id()),
                found: hex::encode(header.key_id),
            });
        }
        if header.kind != kind {
            return Err(damaged(format!("is a {:?}, not a {kind:?}", header.kind)));
        }
        let (clear, sealed) = file
            .split_at_checked(HEADER_BYTES)
            .filter(|(_, sealed)| sealed.len() >= TAG_BYTES)
            .ok_or_else(|| damaged("is cut short".to_owned()))?;
        let cipher = key.cipher(&header.generation)?;
        let body = cipher.open(header.nonce, clear, sealed.to_vec());
        let body = body.ok_or_else(|| damaged("is not what was written".to_owned()))?;
        Ok((header, body))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or("is cut short")?;
    *rest = tail;
    Ok(*head)
}
