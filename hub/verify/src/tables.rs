//! The cache of signers' tables: bounded in bytes, shared by all threads, filled off the path.

use crate::{
    Key,
    table::{Builder, SignerTable},
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Keys waiting for tables; more are forgotten, and asked for again by their next signature.
const WANTED_MAX: usize = 4_096;
/// Keys built together: enough to share the inversions.
const TOGETHER: usize = 8;

/// Tables of signers. Reads take one shared lock per chunk of a batch; tables are made by whoever calls
/// [`Tables::build_wanted`], and only the finished ones are put in under the exclusive lock.
pub struct Tables {
    cache: RwLock<Cache>,
    wanted: Mutex<Wanted>,
    builder: Mutex<Builder>,
    tables_max: usize,
}

#[derive(Default)]
struct Cache {
    entries: HashMap<Key, Entry>,
    /// The keys in the order in which the clock's hand comes by.
    ring: VecDeque<Key>,
}

struct Entry {
    table: SharedTable,
    /// Used since the hand came by.
    used: AtomicBool,
}

/// A table and how many hold it. The count has a place of its own: the table is far away until its points are loaded.
#[derive(Clone)]
#[expect(
    clippy::redundant_allocation,
    reason = "the count is not to lie beside the table"
)]
pub(crate) struct SharedTable(Arc<Box<SignerTable>>);

impl Deref for SharedTable {
    type Target = SignerTable;

    fn deref(&self) -> &SignerTable {
        &self.0
    }
}

#[derive(Default)]
struct Wanted {
    keys: VecDeque<Key>,
    /// The same keys: one that is asked for again does not take a second place.
    known: HashSet<Key>,
}

/// The cache, locked for reading.
pub(crate) struct Reader<'a> {
    cache: RwLockReadGuard<'a, Cache>,
}

impl Reader<'_> {
    /// The tables of `key`, if it has some.
    pub(crate) fn find(&self, key: &Key) -> Option<SharedTable> {
        let entry = self.cache.entries.get(key)?;
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.table.clone())
    }
}

impl Tables {
    /// Bytes that one signer takes.
    pub const BYTES_PER_SIGNER: usize = size_of::<SignerTable>();

    /// A cache of at most `bytes_max` bytes of tables.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            cache: RwLock::default(),
            wanted: Mutex::default(),
            builder: Mutex::new(Builder::new()),
            tables_max: bytes_max.div_euclid(Self::BYTES_PER_SIGNER),
        }
    }

    pub(crate) fn read(&self) -> Reader<'_> {
        Reader {
            cache: self.cache.read().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Asks for tables of `key`: cheap. The engine does for a key that has signed well and has none.
    pub fn want(&self, key: &Key) {
        if self.tables_max == 0 || self.read().cache.entries.contains_key(key) {
            return;
        }
        let mut wanted = lock(&self.wanted);
        if wanted.keys.len() < WANTED_MAX && wanted.known.insert(*key) {
            wanted.keys.push_back(*key);
        }
    }

    /// Makes tables for at most `max` of the keys that were asked for; returns how many are left to do.
    pub fn build_wanted(&self, max: usize) -> usize {
        let mut builder = lock(&self.builder);
        let mut left = max;
        while left > 0 {
            let keys = self.take_wanted(left.min(TOGETHER));
            if keys.is_empty() {
                break;
            }
            left = left.saturating_sub(keys.len());
            let built = builder.build(&keys.iter().collect::<Vec<_>>());
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            for (key, table) in keys.into_iter().zip(built) {
                cache.insert(key, SharedTable(Arc::new(table)), self.tables_max);
            }
        }
        lock(&self.wanted).keys.len()
    }

    fn take_wanted(&self, max: usize) -> Vec<Key> {
        let mut wanted = lock(&self.wanted);
        let mut keys: Vec<Key> = Vec::with_capacity(max);
        while keys.len() < max
            && let Some(key) = wanted.keys.pop_front()
        {
            wanted.known.remove(&key);
            if !keys.contains(&key) && !self.read().cache.entries.contains_key(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Whether new tables displace others.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= self.tables_max
    }

    /// Signers with tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().cache.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Cache {
    fn insert(&mut self, key: Key, table: SharedTable, tables_max: usize) {
        while self.entries.len() >= tables_max {
            let Some(oldest) = self.ring.pop_front() else {
                return;
            };
            let used = self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.used.swap(false, Ordering::Relaxed));
            if used {
                self.ring.push_back(oldest);
            } else {
                self.entries.remove(&oldest);
            }
        }
        let used = AtomicBool::new(true);
        if self.entries.insert(key, Entry { table, used }).is_none() {
            self.ring.push_back(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
