//! Breadth first over all states, so that a loss is found by a shortest trace.
//!
//! Of a state that was seen only a 64-bit fingerprint and its parent's are kept (16 bytes); traces are found again by
//! walking from the start. Two states of 10^7 share a fingerprint with a chance below 10^-5.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
    time::{Duration, Instant},
};

/// What can be searched.
pub trait Model: Sync {
    /// A state. Equal states have equal futures.
    type State: Copy + Eq + Hash + Debug + Send + Sync;
    /// Why a state follows another.
    type Action: Copy + Debug + Send;
    /// Where it begins.
    fn start(&self) -> Self::State;
    /// Pushes all that may happen next.
    fn next(&self, state: &Self::State, out: &mut Vec<(Self::Action, Self::State)>);
    /// What is wrong with a state.
    fn fault(&self, state: &Self::State) -> Option<String>;
    /// True for a state in which money was divided.
    fn ended(&self, state: &Self::State) -> bool;
}

/// What a search found.
#[derive(Debug)]
pub struct Report<S, A> {
    /// Different states.
    pub states: usize,
    /// Different states in which money was divided.
    pub ended: usize,
    /// Longest trace.
    pub depth: usize,
    /// Wall time.
    pub time: Duration,
    /// False when the limit of states was reached first.
    pub complete: bool,
    /// The fault, and how to get there.
    pub fault: Option<(String, Vec<(A, S)>)>,
}

/// A fast hash of good quality (multiply and fold).
#[derive(Default)]
pub struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        let wide = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xa5a3_564e_27f8_864f_u128;
        self.0 = (wide as u64 ^ (wide >> 64) as u64).rotate_left(23);
    }
    fn finish(&self) -> u64 {
        let mut x = self.0;
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x ^ (x >> 32)
    }
}

#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// States of a level that are expanded together: their successors are held with all duplicates.
const BATCH: usize = 65_536;

type Seen = HashMap<u64, u64, BuildHasherDefault<Plain>>;

/// Of a state.
#[must_use]
pub fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut hasher = Fold::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Searches until everything was seen, a fault is found or `limit` states are known. `progress` is called per level.
pub fn search<M: Model>(
    model: &M,
    limit: usize,
    threads: usize,
    progress: &dyn Fn(usize, usize),
) -> Report<M::State, M::Action> {
    let begun = Instant::now();
    let start = model.start();
    let mut seen = Seen::default();
    seen.insert(fingerprint(&start), 0);
    let mut level = vec![start];
    let (mut depth, mut ended, mut bad) = (0, 0, None);
    while !level.is_empty() && bad.is_none() && seen.len() < limit {
        progress(depth, seen.len());
        let mut next = Vec::new();
        for batch in level.chunks(BATCH) {
            let part = batch.len().div_ceil(threads).max(1);
            let found: Vec<Vec<(u64, u64, M::State)>> = if threads == 1 || batch.len() < 1000 {
                vec![expand(model, batch, &seen)]
            } else {
                std::thread::scope(|scope| {
                    let seen = &seen;
                    let workers: Vec<_> = batch
                        .chunks(part)
                        .map(|chunk| scope.spawn(move || expand(model, chunk, seen)))
                        .collect();
                    workers
                        .into_iter()
                        .map(|worker| worker.join().expect("a worker ends"))
                        .collect()
                })
            };
            for (print, parent, state) in found.into_iter().flatten() {
                if let std::collections::hash_map::Entry::Vacant(vacant) = seen.entry(print) {
                    vacant.insert(parent);
                    ended += usize::from(model.ended(&state));
                    if bad.is_none()
                        && let Some(fault) = model.fault(&state)
                    {
                        bad = Some((fault, print));
                    }
                    next.push(state);
                }
            }
        }
        level = next;
        depth += 1;
    }
    let complete = level.is_empty() || bad.is_some();
    let fault = bad.map(|(fault, print)| (fault, trace(model, &seen, print)));
    Report {
        states: seen.len(),
        ended,
        depth,
        time: begun.elapsed(),
        complete,
        fault,
    }
}

fn expand<M: Model>(model: &M, level: &[M::State], seen: &Seen) -> Vec<(u64, u64, M::State)> {
    let (mut out, mut found) = (Vec::new(), Vec::new());
    for state in level {
        model.next(state, &mut out);
        let parent = fingerprint(state);
        for (_, next) in out.drain(..) {
            let print = fingerprint(&next);
            if !seen.contains_key(&print) {
                found.push((print, parent, next));
            }
        }
    }
    found
}

fn trace<M: Model>(model: &M, seen: &Seen, mut print: u64) -> Vec<(M::Action, M::State)> {
    let mut path = Vec::new();
    while print != 0 {
        path.push(print);
        print = seen[&print];
    }
    let mut state = model.start();
    let mut steps = Vec::new();
    let mut out = Vec::new();
    for wanted in path.into_iter().rev().skip(1) {
        model.next(&state, &mut out);
        let step = out
            .drain(..)
            .find(|(_, next)| fingerprint(next) == wanted)
            .expect("the trace exists");
        state = step.1;
        steps.push(step);
    }
    steps
}
