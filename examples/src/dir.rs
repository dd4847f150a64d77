//! A directory that goes away at the end.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Under the system's directory for such things. Refuses one that exists.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let name = alloy::signers::local::PrivateKeySigner::random().address();
        let path = std::env::temp_dir().join(format!("channelhub-example-{name}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
