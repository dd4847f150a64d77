//! From the rows of a store back to a ledger, part by part: each channel is read in full, checked, and then kept cold.

use super::{
    Ledger, Policy,
    block::Item,
    checkpoint::{Meta, VERSION, decode},
    cold::Cold,
    entry::{Entry, Stored},
    liquidity::{Gauge, Standing},
    locks::LockLists,
    log::Log,
    pack::unpack,
    slots::Slots,
};
use crate::store::Row;
use borsh::BorshDeserialize;
use protocol_spec::{Address, Channel, ChannelId, Digest, Reject, Seq, SigningGuard, UnixSeconds};
use std::{collections::BTreeSet, io, iter::Peekable, sync::Arc, vec};

/// What a store holds of a ledger, or of some channels that follow one another; each table in the order of its keys.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The row of [`Ledger::meta_key`] in [`crate::store::Table::Meta`]; none in a new store.
    pub meta: Option<Vec<u8>>,
    /// [`crate::store::Table::Channels`].
    pub channels: Vec<Row>,
    /// [`crate::store::Table::Payments`].
    pub payments: Vec<Row>,
    /// [`crate::store::Table::Events`].
    pub events: Vec<Row>,
    /// [`crate::store::Table::Unacknowledged`].
    pub unacknowledged: Vec<Row>,
}

/// A ledger that is being restored. Errors of all its functions: a row cannot be read, or is missing, or one is too many:
/// the database is damaged or newer than this program.
#[derive(Debug)]
pub struct Restore<'a> {
    ledger: &'a mut Ledger,
    /// By index, in the order of the rows.
    entries: Vec<(usize, Cold)>,
    signers: Vec<(Address, usize)>,
    guard: SigningGuard,
    /// So many are to come.
    channels: u64,
}

impl Ledger {
    /// Takes the tables back in; then comes [`Ledger::replay`] from `upto + 1`. Errors: see [`Restore`].
    pub fn restore(&mut self, upto: u64, tables: Tables) -> Result<(), Reject> {
        let mut restore = self.begin_restore(upto, tables.meta.as_deref())?;
        let part = restore.reader().read(tables)?;
        restore.take(part);
        restore.finish().map(drop)
    }

    /// The same in parts. `meta`: see [`Tables::meta`].
    pub(crate) fn begin_restore(&mut self, upto: u64, meta: Option<&[u8]>) -> Result<Restore<'_>, Reject> {
        self.next_record = upto.saturating_add(1);
        let mut channels = 0;
        if meta.is_none() && upto > 0 {
            return Err(Reject::RecordCorrupt);
        }
        if let Some(bytes) = meta {
            let meta: Meta = decode(bytes)?;
            if meta.version != VERSION {
                return Err(Reject::RecordCorrupt);
            }
            (self.policy, self.chain) = (meta.policy, meta.chain);
            (self.starts, self.rollbacks) = (meta.starts, meta.rollbacks);
            (self.opened_until, self.broken) = (meta.opened_until, meta.broken);
            (self.vaults, self.former) = (meta.vaults, meta.former);
            channels = meta.channels;
        }
        Ok(Restore {
            ledger: self,
            entries: Vec::new(),
            signers: Vec::new(),
            guard: SigningGuard::default(),
            channels,
        })
    }
}

/// Reads parts, on any thread.
#[derive(Clone, Debug)]
pub(crate) struct PartReader {
    policy: Arc<Policy>,
    chain: UnixSeconds,
}

/// What was read of a part.
#[derive(Debug)]
pub(crate) struct Part(Vec<Found>);

/// A channel that was read: as it is kept, and what the ledger finds it by.
#[derive(Debug)]
struct Found {
    index: usize,
    id: ChannelId,
    cold: Cold,
    signer: Address,
    /// Of the account to which payments are routed, and its token.
    account: Option<(Address, Address)>,
    remembered: u64,
    forwarded: u64,
    locks: LockLists,
    keeps: bool,
    promises: bool,
    frozen: bool,
    unsynced: bool,
    waiting: (bool, bool),
    standing: Standing,
    /// The hub's newest voucher.
    newest: Option<(Seq, Digest)>,
}

impl Part {
    /// How many channels it has.
    pub(crate) fn channels(&self) -> usize {
        self.0.len()
    }
}

impl PartReader {
    /// Some channels with all rows of their logs, each read in full.
    pub(crate) fn read(&self, tables: Tables) -> Result<Part, Reject> {
        let mut payments = tables.payments.into_iter().peekable();
        let mut events = tables.events.into_iter().peekable();
        let mut unacknowledged = tables.unacknowledged.into_iter().peekable();
        let mut found = Vec::with_capacity(tables.channels.len());
        for (key, bytes) in tables.channels {
            let bytes = unpack(&bytes).ok_or(Reject::RecordCorrupt)?;
            let mut rest = bytes.as_slice();
            let (index, record, mut stored) =
                <(u64, Vec<u8>, Stored)>::deserialize(&mut rest).map_err(corrupt)?;
            restore_log(&mut stored.payments, &key, &mut payments, &mut rest)?;
            restore_log(&mut stored.events, &key, &mut events, &mut rest)?;
            restore_log(&mut stored.backlog, &key, &mut unacknowledged, &mut rest)?;
            if !rest.is_empty() {
                return Err(Reject::RecordCorrupt);
            }
            let entry = Entry::restored(Channel::from_record(&record)?, stored);
            if entry.channel.id().0.as_slice() != key {
                return Err(Reject::RecordCorrupt);
            }
            let index = usize::try_from(index).map_err(|_| Reject::RecordCorrupt)?;
            found.push(self.found(index, &entry));
        }
        // One that belongs to no channel.
        let more = [payments.peek(), events.peek(), unacknowledged.peek()];
        match more.into_iter().flatten().next() {
            None => Ok(Part(found)),
            Some(_) => Err(Reject::RecordCorrupt),
        }
    }

    fn found(&self, index: usize, entry: &Entry) -> Found {
        let (config, stored) = (entry.channel.config(), &entry.stored);
        let sent = entry.channel.sent();
        let routed = stored.routed && entry.channel.phase().name() != "closed";
        let gauge = Gauge {
            policy: &self.policy,
            at: self.chain,
        };
        Found {
            index,
            id: entry.channel.id(),
            cold: Cold::of(entry),
            signer: config.client_signer,
            account: routed.then_some((config.client, config.token)),
            remembered: entry.items(),
            forwarded: entry.forwarded_weight(),
            locks: entry.lock_lists(),
            keeps: !stored.kept.is_empty(),
            promises: stored.reserve.is_promise(),
            frozen: stored.frozen,
            unsynced: stored.unsynced,
            waiting: entry.waiting(),
            standing: gauge.standing(entry),
            newest: (sent.seq != Seq::NONE).then_some((sent.seq, sent.digest)),
        }
    }
}

impl Restore<'_> {
    /// What reads the parts.
    pub(crate) fn reader(&self) -> PartReader {
        PartReader {
            policy: Arc::new(self.ledger.policy.clone()),
            chain: self.ledger.chain.timestamp,
        }
    }

    /// Some channels, in any order.
    pub(crate) fn take(&mut self, part: Part) {
        part.0.into_iter().for_each(|found| self.entry(found));
    }

    /// What the ledger finds its channels by.
    fn entry(&mut self, found: Found) {
        let (ledger, index) = (&mut *self.ledger, found.index);
        ledger.by_id.insert(found.id, index);
        self.signers.push((found.signer, index));
        if let Some(account) = found.account {
            ledger.by_account.insert(account, index);
        }
        ledger.remembered.add(found.remembered);
        ledger.forwarded = ledger.forwarded.saturating_add(found.forwarded);
        let lists = [
            (&mut ledger.locked, found.locks.owes),
            (&mut ledger.payers, found.locks.is_owed),
            (&mut ledger.keepers, found.keeps),
            (&mut ledger.promising, found.promises),
            (&mut ledger.frozen, found.frozen),
            (&mut ledger.unsynced, found.unsynced),
        ];
        for (list, _) in lists.into_iter().filter(|(_, is_in)| *is_in) {
            list.insert(index);
        }
        ledger.keep_waiting(index, found.waiting);
        ledger.keep_standing(index, found.standing);
        if let Some((seq, digest)) = found.newest {
            // It permits one pair per channel, and knows none of this one.
            drop(self.guard.permit(found.id, seq, digest));
        }
        self.entries.push((index, found.cold));
    }

    /// After the last part. Returns a guard that knows every newest voucher.
    pub(crate) fn finish(self) -> Result<SigningGuard, Reject> {
        let Self {
            ledger,
            mut entries,
            signers,
            guard,
            channels,
        } = self;
        entries.sort_unstable_by_key(|(index, _)| *index);
        let is_dense = (0..)
            .zip(&entries)
            .all(|(expected, (index, _))| expected == *index);
        let is_whole = entries.len() as u64 == channels && ledger.by_id.len() == entries.len();
        if !is_dense || !is_whole {
            return Err(Reject::RecordCorrupt);
        }
        ledger.entries = Slots::restored(entries.into_iter().map(|(_, cold)| cold));
        ledger.by_signer = BTreeSet::from_iter(signers);
        Ok(guard)
    }
}

fn corrupt(_: io::Error) -> Reject {
    Reject::RecordCorrupt
}

/// The rows of one channel's log, which are the next ones, if there are any, and the log's tail.
fn restore_log<T: Item>(
    log: &mut Log<T>,
    channel: &[u8],
    rows: &mut Peekable<vec::IntoIter<Row>>,
    tail: &mut &[u8],
) -> Result<(), Reject> {
    while let Some((key, bytes)) = rows.next_if(|(key, _)| key.starts_with(channel)) {
        let first = key.get(channel.len()..).unwrap_or_default();
        let first = first.try_into().map_err(|_| Reject::RecordCorrupt)?;
        let mut rest = bytes.as_slice();
        let mut items: Vec<T> = Vec::new();
        while !rest.is_empty() {
            let item = T::take(items.last(), &mut rest).map_err(corrupt)?;
            items.push(item);
        }
        log.restore(u64::from_be_bytes(first), items)?;
    }
    log.take_tail(tail).map_err(corrupt)
}
