//! Runs targets over inputs and says which of them fail.

use crate::{Target, mutate::Mutator};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What became of a run.
pub struct Run {
    pub inputs: u64,
    pub seconds: f64,
    /// The first input that failed.
    pub failed: Option<Vec<u8>>,
}

/// How long a run is.
pub struct Bounds {
    pub seed: u64,
    /// Changed inputs at most, after seeds and corpus.
    pub changes: u64,
    pub time: Duration,
}

/// The committed inputs of a target: those that failed once, each in a file of its own, and those that libFuzzer found to reach
/// what no other does, in a pack.
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = files(&place(target.name))
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    inputs.extend(packed(target));
    inputs
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// A pack is inputs one after the other, each behind its length (4 bytes, big-endian).
fn packed(target: &Target) -> Vec<Vec<u8>> {
    let pack = fs::read(place(&format!("{}.pack", target.name))).unwrap_or_default();
    let (mut rest, mut inputs) = (pack.as_slice(), Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let (input, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        inputs.push(input.to_vec());
        rest = after;
    }
    inputs
}

/// Makes a target's pack of all files of a directory. Gives their number.
pub fn pack(target: &Target, dir: &Path) -> usize {
    let mut pack = Vec::new();
    let files = files(dir);
    for file in &files {
        let input = fs::read(file).unwrap();
        pack.extend((input.len() as u32).to_be_bytes());
        pack.extend(input);
    }
    fs::write(place(&format!("{}.pack", target.name)), pack).unwrap();
    files.len()
}

/// Seeds and corpus as they are, then changed ones.
pub fn run(target: &Target, bounds: &Bounds) -> Run {
    let began = Instant::now();
    let mut seeds = (target.seeds)();
    seeds.extend(corpus(target));
    let count = (seeds.len() as u64).saturating_add(bounds.changes);
    let mut mutator = Mutator::new(bounds.seed, seeds.clone(), target.longest);
    let mut inputs = 0;
    let mut failed = None;
    let changed = std::iter::repeat_with(|| mutator.next());
    for input in seeds.into_iter().chain(changed) {
        if inputs >= count || began.elapsed() >= bounds.time {
            break;
        }
        inputs += 1;
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            failed = Some(input);
            break;
        }
    }
    Run {
        inputs,
        seconds: began.elapsed().as_secs_f64(),
        failed,
    }
}
