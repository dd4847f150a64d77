//! A watchtower's directory.

use crate::evidence::replace;
use protocol_spec::{Domain, Package};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Larger files in the directory are not packages.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The tower may run under an account of its own, in the group of the directory.
const MODE: u32 = 0o640;

/// A directory with one package per channel.
pub(crate) struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Replaces the channel's package in one step, but never by an older one.
    pub(super) async fn put(&self, package: Package) -> Result<(), String> {
        let evidence = &package.evidence;
        let domain = Domain::new(evidence.chain_id, evidence.adjudicator);
        let path = self.dir.join(format!("{}.json", evidence.config.id(&domain)));
        let write = move || put(&path, &package);
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|error| error.to_string())?
    }
}

fn put(path: &Path, package: &Package) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if let Some(held) = held(path).filter(|held| held.evidence.config == package.evidence.config) {
        let (held_seq, seq) = (held.seq(), package.seq());
        if held_seq > seq {
            return Err(format!(
                "the watchtower has voucher {held_seq} already, this one is {seq}: was this client restored from a backup?"
            ));
        }
        let (there, ours) = (&held.countersignature.accept, &package.countersignature.accept);
        if held_seq == seq && there.voucher != ours.voucher {
            return Err(format!(
                "the watchtower has another voucher {seq}: the hub signed two, keep both"
            ));
        }
    }
    let json = serde_json::to_vec_pretty(package).map_err(|error| error.to_string())?;
    replace(path, &json, MODE).map_err(failed)
}

/// The package that is there; `None` when there is nothing, or something that no tower could use.
fn held(path: &Path) -> Option<Package> {
    if std::fs::metadata(path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
