//! What happened, in order, for whoever reads a failure; and a hash of it, for comparing runs.

use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;

/// Newest lines kept.
const LINES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    hash: [u8; 32],
}

impl Trace {
    pub(super) fn add(&mut self, line: String) {
        let mut hash = Sha256::new();
        hash.update(self.hash);
        hash.update(line.as_bytes());
        self.hash = hash.finalize().into();
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Of every line ever added.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }
}
