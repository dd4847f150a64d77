//! A database is made for the first time, and at each of its operations the process dies or the disk fails: the next start must
//! find nothing or all of it, and tidy up. With real files, which the world's disks are not.

use client_sdk::Store as _;
use hub::store::{Identity, ShardId, Store as _};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const CHILD: &str = "CREATION_CHILD";
const KEPT: &str = "it is kept";

/// Whose database.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Hub,
    Client,
}

impl Whose {
    /// Opens or makes it, and commits something.
    async fn start(self, path: &Path) -> anyhow::Result<()> {
        match self {
            Self::Hub => {
                let store = hub::store::RedbStore::open(path, identity())?;
                // Every start owns the shard anew: its epoch says how many there were.
                store.acquire(ShardId(0)).await?;
                store.close().await?;
            }
            Self::Client => {
                let store = client_sdk::RedbStore::open(path)?;
                let table = client_sdk::Table::Cursors;
                let starts = u8::try_from(store.scan(table).await?.len())?;
                let write = client_sdk::Write {
                    table,
                    key: vec![starts],
                    value: Some(Vec::new()),
                };
                store.commit(vec![write]).await?;
            }
        }
        Ok(())
    }

    /// How often it was started to the end.
    async fn starts(self, path: &Path) -> u64 {
        match self {
            Self::Hub => {
                let store = hub::store::RedbStore::open(path, identity()).unwrap();
                let epoch = store.load(ShardId(0)).await.unwrap().epoch.0;
                store.close().await.unwrap();
                epoch
            }
            Self::Client => {
                let store = client_sdk::RedbStore::open(path).unwrap();
                store.scan(client_sdk::Table::Cursors).await.unwrap().len() as u64
            }
        }
    }
}

fn identity() -> Identity {
    Identity {
        format_version: 1,
        chain_id: 1,
        genesis_hash: [1; 32],
        adjudicator: [2; 20],
        code_hash: [3; 32],
        hub_signer: [4; 20],
    }
}

/// Not a test of its own: the process that dies.
#[tokio::test]
#[ignore = "started by a_database_is_made_whole_or_not_at_all"]
async fn child() {
    let whose = match std::env::var(CHILD).as_deref() {
        Ok("Hub") => Whose::Hub,
        Ok("Client") => Whose::Client,
        _ => return,
    };
    let path = PathBuf::from(std::env::var_os("CREATION_PATH").unwrap());
    if whose.start(&path).await.is_ok() {
        println!("{KEPT}");
    }
}

/// A directory, the shim in it, and a database that is made below it.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        // In memory where there is such a place: what is looked at is the order, not the disk.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let root = base.join(format!("creation-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/world/creation.c");
        let mut compiler = Command::new("cc");
        let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        let built = built.arg(root.join("shim.so")).arg(source).status().unwrap();
        assert!(built.success(), "the shim does not compile");
        Self { root }
    }

    fn directory(&self) -> PathBuf {
        self.root.join("data")
    }

    fn database(&self) -> PathBuf {
        self.directory().join("store")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    /// Starts on nothing, in a process of its own. True: it said that all is kept.
    fn start(&self, whose: Whose, how: &str, at: usize) -> bool {
        let _ = fs::remove_dir_all(self.directory());
        let _ = fs::remove_file(self.root.join("log"));
        if matches!(whose, Whose::Client) {
            fs::create_dir(self.directory()).unwrap();
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["creation::child", "--exact", "--ignored", "--nocapture"])
            .env(CHILD, format!("{whose:?}"))
            .env("CREATION_PATH", self.database())
            .env("CREATION_DIR", self.directory())
            .env("CREATION_LOG", self.root.join("log"))
            .env("CREATION_HOW", how)
            .env("CREATION_AT", at.to_string())
            .env("LD_PRELOAD", self.root.join("shim.so"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).contains(KEPT)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What has a name of its own is durable before it gets that, and its name before anybody relies on it.
fn assert_in_order(log: &str, database: &Path) {
    let lines: Vec<(&str, &Path)> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(what, path)| (what, Path::new(path)))
        .collect();
    let named = lines.iter().position(|line| *line == ("name", database)).unwrap();
    let (before, after) = lines.split_at(named);
    for (index, (what, path)) in before.iter().enumerate() {
        if *what == "write" {
            let synced = before[index..].contains(&("sync", path));
            assert!(synced, "{} is named before it is durable:\n{log}", path.display());
        }
    }
    let directory = database.parent().unwrap();
    let relied = after.iter().position(|(what, _)| *what == "write").unwrap();
    assert!(
        after[..relied].contains(&("sync", directory)),
        "the name is not durable:\n{log}"
    );
}

#[tokio::test]
async fn a_database_is_made_whole_or_not_at_all() {
    let mut tried = 0;
    for whose in [Whose::Hub, Whose::Client] {
        let place = Place::new(&format!("{whose:?}"));
        assert!(place.start(whose, "", 0));
        let log = place.log();
        assert_in_order(&log, &place.database());
        let changes = log.lines().count();
        assert!(changes > 15, "the shim sees what happens:\n{log}");
        let mut kept_none = 0;
        for how in ["kill", "once", "dead"] {
            for at in 1..=changes {
                let kept = place.start(whose, how, at);
                tried += 1;
                kept_none += u64::from(!kept);
                if !matches!(whose, Whose::Client) {
                    fs::create_dir_all(place.directory()).unwrap();
                }
                let again = whose.start(&place.database()).await;
                assert!(
                    again.is_ok(),
                    "{whose:?} {how} at {at}: {again:?}\n{}",
                    place.log()
                );
                // One that was begun may be there without having been told of.
                let starts = whose.starts(&place.database()).await;
                let least = 1 + u64::from(kept);
                assert!(
                    (least..=2).contains(&starts),
                    "{whose:?} {how} at {at}: {starts} starts"
                );
                let left: Vec<_> = fs::read_dir(place.directory()).unwrap().collect();
                assert_eq!(left.len(), 1, "{whose:?} {how} at {at}: {left:?}");
            }
        }
        assert!(
            kept_none > changes as u64,
            "{whose:?}: {kept_none} of {tried} starts failed"
        );
    }
    println!("{tried} first starts cut short: nothing or all of it is there, and nothing beside it");
}

/// Kept open until all have begun.
#[derive(Debug)]
enum Begun {
    Hub(hub::store::RedbStore),
    Client(client_sdk::RedbStore),
}

/// Starts at the same moment, on a place where starts before were cut short: one has the database, the others are told so.
#[tokio::test]
async fn starts_at_once_agree_on_one_database() {
    for whose in [Whose::Hub, Whose::Client] {
        let place = Place::new(&format!("race-{whose:?}"));
        for round in 0..10 {
            place.start(whose, "kill", 8 + round);
            fs::create_dir_all(place.directory()).unwrap();
            let path = place.database();
            let began: Vec<_> = std::thread::scope(|scope| {
                let open = || match whose {
                    Whose::Hub => hub::store::RedbStore::open(&path, identity())
                        .map(Begun::Hub)
                        .map_err(|error| matches!(error, hub::store::OpenError::InUse { .. })),
                    Whose::Client => client_sdk::RedbStore::open(&path)
                        .map(Begun::Client)
                        .map_err(|error| matches!(error, client_sdk::StoreError::InUse { .. })),
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let in_use = began.iter().filter(|begun| matches!(begun, Err(true))).count();
            assert_eq!(in_use, 7, "{whose:?}: {began:?}");
            for begun in began.into_iter().flatten() {
                match begun {
                    Begun::Hub(store) => store.close().await.unwrap(),
                    Begun::Client(store) => drop(store),
                }
            }
            let left: Vec<_> = fs::read_dir(place.directory()).unwrap().collect();
            assert_eq!(left.len(), 1, "{whose:?}: {left:?}");
            whose.start(&path).await.unwrap();
        }
    }
}
