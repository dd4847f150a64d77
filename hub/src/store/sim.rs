//! A test tool: a disk that forgets, tears, fails and lies, for databases opened by
//! [`RedbStore::open_with_backends`](super::RedbStore::open_with_backends).
//!
//! What was written but not synced may be lost at a crash: of every unit (1 to 4096 bytes, by seed) any of
//! the contents it had since the last sync may survive, each unit for itself. So writes are dropped,
//! reordered and torn. Everything is decided by seeds.

use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redb::StorageBackend;

mod image;

use image::Image;

/// What the disk does wrong. Counts begin at 1 and run over all files of the disk, since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The nth sync returns EIO; of what it should have made durable, a random part is lost for good,
    /// although it can still be read ("fsyncgate").
    SyncFails(u64),
    /// The nth write returns EIO, half done.
    WriteFails(u64),
    /// No file may grow past this many bytes (ENOSPC).
    Full(u64),
    /// Every sync reports success and does nothing.
    SyncLies,
    /// The power fails at the nth operation (write, sync or change of length): it and all later ones fail.
    PowerCut(u64),
}

/// How much a disk has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Writes.
    pub writes: u64,
    /// Syncs.
    pub syncs: u64,
    /// Writes, syncs and changes of length.
    pub operations: u64,
}

#[derive(Debug)]
struct Disk {
    files: Vec<Image>,
    faults: Vec<Fault>,
    counters: Counters,
    dead: bool,
    random: StdRng,
}

/// The disk of one simulated machine. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// A healthy disk with a number of empty files.
    #[must_use]
    pub fn new(files: usize, seed: u64) -> Self {
        Self::with(vec![Image::default(); files], seed)
    }

    /// A healthy disk whose files hold these bytes, durably.
    #[must_use]
    pub fn with_contents(contents: Vec<Vec<u8>>, seed: u64) -> Self {
        Self::with(contents.into_iter().map(Image::new).collect(), seed)
    }

    fn with(files: Vec<Image>, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let disk = Disk {
            files,
            faults: Vec::new(),
            counters: Counters::default(),
            dead: false,
            random,
        };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One file as a backend for redb. A file that the disk does not have fails every operation.
    #[must_use]
    pub fn file(&self, index: usize) -> SimFile {
        SimFile {
            disk: self.clone(),
            index,
        }
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// What the disk has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// True once the power was cut.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// The disk that is found after a power loss at this moment: healthy, with what survived.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let files = self
            .lock()
            .files
            .iter()
            .map(|file| file.survive(&mut random))
            .collect();
        Self::with(files, seed)
    }

    /// Flips one bit of what readers see and of what is durable; nothing happens past the end.
    pub fn flip_bit(&self, file: usize, bit: usize) {
        if let Ok(image) = self.lock().image(file) {
            image.flip_bit(bit);
        }
    }

    /// What a reader sees in each file now.
    #[must_use]
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.lock()
            .files
            .iter()
            .map(|file| file.visible().to_vec())
            .collect()
    }
}

impl Disk {
    fn image(&mut self, index: usize) -> Result<&mut Image, Error> {
        self.files
            .get_mut(index)
            .ok_or_else(|| Error::from(ErrorKind::NotFound))
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn alive(&self) -> Result<(), Error> {
        if self.dead {
            Err(Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    /// Counts an operation and cuts the power if it is time.
    fn operate(&mut self) -> Result<(), Error> {
        self.alive()?;
        self.counters.operations = self.counters.operations.saturating_add(1);
        self.dead = self.has(Fault::PowerCut(self.counters.operations));
        self.alive()
    }

    fn check_space(&self, bytes: u64) -> Result<(), Error> {
        let full = |fault: &Fault| matches!(fault, Fault::Full(max) if bytes > *max);
        if self.faults.iter().any(full) {
            Err(Error::from(ErrorKind::StorageFull))
        } else {
            Ok(())
        }
    }

    fn write(&mut self, index: usize, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.operate()?;
        self.counters.writes = self.counters.writes.saturating_add(1);
        self.check_space(offset.saturating_add(data.len() as u64))?;
        if self.has(Fault::WriteFails(self.counters.writes)) {
            let half = self.random.random_range(0..=data.len());
            self.image(index)?
                .write(offset, data.get(..half).unwrap_or_default())?;
            return Err(Error::other("EIO at a write"));
        }
        self.image(index)?.write(offset, data)
    }

    fn sync(&mut self, index: usize) -> Result<(), Error> {
        self.operate()?;
        self.counters.syncs = self.counters.syncs.saturating_add(1);
        if self.has(Fault::SyncLies) {
            return Ok(());
        }
        if self.has(Fault::SyncFails(self.counters.syncs)) {
            let mut random = StdRng::seed_from_u64(self.random.random());
            self.image(index)?.lose_part(&mut random);
            return Err(Error::other("EIO at a sync"));
        }
        self.image(index)?.sync();
        Ok(())
    }
}

/// One file of a [`SimDisk`].
#[derive(Clone, Debug)]
pub struct SimFile {
    disk: SimDisk,
    index: usize,
}

impl StorageBackend for SimFile {
    fn len(&self) -> Result<u64, Error> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        Ok(disk.image(self.index)?.visible().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut disk = self.disk.lock();
        disk.alive()?;
        disk.image(self.index)?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut disk = self.disk.lock();
        disk.operate()?;
        disk.check_space(len)?;
        disk.image(self.index)?.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.disk.lock().sync(self.index)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.disk.lock().write(self.index, offset, data)
    }
}
