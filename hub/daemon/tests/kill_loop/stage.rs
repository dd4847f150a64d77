//! Where a kill is to land, catching the hub there, and where it did land.
//!
//! The hub is stopped at drawn moments until its threads are where they are wanted, and killed there. What the threads
//! do is observed. What is durable is found in a copy of the database, either between stop and kill or after the kill.

use super::{
    examine::{Found, examine},
    log::Log,
    process::Hub,
    threads::{Doing, Thread, Threads, find, is_syncing, thread},
    world::World,
};
use rustix::process::Signal;
use std::{
    fmt,
    time::{Duration, Instant},
};

const JOURNAL: &str = "hub-journal";
const STATE: &str = "hub-state";
const JOURNAL_FILE: &str = "journal.log";

/// Stops at most, and time at most, until the kill takes what there is.
const TRIES_MAX: u32 = 400;
const AIM_MAX: Duration = Duration::from_secs(40);
/// Of these the database is looked into.
const LOOKS_MAX: u32 = 12;
/// Looks that must find the same before the clients count as quiet.
const QUIET_LOOKS: u32 = 12;
/// The longest that a sync is waited for.
const SYNC_MAX: Duration = Duration::from_millis(50);
/// A checkpoint is due 10 s after the start; this long it is waited for.
const CHECKPOINT_MAX: Duration = Duration::from_secs(30);

/// Where the kill is to land.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    Anywhere,
    JournalWrite,
    JournalSync,
    Unsent,
    Between,
    Checkpoint,
    CheckpointSync,
    Trim,
}

impl Wanted {
    /// The kills of a run, again and again; the first five are those that hurt most.
    pub(crate) const DECK: [Self; 11] = [
        Self::JournalWrite,
        Self::JournalSync,
        Self::Unsent,
        Self::CheckpointSync,
        Self::Trim,
        Self::Between,
        Self::JournalWrite,
        Self::JournalSync,
        Self::Unsent,
        Self::Checkpoint,
        Self::Anywhere,
    ];

    /// True when the threads are in the stage, as far as they can show it.
    fn is_seen(self, threads: &Threads) -> bool {
        let (journal, state) = (threads.named(JOURNAL), threads.named(STATE));
        match self {
            Self::Anywhere => true,
            Self::JournalWrite => writes_journal(journal),
            Self::JournalSync => syncs(journal),
            Self::Unsent => !writes_journal(journal) && !syncs(journal) && is_idle(state),
            Self::Between => is_idle(journal) && is_idle(state),
            Self::Checkpoint => !is_idle(state),
            Self::CheckpointSync => syncs(state),
            Self::Trim => is_idle(state),
        }
    }

    /// What the database must show, too. `None` when the threads say it all.
    fn is_found(self, found: &Found) -> Option<bool> {
        match self {
            Self::Unsent => Some(found.durable > 0),
            Self::Between => Some(found.durable == 0),
            Self::Trim => Some(found.trimming),
            _ => None,
        }
    }
}

/// Where it landed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    JournalWrite,
    JournalSync,
    JournalComputes,
    Unsent,
    Between,
    CheckpointWrite,
    CheckpointSync,
    CheckpointComputes,
    Trim,
}

impl Stage {
    pub(crate) const ALL: [(Self, &'static str, &'static str); 9] = [
        (Self::JournalWrite, "inside the journal's write", "observed"),
        (Self::JournalSync, "inside the journal's fsync", "observed"),
        (
            Self::JournalComputes,
            "inside a journal commit, between its calls",
            "observed",
        ),
        (
            Self::Unsent,
            "durable, the clients without the acknowledgement",
            "inferred",
        ),
        (Self::Between, "between commits", "inferred"),
        (Self::CheckpointWrite, "inside a checkpoint's write", "observed"),
        (Self::CheckpointSync, "inside a checkpoint's fsync", "observed"),
        (
            Self::CheckpointComputes,
            "inside a checkpoint, between its calls",
            "observed",
        ),
        (
            Self::Trim,
            "checkpoint durable, its records not trimmed yet",
            "inferred",
        ),
    ];

    fn of(threads: &Threads, found: &Found) -> Self {
        let (journal, state) = (threads.named(JOURNAL), threads.named(STATE));
        match state.map(|thread| &thread.doing) {
            Some(Doing::Write(_)) => Self::CheckpointWrite,
            Some(Doing::Sync(_)) => Self::CheckpointSync,
            Some(doing) if *doing != Doing::Idle => Self::CheckpointComputes,
            _ if found.trimming => Self::Trim,
            _ if writes_journal(journal) => Self::JournalWrite,
            _ if syncs(journal) => Self::JournalSync,
            _ if found.durable > 0 => Self::Unsent,
            _ if is_idle(journal) => Self::Between,
            _ => Self::JournalComputes,
        }
    }

    fn words(self) -> &'static str {
        let entry = Self::ALL.iter().find(|(stage, ..)| *stage == self);
        entry.map_or("", |(_, words, _)| words)
    }
}

/// The hub, caught; or what there was when the tries were over.
pub(crate) struct Caught {
    threads: Threads,
    pub(crate) tries: u32,
}

/// One kill.
pub(crate) struct Death {
    pub(crate) stage: Stage,
    pub(crate) caught: Caught,
    pub(crate) found: Found,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            last,
            upto,
            open,
            durable,
            ..
        } = self.found;
        write!(f, "{}; seen at stop {}: ", self.stage.words(), self.caught.tries)?;
        for name in [JOURNAL, STATE] {
            match self.caught.threads.named(name) {
                Some(thread) => write!(f, "{thread}, ")?,
                None => write!(f, "{name} not started, ")?,
            }
        }
        let sending = self.caught.threads.any(|doing| *doing == Doing::Send);
        write!(
            f,
            "{}; found: record {last} durable, checkpoint of {upto}; of {open} payments under way {durable} durable",
            if sending {
                "a session sending"
            } else {
                "no session sending"
            },
        )
    }
}

/// Stops the hub until it is where it is wanted, then kills it. `before`: the checkpoint at the kill before; `draw`
/// gives random numbers.
pub(crate) async fn kill(
    hub: &mut Hub,
    world: &World,
    log: &Log,
    wanted: Wanted,
    before: u64,
    mut draw: impl FnMut(u64) -> u64,
) -> Caught {
    let (mut tries, mut looks, began) = (0, 0, Instant::now());
    loop {
        tries += 1;
        tokio::time::sleep(Duration::from_micros(draw(4_000))).await;
        approach(hub, wanted);
        let threads = freeze(hub);
        let mut done = tries >= TRIES_MAX || began.elapsed() > AIM_MAX;
        if wanted.is_seen(&threads) {
            done = true;
            // While nothing moves: what was sent reaches the clients, and the database stays as it is.
            if looks < LOOKS_MAX && matches!(wanted, Wanted::Unsent | Wanted::Between | Wanted::Trim) {
                looks += 1;
                settle(log).await;
                done = wanted.is_found(&examine(world, &log.open(), before).await) != Some(false);
            }
        }
        if done {
            hub.kill();
            return Caught { threads, tries };
        }
        hub.signal(Signal::CONT);
    }
}

/// Stops all threads where they are and says where that is. A thread in the kernel's hands (`D`) may still be there.
fn freeze(hub: &mut Hub) -> Threads {
    hub.signal(Signal::STOP);
    loop {
        let threads = Threads::of(hub.pid());
        if threads.are_stopped() {
            return threads;
        }
        hub.must_run();
        std::thread::yield_now();
    }
}

/// Waits until the clients have taken in all that a stopped hub had sent: nothing has changed for a while.
async fn settle(log: &Log) {
    let (mut before, mut same) = (log.open(), 0);
    while same < QUIET_LOOKS {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let now = log.open();
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
}

/// Looks on from outside until the stage is near, for those that are short or rare.
fn approach(hub: &mut Hub, wanted: Wanted) {
    match wanted {
        // A write into the page cache takes microseconds, and the kernel shows no call of a thread that runs. But what
        // follows the sync of a commit's pages is the write of the file's head, and what follows the last sync is that
        // seal hears of it: so the stop is sent when a sync ends.
        Wanted::JournalWrite | Wanted::Unsent => await_end_of_sync(hub),
        Wanted::Checkpoint => await_state(hub, |pid, id| !is_idle(thread(pid, id).as_ref())),
        Wanted::CheckpointSync => await_state(hub, is_syncing),
        Wanted::Trim => {
            await_state(hub, |pid, id| !is_idle(thread(pid, id).as_ref()));
            await_state(hub, |pid, id| is_idle(thread(pid, id).as_ref()));
        }
        _ => {}
    }
}

fn await_end_of_sync(hub: &Hub) {
    let Some(id) = find(hub.pid(), JOURNAL) else {
        return;
    };
    let began = Instant::now();
    let mut syncing = false;
    while began.elapsed() < SYNC_MAX {
        let now = is_syncing(hub.pid(), id);
        if syncing && !now {
            return;
        }
        syncing = now;
    }
}

/// Until the thread that writes checkpoints is as wanted.
fn await_state(hub: &mut Hub, wanted: impl Fn(i32, i32) -> bool) {
    let Some(id) = find(hub.pid(), STATE) else { return };
    let began = Instant::now();
    while began.elapsed() < CHECKPOINT_MAX && !wanted(hub.pid(), id) {
        hub.must_run();
        // Another process's thread: it can only be looked at again.
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// After the kill: what is in the database.
pub(crate) async fn post_mortem(world: &World, log: &Log, before: u64, caught: Caught) -> Death {
    let found = examine(world, &log.open(), before).await;
    Death {
        stage: Stage::of(&caught.threads, &found),
        caught,
        found,
    }
}

fn is_idle(thread: Option<&Thread>) -> bool {
    thread.is_none_or(|thread| thread.doing == Doing::Idle)
}

fn syncs(thread: Option<&Thread>) -> bool {
    thread.is_some_and(|thread| matches!(thread.doing, Doing::Sync(_)))
}

/// The mark beside the journal is written after the commit.
fn writes_journal(thread: Option<&Thread>) -> bool {
    thread.is_some_and(|thread| thread.doing == Doing::Write(JOURNAL_FILE.to_owned()))
}
