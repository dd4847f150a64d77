//! A new store is made under another name, whole and durable, before it gets its own: no crash and no failing disk leaves half
//! a store where the real one belongs, and none that is there is ever written over.

use super::file::{guarded, io, refuse, version, write};
use crate::StoreError;
use redb::{Builder, backends::FileBackend};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// End of the names of unfinished files; before it stand the store's name and a number that nobody has twice.
const UNFINISHED: &str = ".new";
const NUMBER_DIGITS: usize = 16;
/// Other processes that start at the same moment take our file for a left-over, each at most once.
const TRIES: usize = 16;

/// Makes the store, unless another process was first. That it has its name is durable after [`sync_directory`]. Errors: the
/// disk.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let unfinished = path.with_file_name(unfinished_name(path));
        let named = fill(&unfinished).and_then(|()| give_name(&unfinished, path));
        // Under its own name it is there by now, or it is worth nothing.
        let _ = fs::remove_file(&unfinished);
        if named? || path.exists() {
            return Ok(());
        }
    }
    Err(io("other processes make this store at the same time"))
}

/// Makes a whole store in a file of ours alone.
fn fill(unfinished: &Path) -> Result<(), StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(unfinished)
        .map_err(io)?;
    let synced = file.try_clone().map_err(io)?;
    guarded(unfinished, || {
        let backend = FileBackend::new(file).map_err(|error| refuse(unfinished, error))?;
        let opened = Builder::new().create_with_backend(backend);
        let database = opened.map_err(|error| refuse(unfinished, error))?;
        write(&database, vec![version()])
    })??;
    synced.sync_all().map_err(io)
}

/// A link instead of a rename: that would replace a store which another process has made meanwhile. False: our file was
/// taken for a left-over.
fn give_name(unfinished: &Path, path: &Path) -> Result<bool, StoreError> {
    match fs::hard_link(unfinished, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(io(error)),
        _ => Ok(true),
    }
}

/// Makes the store's name durable. At every start: who made it may have been killed before. Errors: the disk.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let failed = |error| io(format!("{}: {error}", directory.display()));
    let opened = File::open(&directory).map_err(failed)?;
    opened.sync_all().map_err(failed)
}

/// Takes away what crashes left. Only names go: a file that has its own by now keeps that.
pub(super) fn sweep(path: &Path) {
    let Ok(entries) = fs::read_dir(directory_of(path)) else {
        return;
    };
    for entry in entries.flatten() {
        if is_unfinished(path, &entry.file_name()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

fn unfinished_name(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{}{UNFINISHED}",
        hex::encode(rand::random::<[u8; NUMBER_DIGITS / 2]>())
    ));
    name
}

/// True for the names that [`unfinished_name`] gives, and no others.
fn is_unfinished(path: &Path, name: &OsStr) -> bool {
    let ours = path.file_name().unwrap_or_default().as_bytes();
    let number = name
        .as_bytes()
        .strip_prefix(ours)
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(UNFINISHED.as_bytes()));
    number.is_some_and(|number| number.len() == NUMBER_DIGITS && number.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_unfinished_files_of_this_store_are_taken_away() {
        let path = Path::new("a/wallet.redb");
        let made = unfinished_name(path);
        assert!(is_unfinished(path, &made), "{made:?}");
        assert!(!is_unfinished(Path::new("a/other.redb"), &made));
        for other in [
            "wallet.redb",
            "wallet.redb.new",
            "wallet.redb.1.new",
            "wallet.redb.0123456789abcdeg.new",
            "wallet.redb.0123456789abcdef",
            "wallet.redb.0123456789abcdef.new.bak",
        ] {
            assert!(!is_unfinished(path, OsStr::new(other)), "{other}");
        }
    }
}
