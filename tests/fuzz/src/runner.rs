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
    /// Inputs at most.
    pub count: u64,
    pub time: Duration,
}

/// The committed inputs of a target: what fuzzing found worth keeping.
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Seeds and corpus as they are, then changed ones.
pub fn run(target: &Target, bounds: &Bounds) -> Run {
    let began = Instant::now();
    let mut seeds = (target.seeds)();
    seeds.extend(corpus(target));
    let mut mutator = Mutator::new(bounds.seed, seeds.clone(), target.longest);
    let mut inputs = 0;
    let mut failed = None;
    let changed = std::iter::repeat_with(|| mutator.next());
    for input in seeds.into_iter().chain(changed) {
        if inputs >= bounds.count || began.elapsed() >= bounds.time {
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
