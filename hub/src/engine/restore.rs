//! From the store back to a ledger: the tables of the last checkpoint, then the journal's tail. What is read is made ready on
//! other threads, some at a time and in its order, before the ledger takes it.

use super::StartError;
use crate::{
    execution::Execution,
    ledger::{Ledger, Prepared, Tables},
    store::{JournalRecord, Row, ShardId, Store, StoreError, Table},
};
use protocol_spec::{Reject, SigningGuard};
use std::{collections::VecDeque, time::Duration};
use tokio::{
    task::{JoinError, JoinHandle},
    time::Instant,
};

/// Channels read at a time, each with its logs: at first, and at most. A log may have a megabyte, or nothing.
const PART_CHANNELS: usize = 64;
const PART_CHANNELS_MAX: usize = 4096;
/// What is aimed at by the number of channels, which follow one another like random numbers.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Rows of logs read at a time.
const PAGE_ROWS: usize = 1024;
/// Records read at a time.
const TAIL_RECORDS: usize = 16;
/// What is made ready at a time, at most: it takes memory.
const LANES_MAX: usize = 4;
/// Between two words on how far it is.
const WORD_EVERY: Duration = Duration::from_secs(5);

/// Last checkpoint, then the journal's tail. Returns a guard that knows every newest voucher signed so far.
pub(crate) async fn restore(
    ledger: &mut Ledger,
    store: &dyn Store,
    shard: ShardId,
    upto: u64,
    execution: Execution,
) -> Result<SigningGuard, StartError> {
    let mut guard = restore_tables(ledger, store, upto, execution).await?;
    repeat_tail(ledger, store, shard, upto, execution).await?;
    for (channel, seq, digest) in ledger.newest_signed() {
        // Newer than what was restored, or the same.
        drop(guard.permit(channel, seq, digest));
    }
    Ok(guard)
}

async fn restore_tables(
    ledger: &mut Ledger,
    store: &dyn Store,
    upto: u64,
    execution: Execution,
) -> Result<SigningGuard, StartError> {
    let meta = store.get(Table::Meta, Ledger::meta_key()).await?;
    let mut restore = ledger.begin_restore(upto, meta.as_deref())?;
    let reader = restore.reader();
    let mut making = Making::new(execution, move |tables| reader.read(tables));
    let mut parts = Parts::of(store);
    let mut progress = Progress::new();
    loop {
        while making.has_room()
            && let Some(tables) = parts.next().await?
        {
            making.push(tables);
        }
        let Some(part) = making.next().await? else {
            return Ok(restore.finish()?);
        };
        progress.channels(part.channels());
        restore.take(part);
    }
}

async fn repeat_tail(
    ledger: &mut Ledger,
    store: &dyn Store,
    shard: ShardId,
    upto: u64,
    execution: Execution,
) -> Result<(), StartError> {
    let domain = ledger.domain();
    let mut making = Making::new(execution, move |records: Vec<JournalRecord>| {
        let each = records.iter();
        each.map(|record| Prepared::of(&domain, record.number, &record.bytes))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut after = Some(upto.saturating_add(1));
    let mut progress = Progress::new();
    loop {
        while making.has_room()
            && let Some(from) = after
        {
            let records = store.journal_tail(shard, from, TAIL_RECORDS).await?;
            after = records.last().map(|last| last.number.saturating_add(1));
            making.push(records);
        }
        let Some(some) = making.next().await? else {
            return Ok(());
        };
        for prepared in some {
            progress.record(prepared.number());
            ledger.replay_prepared(prepared)?;
        }
    }
}

/// What is being made of what was read, on other threads if there are any, given out in order.
struct Making<R, F> {
    make: F,
    execution: Execution,
    room: usize,
    queue: VecDeque<Made<R>>,
}

enum Made<R> {
    Here(Result<R, Reject>),
    Elsewhere(JoinHandle<Result<R, Reject>>),
}

impl<R: Send + 'static, F> Making<R, F> {
    fn new(execution: Execution, make: F) -> Self {
        let lanes = match execution {
            Execution::Threads => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            Execution::Inline => 1,
        };
        Self {
            make,
            execution,
            room: lanes.min(LANES_MAX),
            queue: VecDeque::new(),
        }
    }

    fn has_room(&self) -> bool {
        self.queue.len() < self.room
    }

    fn push<T: Send + 'static>(&mut self, some: T)
    where
        F: Fn(T) -> Result<R, Reject> + Clone + Send + 'static,
    {
        let make = self.make.clone();
        self.queue.push_back(match self.execution {
            Execution::Inline => Made::Here(make(some)),
            Execution::Threads => Made::Elsewhere(tokio::task::spawn_blocking(move || make(some))),
        });
    }

    /// `None`: nothing is being made.
    async fn next(&mut self) -> Result<Option<R>, StartError> {
        let made = match self.queue.pop_front() {
            None => return Ok(None),
            Some(Made::Here(made)) => made,
            Some(Made::Elsewhere(thread)) => match thread.await.map_err(JoinError::try_into_panic) {
                Ok(made) => made,
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(Err(error)) => return Err(std::io::Error::other(error).into()),
            },
        };
        Ok(Some(made?))
    }
}

/// Tells the operator how far it is: many payments take long.
struct Progress {
    told: Instant,
    channels: usize,
}

impl Progress {
    fn new() -> Self {
        Self {
            told: Instant::now(),
            channels: 0,
        }
    }

    fn is_time(&mut self) -> bool {
        let is_time = self.told.elapsed() >= WORD_EVERY;
        if is_time {
            self.told = Instant::now();
        }
        is_time
    }

    fn channels(&mut self, more: usize) {
        self.channels = self.channels.saturating_add(more);
        if self.is_time() {
            tracing::info!(channels = self.channels, "reading channels back");
        }
    }

    fn record(&mut self, number: u64) {
        if self.is_time() {
            tracing::info!(record = number, "repeating the journal since the last checkpoint");
        }
    }
}

/// The tables, some channels at a time, each with its logs: the rows of all would take as much memory as the ledger.
struct Parts<'a> {
    store: &'a dyn Store,
    channels: Rows,
    payments: Rows,
    events: Rows,
    unacknowledged: Rows,
}

impl<'a> Parts<'a> {
    fn of(store: &'a dyn Store) -> Self {
        Self {
            store,
            channels: Rows::of(Table::Channels, PART_CHANNELS),
            payments: Rows::of(Table::Payments, PAGE_ROWS),
            events: Rows::of(Table::Events, PAGE_ROWS),
            unacknowledged: Rows::of(Table::Unacknowledged, PAGE_ROWS),
        }
    }

    /// `None` at the end. After the last channel come the rows that belong to none: they are refused.
    async fn next(&mut self) -> Result<Option<Tables>, StoreError> {
        if self.channels.from.is_none() {
            return Ok(None);
        }
        let channels = self.channels.page(self.store).await?;
        let last = channels.last().map(|(key, _)| key.clone());
        let last = last.as_deref();
        let tables = Tables {
            meta: None,
            channels,
            payments: self.payments.of_channels(self.store, last).await?,
            events: self.events.of_channels(self.store, last).await?,
            unacknowledged: self.unacknowledged.of_channels(self.store, last).await?,
        };
        let room = PART_BYTES.checked_div(bytes_of(&tables).div_ceil(self.channels.page));
        self.channels.page = room.map_or(PART_CHANNELS, |room| room.clamp(1, PART_CHANNELS_MAX));
        Ok(Some(tables))
    }
}

fn bytes_of(tables: &Tables) -> usize {
    let logs = [&tables.payments, &tables.events, &tables.unacknowledged];
    let rows = logs.into_iter().flatten().chain(&tables.channels);
    rows.map(|(_, value)| value.len()).sum()
}

/// A table that is read from its beginning to its end.
struct Rows {
    table: Table,
    /// Rows read at a time.
    page: usize,
    /// The first key not read yet; `None`: all are read.
    from: Option<Vec<u8>>,
    /// Read and not handed out.
    ahead: VecDeque<Row>,
}

impl Rows {
    fn of(table: Table, page: usize) -> Self {
        Self {
            table,
            page,
            from: Some(Vec::new()),
            ahead: VecDeque::new(),
        }
    }

    /// Empty at the end.
    async fn page(&mut self, store: &dyn Store) -> Result<Vec<Row>, StoreError> {
        let Some(from) = &self.from else {
            return Ok(Vec::new());
        };
        let page = store.scan(self.table, from, self.page).await?;
        self.from = page.last().map(|(last, _)| [last.as_slice(), &[0]].concat());
        Ok(page)
    }

    /// The rows of channels up to `last`, or all others.
    async fn of_channels(&mut self, store: &dyn Store, last: Option<&[u8]>) -> Result<Vec<Row>, StoreError> {
        let is_later =
            |(key, _): &Row| last.is_some_and(|last| !key.starts_with(last) && key.as_slice() > last);
        while !self.ahead.back().is_some_and(is_later) {
            let page = self.page(store).await?;
            if page.is_empty() {
                break;
            }
            self.ahead.extend(page);
        }
        let later = self.ahead.partition_point(|row| !is_later(row));
        Ok(self.ahead.drain(..later).collect())
    }
}
