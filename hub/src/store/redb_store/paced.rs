//! The state's file beside the journal's. Both are on one disk: a checkpoint that was written as fast as the disk takes it would
//! keep every commit of the journal waiting for seconds, and with it every payment. So it is made durable in pieces, with
//! a pause after each while the journal has something to write.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use redb::{BackendError, StorageBackend};

/// Bytes that go to the disk together.
const PIECE_BYTES: usize = 2 * 1024 * 1024;
/// A pause lasts as long as the piece took, but no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Of all pauses of one commit: a checkpoint must have an end also where the disk is slow.
const PAUSES_MAX: Duration = Duration::from_secs(5);

/// Told by the journal whenever it commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<AtomicBool>);

impl Activity {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the journal has committed since the last question.
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Paced<B> {
    inner: B,
    journal: Activity,
    /// Bytes written and not synced.
    written: AtomicUsize,
    /// Pauses since the last commit, nanoseconds.
    paused: AtomicU64,
}

impl<B> Paced<B> {
    pub(super) fn new(inner: B, journal: Activity) -> Self {
        Self {
            inner,
            journal,
            written: AtomicUsize::new(0),
            paused: AtomicU64::new(0),
        }
    }

    /// How long to leave the disk to the journal after a piece that took so long.
    fn pause(&self, took: Duration) -> Duration {
        let before = Duration::from_nanos(self.paused.load(Ordering::Relaxed));
        if !self.journal.take() || before >= PAUSES_MAX {
            return Duration::ZERO;
        }
        let pause = took.min(PAUSE_MAX);
        let paused = before.saturating_add(pause).as_nanos();
        self.paused
            .store(u64::try_from(paused).unwrap_or(u64::MAX), Ordering::Relaxed);
        pause
    }
}

impl<B: StorageBackend> StorageBackend for Paced<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)?;
        let written = self.written.fetch_add(data.len(), Ordering::Relaxed);
        if written.saturating_add(data.len()) >= PIECE_BYTES {
            self.written.store(0, Ordering::Relaxed);
            let began = Instant::now();
            self.inner.sync_data()?;
            std::thread::sleep(self.pause(began.elapsed()));
        }
        Ok(())
    }

    /// The end of a commit's writing.
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()?;
        self.written.store(0, Ordering::Relaxed);
        self.paused.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}
