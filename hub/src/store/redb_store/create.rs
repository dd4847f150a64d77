//! A new database is made beside its place, whole and durable, and then moved into it: no crash and no failing disk leaves half
//! a database there, and none that is there is ever replaced.

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use redb::backends::FileBackend;

use super::database::{File, Tuning};
use super::files::Files;
use super::journal::JournalFile;
use super::layout::{JOURNAL_FILE, STATE_FILE};
use super::mark::Mark;
use super::open::{STATE_CACHE_BYTES, backend, io};
use crate::store::{Identity, OpenError};

/// Between the database's name and a number that nobody has twice, in the names of unfinished ones.
const UNFINISHED: &str = ".new-";
const NUMBER_DIGITS: usize = 16;
/// Other processes that start at the same moment take ours for a left-over, each at most once.
const TRIES: usize = 16;
/// Of what is made here: whoever reads the database knows who pays whom.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes a database beside `path` and moves it into place, which succeeds for one of several processes only. That it stays in
/// its place is durable after [`sync_parent`].
pub(super) fn create(path: &Path, identity: Identity, tuning: Tuning) -> Result<(), OpenError> {
    let parent = parent_of(path);
    make_directories(parent)?;
    sweep(parent, path);
    for _ in 0..TRIES {
        let unfinished = parent.join(unfinished_name(path));
        let made = DirBuilder::new().mode(DIRECTORY_MODE).create(&unfinished);
        made.map_err(|error| io(&unfinished, error))?;
        let moved = fill(&unfinished, identity, tuning).and_then(|()| move_into_place(&unfinished, path));
        let taken_away = !unfinished.exists();
        // In its place it is by now, or it is worth nothing. Ours alone, by its name, and never opened by anybody else.
        let _left_behind = std::fs::remove_dir_all(&unfinished);
        match moved {
            Ok(true) => return Ok(()),
            Err(error) if !taken_away => return Err(error),
            Ok(false) | Err(_) => {}
        }
    }
    Err(OpenError::InUse {
        path: path.to_path_buf(),
    })
}

/// Everything that a hub needs to start, durable.
fn fill(unfinished: &Path, identity: Identity, tuning: Tuning) -> Result<(), OpenError> {
    let files = Files {
        journal: JournalFile::new(Box::new(new_file(&unfinished.join(JOURNAL_FILE))?), tuning),
        state: new_state(&unfinished.join(STATE_FILE), tuning)?,
        mark: Mark::open(unfinished),
    };
    files.write_pins(unfinished, identity)?;
    drop(files);
    for name in [JOURNAL_FILE, STATE_FILE] {
        sync(&unfinished.join(name))?;
    }
    sync(unfinished)
}

/// False: another process took ours for a left-over.
fn move_into_place(unfinished: &Path, path: &Path) -> Result<bool, OpenError> {
    match std::fs::rename(unfinished, path) {
        // Another process was first: open what it made.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        renamed => renamed.map(|()| true).map_err(|error| io(path, error)),
    }
}

/// Makes what is missing of a path, durably: a database whose directory vanishes with the power is lost.
fn make_directories(path: &Path) -> Result<(), OpenError> {
    let missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
    let mut builder = DirBuilder::new();
    let built = builder.recursive(true).mode(DIRECTORY_MODE).create(path);
    built.map_err(|error| io(path, error))?;
    made.into_iter().try_for_each(sync_parent)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes durable that `path` is where it is. At every start: who moved it there may have been killed before.
pub(super) fn sync_parent(path: &Path) -> Result<(), OpenError> {
    sync(parent_of(path))
}

/// Takes away what crashes left. Each is given another name first, at once or not at all: one that a process moves into place
/// at this moment stays whole.
fn sweep(parent: &Path, path: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = parent.join(unfinished_name(path));
        if is_unfinished(path, &entry.file_name()) && std::fs::rename(entry.path(), &ours).is_ok() {
            let _left_behind = std::fs::remove_dir_all(&ours);
        }
    }
}

fn unfinished_name(path: &Path) -> OsString {
    let number: [u8; NUMBER_DIGITS / 2] = rand::random();
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!("{UNFINISHED}{}", hex::encode(number)));
    name
}

/// True for the names that [`unfinished_name`] gives, and no others.
fn is_unfinished(path: &Path, name: &OsStr) -> bool {
    let ours = path.file_name().unwrap_or_default().as_encoded_bytes();
    let number = name
        .as_encoded_bytes()
        .strip_prefix(ours)
        .and_then(|rest| rest.strip_prefix(UNFINISHED.as_bytes()));
    number.is_some_and(|number| number.len() == NUMBER_DIGITS && number.iter().all(u8::is_ascii_hexdigit))
}

/// A file or a directory.
fn sync(path: &Path) -> Result<(), OpenError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| io(path, error))
}

fn new_state(path: &Path, tuning: Tuning) -> Result<File, OpenError> {
    File::open(path, new_file(path)?, STATE_CACHE_BYTES, tuning)
}

fn new_file(path: &Path) -> Result<FileBackend, OpenError> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    backend(path, file.map_err(|error| io(path, error))?)
}
