//! Checkpoints: the changed part of the state as table rows. The way back is `restore`.

use super::{
    ChainPosition, Ledger, Policy, Vault, entry::Entry, log::RowChange, pack::pack, policy::FormerFee,
};
use crate::store::{Checkpoint, Table};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, ChannelId, Reject, UnixSeconds};
use std::collections::BTreeMap;

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
}

pub(super) const VERSION: u8 = 12;
const META_KEY: &[u8] = b"ledger";

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
            self.entries.change(index, |entry| checkpoint.save(index, entry));
        }
        self.start_cooling();
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

impl Checkpoint {
    fn save(&mut self, index: usize, entry: &mut Entry) {
        let channel = entry.channel.id();
        let stored = &mut entry.stored;
        let row = encode(&(index as u64, entry.channel.to_record(), &*stored));
        self.puts.push((Table::Channels, channel.0.to_vec(), pack(&row)));
        stored.payments.save(self.rows(channel, Table::Payments));
        stored.events.save(self.rows(channel, Table::Events));
        stored.backlog.save(self.rows(channel, Table::Unacknowledged));
    }

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

pub(super) fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, Reject> {
    borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)
}
