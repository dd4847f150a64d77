//! What is paid and for how long, and what it took.

use crate::{client::Worker, hub::Hub};
use anyhow::{bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often the main thread looks whether something failed.
const LOOK: Duration = Duration::from_millis(10);
/// How long payments under way may take when no new ones are ordered.
const PATIENCE: Duration = Duration::from_secs(60);

/// The load on one hub.
pub struct Load {
    /// Payments in flight for each payer.
    pub depth: usize,
    /// Of each payment, in thousandths of a satoshi.
    pub amount_msat: u64,
    runs: AtomicBool,
    counts: AtomicBool,
    failed: AtomicBool,
    outstanding: AtomicU64,
}

impl Load {
    /// A load that has not started.
    pub fn new(depth: usize, amount_msat: u64) -> Load {
        Load {
            depth,
            amount_msat,
            runs: AtomicBool::new(false),
            counts: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            outstanding: AtomicU64::new(0),
        }
    }

    /// Whether payments are to be ordered.
    pub fn runs(&self) -> bool {
        self.runs.load(Ordering::Acquire)
    }

    /// Whether a payment that is done now counts.
    pub fn counts(&self) -> bool {
        self.counts.load(Ordering::Acquire)
    }

    /// A payment was ordered.
    pub fn ordered(&self) {
        self.outstanding.fetch_add(1, Ordering::AcqRel);
    }

    /// A payment is done.
    pub fn finished(&self) {
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether nothing more is to come, or something failed.
    pub fn is_over(&self) -> bool {
        self.failed.load(Ordering::Acquire) || !self.runs() && self.outstanding.load(Ordering::Acquire) == 0
    }

    /// Waits for the end. Returns how many payments did not come to it; then everybody stops.
    fn stuck(&self) -> u64 {
        let end = Instant::now() + PATIENCE;
        while !self.is_over() {
            if Instant::now() > end {
                self.failed.store(true, Ordering::Release);
                return self.outstanding.load(Ordering::Acquire);
            }
            thread::sleep(LOOK);
        }
        0
    }

    /// Does `work`; if it fails, everybody stops.
    fn or_stop(&self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        work().inspect_err(|_| self.failed.store(true, Ordering::Release))
    }

    /// Sleeps, but not on when something failed.
    fn wait(&self, how_long: Duration) {
        let end = Instant::now() + how_long;
        while Instant::now() < end && !self.failed.load(Ordering::Acquire) {
            thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

/// Counters, or what they rose by.
pub struct Used {
    /// Time that passed.
    pub time: Duration,
    /// Processor time of the hub's node.
    pub hub_cpu: Duration,
    /// Processor time of hub and clients.
    pub all_cpu: Duration,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Bytes written to files.
    pub bytes: u64,
    /// Writes of the manager as a whole.
    pub manager_writes: u64,
}

impl Used {
    fn now(hub: &Hub, start: Instant) -> Used {
        let store = hub.store.as_ref();
        Used {
            time: start.elapsed(),
            hub_cpu: hub.cpu(),
            all_cpu: clock_gettime(ClockId::ProcessCPUTime)
                .try_into()
                .unwrap_or_default(),
            syncs: store.map_or(0, |store| store.syncs()),
            bytes: store.map_or(0, |store| store.bytes()),
            manager_writes: hub.manager_writes(),
        }
    }

    fn since(self, before: Used) -> Used {
        Used {
            time: self.time.saturating_sub(before.time),
            hub_cpu: self.hub_cpu.saturating_sub(before.hub_cpu),
            all_cpu: self.all_cpu.saturating_sub(before.all_cpu),
            syncs: self.syncs.saturating_sub(before.syncs),
            bytes: self.bytes.saturating_sub(before.bytes),
            manager_writes: self.manager_writes.saturating_sub(before.manager_writes),
        }
    }
}

/// Pays, and counts for `seconds` after `warm_up`. A thread for each worker, one that forwards, one that persists.
pub fn run(
    workers: &mut [Worker],
    hub: &Hub,
    load: &Load,
    warm_up: Duration,
    seconds: Duration,
) -> anyhow::Result<Used> {
    load.runs.store(true, Ordering::Release);
    thread::scope(|scope| {
        let mut threads = vec![
            scope.spawn(|| load.or_stop(|| hub.forward_until(|| load.is_over()))),
            scope.spawn(|| load.or_stop(|| hub.persist_until(|| load.is_over()))),
        ];
        for worker in workers {
            threads.push(scope.spawn(|| load.or_stop(|| worker.run(hub, load))));
        }
        let start = Instant::now();
        load.wait(warm_up);
        let before = Used::now(hub, start);
        load.counts.store(true, Ordering::Release);
        load.wait(seconds);
        load.counts.store(false, Ordering::Release);
        let used = Used::now(hub, start).since(before);
        load.runs.store(false, Ordering::Release);
        let stuck = load.stuck();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread panicked"),
            }
        }
        ensure!(stuck == 0, "{stuck} payments do not come to an end");
        Ok(used)
    })
}
