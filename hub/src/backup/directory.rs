//! The files of a backup. A file appears whole or not at all: written beside, synced, renamed, the directory synced.

use super::BackupError;
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const UNFINISHED: &str = ".unfinished";

/// The files of one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// By index.
    pub(super) segments: BTreeMap<u64, PathBuf>,
    pub(super) head: Option<PathBuf>,
    /// Left by a restore.
    pub(super) restored: Option<PathBuf>,
}

/// The directory of one hub's backups.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it if it is not there.
    pub(super) fn make(&self) -> Result<(), BackupError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.0);
        made.map_err(BackupError::io(&self.0))
    }

    /// Makes it if it is not there, and takes away what a crash left unfinished.
    pub(super) fn prepare(&self) -> Result<(), BackupError> {
        self.make()?;
        for entry in fs::read_dir(&self.0).map_err(BackupError::io(&self.0))? {
            let path = entry.map_err(BackupError::io(&self.0))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "unfinished")
            {
                fs::remove_file(&path).map_err(BackupError::io(&path))?;
            }
        }
        Ok(())
    }

    pub(super) fn segment(&self, number: u64, index: u64) -> PathBuf {
        self.0.join(format!("g{number:08}-{index:08}.segment"))
    }

    pub(super) fn head(&self, number: u64) -> PathBuf {
        self.0.join(format!("g{number:08}.head"))
    }

    pub(super) fn restored(&self, number: u64) -> PathBuf {
        self.0.join(format!("g{number:08}.restored"))
    }

    /// Writes a file, durably; over an older one of its name.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(BackupError::io(path))
    }

    pub(super) fn get(&self, path: &Path) -> Result<Vec<u8>, BackupError> {
        fs::read(path).map_err(BackupError::io(path))
    }

    /// All generations by number. Files of other names are left alone.
    pub(super) fn generations(&self) -> Result<BTreeMap<u64, Files>, BackupError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(BackupError::io(&self.0))?,
        };
        let mut all: BTreeMap<u64, Files> = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(BackupError::io(&self.0))?.path();
            let Some((number, what)) = path.file_name().and_then(|name| parse(name.to_str()?)) else {
                continue;
            };
            let files = all.entry(number).or_default();
            match what {
                What::Segment(index) => drop(files.segments.insert(index, path)),
                What::Head => files.head = Some(path),
                What::Restored => files.restored = Some(path),
            }
        }
        Ok(all)
    }

    /// Restores that are noted in it.
    pub(super) fn restores(&self) -> Result<u64, BackupError> {
        let mut lines = 0_u64;
        for note in self
            .generations()?
            .values()
            .filter_map(|files| files.restored.as_ref())
        {
            let text = self.get(note)?;
            let ends = text.iter().filter(|byte| **byte == b'\n').count();
            lines = lines.saturating_add(ends as u64);
        }
        Ok(lines)
    }

    /// Notes a restore of a generation, beside those before. Errors: it cannot be written.
    pub(super) fn note(&self, number: u64, line: &str) -> Result<(), BackupError> {
        let path = self.restored(number);
        let mut text = match self.get(&path) {
            Err(BackupError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        text.extend(line.bytes().chain([b'\n']));
        self.put(&path, &text)
    }

    /// Removes what is there of generations without a head, which a full disk or a crash left: nothing can be made of it.
    pub(super) fn discard_incomplete(&self) -> Result<(), BackupError> {
        for files in self.generations()?.values().filter(|files| files.head.is_none()) {
            for path in files.segments.values() {
                fs::remove_file(path).map_err(BackupError::io(path))?;
            }
        }
        Ok(())
    }

    /// Removes generations until `keep` complete ones are left, of which `newest` is one. Errors leave more than wanted.
    pub(super) fn prune(&self, newest: u64, keep: usize) -> Result<(), BackupError> {
        let generations = self.generations()?;
        let complete = generations.iter().rev().filter(|(_, files)| files.head.is_some());
        let kept: Vec<u64> = complete.map(|(number, _)| *number).take(keep.max(1)).collect();
        for (number, files) in &generations {
            if *number >= newest || kept.contains(number) {
                continue;
            }
            // The head first: what is left of a generation without one is not taken for a whole one.
            for path in files
                .head
                .iter()
                .chain(files.segments.values())
                .chain(&files.restored)
            {
                fs::remove_file(path).map_err(BackupError::io(path))?;
            }
        }
        Ok(())
    }
}

enum What {
    Segment(u64),
    Head,
    Restored,
}

fn parse(name: &str) -> Option<(u64, What)> {
    let (stem, extension) = name.strip_prefix('g')?.split_once('.')?;
    match (stem.split_once('-'), extension) {
        (Some((number, index)), "segment") => {
            Some((number.parse().ok()?, What::Segment(index.parse().ok()?)))
        }
        (None, "head") => Some((stem.parse().ok()?, What::Head)),
        (None, "restored") => Some((stem.parse().ok()?, What::Restored)),
        _ => None,
    }
}
