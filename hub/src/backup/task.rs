//! The task that exports: a whole generation first, then the journal as it grows; then a new generation.

use super::{
    BackupError, BackupOptions, DatabaseId,
    claim::Claim,
    directory::Directory,
    part::Head,
    tap::{Mark, Tap},
    writer::{Generation, Owner},
};
use crate::{
    now::Now,
    store::{Freeze, Identity, JournalRecord, ShardId},
};
use protocol_spec::{Address, UnixSeconds};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

/// A generation ends when its records outweigh its tables, but for small hubs; and before its files become too many.
const TAIL_BYTES_MIN: u64 = 16 << 20;
const SEGMENTS_MAX: u64 = 4096;
/// Records, and bytes of them, in one segment, but for one large record.
const RECORDS_MAX: usize = 1024;
const RECORDS_PER_READ: usize = 64;
const RECORD_BYTES: usize = 4 << 20;
/// Longest wait for the last export: the hub is to exit within 5 s.
const FINISH_MAX: Duration = Duration::from_secs(3);
/// A head is written so often, seconds, also when there is nothing new: it says that the hub lives.
pub(super) const HEARTBEAT_S: u64 = 60;
/// Pauses after a failure.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What is to be done, once the hub's account is known and the engine runs.
pub struct Job {
    options: BackupOptions,
    identity: Identity,
    source: Arc<dyn Freeze>,
    mark: Arc<Mark>,
    durable: watch::Receiver<u64>,
    claim: Arc<Mutex<Claim>>,
}

/// The running task. End it with [`Backup::finish`].
pub struct Backup {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    gauges: JoinHandle<()>,
    /// The directory is ours until the end, whatever becomes of the task.
    _claim: Arc<Mutex<Claim>>,
}

impl Backup {
    /// Exports what is left and ends; a disk that hangs is not waited for.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.gauges.await {
            tracing::error!(%error, "the backup's gauges ended by themselves");
        }
        match tokio::time::timeout(FINISH_MAX, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the backup ended by itself"),
            Err(_) => {
                tracing::error!("the backup does not end: its directory does not answer; its end is missing")
            }
        }
    }
}

impl Job {
    /// Exports `source`, of which `tap` tells what is durable. Errors: the directory is another database's than
    /// `database`'s, or in use. What else is wrong with it may be mended: the task tries again and again.
    pub fn new(
        options: BackupOptions,
        identity: Identity,
        database: DatabaseId,
        source: Arc<dyn Freeze>,
        tap: &Tap,
    ) -> Result<Self, BackupError> {
        let mut claim = Claim::new(&options.dir, options.key.clone(), database)?;
        match claim.hold() {
            Err(error) if error.is_foreign() => return Err(error),
            Err(error) => tracing::error!(%error, "the backup's directory cannot be used; trying again"),
            Ok(()) => {}
        }
        Ok(Self {
            options,
            identity,
            source,
            mark: tap.mark.clone(),
            durable: tap.durable(),
            claim: Arc::new(Mutex::new(claim)),
        })
    }

    /// Starts it. `hub`: the hub's account.
    #[must_use]
    pub fn spawn(self, hub: Address, now: Now) -> Backup {
        let (stop, stopped) = watch::channel(false);
        let owner = Owner {
            identity: self.identity,
            hub,
        };
        let measuring = (self.mark.clone(), self.durable.clone());
        let gauges = tokio::spawn(measuring.0.measure_always(measuring.1, stopped.clone()));
        let claim = self.claim.clone();
        let exporter = Exporter {
            job: self,
            owner,
            now,
            stopped,
            claimed: None,
            written_at: UnixSeconds(0),
        };
        Backup {
            stop,
            task: tokio::spawn(exporter.run()),
            gauges,
            _claim: claim,
        }
    }
}

struct Exporter {
    job: Job,
    owner: Owner,
    now: Now,
    stopped: watch::Receiver<bool>,
    /// By a head of this run.
    claimed: Option<Head>,
    /// When a head was written last.
    written_at: UnixSeconds,
}

impl Exporter {
    async fn run(mut self) {
        let mut pause = RETRY_MIN;
        loop {
            match self.generation().await {
                Ok(()) => pause = RETRY_MIN,
                Err(error) => {
                    metrics::counter!("hub_backup_failures_total").increment(1);
                    self.job.mark.measure(*self.job.durable.borrow());
                    tracing::error!(%error, retry_s = pause.as_secs(), "the backup failed; it begins anew");
                    // On the way out it is tried no more.
                    if *self.stopped.borrow() || self.wait(pause).await {
                        return;
                    }
                    pause = pause.saturating_mul(2).min(RETRY_MAX);
                    continue;
                }
            }
            if *self.stopped.borrow() {
                return;
            }
        }
    }

    /// True when the hub stops meanwhile.
    async fn wait(&mut self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.stopped.wait_for(|stopped| *stopped))
            .await
            .is_ok()
    }

    /// One generation, until it is large enough or the hub stops.
    async fn generation(&mut self) -> Result<(), BackupError> {
        let began = Instant::now();
        // Nothing is trimmed between the tables and what follows them.
        self.job.mark.needs(0);
        self.hold().await?;
        let generation = self.begin().await?;
        self.job.mark.needs(generation.record().saturating_add(1));
        let generation = self.claim_tables(generation).await?;
        // Only now is it ahead of the one that it replaces.
        let generation = self.export(generation).await?;
        let mut generation = self.prune(generation).await?;
        tracing::info!(
            bytes = generation.base_bytes, record = generation.record(), ms = began.elapsed().as_millis(),
            dir = %self.job.options.dir.display(), "a generation of the backup is whole"
        );
        loop {
            let last = self.next_turn(generation.record()).await;
            generation = self.export(generation).await?;
            let large = generation.tail_bytes > generation.base_bytes.max(TAIL_BYTES_MIN);
            if last || large || generation.segments() >= SEGMENTS_MAX {
                return Ok(());
            }
        }
    }

    /// The tables alone are claimed only when they are ahead of all that was: after a failure. What lies between is kept
    /// 100,000 records long, so the rest may fail again. The time is the old one, for which it is true.
    async fn claim_tables(&self, mut generation: Generation) -> Result<Generation, BackupError> {
        let Some(claimed) = self.claimed.filter(|head| head.record < generation.record()) else {
            return Ok(generation);
        };
        let generation = blocking(move || generation.head(claimed.at).map(|()| generation)).await?;
        self.prune(generation).await
    }

    /// Errors: the directory is another's, or cannot be used.
    async fn hold(&self) -> Result<(), BackupError> {
        let claim = self.job.claim.clone();
        blocking(move || claim.lock().unwrap_or_else(PoisonError::into_inner).hold()).await
    }

    async fn prune(&self, generation: Generation) -> Result<Generation, BackupError> {
        let keep = self.job.options.keep;
        blocking(move || generation.prune(keep).map(|()| generation)).await
    }

    /// The tables of a new one.
    async fn begin(&self) -> Result<Generation, BackupError> {
        let (source, options, owner) = (self.job.source.clone(), self.job.options.clone(), self.owner);
        blocking(move || {
            let frozen = source.freeze(ShardId(0))?;
            let directory = Directory::at(&options.dir);
            Generation::begin(directory, &options.key, owner, frozen.as_ref())
        })
        .await
    }

    /// Waits for the interval, or for enough commits. True: the hub stops, and this is the last turn.
    async fn next_turn(&mut self, exported: u64) -> bool {
        let enough = exported.saturating_add(self.job.options.every_commits);
        let (interval, durable) = (self.job.options.interval, &mut self.job.durable);
        tokio::select! {
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
            () = tokio::time::sleep(interval) => {}
            Ok(_) = durable.wait_for(|durable| *durable >= enough) => {}
        }
        *self.stopped.borrow()
    }

    /// Everything that is durable now; then the head says so.
    async fn export(&mut self, mut generation: Generation) -> Result<Generation, BackupError> {
        let (then, at) = (Instant::now(), self.now.get());
        let durable = *self.job.durable.borrow();
        let quiet_s = at.0.saturating_sub(self.written_at.0);
        if durable == generation.record() && generation.claimed() && quiet_s < HEARTBEAT_S {
            self.caught_up(Head { record: durable, at }, then);
            return Ok(generation);
        }
        self.hold().await?;
        while generation.record() < durable {
            let records = self.records(generation.record().saturating_add(1)).await?;
            if records.is_empty() {
                let record = generation.record();
                return Err(BackupError::Short { record, durable });
            }
            generation = blocking(move || generation.records(records).map(|()| generation)).await?;
            // What is in is not kept for long, whatever becomes of the rest.
            self.job.mark.needs(generation.record().saturating_add(1));
        }
        let generation = blocking(move || generation.head(at).map(|()| generation)).await?;
        self.written_at = at;
        let record = generation.record();
        self.caught_up(Head { record, at }, then);
        metrics::counter!("hub_backup_exports_total").increment(1);
        Ok(generation)
    }

    fn caught_up(&mut self, head: Head, then: Instant) {
        self.claimed = Some(head);
        self.job.mark.caught_up(head.record, then);
        self.job.mark.measure(*self.job.durable.borrow());
    }

    /// The records of one segment.
    async fn records(&self, from: u64) -> Result<Vec<JournalRecord>, BackupError> {
        let (mut records, mut bytes): (Vec<JournalRecord>, usize) = (Vec::new(), 0);
        let mut next = from;
        while records.len() < RECORDS_MAX && bytes < RECORD_BYTES {
            let page = self
                .job
                .source
                .journal_tail(ShardId(0), next, RECORDS_PER_READ)
                .await?;
            let Some(last) = page.last() else { break };
            next = last.number.saturating_add(1);
            bytes = page
                .iter()
                .fold(bytes, |sum, record| sum.saturating_add(record.bytes.len()));
            records.extend(page);
        }
        Ok(records)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BackupError::Task(error.to_string()))?
}
