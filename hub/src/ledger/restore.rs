//! From the rows of a store back to a ledger, part by part: each channel is read in full, checked, and then kept cold.

use super::{
    Ledger,
    checkpoint::{Meta, VERSION, decode},
    cold::Cold,
    entry::{Entry, Stored},
    log::Log,
    pack::unpack,
    slots::Slots,
};
use crate::store::Row;
use borsh::BorshDeserialize;
use protocol_spec::{Address, Channel, Reject, Seq, SigningGuard};
use std::{collections::BTreeSet, iter::Peekable, vec};

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
}

impl Ledger {
    /// Takes the tables back in; then comes [`Ledger::replay`] from `upto + 1`. Errors: see [`Restore`].
    pub fn restore(&mut self, upto: u64, tables: Tables) -> Result<(), Reject> {
        let mut restore = self.begin_restore(upto, tables.meta.as_deref())?;
        restore.part(tables)?;
        restore.finish().map(drop)
    }

    /// The same in parts. `meta`: see [`Tables::meta`].
    pub(crate) fn begin_restore(&mut self, upto: u64, meta: Option<&[u8]>) -> Result<Restore<'_>, Reject> {
        self.next_record = upto.saturating_add(1);
        if let Some(bytes) = meta {
            let meta: Meta = decode(bytes)?;
            if meta.version != VERSION {
                return Err(Reject::RecordCorrupt);
            }
            (self.policy, self.chain) = (meta.policy, meta.chain);
            (self.starts, self.rollbacks) = (meta.starts, meta.rollbacks);
            (self.opened_until, self.broken) = (meta.opened_until, meta.broken);
            (self.vaults, self.former) = (meta.vaults, meta.former);
        }
        Ok(Restore {
            ledger: self,
            entries: Vec::new(),
            signers: Vec::new(),
            guard: SigningGuard::default(),
        })
    }
}

impl Restore<'_> {
    /// Some channels with all rows of their logs.
    pub(crate) fn part(&mut self, tables: Tables) -> Result<(), Reject> {
        let mut payments = tables.payments.into_iter().peekable();
        let mut events = tables.events.into_iter().peekable();
        let mut unacknowledged = tables.unacknowledged.into_iter().peekable();
        for (key, bytes) in tables.channels {
            let bytes = unpack(&bytes).ok_or(Reject::RecordCorrupt)?;
            let (index, record, mut stored): (u64, Vec<u8>, Stored) = decode(&bytes)?;
            restore_log(&mut stored.payments, &key, &mut payments)?;
            restore_log(&mut stored.events, &key, &mut events)?;
            restore_log(&mut stored.backlog, &key, &mut unacknowledged)?;
            let entry = Entry::restored(Channel::from_record(&record)?, stored);
            if entry.channel.id().0.as_slice() != key {
                return Err(Reject::RecordCorrupt);
            }
            let index = usize::try_from(index).map_err(|_| Reject::RecordCorrupt)?;
            self.entry(index, &entry);
        }
        // One that belongs to no channel.
        let more = [payments.peek(), events.peek(), unacknowledged.peek()];
        match more.into_iter().flatten().next() {
            None => Ok(()),
            Some(_) => Err(Reject::RecordCorrupt),
        }
    }

    /// What the ledger finds its channels by.
    fn entry(&mut self, index: usize, entry: &Entry) {
        let ledger = &mut *self.ledger;
        let (config, stored) = (entry.channel.config(), &entry.stored);
        ledger.by_id.insert(entry.channel.id(), index);
        self.signers.push((config.client_signer, index));
        if stored.routed && entry.channel.phase().name() != "closed" {
            ledger.by_account.insert((config.client, config.token), index);
        }
        for (position, known) in (stored.payments.from()..).zip(stored.payments.iter()) {
            ledger.places.insert(index, known.id, position);
        }
        ledger.forwarded = ledger.forwarded.saturating_add(entry.forwarded_weight());
        let locks = entry.lock_lists();
        let lists = [
            (&mut ledger.locked, locks.owes),
            (&mut ledger.payers, locks.is_owed),
            (&mut ledger.keepers, !stored.kept.is_empty()),
            (&mut ledger.promising, stored.reserve.is_promise()),
            (&mut ledger.frozen, stored.frozen),
            (&mut ledger.unsynced, stored.unsynced),
        ];
        for (list, _) in lists.into_iter().filter(|(_, is_in)| *is_in) {
            list.insert(index);
        }
        ledger.keep_waiting(index, entry.waiting());
        ledger.keep_standing(index, ledger.standing(entry));
        let sent = entry.channel.sent();
        if sent.seq != Seq::NONE {
            // It permits one pair per channel, and knows none of this one.
            drop(self.guard.permit(entry.channel.id(), sent.seq, sent.digest));
        }
        self.entries.push((index, Cold::of(entry)));
    }

    /// After the last part. Returns a guard that knows every newest voucher.
    pub(crate) fn finish(self) -> Result<SigningGuard, Reject> {
        let Self {
            ledger,
            mut entries,
            signers,
            guard,
        } = self;
        entries.sort_unstable_by_key(|(index, _)| *index);
        let is_dense = (0..)
            .zip(&entries)
            .all(|(expected, (index, _))| expected == *index);
        if !is_dense || ledger.by_id.len() != entries.len() {
            return Err(Reject::RecordCorrupt);
        }
        ledger.entries = Slots::restored(entries.into_iter().map(|(_, cold)| cold));
        ledger.by_signer = BTreeSet::from_iter(signers);
        Ok(guard)
    }
}

/// The rows of one channel's log. They are the next ones, if there are any.
fn restore_log<T: BorshDeserialize>(
    log: &mut Log<T>,
    channel: &[u8],
    rows: &mut Peekable<vec::IntoIter<Row>>,
) -> Result<(), Reject> {
    while let Some((key, bytes)) = rows.next_if(|(key, _)| key.starts_with(channel)) {
        let first = key.get(channel.len()..).unwrap_or_default();
        let first = first.try_into().map_err(|_| Reject::RecordCorrupt)?;
        let mut rest = bytes.as_slice();
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(T::deserialize(&mut rest).map_err(|_| Reject::RecordCorrupt)?);
        }
        log.restore(u64::from_be_bytes(first), items)?;
    }
    log.require_whole()
}
