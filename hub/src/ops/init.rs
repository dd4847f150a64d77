//! `hub init`: a configuration and three keys, in a directory that has neither.

use super::{config::DEFAULT_TEXT, secrets};
use crate::app::first_start;
use protocol_spec::Address;
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initialized {
    /// The configuration.
    pub config: PathBuf,
    /// Address of the key that signs vouchers.
    pub hub_signer: Address,
    /// Address that owns the vault and pays for gas. Fund it.
    pub owner: Address,
    /// The key of the backups. Keep a copy elsewhere.
    pub backup_key: PathBuf,
}

/// Why nothing, or not everything, was made.
#[derive(Debug, Error)]
pub enum InitError {
    /// Something is there; it is left alone.
    #[error("{0} exists already and is never overwritten; choose another --dir, or move it away")]
    Exists(PathBuf),
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A key.
    #[error(transparent)]
    Secret(#[from] secrets::SecretError),
}

/// Writes `hub.toml`, `keys/hub_signer.key`, `keys/owner.key` and `keys/backup.key` under `dir`. Refuses to overwrite any
/// of them.
pub fn init(dir: &Path) -> Result<Initialized, InitError> {
    let config = dir.join("hub.toml");
    let keys = dir.join("keys");
    let [signer, owner, backup_key] =
        ["hub_signer.key", "owner.key", "backup.key"].map(|name| keys.join(name));
    for path in [&config, &signer, &owner, &backup_key] {
        // A dangling link is something, too.
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists(path.clone()));
        }
    }
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error| InitError::Io { path, error }
    };
    for path in [dir, &keys, &dir.join("data")] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(fail(path))?;
    }
    let data = dir.join("data");
    first_start::mark(&data).map_err(fail(&data))?;
    let hub_signer = secrets::create_key(&signer)?.address();
    let owner = secrets::create_key(&owner)?.address();
    secrets::create_key(&backup_key)?;
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(&config);
    let mut file = opened.map_err(fail(&config))?;
    file.write_all(DEFAULT_TEXT.as_bytes()).map_err(fail(&config))?;
    file.sync_all().map_err(fail(&config))?;
    Ok(Initialized {
        config,
        hub_signer,
        owner,
        backup_key,
    })
}
