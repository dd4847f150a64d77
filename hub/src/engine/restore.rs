//! From the store back to a ledger: the tables of the last checkpoint, then the journal's tail.

use super::StartError;
use crate::{
    ledger::{Ledger, Tables},
    store::{Row, ShardId, Store, StoreError, Table},
};
use protocol_spec::SigningGuard;
use std::{pin::pin, task::Poll};

/// Rows read at a time.
const PAGE_ROWS: usize = 4096;

/// Last checkpoint, then the journal's tail. Returns a guard that knows every newest voucher signed so far.
pub(crate) async fn restore(
    ledger: &mut Ledger,
    store: &dyn Store,
    shard: ShardId,
    upto: u64,
) -> Result<SigningGuard, StartError> {
    let meta = store.get(Table::Meta, Ledger::meta_key()).await?;
    let mut guard = restore_tables(ledger, store, upto, meta.as_deref()).await?;
    let mut next = upto.saturating_add(1);
    loop {
        let records = store.journal_tail(shard, next, 256).await?;
        if records.is_empty() {
            break;
        }
        for record in records {
            ledger.replay(record.number, &record.bytes)?;
            next = record.number.saturating_add(1);
        }
    }
    for (channel, seq, digest) in ledger.newest_signed() {
        // Newer than what was restored, or the same.
        drop(guard.permit(channel, seq, digest));
    }
    Ok(guard)
}

/// Some channels at a time, each with its logs: the rows of all would take as much memory as the ledger.
async fn restore_tables(
    ledger: &mut Ledger,
    store: &dyn Store,
    upto: u64,
    meta: Option<&[u8]>,
) -> Result<SigningGuard, StartError> {
    let mut restore = ledger.begin_restore(upto, meta)?;
    let mut channels = Rows::of(Table::Channels);
    let [mut payments, mut events, mut unacknowledged] =
        [Table::Payments, Table::Events, Table::Unacknowledged].map(Rows::of);
    let mut next = channels.page(store).await?;
    loop {
        let page = next;
        // After the last channel come the rows that belong to none: they are refused.
        let last = page.last().map(|(key, _)| key.clone());
        let is_last = last.is_none();
        let part = Tables {
            meta: None,
            channels: page,
            payments: payments.of_channels(store, last.as_deref()).await?,
            events: events.of_channels(store, last.as_deref()).await?,
            unacknowledged: unacknowledged.of_channels(store, last.as_deref()).await?,
        };
        if is_last {
            restore.part(part)?;
            return Ok(restore.finish()?);
        }
        // The store reads on while these are taken in.
        let mut reading = pin!(channels.page(store));
        let read = futures::poll!(reading.as_mut());
        restore.part(part)?;
        next = match read {
            Poll::Ready(page) => page?,
            Poll::Pending => reading.await?,
        };
    }
}

/// A table that is read from its beginning to its end.
struct Rows {
    table: Table,
    /// The first key not read yet.
    from: Vec<u8>,
    /// Read and not handed out.
    ahead: Vec<Row>,
}

impl Rows {
    fn of(table: Table) -> Self {
        Self {
            table,
            from: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// Empty at the end.
    async fn page(&mut self, store: &dyn Store) -> Result<Vec<Row>, StoreError> {
        let page = store.scan(self.table, &self.from, PAGE_ROWS).await?;
        if let Some((last, _)) = page.last() {
            self.from = [last.as_slice(), &[0]].concat();
        }
        Ok(page)
    }

    /// The rows of channels up to `last`, or all others.
    async fn of_channels(&mut self, store: &dyn Store, last: Option<&[u8]>) -> Result<Vec<Row>, StoreError> {
        let is_later =
            |(key, _): &Row| last.is_some_and(|last| !key.starts_with(last) && key.as_slice() > last);
        while !self.ahead.last().is_some_and(is_later) {
            let page = self.page(store).await?;
            if page.is_empty() {
                break;
            }
            self.ahead.extend(page);
        }
        let later = self.ahead.partition_point(|row| !is_later(row));
        let later = self.ahead.split_off(later);
        Ok(std::mem::replace(&mut self.ahead, later))
    }
}
