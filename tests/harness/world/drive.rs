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

    /// What is there after a power failure.
    pub(super) fn lose_power(&mut self, random: &mut StdRng) {
        let seed = random.random();
        self.disk = match self.named.load(Ordering::Relaxed) {
            true => self.disk.crash(seed),
            false => SimDisk::new(self.files, seed),
        };
    }
}

/// Old copies of one drive. Clones are one attic.
#[derive(Clone, Debug, Default)]
pub(super) struct Attic(Arc<Mutex<Copies>>);

#[derive(Debug, Default)]
struct Copies {
    disks: Vec<SimDisk>,
    wanted: bool,
}

impl Attic {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of a drive in use: as a power failure at this moment would leave it.
    pub(super) fn keep(&self, drive: &Drive, random: &mut StdRng) {
        let mut copies = self.copies();
        if copies.disks.len() == COPIES_MAX {
            copies.disks.remove(random.random_range(0..COPIES_MAX));
        }
        copies.disks.push(drive.disk.crash(random.random()));
    }

    /// The machine's next start is to find an old copy.
    pub(super) fn want(&self) {
        self.copies().wanted = true;
    }

    /// Puts one in the drive's place, if it is time and there is one.
    pub(super) fn restore(&self, drive: &mut Drive, random: &mut StdRng) -> bool {
        let mut copies = self.copies();
        let count = copies.disks.len();
        if !std::mem::take(&mut copies.wanted) || count == 0 {
            return false;
        }
        let old = random.random_range(0..count);
        drive.disk = copies.disks[old].crash(random.random());
        // What came after it never was: two lives that went on from one copy would have signed different vouchers.
        copies.disks.truncate(old + 1);
        true
    }
}
