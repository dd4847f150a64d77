//! Checkpoints: the changed part of the state as table rows, and back.

use super::{
    ChainPosition, Ledger, Policy, Vault,
    entry::{Entry, Stored},
    log::RowChange,
    payments::Known,
    policy::FormerFee,
};
use crate::store::{Checkpoint, Row, Table};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Channel, ChannelId, Reject, UnixSeconds};
use std::collections::BTreeMap;

#[derive(BorshSerialize, BorshDeserialize)]
struct Meta {
    version: u8,
    policy: Policy,
    chain: ChainPosition,
    starts: u64,
    rollbacks: u64,
    opened_until: UnixSeconds,
    broken: bool,
    vaults: BTreeMap<Address, Vault>,
    former: BTreeMap<Address, FormerFee>,
}

const VERSION: u8 = 11;
const META_KEY: &[u8] = b"ledger";

/// What a store holds of a ledger, each table in the order of its keys.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The row of [`Ledger::meta_key`] in [`Table::Meta`]; none in a new store.
    pub meta: Option<Vec<u8>>,
    /// [`Table::Channels`].
    pub channels: Vec<Row>,
    /// [`Table::Payments`].
    pub payments: Vec<Row>,
    /// [`Table::Events`].
    pub events: Vec<Row>,
    /// [`Table::Unacknowledged`].
    pub unacknowledged: Vec<Row>,
}

impl Ledger {
    /// Rows for everything changed since the last call. `upto` is the newest record applied.
    pub fn checkpoint(&mut self) -> Checkpoint {
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
        };
        checkpoint
            .puts
            .push((Table::Meta, META_KEY.to_vec(), encode(&meta)));
        for index in self.dirty.take_unsaved() {
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            let channel = entry.channel.id();
            let record = encode(&(index as u64, entry.channel.to_record(), &entry.stored));
            checkpoint
                .puts
                .push((Table::Channels, channel.0.to_vec(), record));
            let stored = &mut entry.stored;
            stored.payments.save(checkpoint.rows(channel, Table::Payments));
            stored.events.save(checkpoint.rows(channel, Table::Events));
            stored
                .backlog
                .save(checkpoint.rows(channel, Table::Unacknowledged));
        }
        checkpoint
    }

    /// Rows for everything, as the first checkpoint of a new database.
    pub(crate) fn checkpoint_all(&mut self) -> Checkpoint {
        self.unsave();
        Checkpoint {
            upto: 0,
            ..self.checkpoint()
        }
    }

    /// The next checkpoint has rows for everything.
    pub(super) fn unsave(&mut self) {
        self.dirty.all(self.entries.len());
        for entry in &mut self.entries {
            entry.stored.events.unsave();
            entry.stored.backlog.unsave();
            entry.stored.payments.unsave();
        }
    }

    /// Takes the tables back in; then comes [`Ledger::replay`] from `upto + 1`.
    /// Errors: a row cannot be read or is missing: the database is damaged or newer than this program.
    pub fn restore(&mut self, upto: u64, tables: Tables) -> Result<(), Reject> {
        self.next_record = upto.saturating_add(1);
        if let Some(bytes) = tables.meta {
            let meta: Meta = decode(&bytes)?;
            if meta.version != VERSION {
                return Err(Reject::RecordCorrupt);
            }
            (self.policy, self.chain) = (meta.policy, meta.chain);
            (self.starts, self.rollbacks) = (meta.starts, meta.rollbacks);
            (self.opened_until, self.broken) = (meta.opened_until, meta.broken);
            (self.vaults, self.former) = (meta.vaults, meta.former);
        }
        let mut entries = Vec::new();
        for (_, bytes) in tables.channels {
            let (index, record, stored): (u64, Vec<u8>, Stored) = decode(&bytes)?;
            entries.push((index, Entry::restored(Channel::from_record(&record)?, stored)));
        }
        entries.sort_by_key(|(index, _)| *index);
        for (expected, (index, entry)) in entries.into_iter().enumerate() {
            if expected as u64 != index {
                return Err(Reject::RecordCorrupt);
            }
            self.restore_entry(entry);
        }
        for row in tables.payments {
            let (payer, first, items): (_, _, Vec<Known>) = self.log_row(&row)?;
            let log = &mut self.entry_mut(payer)?.stored.payments;
            let from = log.from();
            log.restore(first, items.clone())?;
            for (position, known) in (first..).zip(items).filter(|(position, _)| *position >= from) {
                self.places.insert(payer, known.id, position);
            }
        }
        for row in tables.events {
            let (index, first, items) = self.log_row(&row)?;
            self.entry_mut(index)?.stored.events.restore(first, items)?;
        }
        for row in tables.unacknowledged {
            let (index, first, items) = self.log_row(&row)?;
            self.entry_mut(index)?.stored.backlog.restore(first, items)?;
        }
        for entry in &self.entries {
            entry.stored.payments.require_whole()?;
            entry.stored.events.require_whole()?;
            entry.stored.backlog.require_whole()?;
        }
        self.look_at_reserves();
        Ok(())
    }

    /// The channel's index, the first position and the items of a log's row.
    fn log_row<T: BorshDeserialize>(&self, (key, bytes): &Row) -> Result<(usize, u64, Vec<T>), Reject> {
        let (channel, first) = key.split_first_chunk().ok_or(Reject::RecordCorrupt)?;
        let index = self.index(&ChannelId(*channel)).ok_or(Reject::RecordCorrupt)?;
        let first = first.try_into().map_err(|_| Reject::RecordCorrupt)?;
        let mut rest = bytes.as_slice();
        let mut items = Vec::new();
        while !rest.is_empty() {
            items.push(T::deserialize(&mut rest).map_err(|_| Reject::RecordCorrupt)?);
        }
        Ok((index, u64::from_be_bytes(first), items))
    }

    fn restore_entry(&mut self, entry: Entry) {
        let config = entry.channel.config();
        let key = (config.client, config.token);
        let routed = entry.stored.routed && entry.channel.phase().name() != "closed";
        self.forwarded = self.forwarded.saturating_add(entry.forwarded_weight());
        let locked = !entry.stored.resting.is_empty();
        let pays = !entry.stored.forwards.is_empty();
        let (frozen, unsynced) = (entry.stored.frozen, entry.stored.unsynced);
        let promises = entry.stored.reserve.is_promise();
        let index = self.insert(entry);
        if locked {
            self.locked.insert(index);
        }
        if promises {
            self.promising.insert(index);
        }
        if frozen {
            self.frozen.insert(index);
        }
        if unsynced {
            self.unsynced.insert(index);
        }
        if pays {
            self.payers.insert(index);
        }
        if routed {
            self.by_account.insert(key, index);
        }
        self.note_waiting(index);
    }

    /// Key of the ledger's row in [`Table::Meta`].
    #[must_use]
    pub fn meta_key() -> &'static [u8] {
        META_KEY
    }
}

impl Checkpoint {
    /// Turns the changes of a channel's log into rows of `table`: items one behind the other.
    fn rows<T: BorshSerialize>(&mut self, channel: ChannelId, table: Table) -> impl FnMut(RowChange<'_, T>) {
        let key = move |first: u64| [channel.0.as_slice(), &first.to_be_bytes()].concat();
        move |change| match change {
            RowChange::Put(first, items) => {
                let mut bytes = Vec::with_capacity(items.len().saturating_mul(size_of::<T>()));
                for item in items {
                    // Writing to a Vec cannot fail.
                    let _ = item.serialize(&mut bytes);
                }
                self.puts.push((table, key(first), bytes));
            }
            RowChange::Delete(first) => self.deletes.push((table, key(first))),
        }
    }
}

fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}

fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, Reject> {
    borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)
}
