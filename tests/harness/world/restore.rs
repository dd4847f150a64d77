//! What an operator does whose hub's disk is gone: the hub's backup becomes a database on another one (A10). The real exporter
//! and the real restore, with real files; what they read and what comes of them are a simulated machine's disks.

use super::clock::key_bytes;
use anyhow::Context as _;
use hub::{
    backup::{self, BackupKey, BackupOptions, DatabaseId, Insistence, Job, Tap},
    now::Now,
    store::{Freeze, Identity, RedbStore, ShardId, Store as _, sim::SimDisk},
};
use protocol_spec::{Address, UnixSeconds};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Builder;

/// Whose database it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hub {
    pub(super) identity: Identity,
    pub(super) account: Address,
}

/// A new disk with what `hub restore` makes of a backup that was made of `old`. Files and ciphers of real time: for the
/// world it takes none.
pub(super) fn restored(old: SimDisk, hub: Hub, now: UnixSeconds, seed: u64) -> anyhow::Result<SimDisk> {
    let work = move || {
        // Paused: nothing is late because the machine is busy.
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let place = place()?;
        let made = runtime.block_on(make(place.path(), old, hub, now));
        made.map(|files| SimDisk::with_contents(files, seed))
    };
    // A thread of its own: the world's has a runtime, and perhaps a planted bug.
    let joined = std::thread::spawn(work).join();
    joined.unwrap_or_else(|_| anyhow::bail!("the restore panicked"))
}

async fn make(place: &Path, old: SimDisk, hub: Hub, now: UnixSeconds) -> anyhow::Result<Vec<Vec<u8>>> {
    let (dir, data_dir) = (place.join("backup"), place.join("data"));
    let key = BackupKey::new(key_bytes(0, "backup").into())?;
    let options = BackupOptions {
        dir: dir.clone(),
        key: key.clone(),
        interval: Duration::from_secs(1),
        every_commits: 1_000,
        keep: 1,
    };
    let source = RedbStore::open_with_backends(old.file(0), old.file(1), hub.identity)?;
    let source: Arc<dyn Freeze> = Arc::new(source);
    let tap = Tap::new(source.clone());
    tap.acquire(ShardId(0)).await?;
    let job = Job::new(options, hub.identity, DatabaseId([1; 16]), source, &tap)?;
    job.spawn(hub.account, Now::new(move || now)).finish().await;
    let signer = Address::from(hub.identity.hub_signer);
    // The old hub is gone for sure.
    let insistence = Insistence {
        again: true,
        damaged: false,
    };
    let restored = backup::restore(&dir, &key, None, &data_dir, signer, insistence, now).await?;
    let file =
        |name: &str| fs::read(restored.store.join(name)).with_context(|| format!("the restored {name}"));
    Ok(vec![file("journal.log")?, file("state.redb")?])
}

/// In memory, where there is such a place.
fn place() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
}
