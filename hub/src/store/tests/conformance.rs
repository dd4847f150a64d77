//! One suite for every store.

use crate::store::{
    Checkpoint, Durable, Epoch, Loaded, MemoryStore, RECORD_BYTES_MAX, RedbStore, ShardId, Store, StoreError,
    TRIM_STEP_RECORDS, Table, Trimmed,
};

use super::{SHARD, append, bytes_of, checkpoint_to, identity, record, verify, whole_tail};

/// A store and the way to open its contents again.
enum Subject {
    Memory(MemoryStore),
    Redb(RedbStore, tempfile::TempDir),
}

impl Subject {
    fn memory() -> Self {
        Self::Memory(MemoryStore::new())
    }

    fn redb() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::Redb(
            RedbStore::open(directory.path().join("store"), identity()).unwrap(),
            directory,
        )
    }

    fn store(&self) -> &dyn Store {
        match self {
            Self::Memory(store) => store,
            Self::Redb(store, _) => store,
        }
    }

    async fn reopen(self) -> Self {
        match self {
            Self::Memory(store) => Self::Memory(store.reopen()),
            Self::Redb(store, directory) => {
                store.close().await.unwrap();
                Self::Redb(
                    RedbStore::open_existing(directory.path().join("store"), identity()).unwrap(),
                    directory,
                )
            }
        }
    }
}

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod memory { $(#[tokio::test] async fn $case() { super::$case(super::Subject::memory()).await; })* }
        mod redb { $(#[tokio::test] async fn $case() { super::$case(super::Subject::redb()).await; })* }
    };
}

on_both!(
    a_new_store_is_empty,
    an_append_is_dense_and_survives,
    an_append_that_is_not_dense_is_refused,
    an_append_of_the_largest_size_is_accepted_and_one_byte_more_refused,
    appends_keep_the_order_of_their_first_poll,
    an_older_epoch_is_refused,
    nobody_owns_a_shard_before_acquire,
    shards_are_independent,
    a_checkpoint_writes_and_deletes,
    a_checkpoint_outside_its_range_is_refused,
    a_scan_pages_through_one_table_only,
    a_trim_works_in_steps_and_survives,
    a_trim_beyond_the_checkpoint_is_refused,
    an_empty_journal_goes_on_counting,
);

async fn owned(subject: &Subject) -> Epoch {
    subject.store().acquire(SHARD).await.unwrap().epoch
}

async fn fill(subject: &Subject, epoch: Epoch, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        assert_eq!(
            append(subject.store(), epoch, number).await.unwrap(),
            Durable::new(SHARD, epoch, number)
        );
    }
}

async fn a_new_store_is_empty(subject: Subject) {
    let store = subject.store();
    assert_eq!(
        store.load(SHARD).await.unwrap(),
        Loaded {
            upto: 0,
            last: 0,
            epoch: Epoch(0)
        }
    );
    assert_eq!(store.journal_tail(SHARD, 1, 10).await.unwrap(), []);
    assert_eq!(store.get(Table::Meta, b"x").await.unwrap(), None);
    assert_eq!(store.scan(Table::Events, &[], 10).await.unwrap(), []);
}

async fn an_append_is_dense_and_survives(mut subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=20).await;
    assert_eq!(verify(subject.store(), 20, 0, 20).await, 20);
    subject = subject.reopen().await;
    assert_eq!(verify(subject.store(), 20, 0, 20).await, 20);
    let again = subject.store().acquire(SHARD).await.unwrap();
    assert_eq!(
        again,
        Loaded {
            upto: 0,
            last: 20,
            epoch: Epoch(2)
        }
    );
    fill(&subject, again.epoch, 21..=22).await;
    assert_eq!(whole_tail(subject.store(), 20).await.unwrap().len(), 3);
}

async fn an_append_that_is_not_dense_is_refused(subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=2).await;
    for got in [0, 1, 2, 4, u64::MAX] {
        let refused = append(subject.store(), epoch, got % 100).await;
        assert_eq!(
            refused,
            Err(StoreError::NotDense {
                expected: 3,
                got: got % 100
            })
        );
    }
    fill(&subject, epoch, 3..=3).await;
}

async fn an_append_of_the_largest_size_is_accepted_and_one_byte_more_refused(subject: Subject) {
    let epoch = owned(&subject).await;
    let refused = subject
        .store()
        .append(SHARD, epoch, record(1, RECORD_BYTES_MAX + 1))
        .await;
    let (max, got) = (RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1);
    assert_eq!(refused, Err(StoreError::RecordTooLarge { max, got }));
    let durable = subject
        .store()
        .append(SHARD, epoch, record(1, RECORD_BYTES_MAX))
        .await
        .unwrap();
    assert_eq!(durable.number(), 1);
    let subject = subject.reopen().await;
    let tail = subject.store().journal_tail(SHARD, 1, 10).await.unwrap();
    assert!(tail == [record(1, RECORD_BYTES_MAX)]);
}

async fn appends_keep_the_order_of_their_first_poll(subject: Subject) {
    let epoch = owned(&subject).await;
    let appends = (1..=40).map(|number| append(subject.store(), epoch, number));
    for (number, durable) in (1..).zip(futures::future::join_all(appends).await) {
        assert_eq!(durable.unwrap().number(), number);
    }
    verify(subject.store(), 40, 0, 40).await;
}

async fn an_older_epoch_is_refused(subject: Subject) {
    let old = owned(&subject).await;
    fill(&subject, old, 1..=3).await;
    let new = owned(&subject).await;
    assert!(new > old);
    let lost = StoreError::EpochLost {
        shard: SHARD,
        yours: old,
        current: new,
    };
    let store = subject.store();
    assert_eq!(append(store, old, 4).await, Err(lost.clone()));
    assert_eq!(
        store.checkpoint(SHARD, old, checkpoint_to(1, 3)).await,
        Err(lost.clone())
    );
    assert_eq!(store.trim(SHARD, old, 1).await, Err(lost));
    assert_eq!(store.scan(Table::Channels, &[], 10).await.unwrap(), []);
    fill(&subject, new, 4..=4).await;
    let newer = Epoch(new.0 + 1);
    let refused = append(subject.store(), newer, 5).await;
    assert_eq!(
        refused,
        Err(StoreError::EpochLost {
            shard: SHARD,
            yours: newer,
            current: new
        })
    );
    let subject = subject.reopen().await;
    let refused = append(subject.store(), old, 5).await;
    assert_eq!(
        refused,
        Err(StoreError::EpochLost {
            shard: SHARD,
            yours: old,
            current: new
        })
    );
}

async fn nobody_owns_a_shard_before_acquire(subject: Subject) {
    let refused = append(subject.store(), Epoch(0), 1).await;
    assert_eq!(
        refused,
        Err(StoreError::EpochLost {
            shard: SHARD,
            yours: Epoch(0),
            current: Epoch(0)
        })
    );
}

async fn shards_are_independent(mut subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=5).await;
    let other = ShardId(7);
    let at = subject.store().acquire(other).await.unwrap();
    assert_eq!(
        at,
        Loaded {
            upto: 0,
            last: 0,
            epoch: Epoch(1)
        }
    );
    let durable = subject
        .store()
        .append(other, at.epoch, record(1, 9))
        .await
        .unwrap();
    assert_eq!((durable.shard(), durable.number()), (other, 1));
    subject = subject.reopen().await;
    assert_eq!(
        subject.store().journal_tail(other, 1, 9).await.unwrap(),
        [record(1, 9)]
    );
    assert_eq!(
        subject.store().load(other).await.unwrap(),
        Loaded {
            upto: 0,
            last: 1,
            epoch: Epoch(1)
        }
    );
    verify(subject.store(), 5, 0, 5).await;
}

async fn a_checkpoint_writes_and_deletes(mut subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=3).await;
    let put = |key: &[u8], value: &[u8]| (Table::Meta, key.to_vec(), value.to_vec());
    let first = Checkpoint {
        upto: 2,
        puts: vec![
            put(b"b", b"2"),
            put(b"a", b"0"),
            put(b"a", b"1"),
            put(b"", b""),
            put(b"big", &bytes_of(1, 9000)),
        ],
        deletes: vec![(Table::Meta, b"a".to_vec()), (Table::Settings, b"none".to_vec())],
    };
    subject.store().checkpoint(SHARD, epoch, first).await.unwrap();
    assert_eq!(
        subject.store().get(Table::Meta, b"a").await.unwrap(),
        Some(b"1".to_vec())
    );
    let second = Checkpoint {
        upto: 3,
        puts: vec![put(b"c", b"3")],
        deletes: vec![(Table::Meta, b"b".to_vec())],
    };
    subject.store().checkpoint(SHARD, epoch, second).await.unwrap();
    subject = subject.reopen().await;
    let store = subject.store();
    assert_eq!(
        store.load(SHARD).await.unwrap(),
        Loaded {
            upto: 3,
            last: 3,
            epoch
        }
    );
    let rows = store.scan(Table::Meta, &[], 10).await.unwrap();
    let expected = [
        (&b""[..], &b""[..]),
        (b"a", b"1"),
        (b"big", &bytes_of(1, 9000)),
        (b"c", b"3"),
    ];
    let found: Vec<(&[u8], &[u8])> = rows
        .iter()
        .map(|(key, value)| (key.as_slice(), value.as_slice()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(store.get(Table::Channels, b"a").await.unwrap(), None);
}

async fn a_checkpoint_outside_its_range_is_refused(subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=5).await;
    subject
        .store()
        .checkpoint(SHARD, epoch, checkpoint_to(1, 3))
        .await
        .unwrap();
    for got in [2, 6] {
        let refused = subject
            .store()
            .checkpoint(SHARD, epoch, checkpoint_to(1, got))
            .await;
        assert_eq!(
            refused,
            Err(StoreError::CheckpointOutOfRange { min: 3, max: 5, got })
        );
    }
    verify(subject.store(), 5, 3, 5).await;
    for upto in [3, 5] {
        subject
            .store()
            .checkpoint(SHARD, epoch, checkpoint_to(4, upto))
            .await
            .unwrap();
    }
    verify(subject.store(), 5, 5, 5).await;
}

async fn a_scan_pages_through_one_table_only(subject: Subject) {
    let epoch = owned(&subject).await;
    let puts = Table::ALL
        .iter()
        .flat_map(|table| (0..30u8).map(|key| (*table, vec![key], vec![table.number()])));
    let all = Checkpoint {
        upto: 0,
        puts: puts.collect(),
        deletes: Vec::new(),
    };
    subject.store().checkpoint(SHARD, epoch, all).await.unwrap();
    for table in Table::ALL {
        let (mut from, mut seen) = (Vec::new(), Vec::new());
        loop {
            let rows = subject.store().scan(table, &from, 8).await.unwrap();
            let Some((last, _)) = rows.last() else { break };
            assert!(rows.len() <= 8 && rows.iter().all(|(_, value)| *value == [table.number()]));
            from = [last.as_slice(), &[0]].concat();
            seen.extend(rows.into_iter().map(|(key, _)| key[0]));
        }
        assert_eq!(seen, (0..30).collect::<Vec<u8>>());
    }
    assert_eq!(
        subject.store().scan(Table::Meta, &[5], 1).await.unwrap()[0].0,
        [5]
    );
    assert_eq!(subject.store().scan(Table::Meta, &[], 0).await.unwrap(), []);
}

async fn a_trim_works_in_steps_and_survives(mut subject: Subject) {
    let epoch = owned(&subject).await;
    let total = TRIM_STEP_RECORDS + 20;
    fill(&subject, epoch, 1..=total).await;
    let upto = total - 5;
    subject
        .store()
        .checkpoint(SHARD, epoch, checkpoint_to(1, upto))
        .await
        .unwrap();
    let step = subject.store().trim(SHARD, epoch, upto + 1).await.unwrap();
    assert_eq!(
        step,
        Trimmed {
            deleted: TRIM_STEP_RECORDS,
            more: true
        }
    );
    subject = subject.reopen().await;
    let first = TRIM_STEP_RECORDS + 1;
    let gone = subject.store().journal_tail(SHARD, first - 1, 5).await;
    assert_eq!(
        gone,
        Err(StoreError::Trimmed {
            first,
            got: first - 1
        })
    );
    let step = subject.store().trim(SHARD, epoch, upto + 1).await.unwrap();
    assert_eq!(
        step,
        Trimmed {
            deleted: 15,
            more: false
        }
    );
    for below in [0, 1, upto + 1] {
        let step = subject.store().trim(SHARD, epoch, below).await.unwrap();
        assert_eq!(
            step,
            Trimmed {
                deleted: 0,
                more: false
            }
        );
    }
    verify(subject.store(), total, upto, total).await;
    fill(&subject, epoch, total + 1..=total + 2).await;
    subject = subject.reopen().await;
    verify(subject.store(), total + 2, upto, total + 2).await;
}

async fn a_trim_beyond_the_checkpoint_is_refused(subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=5).await;
    subject
        .store()
        .checkpoint(SHARD, epoch, checkpoint_to(1, 3))
        .await
        .unwrap();
    let refused = subject.store().trim(SHARD, epoch, 5).await;
    assert_eq!(
        refused,
        Err(StoreError::TrimBeyondCheckpoint { below: 5, upto: 3 })
    );
    verify(subject.store(), 5, 3, 5).await;
}

async fn an_empty_journal_goes_on_counting(mut subject: Subject) {
    let epoch = owned(&subject).await;
    fill(&subject, epoch, 1..=5).await;
    subject
        .store()
        .checkpoint(SHARD, epoch, checkpoint_to(1, 5))
        .await
        .unwrap();
    subject.store().trim(SHARD, epoch, 6).await.unwrap();
    subject = subject.reopen().await;
    assert_eq!(
        subject.store().load(SHARD).await.unwrap(),
        Loaded {
            upto: 5,
            last: 5,
            epoch
        }
    );
    assert_eq!(subject.store().journal_tail(SHARD, 6, 5).await.unwrap(), []);
    fill(&subject, epoch, 6..=6).await;
    verify(subject.reopen().await.store(), 6, 5, 6).await;
}

#[tokio::test]
async fn a_planned_failure_poisons_the_memory_store() {
    let store = MemoryStore::new();
    let epoch = store.acquire(SHARD).await.unwrap().epoch;
    store.fail_after(1);
    drop(append(&store, epoch, 1).await.unwrap());
    assert!(matches!(
        append(&store, epoch, 2).await,
        Err(StoreError::CommitFailed(_))
    ));
    assert_eq!(store.load(SHARD).await, Err(StoreError::Poisoned));
    let store = store.reopen();
    verify(&store, 1, 0, 1).await;
}
