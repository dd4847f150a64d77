//! Files in, files out, and words to stderr.

use super::{evidence::CheckedEvidence, exit::SettleError};
use protocol_spec::limits;
use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Largest message or receipt file, bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Largest evidence or package, bytes: all locks that a channel may hold, each with the longest witness, indented.
const EVIDENCE_BYTES_MAX: u64 = 16 << 20;
/// What a lock and its witness take in it, bytes: the witness in hex, and around it all numbers at their longest.
const LOCK_BYTES: usize = 2 * limits::WITNESS_BYTES_MAX + 600;
const _: () = assert!(
    ((limits::LOCKS_FROM_HUB_MAX + limits::LOCKS_FROM_CLIENT_MAX) * LOCK_BYTES + (64 << 10)) as u64
        <= EVIDENCE_BYTES_MAX
);

/// Words to stderr; nobody listening is no failure.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The bytes of a file that was named by `--what`.
pub(super) fn read(what: &str, path: &Path) -> Result<Vec<u8>, SettleError> {
    read_to(FILE_BYTES_MAX, what, path)
}

fn read_to(bytes_max: u64, what: &str, path: &Path) -> Result<Vec<u8>, SettleError> {
    let unreadable =
        |error: std::io::Error| SettleError::Usage(format!("--{what} {}: {error}", path.display()));
    let mut bytes = Vec::new();
    // The length that the file system tells is not asked: a pipe or a device has none.
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(SettleError::Usage(format!(
            "--{what} {}: larger than {} MiB",
            path.display(),
            bytes_max >> 20
        )));
    }
    Ok(bytes)
}

/// Checked evidence, or a checked package.
pub(super) fn load(path: &Path) -> Result<CheckedEvidence, SettleError> {
    let bytes = read_to(EVIDENCE_BYTES_MAX, "evidence", path)?;
    Ok(CheckedEvidence::from_json(&bytes)?)
}

/// The evidence files of a directory: every `*.json`, by name.
pub(super) fn evidence_files(dir: &Path) -> Result<Vec<PathBuf>, SettleError> {
    files_in("dir", dir, "json")
}

/// The files that `--what PATH` names: the file itself, or every `*.extension` of a directory, of which there must be one.
pub(super) fn named_files(what: &str, path: &Path, extension: &str) -> Result<Vec<PathBuf>, SettleError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let found = files_in(what, path, extension)?;
    match found.is_empty() {
        true => Err(SettleError::Usage(format!(
            "--{what} {}: there is no *.{extension} in it",
            path.display()
        ))),
        false => Ok(found),
    }
}

fn files_in(what: &str, dir: &Path, wanted: &str) -> Result<Vec<PathBuf>, SettleError> {
    let unreadable =
        |error: std::io::Error| SettleError::Usage(format!("--{what} {}: {error}", dir.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == wanted) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Where the journal of `evidence` is when none was named.
pub(super) fn journal_beside(evidence: &Path) -> Result<PathBuf, SettleError> {
    match evidence.is_file() {
        true => Ok(evidence.with_extension("journal")),
        false => Err(SettleError::Usage(format!(
            "--journal PATH is needed: beside {} no file can be kept",
            evidence.display()
        ))),
    }
}

/// Replaces `path` at one stroke: whoever reads it sees the old or the new content, whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SettleError> {
    let failed = |error: std::io::Error| SettleError::Usage(format!("{}: {error}", path.display()));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let part = path.with_file_name(name);
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(failed)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = std::fs::File::open(directory.unwrap_or(Path::new(".")));
    directory
        .and_then(|directory| directory.sync_all())
        .map_err(failed)
}
