//! The format against a hostile disk, and the task against a live store.

#![expect(clippy::arithmetic_side_effects, reason = "test code on small numbers")]

use super::{
    BackupError, BackupKey, BackupOptions, Contents, DatabaseId, Home, Insistence, Job, Tap,
    claim::Claim,
    directory::Directory,
    format::HEADER_BYTES,
    read,
    read::written_at,
    restore,
    task::HEARTBEAT_S,
    verify,
    writer::{Generation, Owner},
};
use crate::{
    engine,
    execution::Execution,
    ledger::{ChainBlock, ChainFact, ChainPosition, Input, Ledger, LockPolicy, Policy, Reserve, Tariff},
    now::Now,
    store::{Epoch, Freeze, Identity, JournalRecord, MemoryStore, OpenError, RedbStore, ShardId, Store},
};
use protocol_spec::{Address, Amount, Config, Digest, Domain, UnixSeconds, channel::Delays};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

const SHARD: ShardId = ShardId(0);
const AT: UnixSeconds = UnixSeconds(1_700_000_000);
/// Nobody writes the backup any more.
const LATER: UnixSeconds = UnixSeconds(AT.0 + 300);
const HUB: Address = Address::repeat_byte(1);
const SIGNER: Address = Address::repeat_byte(2);
const TOKEN: Address = Address::repeat_byte(3);
const ID: DatabaseId = DatabaseId([7; 16]);
const OTHER: DatabaseId = DatabaseId([8; 16]);

fn key(byte: u8) -> BackupKey {
    BackupKey::new(Zeroizing::new([byte; 32])).unwrap()
}

fn identity() -> Identity {
    Identity {
        format_version: 1,
        chain_id: 31_337,
        genesis_hash: [4; 32],
        adjudicator: [5; 20],
        code_hash: [6; 32],
        hub_signer: SIGNER.into_array(),
    }
}

fn owner() -> Owner {
    let identity = identity();
    Owner { identity, hub: HUB }
}

fn policy() -> Policy {
    Policy {
        server: "hub.test".to_owned(),
        log_epoch: 1,
        delays: Delays::default(),
        challenge_period_s: 86_400,
        retention_s: 604_800,
        events_per_channel_max: 1_000_000,
        remembered_max: 10_000_000,
        locks: LockPolicy::standard(Delays::default()),
        tokens: vec![Tariff {
            token: TOKEN,
            fee_flat: Amount::ZERO,
            fee_ppm: 0,
            locked_max: Amount::ZERO,
            reserve: Reserve::default(),
            capacity: crate::ledger::Capacity::default(),
            send_min: Amount::ZERO,
        }],
    }
}

/// A hub's database in the making.
struct Live {
    ledger: Ledger,
    store: Arc<dyn Store>,
    epoch: Epoch,
    blocks: u64,
}

impl Live {
    async fn new(store: Arc<dyn Store>) -> Self {
        let epoch = store.acquire(SHARD).await.unwrap().epoch;
        let domain = Domain::new(identity().chain_id, identity().adjudicator.into());
        let ledger = Ledger::new(domain, HUB, SIGNER);
        let mut live = Self {
            ledger,
            store,
            epoch,
            blocks: 0,
        };
        live.commit(Input::Policy(policy())).await;
        live
    }

    async fn commit(&mut self, input: Input) {
        let (number, bytes) = self.ledger.commit(vec![input], AT).record.unwrap();
        let record = JournalRecord { number, bytes };
        let _durable = self.store.append(SHARD, self.epoch, record).await.unwrap();
    }

    /// A block that opens a channel with a deposit.
    async fn open(&mut self) {
        self.blocks += 1;
        let config = Config {
            client: Address::repeat_byte(9),
            client_signer: Address::repeat_byte(10),
            hub: HUB,
            hub_signer: SIGNER,
            token: TOKEN,
            challenge_period_s: 86_400,
            salt: Digest([u8::try_from(self.blocks).unwrap(); 32]),
        };
        let channel = config.id(&Domain::new(identity().chain_id, identity().adjudicator.into()));
        let deposited = ChainFact::Deposited {
            channel,
            total: Amount(100),
            client_net: (Amount(100), Amount::ZERO),
        };
        let position = ChainPosition {
            number: self.blocks,
            hash: [u8::try_from(self.blocks).unwrap(); 32],
            timestamp: AT,
        };
        let facts = vec![ChainFact::Opened(config), deposited];
        self.commit(Input::Chain(ChainBlock { position, facts })).await;
    }

    async fn checkpoint(&mut self) {
        let checkpoint = self.ledger.checkpoint();
        let below = checkpoint.upto + 1;
        self.store
            .checkpoint(SHARD, self.epoch, checkpoint)
            .await
            .unwrap();
        while self.store.trim(SHARD, self.epoch, below).await.unwrap().more {}
    }
}

/// A generation with `channels` in its tables and one more in each of three segments of records.
async fn generation(dir: &Path, channels: usize) -> Generation {
    let store = Arc::new(MemoryStore::new());
    let mut live = Live::new(store.clone()).await;
    for _ in 0..channels {
        live.open().await;
    }
    live.checkpoint().await;
    let frozen = store.freeze(SHARD).unwrap();
    let mut generation = Generation::begin(Directory::at(dir), &key(1), owner(), frozen.as_ref()).unwrap();
    for _ in 0..3 {
        live.open().await;
        let records = store
            .journal_tail(SHARD, generation.record() + 1, 100)
            .await
            .unwrap();
        generation.records(records).unwrap();
    }
    generation.head(AT).unwrap();
    generation
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// Nothing wrong was taken for right.
fn noticed(result: Result<Contents, BackupError>) -> bool {
    match result {
        Ok(contents) => contents.summary.damage.is_some(),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_backup_tells_what_it_covers() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 2).await;
    let contents = read(dir.path(), &key(1)).unwrap();
    let summary = contents.summary;
    assert_eq!((summary.channels, summary.open, summary.newest_commit), (5, 5, 6));
    assert_eq!(
        (summary.tokens[0].clients, summary.tokens[0].hub),
        (Amount(500), Amount::ZERO)
    );
    assert_eq!(
        (summary.damage, summary.at, contents.identity),
        (None, AT.0, identity())
    );
    assert_eq!(contents.ledger.channels(), 5);
}

#[tokio::test]
async fn any_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 2).await;
    for path in files(dir.path()) {
        let whole = fs::read(&path).unwrap();
        // Every byte of the header, every seventh of the body, and the whole tag.
        let body = (HEADER_BYTES..whole.len()).filter(|at| at % 7 == 0 || at + 16 >= whole.len());
        for at in (0..HEADER_BYTES).chain(body) {
            let mut bad = whole.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            assert!(
                noticed(read(dir.path(), &key(1))),
                "{}: byte {at}",
                path.display()
            );
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(!noticed(read(dir.path(), &key(1))));
}

#[tokio::test]
async fn a_file_that_is_cut_or_missing_is_noticed_and_what_is_before_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 2).await;
    for path in files(dir.path()) {
        let whole = fs::read(&path).unwrap();
        for length in [
            0,
            1,
            HEADER_BYTES - 1,
            HEADER_BYTES,
            HEADER_BYTES + 15,
            whole.len() - 1,
        ] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(
                noticed(read(dir.path(), &key(1))),
                "{}: {length} bytes",
                path.display()
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(noticed(read(dir.path(), &key(1))), "{}: missing", path.display());
        fs::write(&path, &whole).unwrap();
    }
    // The last segment is missed, too, for the head claims it; the channels before it can be defended.
    let last = files(dir.path())
        .into_iter()
        .rfind(|path| path.extension().unwrap() == "segment")
        .unwrap();
    fs::remove_file(last).unwrap();
    let summary = read(dir.path(), &key(1)).unwrap().summary;
    assert!(summary.damage.unwrap().contains("missing"));
    assert_eq!((summary.newest_commit, summary.channels), (5, 4));
}

#[tokio::test]
async fn segments_in_another_order_or_of_another_backup_are_noticed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(one.path(), 2).await;
    generation(two.path(), 2).await;
    let names = files(one.path());
    // Of the same length and the same key: the other backup's file in the same place.
    for path in &names {
        let whole = fs::read(path).unwrap();
        let other = fs::read(two.path().join(path.file_name().unwrap())).unwrap();
        assert_eq!(whole.len(), other.len());
        fs::write(path, other).unwrap();
        assert!(noticed(read(one.path(), &key(1))), "{}", path.display());
        fs::write(path, whole).unwrap();
    }
    let segments = names.iter().filter(|path| path.extension().unwrap() == "segment");
    let segments: Vec<&PathBuf> = segments.collect();
    for pair in segments.windows(2) {
        let (first, second) = (fs::read(pair[0]).unwrap(), fs::read(pair[1]).unwrap());
        fs::write(pair[0], &second).unwrap();
        fs::write(pair[1], &first).unwrap();
        assert!(noticed(read(one.path(), &key(1))));
        fs::write(pair[0], &first).unwrap();
        fs::write(pair[1], &second).unwrap();
    }
    assert!(!noticed(read(one.path(), &key(1))));
}

#[tokio::test]
async fn another_key_opens_nothing_and_its_id_says_so() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 1).await;
    let error = read(dir.path(), &key(2)).unwrap_err();
    assert!(matches!(error, BackupError::WrongKey { .. }), "{error}");
    // Also when the id is forged.
    let head = dir.path().join("g00000001.head");
    let mut bytes = fs::read(&head).unwrap();
    bytes[10..18].copy_from_slice(&key(2).id());
    fs::write(&head, bytes).unwrap();
    assert!(matches!(
        read(dir.path(), &key(2)),
        Err(BackupError::Damaged { .. })
    ));
    assert!(matches!(
        read(&dir.path().join("elsewhere"), &key(1)),
        Err(BackupError::Empty(_))
    ));
}

#[tokio::test]
async fn nothing_is_readable_and_no_nonce_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 2).await;
    generation(dir.path(), 2).await;
    let mut nonces = BTreeSet::new();
    let names = files(dir.path());
    for path in &names {
        let bytes = fs::read(path).unwrap();
        assert!(nonces.insert(bytes[HEADER_BYTES - 12..HEADER_BYTES].to_vec()));
        let token = TOKEN.into_array();
        assert!(
            !bytes.windows(20).any(|window| window == token),
            "{}",
            path.display()
        );
    }
    assert_eq!(nonces.len(), names.len());
}

#[tokio::test]
async fn an_unfinished_generation_is_passed_over_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        generation(dir.path(), 1).await.prune(2).unwrap();
    }
    let kept = Directory::at(dir.path()).generations().unwrap();
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [2, 3]);
    // A crash while the third was written.
    fs::remove_file(dir.path().join("g00000003.head")).unwrap();
    fs::write(dir.path().join("g00000003.head.unfinished"), b"half").unwrap();
    let summary = read(dir.path(), &key(1)).unwrap().summary;
    assert_eq!((summary.generation, summary.incomplete), (2, vec![3]));
    // What it left is gone before the next one needs the space, and its number is not used again.
    let store = MemoryStore::new();
    let frozen = store.freeze(SHARD).unwrap();
    let begun = Generation::begin(Directory::at(dir.path()), &key(1), owner(), frozen.as_ref()).unwrap();
    let left = Directory::at(dir.path()).generations().unwrap();
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [2, 4]);
    assert!(!begun.claimed() && left[&2].head.is_some() && left[&4].head.is_none());
    let next = generation(dir.path(), 1).await;
    next.prune(2).unwrap();
    let kept = Directory::at(dir.path()).generations().unwrap();
    assert_eq!(kept.keys().copied().collect::<Vec<_>>(), [2, 5]);
    assert!(!dir.path().join("g00000003.head.unfinished").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_is_the_state_with_every_channel_in_doubt_and_once_is_enough() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(dir.path(), 2).await;
    let insist = Insistence::default();
    let other = restore(dir.path(), &key(1), None, data.path(), HUB, insist, LATER).await;
    assert!(matches!(other, Err(BackupError::WrongHub { .. })));
    let restored = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER)
        .await
        .unwrap();
    assert!(restored.noted);
    let store = RedbStore::open_existing(&restored.store, identity()).unwrap();
    let loaded = store.acquire(SHARD).await.unwrap();
    let mut ledger = Ledger::new(Domain::new(31_337, [5; 20].into()), HUB, SIGNER);
    engine::restore(&mut ledger, &store, SHARD, loaded.upto, Execution::Threads)
        .await
        .unwrap();
    assert_eq!(
        (ledger.channels(), ledger.unsynced(), ledger.log_epoch()),
        (5, 5, 0)
    );
    store.close().await.unwrap();
    let again = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER).await;
    assert!(matches!(again, Err(BackupError::Occupied(_))));
    let elsewhere = data.path().join("second");
    let twice = restore(dir.path(), &key(1), None, &elsewhere, SIGNER, insist, LATER).await;
    assert!(matches!(twice, Err(BackupError::RestoredBefore(_))));
    let insist = Insistence {
        again: true,
        ..insist
    };
    restore(dir.path(), &key(1), None, &elsewhere, SIGNER, insist, LATER)
        .await
        .unwrap();
    // The identity pins it as it pins any database.
    let mut foreign = identity();
    foreign.chain_id = 1;
    let refused = RedbStore::open_existing(elsewhere.join("store"), foreign).unwrap_err();
    assert!(matches!(refused, OpenError::IdentityMismatch { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_before_a_damage_is_restored_on_demand_only() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(dir.path(), 2).await;
    fs::remove_file(dir.path().join("g00000001-00000004.segment")).unwrap();
    let insist = Insistence::default();
    let refused = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER).await;
    assert!(matches!(refused, Err(BackupError::Damaged { .. })));
    assert!(files(data.path()).is_empty());
    let insist = Insistence {
        damaged: true,
        ..insist
    };
    let restored = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER)
        .await
        .unwrap();
    assert!(restored.summary.channels < 5);
}

fn options(dir: &Path) -> BackupOptions {
    BackupOptions {
        dir: dir.to_owned(),
        key: key(1),
        interval: Duration::from_millis(20),
        every_commits: 3,
        keep: 2,
    }
}

/// The task follows a live store through checkpoints and trims, from its first record to the last before the end.
#[tokio::test(flavor = "multi_thread")]
async fn the_task_exports_everything_that_is_durable() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database: Arc<dyn Freeze> = Arc::new(RedbStore::open(data.path().join("store"), identity()).unwrap());
    for life in 1..=2_u64 {
        let tap = Tap::new(database.clone());
        let job = Job::new(options(dir.path()), identity(), ID, database.clone(), &tap).unwrap();
        let mut live = match life {
            1 => Live::new(Arc::new(tap)).await,
            _ => {
                let loaded = tap.acquire(SHARD).await.unwrap();
                let mut ledger = Ledger::new(Domain::new(31_337, [5; 20].into()), HUB, SIGNER);
                engine::restore(&mut ledger, &tap, SHARD, loaded.upto, Execution::Threads)
                    .await
                    .unwrap();
                let (epoch, blocks) = (loaded.epoch, 100);
                Live {
                    ledger,
                    store: Arc::new(tap),
                    epoch,
                    blocks,
                }
            }
        };
        let backup = job.spawn(HUB, Now::new(|| AT));
        for number in 0..40 {
            live.open().await;
            if number % 9 == 0 {
                live.checkpoint().await;
            }
        }
        backup.finish().await;
        let summary = read(dir.path(), &key(1)).unwrap().summary;
        assert_eq!((summary.damage, summary.generation), (None, life));
        let last = live.store.load(SHARD).await.unwrap().last;
        assert_eq!(
            (summary.newest_commit, summary.channels as u64),
            (last, 40 * life)
        );
    }
}

/// The journal is kept for a backup that is behind, and no longer than it needs it.
#[tokio::test]
async fn a_trim_leaves_what_the_backup_needs() {
    let store = Arc::new(MemoryStore::new());
    let tap = Tap::new(store.clone());
    let mark = tap.mark.clone();
    let mut live = Live::new(Arc::new(tap)).await;
    for _ in 0..5 {
        live.open().await;
    }
    mark.needs(3);
    live.checkpoint().await;
    assert!(store.journal_tail(SHARD, 2, 1).await.is_err());
    assert_eq!(store.journal_tail(SHARD, 3, 100).await.unwrap().len(), 4);
    mark.caught_up(6, tokio::time::Instant::now());
    live.open().await;
    live.checkpoint().await;
    assert_eq!(store.journal_tail(SHARD, 7, 100).await.unwrap().len(), 1);
    assert!(store.journal_tail(SHARD, 6, 1).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generation_that_is_kept_is_verified_and_each_damaged_file_named() {
    let dir = tempfile::tempdir().unwrap();
    generation(dir.path(), 1).await;
    generation(dir.path(), 2).await;
    assert_eq!(verify(dir.path(), &key(1)).unwrap().damaged, [""; 0]);
    let of = |generation: usize| {
        let name = format!("g{generation:08}");
        let files = files(dir.path()).into_iter();
        let mine = files.filter(move |file| file.file_name().unwrap().to_str().unwrap().starts_with(&name));
        mine.collect::<Vec<_>>()
    };
    let flip = |file: &PathBuf| {
        let mut bytes = fs::read(file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(file, bytes).unwrap();
    };
    for file in of(1).iter().chain(&of(2)) {
        flip(file);
        let verified = verify(dir.path(), &key(1)).unwrap();
        let name = file.display().to_string();
        assert_eq!(verified.damaged.len(), 1, "{name}: {:?}", verified.damaged);
        assert!(
            verified.damaged[0].contains(&name),
            "{name}: {:?}",
            verified.damaged
        );
        flip(file);
    }
    let old = of(1);
    for file in &old {
        flip(file);
    }
    let verified = verify(dir.path(), &key(1)).unwrap();
    assert_eq!(verified.contents.summary.generation, 2);
    assert_eq!(
        verified.contents.summary.damage, None,
        "a restore needs nothing of it"
    );
    assert_eq!(verified.damaged.len(), old.len());
    for file in &of(2) {
        flip(file);
    }
    let error = verify(dir.path(), &key(1)).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    for file in files(dir.path()) {
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_generation_is_taken_when_the_newest_has_no_tables() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(dir.path(), 1).await;
    generation(dir.path(), 2).await;
    for name in ["g00000002.head", "g00000002-00000000.segment"] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let summary = read(dir.path(), &key(1)).unwrap().summary;
        assert_eq!((summary.generation, summary.channels), (1, 4));
        assert!(
            summary.damage.unwrap().contains("generation 2 cannot be used"),
            "{name}"
        );
        let mut insist = Insistence::default();
        let refused = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER).await;
        assert!(matches!(refused, Err(BackupError::Damaged { .. })));
        (insist.damaged, insist.again) = (true, true);
        let to = data.path().join(name);
        restore(dir.path(), &key(1), None, &to, SIGNER, insist, LATER)
            .await
            .unwrap();
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(read(dir.path(), &key(1)).unwrap().summary.generation, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_another_hub_may_go_on_from_is_refused() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(dir.path(), 1).await;
    let insist = Insistence::default();
    let just = UnixSeconds(LATER.0 - 1);
    let young = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, just).await;
    assert!(matches!(young, Err(BackupError::Young { age_s: 299 })));
    let again = Insistence {
        again: true,
        ..insist
    };
    restore(
        dir.path(),
        &key(1),
        None,
        &data.path().join("a"),
        SIGNER,
        again,
        just,
    )
    .await
    .unwrap();
    // The note is the first generation's; the second is the restored hub's.
    generation(dir.path(), 1).await;
    let to = data.path().join("b");
    let twice = restore(dir.path(), &key(1), None, &to, SIGNER, insist, LATER).await;
    assert!(matches!(twice, Err(BackupError::RestoredBefore(_))));
    fs::remove_file(dir.path().join("g00000001.restored")).unwrap();
    restore(dir.path(), &key(1), None, &to, SIGNER, insist, LATER)
        .await
        .unwrap();
}

/// The tables of the second generation are older than the newest record of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_is_not_behind_the_one_it_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let database = Arc::new(MemoryStore::new());
    let mut live = Live::new(database.clone()).await;
    live.open().await;
    live.checkpoint().await;
    for number in 1..=2_u64 {
        live.open().await;
        let tap = Tap::new(database.clone());
        let last = tap.acquire(SHARD).await.unwrap().last;
        let mut options = options(dir.path());
        (options.interval, options.keep) = (Duration::from_secs(3600), 1);
        let job = Job::new(options, identity(), ID, database.clone(), &tap).unwrap();
        assert_eq!(tap.mark.lag(last), last);
        let backup = job.spawn(HUB, Now::new(|| AT));
        let head = Directory::at(dir.path()).head(number);
        while !head.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let summary = read(dir.path(), &key(1)).unwrap().summary;
        assert_eq!((summary.generation, summary.newest_commit), (number, last));
        backup.finish().await;
        assert_eq!(tap.mark.lag(last), 0);
        // While the next one begins, the journal is kept, but nothing is lost.
        tap.mark.needs(0);
        assert_eq!(tap.mark.lag(last), 0);
        live.epoch = live.store.acquire(SHARD).await.unwrap().epoch;
    }
}

/// What is durable and cannot be read is not claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_lacks_what_is_durable_has_no_head() {
    let dir = tempfile::tempdir().unwrap();
    let (ahead, behind) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let _behind = Live::new(behind.clone()).await;
    let tap = Tap::new(ahead);
    let job = Job::new(options(dir.path()), identity(), ID, behind, &tap).unwrap();
    let mut live = Live::new(Arc::new(tap)).await;
    live.open().await;
    job.spawn(HUB, Now::new(|| AT)).finish().await;
    assert!(!files(dir.path()).is_empty());
    assert!(matches!(read(dir.path(), &key(1)), Err(BackupError::Empty(_))));
}

/// A hub at whose chain no block comes.
#[tokio::test(start_paused = true)]
async fn an_idle_hub_says_that_it_lives_and_is_not_restored_beside() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Arc::new(MemoryStore::new());
    let tap = Tap::new(database.clone());
    let mut options = options(dir.path());
    options.interval = Duration::from_secs(1);
    let job = Job::new(options, identity(), ID, database, &tap).unwrap();
    let mut live = Live::new(Arc::new(tap)).await;
    live.open().await;
    let began = tokio::time::Instant::now();
    let now = Now::new(move || AT.after(began.elapsed().as_secs()));
    let backup = job.spawn(HUB, now.clone());
    let mut heads = BTreeSet::new();
    while now.get() < LATER.after(300) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(at) = written_at(dir.path(), &key(1)) {
            heads.insert(at);
            assert!(now.get().0 - at <= HEARTBEAT_S + 1, "{at}");
        }
    }
    assert!((8..=12).contains(&heads.len()), "a head a minute: {heads:?}");
    let insist = Insistence::default();
    let home = Home {
        dir: dir.path().to_owned(),
        key: key(1),
    };
    let young = restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, now.get()).await;
    assert!(matches!(young, Err(BackupError::Young { .. })));
    // Nor from an older copy of its directory; and not at all while it runs here.
    let copy = tempfile::tempdir().unwrap();
    for path in files(dir.path()) {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(400)).await;
    let from = copy.path();
    let young = restore(from, &key(1), Some(&home), data.path(), SIGNER, insist, now.get()).await;
    assert!(matches!(young, Err(BackupError::Young { .. })), "{young:?}");
    let again = Insistence {
        again: true,
        ..insist
    };
    let running = restore(from, &key(1), Some(&home), data.path(), SIGNER, again, now.get()).await;
    assert!(matches!(running, Err(BackupError::InUse(_))), "{running:?}");
    assert!(files(data.path()).is_empty());
    backup.finish().await;
}

/// Nothing is committed, and nobody exports.
#[tokio::test(start_paused = true)]
async fn the_lag_grows_when_the_exporter_is_dead_and_the_hub_idle() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let gauges = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let tap = Tap::new(Arc::new(MemoryStore::new()));
    let mut live = Live::new(Arc::new(tap)).await;
    live.open().await;
    let tap = Tap::new(live.store.clone());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let measuring = tokio::spawn(tap.mark.clone().measure_always(tap.durable(), stopped));
    let lag = || {
        let text = gauges.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("hub_backup_lag_seconds "));
        line.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(lag() > 590.0, "{}", lag());
    tap.mark.caught_up(2, tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(lag() < 3.0, "{}", lag());
    stop.send_replace(true);
    measuring.await.unwrap();
}

/// Two databases, one directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_hub_is_refused_and_a_restored_one_takes_the_directory_over() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let job = |id, byte| {
        let database = Arc::new(MemoryStore::new());
        let mut options = options(dir.path());
        options.key = key(byte);
        Job::new(options, identity(), id, database.clone(), &Tap::new(database))
    };
    let running = job(ID, 1).unwrap();
    // The same database, copied to another place on this machine; and another hub's.
    assert!(matches!(job(ID, 1).err(), Some(BackupError::InUse(_))));
    assert!(matches!(job(OTHER, 1).err(), Some(BackupError::Taken(_))));
    assert!(matches!(job(OTHER, 2).err(), Some(BackupError::WrongKey { .. })));
    drop(running);
    let refused = job(OTHER, 1).err().unwrap().to_string();
    assert!(
        refused.contains("hub restore") && refused.contains("/owner"),
        "{refused}"
    );
    drop(job(ID, 1).unwrap());

    generation(dir.path(), 1).await;
    let insist = Insistence::default();
    restore(dir.path(), &key(1), None, data.path(), SIGNER, insist, LATER)
        .await
        .unwrap();
    let restored = DatabaseId::of(data.path()).unwrap();
    assert!(
        matches!(job(ID, 1).err(), Some(BackupError::Taken(_))),
        "the old hub came back"
    );
    drop(job(restored, 1).unwrap());
}

/// The old hub was alive after all, on another machine: a lock does not reach it.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_whose_directory_was_taken_over_exports_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let database = Arc::new(MemoryStore::new());
    let tap = Tap::new(database.clone());
    let mark = tap.mark.clone();
    let job = Job::new(options(dir.path()), identity(), ID, database, &tap).unwrap();
    let mut live = Live::new(Arc::new(tap)).await;
    let backup = job.spawn(HUB, Now::new(|| AT));
    live.open().await;
    while mark.lag(2) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fs::remove_file(dir.path().join("lock")).unwrap();
    let mut other = Claim::new(dir.path(), key(1), OTHER).unwrap();
    other.lock().unwrap();
    other.seize().unwrap();
    live.open().await;
    backup.finish().await;
    assert_eq!(mark.lag(3), 1, "the last commit is not claimed");
    let summary = read(dir.path(), &key(1)).unwrap().summary;
    assert_eq!((summary.generation, summary.newest_commit), (1, 2));
}

/// Its disk was mounted too late, or another one since.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_emptied_gets_a_whole_backup() {
    for whole in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(MemoryStore::new());
        let tap = Tap::new(database.clone());
        let mark = tap.mark.clone();
        let job = Job::new(options(dir.path()), identity(), ID, database, &tap).unwrap();
        let mut live = Live::new(Arc::new(tap)).await;
        let backup = job.spawn(HUB, Now::new(|| AT));
        live.open().await;
        while mark.lag(2) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match whole {
            true => fs::remove_dir_all(dir.path()).unwrap(),
            false => files(dir.path())
                .iter()
                .for_each(|file| fs::remove_file(file).unwrap()),
        }
        live.open().await;
        let newest = || read(dir.path(), &key(1)).map_or(0, |found| found.summary.newest_commit);
        let again = async {
            while newest() < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), again)
            .await
            .unwrap();
        backup.finish().await;
        let summary = read(dir.path(), &key(1)).unwrap().summary;
        assert_eq!(summary.channels, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_restore_is_noted_and_counted() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generation(dir.path(), 1).await;
    let mut insist = Insistence::default();
    for times in 1..=3 {
        let to = data.path().join(times.to_string());
        let restored = restore(dir.path(), &key(1), None, &to, SIGNER, insist, LATER)
            .await
            .unwrap();
        assert_eq!((restored.times, restored.noted), (times, true));
        insist.again = true;
    }
}
