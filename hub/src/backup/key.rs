//! The key of the backups, and the cipher of one generation.
//!
//! Each generation has a key of its own, derived from the backup key and 32 random bytes (HKDF-SHA256), so the 96-bit
//! random nonces of AES-256-GCM are drawn for some thousands of segments per key, never for the life of the backup key.

use super::BackupError;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 12;
/// Bytes that sealing adds.
pub(super) const TAG_BYTES: usize = 16;
/// Names a generation; its key is derived from it.
pub(super) type GenerationId = [u8; 32];

/// Seals all backups of one hub. Kept elsewhere than the backups.
#[derive(Clone)]
pub struct BackupKey {
    bytes: Zeroizing<[u8; 32]>,
    id: [u8; 8],
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupKey({})", hex::encode(self.id))
    }
}

struct IdLength;

impl KeyType for IdLength {
    fn len(&self) -> usize {
        8
    }
}

impl BackupKey {
    /// From 32 random bytes. Errors: the cipher library refused.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Result<Self, BackupError> {
        let mut id = [0; 8];
        let expanded = Salt::new(HKDF_SHA256, b"channelhub.backup.key-id").extract(bytes.as_slice());
        expanded
            .expand(&[b"id"], IdLength)
            .and_then(|okm| okm.fill(&mut id))
            .map_err(|_| BackupError::Cipher("the key's id"))?;
        Ok(Self { bytes, id })
    }

    /// Tells keys apart and tells nothing of the key.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The cipher of a generation.
    pub(super) fn cipher(&self, generation: &GenerationId) -> Result<Cipher, BackupError> {
        let derived = Salt::new(HKDF_SHA256, generation).extract(self.bytes.as_slice());
        let key = derived
            .expand(&[b"channelhub.backup.v1"], &AES_256_GCM)
            .map_err(|_| BackupError::Cipher("the generation's key"))?;
        Ok(Cipher(LessSafeKey::new(UnboundKey::from(key))))
    }
}

/// Seals and opens the segments of one generation.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// `body` sealed, with `header` authenticated beside it.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        header: &[u8],
        mut body: Vec<u8>,
    ) -> Result<Vec<u8>, BackupError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce, Aad::from(header), &mut body)
            .map_err(|_| BackupError::Cipher("sealing"))?;
        Ok(body)
    }

    /// `None`: not sealed by this key with this header.
    pub(super) fn open(&self, nonce: [u8; NONCE_BYTES], header: &[u8], mut body: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::from(header), &mut body)
            .ok()?
            .len();
        body.truncate(length);
        Some(body)
    }
}
