//! Checkpoints: the changed part of the state as table rows. The way back is `restore`.

use super::{
    ChainPosition, Ledger, Policy, Vault,
    block::Item,
    blocks::Shared,
    compact::put_all,
    entry::{Entry, EventRow},
    log::{Log, RowChange, Tail},
    output::Issue,
    pack::pack,
    payments::Known,
    policy::FormerFee,
};
use crate::store::{Checkpoint, Table};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, ChannelId, Reject, UnixSeconds};
use std::{collections::BTreeMap, sync::Arc};

#[derive(BorshSerialize, BorshDeserialize)]
pub(super) struct Meta {
    pub(super) version: u8,
    pub(super) policy: Policy,
    pub(super) chain: ChainPosition,
    pub(super) starts: u64,
    pub(super) rollbacks: u64,
    pub(super) opened_until: UnixSeconds,
    pub(super) broken: bool,
    pub(super) vaults: BTreeMap<Address, Vault>,
    pub(super) former: BTreeMap<Address, FormerFee>,
    /// So many have a row.
    pub(super) channels: u64,
}

pub(super) const VERSION: u8 = 19;
const META_KEY: &[u8] = b"ledger";

/// How many items a row of each list of a channel has at least: ids of payments, receipts, and vouchers that nobody has
/// acknowledged. Rows of any length are read.
#[derive(Clone, Copy, Debug)]
pub struct RowItems {
    payments: usize,
    events: usize,
    vouchers: usize,
}

impl RowItems {
    /// As many as fill a page of the store: ids that live for hours, and receipts of large amounts. Vouchers differ; what is too
    /// little for a row is written again and again, and they can be large.
    pub const PAGE: Self = Self {
        payments: 180,
        events: 64,
        vouchers: 8,
    };

    /// So few that the lists of a short life have rows, too.
    pub const FEW: Self = Self {
        payments: 2,
        events: 3,
        vouchers: 2,
    };
}

/// Rows made at a time by [`Saved::write_some`].
const ROWS_AT_ONCE: usize = 64;

/// A checkpoint that is not bytes yet. Taking it makes payments wait, writing it does not.
#[derive(Debug)]
pub(crate) struct Saved {
    checkpoint: Checkpoint,
    rows: Vec<Unwritten>,
}

#[derive(Debug)]
enum Unwritten {
    /// Not packed.
    Channel(ChannelId, Vec<u8>, Box<Tails>),
    Payments(ChannelId, u64, Shared<Known>),
    Events(ChannelId, u64, Shared<EventRow>),
    Unacknowledged(ChannelId, u64, Shared<Arc<Issue>>),
}

/// What the logs of a channel have beside their rows.
#[derive(Debug)]
struct Tails {
    payments: Tail<Known>,
    events: Tail<EventRow>,
    backlog: Tail<Arc<Issue>>,
}

impl Ledger {
    /// Rows for everything changed since the last call. `upto` is the newest record applied.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.save().into_checkpoint()
    }

    /// The same, without making the rows.
    pub(crate) fn save(&mut self) -> Saved {
        let mut checkpoint = Checkpoint {
            upto: self.next_record.saturating_sub(1),
            ..Checkpoint::default()
        };
        let meta = Meta {
            version: VERSION,
            policy: self.policy.clone(),
            chain: self.chain,
            starts: self.starts,
            rollbacks: self.rollbacks,
            opened_until: self.opened_until,
            broken: self.broken,
            vaults: self.vaults.clone(),
            former: self.former.clone(),
            channels: self.entries.len() as u64,
        };
        checkpoint
            .puts
            .push((Table::Meta, META_KEY.to_vec(), encode(&meta)));
        let mut saved = Saved {
            checkpoint,
            rows: Vec::new(),
        };
        for index in self.dirty.take_unsaved() {
            let rows = self.rows;
            self.entries
                .change(index, |entry| saved.channel(index, entry, rows));
        }
        self.start_cooling();
        saved
    }

    /// Rows for everything, as the first checkpoint of a new database. Only for an empty store: it takes away no row of another.
    pub fn checkpoint_all(&mut self) -> Checkpoint {
        self.unsave();
        Checkpoint {
            upto: 0,
            ..self.checkpoint()
        }
    }

    /// The next checkpoint has rows for everything.
    pub(super) fn unsave(&mut self) {
        self.dirty.all(self.entries.len());
        for index in 0..self.entries.len() {
            self.entries.change(index, |entry| {
                entry.stored.events.unsave();
                entry.stored.backlog.unsave();
                entry.stored.payments.unsave();
            });
        }
    }

    /// Key of the ledger's row in [`Table::Meta`].
    #[must_use]
    pub fn meta_key() -> &'static [u8] {
        META_KEY
    }
}

impl Saved {
    /// What changed of one channel.
    fn channel(&mut self, index: usize, entry: &mut Entry, items: RowItems) {
        let channel = entry.channel.id();
        let stored = &mut entry.stored;
        let row = encode(&(index as u64, entry.channel.to_record(), &*stored));
        let (payments, events) = (Unwritten::Payments, Unwritten::Events);
        let payments = self.log(
            &mut stored.payments,
            items.payments,
            channel,
            Table::Payments,
            payments,
        );
        let events = self.log(&mut stored.events, items.events, channel, Table::Events, events);
        let (table, vouchers) = (Table::Unacknowledged, Unwritten::Unacknowledged);
        let backlog = self.log(&mut stored.backlog, items.vouchers, channel, table, vouchers);
        let tails = Tails {
            payments,
            events,
            backlog,
        };
        self.rows.push(Unwritten::Channel(channel, row, Box::new(tails)));
    }

    fn log<T: Item>(
        &mut self,
        log: &mut Log<T>,
        row_items: usize,
        channel: ChannelId,
        table: Table,
        put: fn(ChannelId, u64, Shared<T>) -> Unwritten,
    ) -> Tail<T> {
        log.save(row_items, |change| match change {
            RowChange::Put(first, items) => self.rows.push(put(channel, first, items)),
            RowChange::Delete(first) => self.checkpoint.deletes.push((table, log_key(channel, first))),
        })
    }

    /// Makes some of the rows. False when none is left.
    pub(crate) fn write_some(&mut self) -> bool {
        let some = (0..ROWS_AT_ONCE).map_while(|_| self.rows.pop());
        self.checkpoint.puts.extend(some.map(Unwritten::write));
        !self.rows.is_empty()
    }

    /// Makes all rows that are left.
    pub(crate) fn into_checkpoint(mut self) -> Checkpoint {
        while self.write_some() {}
        self.checkpoint
    }
}

impl Unwritten {
    fn write(self) -> (Table, Vec<u8>, Vec<u8>) {
        match self {
            Self::Channel(channel, mut row, tails) => {
                tails.payments.put(&mut row);
                tails.events.put(&mut row);
                tails.backlog.put(&mut row);
                (Table::Channels, channel.0.to_vec(), pack(&row))
            }
            Self::Payments(channel, first, items) => {
                (Table::Payments, log_key(channel, first), in_row(&items))
            }
            Self::Events(channel, first, items) => (Table::Events, log_key(channel, first), in_row(&items)),
            Self::Unacknowledged(channel, first, items) => {
                (Table::Unacknowledged, log_key(channel, first), in_row(&items))
            }
        }
    }
}

/// Of the row of a log whose first item is at `first`.
fn log_key(channel: ChannelId, first: u64) -> Vec<u8> {
    [channel.0.as_slice(), &first.to_be_bytes()].concat()
}

fn in_row<T: Item>(items: &Shared<T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_all(items.iter(), &mut bytes);
    bytes
}

fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}

pub(super) fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, Reject> {
    borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)
}
