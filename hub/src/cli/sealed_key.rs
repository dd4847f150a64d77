//! The key of a backup on the command line: by reference, or sealed with a passphrase.

use super::{Failure, backup::key, data, words};
use crate::{
    backup::{BackupKey, GuessCost, open_key, seal_key},
    ops::{
        Config, SecretRef,
        secrets::{SecretError, write_key, write_private},
    },
};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Largest file that is taken for a sealed key, bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// Which key opens a backup.
#[derive(Clone, Debug, clap::Args)]
pub struct KeyArgs {
    /// The key of the backup, as `file:PATH` or `env:NAME`, instead of the configuration's.
    #[arg(long, value_name = "REF")]
    pub key: Option<SecretRef>,
    /// The key of the backup as `hub backup seal-key` has sealed it, instead of the configuration's.
    #[arg(long, value_name = "FILE", conflicts_with = "key", requires = "passphrase")]
    pub sealed_key: Option<PathBuf>,
    /// The passphrase, as `file:PATH` or `env:NAME`.
    #[arg(long, value_name = "REF", requires = "sealed_key")]
    pub passphrase: Option<SecretRef>,
}

/// A key that was had.
pub(super) struct Opened {
    pub(super) key: BackupKey,
    /// What was in the sealed file.
    unsealed: Option<Zeroizing<[u8; 32]>>,
}

impl KeyArgs {
    /// The key named here, else the one that `configured` names. Errors: it cannot be had.
    pub(super) fn open(
        &self,
        configured: impl FnOnce() -> Result<SecretRef, Failure>,
    ) -> Result<Opened, Failure> {
        let sealed = self.sealed_key.as_deref().zip(self.passphrase.as_ref());
        if let Some((path, passphrase)) = sealed {
            let bytes = unsealed(path, passphrase).map_err(|error| Failure::Key {
                name: "--sealed-key",
                error,
            })?;
            return Ok(Opened {
                key: BackupKey::new(bytes.clone()).map_err(|error| Failure::Running(error.into()))?,
                unsealed: Some(bytes),
            });
        }
        let named = self.key.clone().map_or_else(configured, Ok)?;
        Ok(Opened {
            key: key(&named)?,
            unsealed: None,
        })
    }
}

impl Opened {
    /// Where a key that came out of a sealed file has to be written, for the hub to go on with its backups by it: where the
    /// configuration wants it, if nothing is there. Errors: another key is there, or what is there cannot be read.
    pub(super) fn missing_at<'a>(&self, configured: &'a SecretRef) -> Result<Option<&'a Path>, Failure> {
        let Some(key) = &self.unsealed else {
            return Ok(None);
        };
        match configured {
            // A dangling link is something, too.
            SecretRef::File(path) if path.symlink_metadata().is_err() => return Ok(Some(path.as_path())),
            SecretRef::Env(name) if std::env::var_os(name).is_none() => return Ok(None),
            _ => {}
        }
        let name = "backup.key";
        let there = configured.load_bytes();
        if there.map_err(|error| Failure::Key { name, error })? == *key {
            return Ok(None);
        }
        Err(Failure::Refused(anyhow::anyhow!(
            "backup.key ({configured}) is another key than the sealed one: the restored hub would go on with a key that does \
             not open this backup. Move it away, and the sealed one is written there"
        )))
    }

    /// Writes a key that came out of a sealed file. Errors: it cannot be written.
    pub(super) fn put_back(&self, path: &Path) -> Result<(), Failure> {
        let Some(key) = &self.unsealed else {
            return Ok(());
        };
        let name = "backup.key";
        write_key(path, key).map_err(|error| Failure::Key { name, error })?;
        words(&format!(
            "Wrote the backup key to {}: it was not there",
            path.display()
        ));
        Ok(())
    }
}

fn unsealed(path: &Path, passphrase: &SecretRef) -> Result<Zeroizing<[u8; 32]>, SecretError> {
    let failed = |error| SecretError::Io {
        path: path.to_owned(),
        error,
    };
    let mut file = Vec::new();
    let opened = std::fs::File::open(path).map_err(failed)?;
    opened
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut file)
        .map_err(failed)?;
    let passphrase = passphrase.load_passphrase()?;
    open_key(&file, &passphrase).map_err(|error| SecretError::Sealed {
        path: path.to_owned(),
        error,
    })
}

/// `hub backup seal-key`.
#[derive(Clone, Debug, clap::Args)]
pub struct SealKeyArgs {
    /// Where to write the sealed key: a new file.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The passphrase, as `file:PATH` or `env:NAME`: at least 16 characters, five random words for instance.
    #[arg(long, value_name = "REF")]
    pub passphrase: SecretRef,
    /// The configuration that names the key.
    #[arg(long, value_name = "FILE", default_value = "hub.toml")]
    pub config: PathBuf,
    /// The key, as `file:PATH` or `env:NAME`, instead of the configuration's.
    #[arg(long, value_name = "REF")]
    pub key: Option<SecretRef>,
}

/// Seals the key, and opens it again before it says that it is done.
pub(super) fn seal(args: &SealKeyArgs) -> Result<(), Failure> {
    let reference = match &args.key {
        Some(reference) => reference.clone(),
        None => Config::load(&args.config)?.backup.key,
    };
    let name = "backup.key";
    let refused = |error| Failure::Key { name, error };
    let bytes = reference.load_bytes().map_err(refused)?;
    let passphrase = args.passphrase.load_new_passphrase();
    let passphrase = passphrase.map_err(|error| Failure::Key {
        name: "--passphrase",
        error,
    })?;
    let sealed = seal_key(&bytes, &passphrase, GuessCost::default());
    let sealed = sealed.map_err(|error| Failure::Running(error.into()))?;
    write_private(&args.out, sealed.as_bytes()).map_err(refused)?;
    let again = unsealed(&args.out, &args.passphrase).map_err(refused)?;
    if again != bytes {
        return Err(Failure::Running(anyhow::anyhow!(
            "{} does not give the key back: remove it",
            args.out.display()
        )));
    }
    data(&args.out.display().to_string())?;
    words(
        "Whoever has this file and the passphrase has the key. Keep copies with those of the backup, and the passphrase elsewhere.",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsealed_key_goes_where_none_is_and_never_beside_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, path) = (Zeroizing::new([7; 32]), dir.path().join("backup.key"));
        let opened = Opened {
            key: BackupKey::new(bytes.clone()).unwrap(),
            unsealed: Some(bytes),
        };
        let configured = SecretRef::File(path.clone());
        assert_eq!(opened.missing_at(&configured).unwrap(), Some(path.as_path()));
        assert!(!path.exists(), "looking writes nothing");
        opened.put_back(&path).unwrap();
        assert_eq!(opened.missing_at(&configured).unwrap(), None, "it is there");
        std::fs::remove_file(&path).unwrap();
        write_key(&path, &[8; 32]).unwrap();
        let refused = opened.missing_at(&configured).unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused}");
        assert!(!refused.to_string().contains("0707"), "{refused}");
        std::fs::write(&path, "half").unwrap();
        assert!(matches!(opened.missing_at(&configured), Err(Failure::Key { .. })));
    }
}
