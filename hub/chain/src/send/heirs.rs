//! Which transaction took the place of which: callers wait for the hash that they were given.

use alloy::primitives::B256;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Written by the queue's worker, read by those who wait. Empty as long as nothing is replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Heirs(Arc<Mutex<HashMap<B256, B256>>>);

impl Heirs {
    pub(super) fn link(&self, old: B256, new: B256) {
        self.map().insert(old, new);
    }

    pub(super) fn forget(&self, hashes: &[B256]) {
        let mut map = self.map();
        for hash in hashes {
            map.remove(hash);
        }
    }

    /// `hash` and everything that took its place, oldest first.
    pub(super) fn line(&self, hash: B256) -> Vec<B256> {
        let map = self.map();
        let mut line = vec![hash];
        let mut last = hash;
        while let Some(next) = map.get(&last) {
            if line.contains(next) {
                break;
            }
            line.push(*next);
            last = *next;
        }
        line
    }

    fn map(&self) -> MutexGuard<'_, HashMap<B256, B256>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
