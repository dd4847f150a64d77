//! What the hub's node keeps, and how surely.

use bitcoin::io::{self, Error};
use lightning::{
    chain::{
        ChannelMonitorUpdateStatus,
        chainmonitor::Persist,
        channelmonitor::{ChannelMonitor, ChannelMonitorUpdate},
    },
    sign::InMemorySigner,
    util::persist::{KVStoreSync, MonitorName},
};
use lightning_persister::fs_store::FilesystemStore;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Syncs in one write of LDK's store: that of the new file and, after the renaming, that of its directory.
const SYNCS_PER_WRITE: u64 = 2;

/// LDK's `FilesystemStore`, or the same files without a sync.
pub struct Files {
    synced: FilesystemStore,
    dir: PathBuf,
    sync: bool,
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Files {
    /// Files below `dir`; `sync`: each write returns when the disk has it.
    pub fn new(dir: &Path, sync: bool) -> Files {
        Files {
            synced: FilesystemStore::new(dir.to_owned()),
            dir: dir.to_owned(),
            sync,
            writes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Syncs done so far.
    pub fn syncs(&self) -> u64 {
        if self.sync {
            self.writes
                .load(Ordering::Relaxed)
                .saturating_mul(SYNCS_PER_WRITE)
        } else {
            0
        }
    }

    /// Bytes written so far, without what file systems add.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn path(&self, primary: &str, secondary: &str, key: &str) -> PathBuf {
        self.dir.join(primary).join(secondary).join(key)
    }
}

impl KVStoreSync for Files {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, Error> {
        self.synced.read(primary, secondary, key)
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), Error> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(value.len() as u64, Ordering::Relaxed);
        if self.sync {
            return self.synced.write(primary, secondary, key, value);
        }
        let path = self.path(primary, secondary, key);
        let new = path.with_extension("new");
        fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        fs::write(&new, value)?;
        Ok(fs::rename(&new, &path)?)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, lazy: bool) -> Result<(), Error> {
        self.synced.remove(primary, secondary, key, lazy || !self.sync)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.synced.list(primary, secondary)
    }
}

/// Keeps nothing: for clients, and for a hub in memory.
pub struct Nothing;

impl Persist<InMemorySigner> for Nothing {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        _: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        _: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}
