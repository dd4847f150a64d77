//! Where keys come from: a file only its owner can read, or an environment variable. Never the configuration itself.

use crate::backup::SealedKeyError;
use protocol_spec::SignerKey;
use rand::{TryRngCore, rngs::OsRng};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;
use zeroize::Zeroizing;

const KEY_FILE_BYTES_MAX: u64 = 128;
/// A file is not read further than [`KEY_FILE_BYTES_MAX`]: no passphrase may reach there.
const PASSPHRASE_BYTES_MAX: usize = 100;
/// Shorter ones are guessed.
const PASSPHRASE_BYTES_MIN: usize = 16;

/// A reference to a key. Holds no secret, so it may be printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretRef {
    /// `file:PATH`.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
}

/// Why a key cannot be had. Never contains key material.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The text is no reference; perhaps it is a key. It is not repeated.
    #[error(
        "a key must be given as \"file:PATH\" or \"env:NAME\", never as itself: configuration files are copied, \
         printed and committed. If this was a real key, replace it"
    )]
    NotAReference,
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others can read the file.
    #[error("{path}: mode is {mode:03o}, must be 600; run: chmod 600 {path}")]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not ours.
    #[error("{path}: belongs to user {owner}, must belong to user {expected}, who runs the hub")]
    WrongOwner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        expected: u32,
    },
    /// A directory, a device.
    #[error("{0}: is no regular file")]
    NotAFile(PathBuf),
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    NotSet(String),
    /// Not 32 bytes of hex, or not a key of the curve.
    #[error("{0}: must hold a private key of 64 hex digits")]
    NotAKey(String),
    /// A passphrase that is too long.
    #[error("{0}: a passphrase has at most 100 bytes")]
    PassphraseLong(String),
    /// A passphrase that can be guessed.
    #[error("{0}: a passphrase that seals a key has at least 16 bytes; take five random words")]
    PassphraseShort(String),
    /// A sealed backup key does not open.
    #[error("{path}: {error}")]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: SealedKeyError,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Randomness(String),
}

impl FromStr for SecretRef {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !looks_like_a_key(name) => {
                Ok(Self::Env(name.to_owned()))
            }
            _ => Err(SecretError::NotAReference),
        }
    }
}

fn looks_like_a_key(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() >= 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}
impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(de::Error::custom)
    }
}

impl SecretRef {
    /// Makes the path of a file absolute.
    pub fn resolve_relative_to(&mut self, base: &Path) {
        if let Self::File(path) = self {
            *path = base.join(&path);
        }
    }

    /// Fetches the key.
    pub fn load(&self) -> Result<SignerKey, SecretError> {
        let not_a_key = |_| SecretError::NotAKey(self.to_string());
        SignerKey::from_bytes(&*self.load_bytes()?).map_err(not_a_key)
    }

    /// Fetches a passphrase: the text without the line end. Errors: it has more than 100 bytes.
    pub fn load_passphrase(&self) -> Result<Zeroizing<String>, SecretError> {
        let text = self.text()?;
        let phrase = text.trim_end_matches(['\r', '\n']);
        match phrase.len() {
            0..=PASSPHRASE_BYTES_MAX => Ok(Zeroizing::new(phrase.to_owned())),
            _ => Err(SecretError::PassphraseLong(self.to_string())),
        }
    }

    /// Fetches a passphrase that is to seal something. Errors: it has less than 16 bytes, or more than 100.
    pub fn load_new_passphrase(&self) -> Result<Zeroizing<String>, SecretError> {
        let phrase = self.load_passphrase()?;
        match phrase.len() {
            PASSPHRASE_BYTES_MIN.. => Ok(phrase),
            _ => Err(SecretError::PassphraseShort(self.to_string())),
        }
    }

    fn text(&self) -> Result<Zeroizing<String>, SecretError> {
        match self {
            Self::File(path) => read_private(path),
            Self::Env(name) => {
                let value = std::env::var(name).map_err(|_| SecretError::NotSet(name.clone()))?;
                Ok(Zeroizing::new(value))
            }
        }
    }

    /// Fetches a key that is no key of the curve: 32 bytes.
    pub fn load_bytes(&self) -> Result<Zeroizing<[u8; 32]>, SecretError> {
        let text = self.text()?;
        let mut bytes = Zeroizing::new([0; 32]);
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        hex::decode_to_slice(digits, bytes.as_mut_slice())
            .map_err(|_| SecretError::NotAKey(self.to_string()))?;
        Ok(bytes)
    }
}

/// Reads a short file that only we can read. The checks are made on the open file, not on its name.
fn read_private(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let fail = |error| SecretError::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(fail)?;
    let facts = file.metadata().map_err(fail)?;
    let ours = std::fs::metadata("/proc/self").map_or(facts.uid(), |process| process.uid());
    let mode = facts.mode() & 0o777;
    match () {
        () if !facts.is_file() => return Err(SecretError::NotAFile(path.to_owned())),
        () if mode & 0o077 != 0 => {
            return Err(SecretError::TooOpen {
                path: path.to_owned(),
                mode,
            });
        }
        () if facts.uid() != ours => {
            return Err(SecretError::WrongOwner {
                path: path.to_owned(),
                owner: facts.uid(),
                expected: ours,
            });
        }
        () => {}
    }
    let capacity = usize::try_from(KEY_FILE_BYTES_MAX).unwrap_or_default();
    // Room for all of it from the start: a String that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(fail)?;
    Ok(text)
}

/// Makes a key from the system's randomness and writes it to a new file with mode 0600. Never overwrites.
pub fn create_key(path: &Path) -> Result<SignerKey, SecretError> {
    let key = random_key()?;
    write_key(path, &key.to_bytes())?;
    Ok(key)
}

/// Writes a key to a new file with mode 0600, as [`SecretRef::load_bytes`] reads it. Never overwrites.
pub fn write_key(path: &Path, key: &[u8; 32]) -> Result<(), SecretError> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    let mut digits = Zeroizing::new([0; 64]);
    // 32 bytes are 64 digits, and hex is UTF-8; a failure of either would leave the file without a key, so it is an error.
    hex::encode_to_slice(key, digits.as_mut_slice())
        .map_err(|_| SecretError::NotAKey(path.display().to_string()))?;
    text.push_str(std::str::from_utf8(digits.as_slice()).unwrap_or_default());
    text.push('\n');
    write_private(path, text.as_bytes())
}

/// Writes a new file that only we can read, durably. Never overwrites.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
    let fail = |error| SecretError::Io {
        path: path.to_owned(),
        error,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = File::open(parent.unwrap_or(Path::new(".")));
    parent.and_then(|parent| parent.sync_all()).map_err(fail)
}

fn random_key() -> Result<SignerKey, SecretError> {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(bytes.as_mut_slice())
            .map_err(|error| SecretError::Randomness(error.to_string()))?;
        // Fails once in 2^128 tries.
        if let Ok(key) = SignerKey::from_bytes(&bytes) {
            return Ok(key);
        }
    }
}
