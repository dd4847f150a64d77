//! A restore by somebody who has the backup's directory, its sealed key, the hub's other two keys, and a passphrase.

use crate::{PATIENCE, code, exported, hub, process::Hub, stderr, verified, with_backup};
use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

/// A file as the hub takes secrets from. Returns the reference to it.
fn secret(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    format!("file:{}", path.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_restores_what_a_lost_key_had_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (world, backup) = with_backup(dir.path()).await;
    let mut running = Hub::spawn(&world);
    running.ready();
    exported(&world, &backup);
    let summary = verified(&world, &backup);

    let sealed = backup.join("key.sealed").display().to_string();
    let seal = |phrase: &str| {
        hub(
            &world,
            &["backup", "seal-key", "--out", &sealed, "--passphrase", phrase],
        )
    };
    let short = seal(&secret(dir.path(), "short", "hunter2\n"));
    assert!(code(&short) == 3 && stderr(&short).contains("at least 16 bytes"));
    let phrase = secret(dir.path(), "phrase", "five random words for instance\n");
    assert_eq!(code(&seal(&phrase)), 0);
    let twice = seal(&phrase);
    assert!(
        code(&twice) == 3 && stderr(&twice).contains("exists"),
        "never over one"
    );

    running.stop();
    fs::remove_dir_all(world.hub_dir.join("data")).unwrap();
    let key = world.hub_dir.join("keys/backup.key");
    let bytes = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();

    let from = backup.to_str().unwrap();
    let restore = ["restore", "--from", from, "--again"];
    let with = |phrase: &str| {
        let opens = ["--sealed-key", &sealed, "--passphrase", phrase];
        hub(&world, &[&restore[..], &opens[..]].concat())
    };
    assert_eq!(code(&hub(&world, &restore)), 3, "there is no key");
    let wrong = secret(dir.path(), "wrong", "five other words for instance\n");
    let wrong = with(&wrong);
    assert!(code(&wrong) == 3 && stderr(&wrong).contains("the passphrase does not open it"));
    assert!(!key.exists() && !world.store.exists(), "nothing was changed");
    let args = [
        "backup",
        "verify",
        from,
        "--sealed-key",
        &sealed,
        "--passphrase",
        &phrase,
    ];
    assert_eq!(code(&hub(&world, &args)), 0);

    // A try that is refused leaves no key behind: without --again the backup is too young.
    let opens = ["--sealed-key", &sealed, "--passphrase", &phrase];
    let young = hub(&world, &[&restore[..3], &opens[..]].concat());
    assert_eq!(code(&young), 7);
    assert!(!key.exists() && !world.store.exists(), "nothing was changed");
    // Nor is one taken for the sealed one that is another.
    secret(&world.hub_dir.join("keys"), "backup.key", &"ab".repeat(32));
    let other = with(&phrase);
    assert!(code(&other) == 7 && stderr(&other).contains("is another key than the sealed one"));
    assert!(!world.store.exists());
    fs::remove_file(&key).unwrap();

    let restored = with(&phrase);
    assert!(code(&restored) == 0 && stderr(&restored).contains("Wrote the backup key"));
    assert_eq!(fs::read(&key).unwrap(), bytes, "the same key");
    let mut running = Hub::spawn(&world);
    running.ready();
    // What was restored is whole from the start: its own generation takes a moment.
    let began = Instant::now();
    while verified(&world, &backup)["generation"].as_u64() <= summary["generation"].as_u64() {
        assert!(began.elapsed() < PATIENCE, "the backup does not go on");
        std::thread::sleep(Duration::from_millis(50));
    }
    running.stop();
}
