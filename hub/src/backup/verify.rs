//! Every byte of a directory: the generation that a restore takes is replayed, and so is each older one that is kept; what
//! is wrong is named file by file.

use super::{
    BackupError, BackupKey, Contents,
    directory::{Directory, Files},
    format::{Header, Kind, digest},
    read::{Reader, read},
};
use std::path::Path;

/// What a directory holds.
#[derive(Debug)]
pub struct Verified {
    /// What a restore would take.
    pub contents: Contents,
    /// What is wrong with any file of a complete generation, the newest first.
    pub damaged: Vec<String>,
}

/// Reads and checks every complete generation in `dir`.
/// Errors: nothing can be used; then what is wrong with each file, or why none can be opened.
pub fn verify(dir: &Path, key: &BackupKey) -> Result<Verified, BackupError> {
    let directory = Directory::at(dir);
    let contents = read(dir, key);
    let taken = contents.as_ref().ok().map(|contents| contents.summary.generation);
    let mut damaged = Vec::new();
    for (number, files) in directory.generations()?.iter().rev() {
        let Some(head) = &files.head else { continue };
        let mut found = faults(&directory, key, *number, files);
        if found.is_empty() && taken != Some(*number) {
            let replayed = Reader::open(&directory, key, *number, head).and_then(|reader| reader.read(files));
            found = match replayed {
                Ok(contents) => contents.summary.damage.into_iter().collect(),
                Err(error) => vec![error.to_string()],
            };
        }
        // A hub that is at work may have removed it meanwhile.
        let is_kept = |number| {
            let now = directory.generations();
            now.is_ok_and(|now| now.get(number).is_some_and(|files| files.head.is_some()))
        };
        if !found.is_empty() && is_kept(number) {
            damaged.extend(found);
        }
    }
    match contents {
        Ok(contents) => Ok(Verified { contents, damaged }),
        Err(BackupError::Damaged { .. }) if !damaged.is_empty() => Err(BackupError::damaged(
            dir,
            format!("holds nothing that can be used: {}", damaged.join("; ")),
        )),
        Err(error) => Err(error),
    }
}

/// What is wrong with the files of a generation, each by itself and in its place, also behind one that is damaged.
fn faults(directory: &Directory, key: &BackupKey, number: u64, files: &Files) -> Vec<String> {
    let mut faults = Vec::new();
    let head = files
        .head
        .as_ref()
        .map(|head| Reader::open(directory, key, number, head));
    let claimed = match head {
        Some(Ok(reader)) => Some(reader.claimed()),
        Some(Err(error)) => {
            faults.push(error.to_string());
            None
        }
        None => None,
    };
    let newest = files.segments.last_key_value().map_or(0, |(index, _)| *index);
    let last = claimed.map_or(newest, |head| head.index.max(newest));
    let (mut like, mut previous) = (claimed, Some([0; 32]));
    for index in 0..=last {
        let path = directory.segment(number, index);
        let segment = directory.get(&path).and_then(|file| {
            let (header, _) = Header::open(key, Kind::Segment, &path, &file)?;
            Ok((header, digest(&file)))
        });
        let (header, digest) = match segment {
            Ok(segment) => segment,
            Err(error) => {
                faults.push(error.to_string());
                previous = None;
                continue;
            }
        };
        let of = like.get_or_insert(header);
        let expected = Header {
            kind: Kind::Segment,
            number,
            index,
            // What follows a damaged one cannot be compared with it.
            previous: previous.unwrap_or(header.previous),
            nonce: header.nonce,
            ..*of
        };
        let is_claimed = claimed.is_none_or(|head| head.index != index || head.previous == digest);
        if header != expected || !is_claimed {
            let error = BackupError::damaged(&path, "is of another place or backup");
            faults.push(error.to_string());
        }
        previous = Some(digest);
    }
    faults
}
