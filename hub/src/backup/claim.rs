//! Whose directory it is: one database exports to it, and only one process at a time.
//!
//! * `lock` is held by the process that exports; it ends with the process, however that ends.
//! * `owner`, sealed as all files are, names the database that it belongs to, and the process that exports. Another
//!   database is refused; `hub restore` hands it over to the restored one. A process that finds another one's name in it
//!   exports no more.

use super::{
    BackupError, BackupKey,
    directory::Directory,
    format::{Header, Kind, random},
    part::encode,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Tells a database from its copies that went through a restore. In the data directory, beside the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct DatabaseId(pub [u8; 16]);

impl DatabaseId {
    /// That of the database in `data_dir`; made if there is none. Errors: the disk.
    pub fn of(data_dir: &Path) -> Result<Self, BackupError> {
        let path = file_in(data_dir);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| {
                    let why = "is no id of a database; remove it";
                    BackupError::io(&path)(io::Error::new(ErrorKind::InvalidData, why))
                })?;
                Ok(Self(bytes))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let id = Self::random()?;
                id.write(data_dir)?;
                Ok(id)
            }
            Err(error) => Err(BackupError::io(path)(error)),
        }
    }

    /// A new one. Errors: no randomness.
    pub(super) fn random() -> Result<Self, BackupError> {
        random().map(Self)
    }

    /// Makes it that of the database in `data_dir`, durably. Errors: the disk.
    pub(super) fn write(self, data_dir: &Path) -> Result<(), BackupError> {
        let path = file_in(data_dir);
        let write = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(&path)?;
            writeln!(file, "{}", hex::encode(self.0))?;
            file.sync_all()?;
            File::open(data_dir)?.sync_all()
        };
        write().map_err(BackupError::io(&path))
    }
}

fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("backup.id")
}

/// The body of `owner`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
struct Owner {
    database: DatabaseId,
    /// Random, of one process.
    run: [u8; 16],
}

/// This process's claim to a directory.
#[derive(Debug)]
pub(super) struct Claim {
    dir: PathBuf,
    key: BackupKey,
    own: Owner,
    /// Held.
    lock: Option<File>,
}

impl Claim {
    /// Nothing is claimed yet. Errors: no randomness.
    pub(super) fn new(dir: &Path, key: BackupKey, database: DatabaseId) -> Result<Self, BackupError> {
        let run = random()?;
        Ok(Self {
            dir: dir.to_owned(),
            key,
            own: Owner { database, run },
            lock: None,
        })
    }

    /// Takes the directory, if it is nobody's or this database's; makes it if it is not there. Held already, it is
    /// checked. Errors: it is another's, now or since; it was emptied since, and is taken anew the next time; the disk.
    pub(super) fn hold(&mut self) -> Result<(), BackupError> {
        if self.lock.is_some() {
            return match self.owner()? {
                Some(owner) if owner != self.own => Err(BackupError::Taken(self.dir.clone())),
                Some(_) => Ok(()),
                // What was exported is not there either, and the lock may be on another disk.
                None => {
                    self.lock = None;
                    Err(BackupError::Emptied(self.dir.clone()))
                }
            };
        }
        self.require_own_database()?;
        self.lock()?;
        // Looked at again: who takes a directory away holds the lock while it does.
        if let Err(taken) = self.require_own_database() {
            self.lock = None;
            return Err(taken);
        }
        self.write()
    }

    fn require_own_database(&self) -> Result<(), BackupError> {
        match self.owner()? {
            Some(owner) if owner.database != self.own.database => Err(BackupError::Taken(self.dir.clone())),
            _ => Ok(()),
        }
    }

    /// Takes it away from the database that it belonged to. [`Claim::lock`] first. Errors: the disk.
    pub(super) fn seize(&self) -> Result<(), BackupError> {
        self.write()
    }

    /// Errors: a process that lives exports to it; the disk.
    pub(super) fn lock(&mut self) -> Result<(), BackupError> {
        if self.lock.is_some() {
            return Ok(());
        }
        Directory::at(&self.dir).make()?;
        let path = self.dir.join("lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(BackupError::io(&path))?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => return Err(BackupError::InUse(self.dir.clone())),
            Err(TryLockError::Error(error)) => return Err(BackupError::io(path)(error)),
        }
        Ok(())
    }

    /// Whose it is. Errors: it was sealed with another key, so it is another hub's; damaged; the disk.
    fn owner(&self) -> Result<Option<Owner>, BackupError> {
        let path = self.path();
        let file = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(BackupError::io(&path))?,
        };
        let (_, body) = Header::open(&self.key, Kind::Owner, &path, &file)?;
        let owner = borsh::from_slice(&body);
        owner
            .map(Some)
            .map_err(|error| BackupError::damaged(&path, error.to_string()))
    }

    /// Errors: it is another hub's.
    pub(super) fn is_same_hub(&self) -> Result<(), BackupError> {
        match self.owner() {
            Err(error @ BackupError::WrongKey { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<(), BackupError> {
        let generation = random()?;
        let header = Header {
            kind: Kind::Owner,
            key_id: self.key.id(),
            number: 0,
            generation,
            index: 0,
            previous: [0; 32],
            nonce: random()?,
        };
        let file = header.seal(&self.key.cipher(&generation)?, encode(&self.own))?;
        Directory::at(&self.dir).put(&self.path(), &file)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self) -> PathBuf {
        self.dir.join("owner")
    }
}
