//! A store on a disk that fails: whatever happened, everything acknowledged is there afterwards, as it was.

use crate::bytes::Bytes;
use hub::store::{
    Checkpoint, Epoch, Identity, JournalRecord, OpenError, RedbStore, ShardId, Store, StoreError, Table,
    sim::{Counters, Fault, SimDisk},
};
use std::collections::BTreeMap;

const SHARD: ShardId = ShardId(0);
const JOURNAL: usize = 0;
/// Rows of the table.
const KEYS: u64 = 16;

/// What the world outside knows.
#[derive(Default)]
struct Told {
    /// All that were tried under a number, as long as none of them is known to be there.
    records: BTreeMap<u64, Vec<Vec<u8>>>,
    acknowledged: u64,
    attempted: u64,
    checkpointed: u64,
    /// A bit of the journal was flipped while everything was at rest: it may be refused.
    flipped: bool,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut disk = SimDisk::new(2, bytes.word());
    let mut told = Told::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while !bytes.is_empty() {
            let store = match open(&disk) {
                Ok(store) => store,
                Err(OpenError::Damaged { .. }) if told.flipped => return,
                // A fault that was to come came now.
                Err(OpenError::Io { .. }) if disk.counters() != Counters::default() => {
                    disk = disk.crash(bytes.word());
                    continue;
                }
                Err(error) => panic!("not opened: {error}"),
            };
            told.check(&store).await;
            match live(&store, &disk, &mut told, &mut bytes).await {
                Ok(()) | Err(StoreError::CommitFailed(_)) => {}
                Err(error) => panic!("{error}"),
            }
            disk = end(store, disk, &mut told, &mut bytes).await;
        }
    });
}

fn open(disk: &SimDisk) -> Result<RedbStore, OpenError> {
    let identity = Identity {
        format_version: 1,
        chain_id: 1,
        genesis_hash: [1; 32],
        adjudicator: [2; 20],
        code_hash: [3; 32],
        hub_signer: [4; 20],
    };
    RedbStore::open_with_backends(disk.file(JOURNAL), disk.file(1), identity)
}

/// Until something fails, or the bytes say that it ends.
async fn live(
    store: &RedbStore,
    disk: &SimDisk,
    told: &mut Told,
    bytes: &mut Bytes<'_>,
) -> Result<(), StoreError> {
    let at = store.acquire(SHARD).await?;
    let (mut last, mut upto) = (at.last, at.upto);
    while !bytes.is_empty() {
        match bytes.below(16) {
            0..=7 => {
                let length = usize::from(bytes.byte()).pow(2);
                let number = last + 1;
                let byte = |at: usize| (number as usize * 31 + length * 7 + at) as u8;
                let content: Vec<u8> = (0..length).map(byte).collect();
                told.attempted = number;
                told.records.entry(number).or_default().push(content.clone());
                let record = JournalRecord {
                    number,
                    bytes: content,
                };
                last = store.append(SHARD, at.epoch, record).await?.number();
                told.acknowledged = last;
                told.settle(number);
            }
            8 | 9 => {
                let next = upto + u64::from(bytes.byte()) % (last - upto + 1);
                store.checkpoint(SHARD, at.epoch, effects(upto, next)).await?;
                upto = next;
                told.checkpointed = upto;
            }
            10 | 11 => {
                let below = u64::from(bytes.byte()) % (upto + 2);
                let _trimmed = store.trim(SHARD, at.epoch, below).await?;
            }
            12 => return Ok(()),
            13 => {
                let operations = disk.counters().operations + 1;
                disk.inject(Fault::PowerCut(operations + u64::from(bytes.byte())));
            }
            14 => {
                let syncs = disk.counters().syncs + 1;
                disk.inject(Fault::SyncFails(syncs + u64::from(bytes.below(16))));
            }
            _ => {
                let writes = disk.counters().writes + 1;
                disk.inject(Fault::WriteFails(writes + u64::from(bytes.below(32))));
            }
        }
    }
    Ok(())
}

/// Each record writes its number into one row.
fn effects(after: u64, upto: u64) -> Checkpoint {
    let row = |number: u64| {
        let key = (number % KEYS).to_be_bytes().to_vec();
        (Table::Channels, key, number.to_le_bytes().to_vec())
    };
    Checkpoint {
        upto,
        puts: (after + 1..=upto).map(row).collect(),
        deletes: Vec::new(),
    }
}

/// The disk as the next life finds it: after a close, a kill or a loss of power.
async fn end(store: RedbStore, disk: SimDisk, told: &mut Told, bytes: &mut Bytes<'_>) -> SimDisk {
    match bytes.below(4) {
        // The process alone: what a failed sync did not make durable can still be read.
        0 if !disk.is_dead() => {
            drop(store);
            disk
        }
        1 => {
            // What a dead process cannot do, a store that is dropped does not do either.
            let closed = store.close().await;
            if disk.is_dead() {
                return disk.crash(bytes.word());
            }
            let rested = SimDisk::with_contents(disk.contents(), 1);
            if closed.is_ok() && bytes.below(4) == 0 {
                let bits = disk.contents()[JOURNAL].len() as u64 * 8;
                rested.flip_bit(JOURNAL, (bytes.word() % bits) as usize);
                told.flipped = true;
            }
            rested
        }
        _ => {
            let after = disk.crash(bytes.word());
            drop(store);
            after
        }
    }
}

impl Told {
    /// What was tried last under this number is there.
    fn settle(&mut self, number: u64) {
        let tried = self.records.entry(number).or_default();
        tried.drain(..tried.len().saturating_sub(1));
    }

    /// The store has what was acknowledged, perhaps one record more, and rows that belong together.
    async fn check(&mut self, store: &RedbStore) {
        let at = store.load(SHARD).await.unwrap();
        assert!(
            (self.acknowledged..=self.attempted).contains(&at.last),
            "{} acknowledged, {} there",
            self.acknowledged,
            at.last
        );
        assert!(
            (self.checkpointed..=at.last).contains(&at.upto),
            "checkpoint {}",
            at.upto
        );
        assert!(at.epoch >= Epoch(0));
        let mut next = at.upto + 1;
        while next <= at.last {
            let some = store.journal_tail(SHARD, next, 5).await.unwrap();
            assert!(!some.is_empty(), "record {next} of {}", at.last);
            for record in some {
                assert_eq!(record.number, next);
                let tried = self.records.entry(next).or_default();
                tried.retain(|content| *content == record.bytes);
                assert!(!tried.is_empty(), "record {next} changed");
                self.settle(next);
                next += 1;
            }
        }
        let rows = store.scan(Table::Channels, &[], 100).await.unwrap();
        assert_eq!(rows.len() as u64, at.upto.min(KEYS));
        for (key, value) in rows {
            let key = u64::from_be_bytes(key.try_into().unwrap());
            let newest = (1..=at.upto).rev().find(|number| number % KEYS == key);
            assert_eq!(Some(u64::from_le_bytes(value.try_into().unwrap())), newest);
        }
        (self.acknowledged, self.attempted) = (at.last, at.last);
        self.checkpointed = at.upto;
    }
}
