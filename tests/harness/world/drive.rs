//! A machine's drive. A database is made on it under another name and gets its own when it is whole, as hub and SDK do with
//! files: what a crash leaves of an unfinished one is replaced at the next start, and a whole one never is. And copies of a
//! drive, one of which somebody puts in its place.

use hub::store::sim::SimDisk;
use rand::{Rng as _, rngs::StdRng};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Copies that are kept.
const COPIES_MAX: usize = 16;

/// The drive of one machine. Clones are the same drive, until it loses power.
#[derive(Clone, Debug)]
pub(super) struct Drive {
    disk: SimDisk,
    files: usize,
    named: Arc<AtomicBool>,
}

impl Drive {
    pub(super) fn new(files: usize, seed: u64) -> Self {
        Self {
            disk: SimDisk::new(files, seed),
            files,
            named: Arc::default(),
        }
    }

    pub(super) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The database is whole: it was opened.
    pub(super) fn name(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    /// Another disk in its place, with a whole database.
    pub(super) fn replace(&mut self, disk: SimDisk) {
        self.disk = disk;
    }

    /// True once there is a whole database on it.
    pub(super) fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// What is there after a power failure.
    pub(super) fn lose_power(&mut self, random: &mut StdRng) {
        let seed = random.random();
        self.disk = match self.is_named() {
            true => self.disk.crash(seed),
            false => SimDisk::new(self.files, seed),
        };
    }
}

/// Old copies of one drive, each with what was known when it was made. Clones are one attic.
#[derive(Debug)]
pub(super) struct Attic<T>(Arc<Mutex<Copies<T>>>);

#[derive(Debug)]
struct Copies<T> {
    disks: Vec<(SimDisk, T)>,
    wanted: bool,
}

impl<T> Default for Attic<T> {
    fn default() -> Self {
        let (disks, wanted) = (Vec::new(), false);
        Self(Arc::new(Mutex::new(Copies { disks, wanted })))
    }
}

impl<T> Clone for Attic<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Attic<T> {
    fn copies(&self) -> MutexGuard<'_, Copies<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of a drive in use: as a power failure at this moment would leave it.
    pub(super) fn keep(&self, drive: &Drive, known: T, random: &mut StdRng) {
        let mut copies = self.copies();
        if copies.disks.len() == COPIES_MAX {
            copies.disks.remove(random.random_range(0..COPIES_MAX));
        }
        copies.disks.push((drive.disk.crash(random.random()), known));
    }

    /// The machine's next start is to find an old copy.
    pub(super) fn want(&self) {
        self.copies().wanted = true;
    }

    /// Puts one in the drive's place, if it is time and there is one. Gives what was known then.
    pub(super) fn restore(&self, drive: &mut Drive, random: &mut StdRng) -> Option<T> {
        let mut copies = self.copies();
        let count = copies.disks.len();
        if !std::mem::take(&mut copies.wanted) || count == 0 {
            return None;
        }
        let old = random.random_range(0..count);
        let (disk, known) = &copies.disks[old];
        drive.disk = disk.crash(random.random());
        let known = known.clone();
        // What came after it never was: two lives that went on from one copy would have signed different vouchers.
        copies.disks.truncate(old + 1);
        Some(known)
    }
}
