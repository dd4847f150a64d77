//! A channel as bytes for the store: whole, or without its locks and what is known of each, for who writes only what changed.

use super::Channel;
use crate::{Lock, LockSet, Reject, Side, Witness};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::BTreeMap;

/// A lock of a channel: its payer and its id, which is used once in that direction.
pub type LockKey = (Side, u64);

/// What a party holds of one lock of its channel.
#[derive(Clone, PartialEq, Eq, Debug, Default, BorshSerialize, BorshDeserialize)]
pub struct LockFacts {
    /// While it is part of its payer's newest voucher.
    pub lock: Option<Lock>,
    /// What opens it: told in time by the other side (R8), or known in time to the payee.
    pub witness: Option<Witness>,
    /// Its payee gave it up (R11).
    pub given_up: bool,
    /// R17: the chain shows that it was resolved in time.
    pub marked: bool,
}

impl Channel {
    /// Versioned bytes for the store.
    #[must_use]
    pub fn to_record(&self) -> Vec<u8> {
        bytes(&(Self::RECORD_VERSION, self, self.lock_facts()))
    }

    /// The same without [`Channel::lock_facts`], to be kept beside them.
    #[must_use]
    pub fn to_record_without_locks(&self) -> Vec<u8> {
        bytes(&(Self::RECORD_VERSION, self))
    }

    /// From the store. Errors: [`Reject::RecordCorrupt`], also for another version.
    pub fn from_record(bytes: &[u8]) -> Result<Self, Reject> {
        let (version, channel, facts): (u8, Self, BTreeMap<LockKey, LockFacts>) =
            borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)?;
        channel.with_locks(version, facts)
    }

    /// From [`Channel::to_record_without_locks`] and [`Channel::lock_facts`]. Errors: [`Reject::RecordCorrupt`], also when
    /// they do not belong together.
    pub fn from_record_and_locks(bytes: &[u8], facts: BTreeMap<LockKey, LockFacts>) -> Result<Self, Reject> {
        let (version, channel): (u8, Self) = borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)?;
        channel.with_locks(version, facts)
    }

    const RECORD_VERSION: u8 = 7;

    /// Everything that is known of the channel's locks.
    #[must_use]
    pub fn lock_facts(&self) -> BTreeMap<LockKey, LockFacts> {
        let mut all: BTreeMap<LockKey, LockFacts> = BTreeMap::new();
        let other = self.me.other();
        for (payer, half) in [(self.me, &self.outgoing.half), (other, &self.incoming)] {
            for lock in half.locks.iter() {
                all.entry((payer, lock.id)).or_default().lock = Some(lock.clone());
            }
        }
        for (payer, witnesses) in [(self.me, &self.told), (other, &self.known)] {
            for (id, witness) in witnesses {
                all.entry((payer, *id)).or_default().witness = Some(witness.clone());
            }
        }
        for (payer, ids) in [(self.me, &self.consents_received), (other, &self.consents_given)] {
            for id in ids {
                all.entry((payer, *id)).or_default().given_up = true;
            }
        }
        for key in &self.marked {
            all.entry(*key).or_default().marked = true;
        }
        all
    }

    fn with_locks(mut self, version: u8, facts: BTreeMap<LockKey, LockFacts>) -> Result<Self, Reject> {
        if version != Self::RECORD_VERSION {
            return Err(Reject::RecordCorrupt);
        }
        let (mut own, mut others) = (LockSet::default(), LockSet::default());
        for ((payer, id), facts) in facts {
            let mine = payer == self.me;
            if let Some(lock) = facts.lock {
                if lock.id != id {
                    return Err(Reject::RecordCorrupt);
                }
                let set = if mine { &mut own } else { &mut others };
                set.add(lock, payer).map_err(|_| Reject::RecordCorrupt)?;
            }
            let (witnesses, given_up) = match mine {
                true => (&mut self.told, &mut self.consents_received),
                false => (&mut self.known, &mut self.consents_given),
            };
            witnesses.extend(facts.witness.map(|witness| (id, witness)));
            given_up.extend(facts.given_up.then_some(id));
            self.marked.extend(facts.marked.then_some((payer, id)));
        }
        for (half, mut set) in [(&mut self.outgoing.half, own), (&mut self.incoming, others)] {
            set.settle();
            // One row lost or too many, and what is signed would not be what is kept.
            if set.opening() != half.opening.as_deref().copied() {
                return Err(Reject::RecordCorrupt);
            }
            half.locks = set;
        }
        Ok(self)
    }
}

fn bytes<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing to a Vec cannot fail.
    borsh::to_vec(value).unwrap_or_default()
}
