//! Checkpoints: the changed part of the state as table rows, and back.

use super::{
    ChainPosition, Ledger, Policy, Vault,
    entry::{Entry, Stored},
    payments::Outcome,
    policy::FormerFee,
};
use crate::store::{Checkpoint, Row, Table};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Address, Channel, ChannelId, PaymentId, Reject, UnixSeconds};
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

const VERSION: u8 = 5;
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
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            let record = encode(&(index as u64, entry.channel.to_record(), &entry.stored));
            checkpoint
                .puts
                .push((Table::Channels, entry.channel.id().0.to_vec(), record));
        }
        let (puts, deletes) = self.payments.take_changes();
        for ((payer, id), outcome) in puts {
            if let Some(key) = self.payment_key(payer, id) {
                checkpoint.puts.push((Table::PaymentsById, key, encode(&outcome)));
            }
        }
        let keys = deletes
            .into_iter()
            .filter_map(|(payer, id)| self.payment_key(payer, id));
        checkpoint
            .deletes
            .extend(keys.map(|key| (Table::PaymentsById, key)));
        checkpoint
    }

    /// Rows for everything, as the first checkpoint of a new database.
    pub(crate) fn checkpoint_all(&mut self) -> Checkpoint {
        self.dirty.all(self.entries.len());
        self.payments.all_changed();
        Checkpoint {
            upto: 0,
            ..self.checkpoint()
        }
    }

    fn payment_key(&self, payer: usize, id: PaymentId) -> Option<Vec<u8>> {
        let channel = self.entries.get(payer)?.channel.id();
        Some([channel.0.as_slice(), id.0.as_slice()].concat())
    }

    /// Takes the tables back in. Order: meta, channels, payments; then [`Ledger::replay`] from `upto + 1`.
    /// Errors: a row cannot be read: the database is damaged or newer than this program.
    pub fn restore(
        &mut self,
        upto: u64,
        meta: Option<Vec<u8>>,
        channels: Vec<Row>,
        payments: Vec<Row>,
    ) -> Result<(), Reject> {
        self.next_record = upto.saturating_add(1);
        if let Some(bytes) = meta {
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
        for (_, bytes) in channels {
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
        for (key, bytes) in payments {
            let outcome: Outcome = decode(&bytes)?;
            let (channel, id) = key.split_at_checked(32).ok_or(Reject::RecordCorrupt)?;
            let channel = ChannelId(channel.try_into().map_err(|_| Reject::RecordCorrupt)?);
            let id = PaymentId(id.try_into().map_err(|_| Reject::RecordCorrupt)?);
            let payer = self.index(&channel).ok_or(Reject::RecordCorrupt)?;
            self.payments.restore(payer, id, outcome);
        }
        self.look_at_reserves();
        Ok(())
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

fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}

fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, Reject> {
    borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)
}
