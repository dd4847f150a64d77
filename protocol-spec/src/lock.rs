//! Locks: amounts promised on a condition until an expiry, and the commitment a voucher carries over all of them.

use crate::{Address, Amount, Condition, Digest, Reject, Side, UnixSeconds, batch::Tree, hash, limits};
use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An amount promised on a condition until `expiry`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Strictly increasing in its direction, used once in the life of the channel. JSON: decimal string.
    #[serde(with = "crate::message::decimal_u64")]
    pub id: u64,
    /// Token base units.
    pub amount: Amount,
    /// Chain time from which the condition can no longer be met.
    pub expiry: UnixSeconds,
    /// SHA-256 of the preimage, or of the condition's data for a resolver.
    pub hash: Digest,
    /// Zero: the condition is a 32-byte preimage. Otherwise a contract with `check(hash, witness)`.
    pub resolver: Address,
}

impl Lock {
    /// Merkle leaf: `keccak(keccak(abi.encode(id, amount, expiry, hash, resolver)))`.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        Digest(hash::keccak(&hash::keccak(&self.to_abi().abi_encode())))
    }

    /// When it opens.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition {
            hash: self.hash,
            resolver: self.resolver,
        }
    }

    /// The Solidity struct.
    #[must_use]
    pub fn to_abi(&self) -> crate::abi::Lock {
        crate::abi::Lock {
            id: self.id,
            amount: self.amount.0,
            expiry: self.expiry.0,
            hash: B256::from(self.hash.0),
            resolver: self.resolver,
        }
    }
}

/// What a voucher's `locks` word commits to.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, Default, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct LocksOpening {
    /// Merkle root over the leaves in ascending id.
    pub root: Digest,
    /// Sum of the amounts.
    pub total: Amount,
    /// Latest expiry.
    pub max_expiry: UnixSeconds,
}

impl LocksOpening {
    /// `keccak(abi.encode(root, total, max_expiry))`.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        Digest(hash::keccak(&self.to_abi().abi_encode()))
    }

    /// The Solidity struct.
    #[must_use]
    pub fn to_abi(&self) -> crate::abi::LocksOpening {
        crate::abi::LocksOpening {
            root: B256::from(self.root.0),
            total: self.total.0,
            maxExpiry: self.max_expiry.0,
        }
    }
}

/// The locks of one direction that are part of its newest voucher.
#[derive(Clone, Debug, Default)]
pub struct LockSet {
    /// In ascending id.
    locks: Vec<Lock>,
    total: Amount,
    /// Over their leaves. Many changes are hashed once, by [`LockSet::settle`].
    tree: Tree,
    /// The first leaf that the upper levels of the tree do not follow.
    stale: Option<usize>,
}

impl PartialEq for LockSet {
    fn eq(&self, other: &Self) -> bool {
        // Everything else follows from them.
        self.locks == other.locks
    }
}

impl Eq for LockSet {}

impl LockSet {
    /// The locks that a voucher of `payer` has. Errors: more than it may have, ids that do not ascend, or a sum that overflows.
    pub fn of(locks: impl IntoIterator<Item = Lock>, payer: Side) -> Result<Self, Reject> {
        let mut set = Self::default();
        for lock in locks {
            set.add(lock, payer)?;
        }
        set.settle();
        Ok(set)
    }

    /// Sum of all amounts.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }

    /// Number of locks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// True without locks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// The lock with `id`.
    #[must_use]
    pub fn lock(&self, id: u64) -> Option<&Lock> {
        self.locks.get(self.place(id)?)
    }

    /// All locks in ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter()
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.locks.binary_search_by_key(&id, |lock| lock.id).ok()
    }

    /// Adds a lock of `payer`. Errors: too many, an id that is not the newest, or a sum beyond the adjudicator's range.
    pub(crate) fn add(&mut self, lock: Lock, payer: Side) -> Result<(), Reject> {
        let max = limits::locks_max(payer);
        if self.locks.len() >= max {
            return Err(Reject::LocksTooMany { max });
        }
        if let Some(newest) = self.locks.last().filter(|newest| newest.id >= lock.id) {
            return Err(Reject::LockIdReused {
                newest: newest.id,
                got: lock.id,
            });
        }
        let total = self.total.plus(lock.amount)?;
        if total.0 > limits::AMOUNT_MAX {
            return Err(Reject::AmountOverflow);
        }
        self.total = total;
        self.changed(self.locks.len());
        self.tree.push(lock.leaf());
        self.locks.push(lock);
        Ok(())
    }

    /// Removes a lock. Errors: unknown id.
    pub(crate) fn remove(&mut self, id: u64) -> Result<Lock, Reject> {
        let place = self.place(id).ok_or(Reject::LockUnknown { id })?;
        let lock = self.locks.remove(place);
        self.tree.remove(place);
        self.changed(place);
        self.total = self.total.minus(lock.amount)?;
        Ok(lock)
    }

    /// Hashes what changed: the tree is whole afterwards.
    pub(crate) fn settle(&mut self) {
        if let Some(from) = self.stale.take() {
            self.tree.repair(from);
        }
    }

    fn changed(&mut self, place: usize) {
        self.stale = Some(self.stale.map_or(place, |first| first.min(place)));
    }

    /// The opening of the commitment; `None` without locks.
    #[must_use]
    pub fn opening(&self) -> Option<LocksOpening> {
        let max_expiry = self.iter().map(|lock| lock.expiry).max()?;
        Some(LocksOpening {
            root: self.whole().root(),
            total: self.total,
            max_expiry,
        })
    }

    /// The voucher's `locks` word: zero without locks.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        self.opening()
            .map_or(Digest::ZERO, |opening| opening.commitment())
    }

    /// Merkle proof of the lock with `id`.
    #[must_use]
    pub fn proof(&self, id: u64) -> Option<Vec<Digest>> {
        let place = self.place(id)?;
        Some(self.whole().proof(place))
    }

    fn whole(&self) -> Cow<'_, Tree> {
        let mut tree = Cow::Borrowed(&self.tree);
        if let Some(from) = self.stale {
            tree.to_mut().repair(from);
        }
        tree
    }
}
