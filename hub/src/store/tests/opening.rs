//! What may be opened, and the words when it may not: attacks C8 and C9.

use std::os::{fd::AsRawFd, unix::fs::PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use redb::TableDefinition;

use crate::store::redb_store::{JOURNAL_FILE, MARK_FILE, STATE_FILE};
use crate::store::{Identity, OpenError, RedbStore, Store};

use super::{SHARD, append, checkpoint_to, identity, verify};

async fn make(path: &Path) {
    let store = RedbStore::open(path, identity()).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    for number in 1..=10 {
        drop(append(&store, epoch, number).await.unwrap());
    }
    store.checkpoint(SHARD, epoch, checkpoint_to(1, 5)).await.unwrap();
    store.close().await.unwrap();
}

fn refused(path: &Path) -> OpenError {
    RedbStore::open(path, identity()).map(drop).unwrap_err()
}

async fn assert_intact(path: &Path) {
    let store = RedbStore::open(path, identity()).unwrap();
    verify(&store, 10, 5, 10).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn every_fact_of_the_identity_is_pinned_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make(&path).await;
    let us = identity();
    let others = [
        ("chain id", Identity { chain_id: 1, ..us }),
        (
            "genesis hash",
            Identity {
                genesis_hash: [9; 32],
                ..us
            },
        ),
        (
            "adjudicator",
            Identity {
                adjudicator: [9; 20],
                ..us
            },
        ),
        (
            "adjudicator code hash",
            Identity {
                code_hash: [9; 32],
                ..us
            },
        ),
        (
            "hub signer",
            Identity {
                hub_signer: [9; 20],
                ..us
            },
        ),
    ];
    for (name, other) in others {
        let error = RedbStore::open(&path, other).map(drop).unwrap_err();
        println!("{error}");
        assert!(matches!(error, OpenError::IdentityMismatch { fact, .. } if fact == name));
    }
    let error = RedbStore::open(&path, Identity { chain_id: 1, ..us })
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("was made for chain id 31337, this hub is configured for 1"),
        "{error}"
    );
    assert_intact(&path).await;
}

#[tokio::test]
async fn other_format_versions_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let newer = Identity {
        format_version: 3,
        ..identity()
    };
    RedbStore::open(&path, newer).unwrap().close().await.unwrap();
    let error = refused(&path);
    println!("{error}");
    assert!(
        matches!(
            error,
            OpenError::FormatNewer {
                expected: 1,
                found: 3,
                ..
            }
        ),
        "{error}"
    );
    let newest = Identity {
        format_version: 4,
        ..identity()
    };
    let error = RedbStore::open(&path, newest).map(drop).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::FormatOlder {
                expected: 4,
                found: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_new_database_is_made_only_where_there_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/store");
    assert!(matches!(
        RedbStore::open_existing(&path, identity()),
        Err(OpenError::NotFound { .. })
    ));
    make(&path).await;
    let left: Vec<_> = std::fs::read_dir(directory.path().join("deep"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "nothing is left of the making: {left:?}");
    let empty = directory.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    make(&empty).await;
    let foreign = directory.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("hub.toml"), "x").unwrap();
    let error = refused(&foreign);
    println!("{error}");
    assert!(matches!(error, OpenError::Incomplete { .. }));
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_made_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/store");
    make(&path).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o700));
    for name in [JOURNAL_FILE, STATE_FILE, MARK_FILE] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
}

/// Who made it may have been killed before its directory was durable.
#[tokio::test]
async fn what_is_there_already_is_made_durable_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make(&path).await;
    let held = std::fs::File::open(&path).unwrap();
    // The same directory, by a name in a directory that cannot be made durable.
    let same = format!("/proc/self/fd/{}", held.as_raw_fd());
    let error = refused(Path::new(&same));
    assert!(
        matches!(&error, OpenError::Io { path, .. } if path == Path::new("/proc/self/fd")),
        "{error}"
    );
    assert_intact(&path).await;
}

#[tokio::test]
async fn half_a_database_is_refused_and_left_alone() {
    for missing in [JOURNAL_FILE, STATE_FILE] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        make(&path).await;
        std::fs::rename(path.join(missing), directory.path().join("aside")).unwrap();
        let error = refused(&path);
        println!("{error}");
        assert!(matches!(error, OpenError::Incomplete { .. }) && error.to_string().contains(missing));
        std::fs::rename(directory.path().join("aside"), path.join(missing)).unwrap();
        assert_intact(&path).await;
    }
}

#[tokio::test]
async fn empty_truncated_zeroed_and_garbage_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make(&path).await;
    for name in [JOURNAL_FILE, STATE_FILE] {
        let file = path.join(name);
        let good = std::fs::read(&file).unwrap();
        let half = good[..good.len() / 2].to_vec();
        let tail = good[..good.len() - 4096].to_vec();
        let noise: Vec<u8> = super::bytes_of(99, good.len());
        let magic_then_noise = [&good[..9], &noise[9..]].concat();
        let magic_then_zeros = [good[..9].to_vec(), vec![0; good.len() - 9]].concat();
        let cases = [
            ("empty", Vec::new()),
            ("one byte", vec![0]),
            ("magic only", good[..9].to_vec()),
            ("half", half),
            ("last page missing", tail),
            ("zeros", vec![0; good.len()]),
            ("noise", noise),
            ("magic, then noise", magic_then_noise),
            ("magic, then zeros", magic_then_zeros),
            ("text", b"not a database\n".to_vec()),
        ];
        for (case, bytes) in cases {
            std::fs::write(&file, bytes).unwrap();
            let error = refused(&path);
            println!("{name}, {case}: {error}");
            assert!(
                matches!(error, OpenError::Damaged { .. }),
                "{name} {case}: {error}"
            );
        }
        std::fs::write(&file, good).unwrap();
        assert_intact(&path).await;
    }
}

#[tokio::test]
async fn files_of_two_databases_or_two_ages_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other, old) = (
        directory.path().join("a"),
        directory.path().join("b"),
        directory.path().join("old"),
    );
    make(&path).await;
    make(&other).await;
    std::fs::create_dir(&old).unwrap();
    for name in [JOURNAL_FILE, STATE_FILE] {
        std::fs::copy(path.join(name), old.join(name)).unwrap();
    }
    let store = RedbStore::open(&path, identity()).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    for number in 11..=20 {
        drop(append(&store, epoch, number).await.unwrap());
    }
    store
        .checkpoint(SHARD, epoch, checkpoint_to(6, 18))
        .await
        .unwrap();
    store.trim(SHARD, epoch, 15).await.unwrap();
    store.close().await.unwrap();
    let mixes = [
        (other.join(STATE_FILE), path.join(JOURNAL_FILE)),
        (path.join(JOURNAL_FILE), path.join(JOURNAL_FILE)),
        (path.join(STATE_FILE), old.join(JOURNAL_FILE)),
        (old.join(STATE_FILE), path.join(JOURNAL_FILE)),
    ];
    for (index, (state, journal)) in mixes.into_iter().enumerate() {
        let mixed = directory.path().join(format!("mix{index}"));
        std::fs::create_dir(&mixed).unwrap();
        std::fs::copy(state, mixed.join(STATE_FILE)).unwrap();
        std::fs::copy(journal, mixed.join(JOURNAL_FILE)).unwrap();
        let error = refused(&mixed);
        println!("{error}");
        assert!(matches!(error, OpenError::Damaged { .. }));
    }
}

#[tokio::test]
async fn a_redb_file_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make(&path).await;
    std::fs::remove_file(path.join(STATE_FILE)).unwrap();
    let foreign = redb::Database::create(path.join(STATE_FILE)).unwrap();
    let write = foreign.begin_write().unwrap();
    write
        .open_table(TableDefinition::<u64, u64>::new("x"))
        .unwrap()
        .insert(1, 1)
        .unwrap();
    write.commit().unwrap();
    drop(foreign);
    let error = refused(&path);
    println!("{error}");
    assert!(matches!(error, OpenError::Damaged { .. }));
}

const HOLD: &str = "HUB_STORE_TEST_HOLD";

/// Not a test of its own: the second process of the next one.
#[tokio::test]
#[ignore = "started by a_second_process_is_refused"]
async fn second_process() {
    let Some(path) = std::env::var_os(HOLD) else {
        return;
    };
    println!("{}", refused(Path::new(&path)));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make(&path).await;
    let store = RedbStore::open(&path, identity()).unwrap();
    assert!(
        matches!(refused(&path), OpenError::InUse { .. }),
        "a second store in one process"
    );
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "store::tests::opening::second_process",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(HOLD, &path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    println!("{text}");
    assert!(
        child.status.success() && text.contains("is in use by another process"),
        "{text}"
    );
    store.close().await.unwrap();
    assert_intact(&path).await;
}

#[tokio::test]
async fn processes_that_create_at_once_agree_on_one_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| RedbStore::open(&path, identity())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (opened, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(opened.len() == 1, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(OpenError::InUse { .. }))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_older_copy_of_both_files_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("store"), directory.path().join("old"));
    make(&path).await;
    std::fs::create_dir(&old).unwrap();
    for name in [JOURNAL_FILE, STATE_FILE] {
        std::fs::copy(path.join(name), old.join(name)).unwrap();
    }
    let store = RedbStore::open(&path, identity()).unwrap();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    drop(append(&store, epoch, 11).await.unwrap());
    store.close().await.unwrap();
    for name in [JOURNAL_FILE, STATE_FILE] {
        std::fs::copy(old.join(name), path.join(name)).unwrap();
    }
    let error = refused(&path);
    println!("{error}");
    assert!(
        error.to_string().contains("record 11 was acknowledged"),
        "{error}"
    );
    // A torn or missing mark says nothing: that is what a power loss may leave.
    std::fs::write(path.join(MARK_FILE), [7; 24]).unwrap();
    assert_intact(&path).await;
    std::fs::remove_file(path.join(MARK_FILE)).unwrap();
    assert_intact(&path).await;
}
