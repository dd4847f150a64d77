//! A hub on a real chain that finds no database refuses to start, unless `hub init` has just made its directory.
//!
//! An empty database knows nothing of the channels that are open on chain: it would watch over none of them. A volume
//! that is not mounted looks exactly like a first start, so the first start needs a sign of its own.

use anyhow::Context;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Left by `hub init` in the data directory; the first start takes it away.
pub const MARKER: &str = "new-hub";

/// The sign for this data directory.
fn marker(data_dir: &Path) -> PathBuf {
    data_dir.join(MARKER)
}

/// Makes the sign. Errors: the disk.
pub fn mark(data_dir: &Path) -> io::Result<()> {
    fs::write(
        marker(data_dir),
        "The next `hub serve` makes a new database here and removes this file.\n",
    )
}

/// Errors: there is neither a database nor the sign.
pub(super) fn check(data_dir: &Path) -> anyhow::Result<()> {
    let store = data_dir.join("store");
    let vacant = match fs::read_dir(&store) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        // Opening says what is wrong with it.
        Err(_) => false,
    };
    anyhow::ensure!(
        !vacant || marker(data_dir).exists(),
        "there is no database in {0}. If this hub has run before, mount or restore that directory: a new database would \
         forget the channels that are open, and nobody would defend them. If it is new: touch {1}",
        data_dir.display(),
        marker(data_dir).display()
    );
    Ok(())
}

/// Takes the sign away once there is a database. Errors: the disk.
pub(crate) fn done(data_dir: &Path) -> anyhow::Result<()> {
    match fs::remove_file(marker(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| marker(data_dir).display().to_string())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_database_or_the_sign_lets_a_hub_start() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(check(&data).is_err(), "an unmounted volume");
        fs::create_dir(&data).unwrap();
        assert!(check(&data).is_err(), "an empty mount point");
        mark(&data).unwrap();
        check(&data).unwrap();
        fs::create_dir(data.join("store")).unwrap();
        fs::write(data.join("store/journal.log"), b"x").unwrap();
        done(&data).unwrap();
        done(&data).unwrap();
        check(&data).unwrap();
        fs::remove_dir_all(data.join("store")).unwrap();
        assert!(check(&data).is_err(), "the sign counts once");
    }
}
