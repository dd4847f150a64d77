//! The stores: durable, exclusive, refusing what is damaged.

use crate::common::{Hub, connect_with, key};
use client_sdk::*;

fn write(key: u8, value: Option<u8>) -> Write {
    Write {
        table: Table::Meta,
        key: vec![key],
        value: value.map(|value| vec![value]),
    }
}

async fn conformance(store: &dyn Store) {
    store
        .commit(vec![write(1, Some(1)), write(2, Some(2))])
        .await
        .unwrap();
    store
        .commit(vec![write(1, None), write(3, Some(3))])
        .await
        .unwrap();
    assert_eq!(store.get(Table::Meta, &[1]).await.unwrap(), None);
    assert_eq!(store.get(Table::Meta, &[2]).await.unwrap(), Some(vec![2]));
    let rows = store.scan(Table::Meta).await.unwrap();
    let keys: Vec<_> = rows
        .iter()
        .map(|(key, _)| key.clone())
        .filter(|key| key.len() == 1)
        .collect();
    assert_eq!(keys, [vec![2], vec![3]]);
    assert!(store.scan(Table::Frames).await.unwrap().is_empty());
}

#[tokio::test]
async fn both_stores_behave_alike() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&MemoryStore::new()).await;
    conformance(&RedbStore::open(dir.path().join("a.redb")).unwrap()).await;
}

#[tokio::test]
async fn a_file_is_private_durable_and_used_once() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let store = RedbStore::open(&path).unwrap();
    store.commit(vec![write(1, Some(1))]).await.unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse { .. })));
    drop(store);
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.get(Table::Meta, &[1]).await.unwrap(), Some(vec![1]));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Who made it may have been killed before its name was durable.
#[tokio::test]
async fn the_name_of_a_file_that_is_there_already_is_made_durable() {
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    drop(RedbStore::open(&path).unwrap());
    let held = std::fs::File::open(&path).unwrap();
    // The same file, by a name in a directory that cannot be made durable.
    let same = format!("/proc/self/fd/{}", held.as_raw_fd());
    let error = RedbStore::open(same).unwrap_err();
    assert!(
        matches!(&error, StoreError::Io(why) if why.contains("/proc/self/fd")),
        "{error}"
    );
    drop(RedbStore::open(&path).unwrap());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("empty", vec![]),
        ("text", b"hello".to_vec()),
        ("zeros", vec![0; 1 << 20]),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let error = RedbStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{name}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
    }
    let path = dir.path().join("cut");
    drop(RedbStore::open(&path).unwrap());
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 3]).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Corrupt { .. })));
}

/// What another version wrote holds money: nobody is told to begin anew.
#[tokio::test]
async fn a_store_of_another_form_is_refused_by_name_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let old = Write {
        table: Table::Meta,
        key: b"version".to_vec(),
        value: Some(b"channelhub.client-store.v1".to_vec()),
    };
    let store = RedbStore::open(&path).unwrap();
    store.commit(vec![old, write(1, Some(1))]).await.unwrap();
    drop(store);
    for _ in 0..2 {
        let error = RedbStore::open(&path).unwrap_err();
        let StoreError::OtherVersion { found, expected, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(found, "channelhub.client-store.v1");
        assert_ne!(found, expected);
        assert!(error.to_string().contains("the version that wrote it"), "{error}");
    }
}

/// `shutdown` releases the file although other handles live on; they say that the client has stopped.
#[tokio::test]
async fn a_store_is_free_after_shutdown_while_handles_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    let hub = Hub::start().await;
    let (client, id) = connect_with(&hub, key(1), RedbStore::open(&path).unwrap()).await;
    let payee = Address::repeat_byte(0x77);
    client.pay(payee, 10).await.unwrap();
    let cursor = Cursor {
        epoch: 1,
        position: 7,
    };
    client.save_cursor(id, cursor.clone()).await.unwrap();
    let (handle, other, channel) = (client.clone(), client.clone(), client.channel(id));
    // Both return only when the store is free.
    let ((), ()) = tokio::join!(client.shutdown(), async {
        other.shutdown().await;
        drop(RedbStore::open(&path).unwrap());
    });
    let store = RedbStore::open(&path).unwrap();
    assert!(!handle.connected());
    assert!(matches!(handle.pay(payee, 10).await, Err(PayError::Stopped(_))));
    assert!(matches!(channel.evidence().await, Err(ChannelError::Stopped(_))));
    assert!(matches!(
        handle.save_cursor(id, cursor.clone()).await,
        Err(ChannelError::Stopped(_))
    ));
    assert!(matches!(
        handle.saved_cursor(id).await,
        Err(ChannelError::Stopped(_))
    ));
    assert!(matches!(
        channel.payments(None).next().await,
        Some(Err(StreamError::Stopped(_)))
    ));
    handle.clone().shutdown().await;
    let (client, _) = connect_with(&hub, key(1), store).await;
    assert_eq!(client.saved_cursor(id).await.unwrap(), Some(cursor));
    client.pay(payee, 10).await.unwrap();
}
