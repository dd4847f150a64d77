//! A backup key sealed with a passphrase: a small file that may lie beside the backups, and opens for who knows the phrase.
//!
//! The phrase is made into a key by Argon2id, which costs whoever guesses as much memory and time for each guess. That key
//! seals the backup key as a generation's segments are sealed, with everything else in the file authenticated beside it.

use super::{
    BackupError, BackupKey,
    format::random,
    key::{NONCE_BYTES, TAG_BYTES},
};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

const FORMAT: &str = "channelhub.sealed-backup-key.v1";
const KEY_BYTES: usize = 32;
/// What a file may ask of this machine at most: 1 GiB, and some seconds.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// Why a sealed key was not made or not opened. Tells nothing of key or passphrase.
#[derive(Debug, Error)]
pub enum SealedKeyError {
    /// The file is no sealed key, or is damaged.
    #[error("it is no sealed backup key: {0}")]
    Unreadable(String),
    /// The file asks for more memory or time than a sealed key ever does.
    #[error(
        "it asks for {memory_kib} KiB, {passes} passes and {lanes} lanes to open it: it is damaged, or a trap"
    )]
    Costly {
        /// Memory, KiB.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// Another passphrase, or the file was changed.
    #[error("the passphrase does not open it, or it is not what was written")]
    Passphrase,
    /// The machine lacks the memory, the cipher failed, or the system gave no randomness.
    #[error("the key could not be derived: {0}")]
    Failed(String),
}

impl From<BackupError> for SealedKeyError {
    fn from(error: BackupError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What one guess at a passphrase costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuessCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for GuessCost {
    /// RFC 9106, section 4, with four times the memory of its second choice: 256 MiB, about a second.
    fn default() -> Self {
        Self {
            memory_kib: 1 << 18,
            passes: 3,
            lanes: 4,
        }
    }
}

/// Everything in the file but the sealed bytes; authenticated as the JSON that is written here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    /// [`BackupKey::id`] of the key inside, hex.
    key_id: String,
    argon2id: GuessCost,
    /// 32 random bytes, hex.
    salt: String,
    /// 12 random bytes, hex.
    nonce: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    head: Head,
    /// 32 bytes of key, AES-256-GCM, 16 bytes of tag, hex.
    sealed: String,
}

/// The file that gives `key` to whoever knows `passphrase`: JSON. Takes about a second and the memory of `cost`.
///
/// # Errors
/// [`SealedKeyError::Failed`].
pub fn seal_key(
    key: &Zeroizing<[u8; KEY_BYTES]>,
    passphrase: &str,
    cost: GuessCost,
) -> Result<String, SealedKeyError> {
    let (salt, nonce) = (random::<KEY_BYTES>()?, random::<NONCE_BYTES>()?);
    let head = Head {
        format: FORMAT.to_owned(),
        key_id: hex::encode(BackupKey::new(key.clone())?.id()),
        argon2id: cost,
        salt: hex::encode(salt),
        nonce: hex::encode(nonce),
    };
    let sealed = lock(passphrase, &salt, cost)?.cipher(&salt)?.seal(
        nonce,
        &authenticated(&head)?,
        // Sealed in place: with room for the tag no copy of the key is left behind.
        with_room(key.as_slice()),
    )?;
    let file = File {
        head,
        sealed: hex::encode(sealed),
    };
    serde_json::to_string_pretty(&file).map_err(|error| SealedKeyError::Failed(error.to_string()))
}

/// The key in `file`.
///
/// # Errors
/// Every [`SealedKeyError`].
pub fn open_key(file: &[u8], passphrase: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealedKeyError> {
    let file = serde_json::from_slice(file);
    let File { head, sealed } = file.map_err(|error| SealedKeyError::Unreadable(error.to_string()))?;
    if head.format != FORMAT {
        let got: String = head.format.chars().take(64).collect();
        return Err(SealedKeyError::Unreadable(format!(
            "its format is {got:?}, not {FORMAT:?}"
        )));
    }
    let GuessCost {
        memory_kib,
        passes,
        lanes,
    } = head.argon2id;
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(SealedKeyError::Costly {
            memory_kib,
            passes,
            lanes,
        });
    }
    let (salt, nonce) = (
        bytes::<KEY_BYTES>(&head.salt)?,
        bytes::<NONCE_BYTES>(&head.nonce)?,
    );
    let sealed = bytes::<{ KEY_BYTES + TAG_BYTES }>(&sealed)?.to_vec();
    let cipher = lock(passphrase, &salt, head.argon2id)?.cipher(&salt)?;
    let opened = cipher.open(nonce, &authenticated(&head)?, sealed);
    let opened = Zeroizing::new(opened.ok_or(SealedKeyError::Passphrase)?);
    let key = <[u8; KEY_BYTES]>::try_from(opened.as_slice()).map_err(|_| SealedKeyError::Passphrase)?;
    Ok(Zeroizing::new(key))
}

/// What the passphrase makes: a key that seals nothing but the backup key.
fn lock(passphrase: &str, salt: &[u8], cost: GuessCost) -> Result<BackupKey, SealedKeyError> {
    let failed = |error: argon2::Error| SealedKeyError::Failed(error.to_string());
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(failed)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(failed)?;
    Ok(BackupKey::new(key)?)
}

fn with_room(key: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(KEY_BYTES + TAG_BYTES);
    body.extend_from_slice(key);
    body
}

fn authenticated(head: &Head) -> Result<Vec<u8>, SealedKeyError> {
    serde_json::to_vec(head).map_err(|error| SealedKeyError::Failed(error.to_string()))
}

fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], SealedKeyError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| SealedKeyError::Unreadable(format!("expected {N} bytes of hex")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "a test may fail by panicking"
    )]

    use super::*;
    use serde_json::{Value, json};

    /// Guesses are cheap here.
    const CHEAP: GuessCost = GuessCost {
        memory_kib: 64,
        passes: 1,
        lanes: 1,
    };
    const PHRASE: &str = "correct horse battery staple";

    fn key() -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new([7; KEY_BYTES])
    }

    fn sealed() -> Value {
        serde_json::from_str(&seal_key(&key(), PHRASE, CHEAP).unwrap()).unwrap()
    }

    fn open(file: &Value, passphrase: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealedKeyError> {
        open_key(file.to_string().as_bytes(), passphrase)
    }

    #[test]
    fn the_passphrase_and_nothing_else_opens_it() {
        let file = sealed();
        assert_eq!(open(&file, PHRASE).unwrap(), key());
        for wrong in ["", "correct horse battery stapl", "Correct horse battery staple"] {
            assert!(
                matches!(open(&file, wrong), Err(SealedKeyError::Passphrase)),
                "{wrong}"
            );
        }
        let again = sealed();
        assert_ne!(
            file["head"]["salt"], again["head"]["salt"],
            "two seals share nothing"
        );
        assert_ne!(file["sealed"], again["sealed"]);
        assert!(!file.to_string().contains(&hex::encode(*key())));
    }

    #[test]
    fn a_file_that_was_changed_anywhere_does_not_open() {
        let file = sealed();
        let changed = |at: &str, to: Value| {
            let mut file = file.clone();
            *file.pointer_mut(at).unwrap() = to;
            open(&file, PHRASE).unwrap_err()
        };
        let other = |digits: &Value| {
            let digits = digits.as_str().unwrap();
            let flipped = if digits.starts_with('0') { "1" } else { "0" };
            json!(format!("{flipped}{}", &digits[1..]))
        };
        for at in ["/head/key_id", "/head/salt", "/head/nonce", "/sealed"] {
            let error = changed(at, other(file.pointer(at).unwrap()));
            assert!(matches!(error, SealedKeyError::Passphrase), "{at}: {error}");
        }
        let error = changed("/head/argon2id/passes", json!(2));
        assert!(matches!(error, SealedKeyError::Passphrase), "{error}");
        for (at, to) in [
            ("/head/format", json!("channelhub.sealed-backup-key.v2")),
            ("/head/salt", json!("00")),
            ("/sealed", json!("zz")),
            ("/sealed", json!(7)),
        ] {
            let error = changed(at, to);
            assert!(matches!(error, SealedKeyError::Unreadable(_)), "{at}: {error}");
        }
        assert!(matches!(
            open_key(b"", PHRASE),
            Err(SealedKeyError::Unreadable(_))
        ));
    }

    /// Before anything is allocated.
    #[test]
    fn a_file_that_asks_for_too_much_is_refused() {
        for (what, max) in [
            ("memory_kib", MEMORY_KIB_MAX),
            ("passes", PASSES_MAX),
            ("lanes", LANES_MAX),
        ] {
            let mut file = sealed();
            file["head"]["argon2id"][what] = json!(max + 1);
            let error = open(&file, PHRASE).unwrap_err();
            assert!(matches!(error, SealedKeyError::Costly { .. }), "{what}: {error}");
            file["head"]["argon2id"][what] = json!(0);
            let error = open(&file, PHRASE).unwrap_err();
            assert!(matches!(error, SealedKeyError::Failed(_)), "{what}: {error}");
        }
    }

    /// What is made today is what can be opened.
    #[test]
    fn the_default_cost_is_within_what_a_file_may_ask() {
        let GuessCost {
            memory_kib,
            passes,
            lanes,
        } = GuessCost::default();
        assert!(memory_kib <= MEMORY_KIB_MAX && passes <= PASSES_MAX && lanes <= LANES_MAX);
        assert!(
            memory_kib >= 1 << 16 && passes >= 3,
            "RFC 9106's second choice at least"
        );
    }
}
