//! Locks: amounts promised on a condition until an expiry, and the commitment a voucher carries over all of them.

use crate::{Address, Amount, Condition, Digest, Reject, Side, UnixSeconds, batch::Tree, hash, limits};
use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LockSet {
    locks: BTreeMap<u64, Member>,
    total: Amount,
}

/// A lock and its leaf, which is most of the work of a commitment and never changes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    lock: Lock,
    leaf: Digest,
}

impl From<Lock> for Member {
    fn from(lock: Lock) -> Self {
        let leaf = lock.leaf();
        Self { lock, leaf }
    }
}

impl LockSet {
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
        self.locks.get(&id).map(|member| &member.lock)
    }

    /// All locks in ascending id.
    pub fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values().map(|member| &member.lock)
    }

    /// Adds a lock of `payer`. Errors: too many, or the sum leaves the adjudicator's range.
    pub(crate) fn add(&mut self, lock: Lock, payer: Side) -> Result<(), Reject> {
        let max = limits::locks_max(payer);
        if self.locks.len() >= max {
            return Err(Reject::LocksTooMany { max });
        }
        let total = self.total.plus(lock.amount)?;
        if total.0 > limits::AMOUNT_MAX {
            return Err(Reject::AmountOverflow);
        }
        self.total = total;
        self.locks.insert(lock.id, lock.into());
        Ok(())
    }

    /// Removes a lock. Errors: unknown id.
    pub(crate) fn remove(&mut self, id: u64) -> Result<Lock, Reject> {
        let Member { lock, .. } = self.locks.remove(&id).ok_or(Reject::LockUnknown { id })?;
        self.total = self.total.minus(lock.amount)?;
        Ok(lock)
    }

    fn tree(&self) -> Tree {
        Tree::new(self.locks.values().map(|member| member.leaf).collect())
    }

    /// The opening of the commitment; `None` without locks. Every pair of the tree is hashed: [`Half::opening`] keeps it.
    ///
    /// [`Half::opening`]: crate::channel::Half::opening
    #[must_use]
    pub fn opening(&self) -> Option<LocksOpening> {
        let max_expiry = self.iter().map(|lock| lock.expiry).max()?;
        Some(LocksOpening {
            root: self.tree().root(),
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
        let index = self.locks.keys().position(|key| *key == id)?;
        Some(self.tree().proof(index))
    }
}
