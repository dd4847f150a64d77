//! Transactions that wait for a block.

use super::failure::RpcFailure;
use super::tx::Tx;
use alloy::consensus::Transaction as _;
use alloy::primitives::{Address, B256};
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Most waiting transactions.
const WAITING_MAX: usize = 100_000;
/// A replacement must raise both fees by this many percent.
const BUMP_PERCENT: u128 = 10;

#[derive(Clone, Debug)]
struct Waiting {
    tx: Tx,
    arrival: u64,
}

/// The mempool: per sender by nonce.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    senders: HashMap<Address, BTreeMap<u64, Waiting>>,
    by_hash: HashMap<B256, (Address, u64)>,
    arrivals: u64,
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn find(&self, hash: B256) -> Option<&Tx> {
        let (sender, nonce) = self.by_hash.get(&hash)?;
        self.senders.get(sender)?.get(nonce).map(|waiting| &waiting.tx)
    }

    /// All waiting transactions in the order they came.
    pub(super) fn all(&self) -> Vec<&Tx> {
        let mut all: Vec<&Waiting> = self.senders.values().flat_map(BTreeMap::values).collect();
        all.sort_by_key(|waiting| waiting.arrival);
        all.into_iter().map(|waiting| &waiting.tx).collect()
    }

    /// Adds a transaction, replacing one of the same nonce that pays less.
    pub(super) fn add(&mut self, tx: Tx) -> Result<(), RpcFailure> {
        if self.by_hash.contains_key(&tx.hash) {
            return Err(RpcFailure::server("already known"));
        }
        if self.len() >= WAITING_MAX {
            return Err(RpcFailure::server("txpool is full"));
        }
        let nonce = tx.envelope.nonce();
        let queue = self.senders.entry(tx.sender).or_default();
        if let Some(old) = queue.get(&nonce) {
            if !outbids(&tx, &old.tx) {
                return Err(RpcFailure::rejected("replacement transaction underpriced"));
            }
            self.by_hash.remove(&old.tx.hash);
        }
        self.arrivals = self.arrivals.saturating_add(1);
        self.by_hash.insert(tx.hash, (tx.sender, nonce));
        queue.insert(
            nonce,
            Waiting {
                tx,
                arrival: self.arrivals,
            },
        );
        Ok(())
    }

    pub(super) fn remove(&mut self, hash: B256) -> Option<Tx> {
        let (sender, nonce) = self.by_hash.remove(&hash)?;
        let queue = self.senders.get_mut(&sender)?;
        let removed = queue.remove(&nonce);
        if queue.is_empty() {
            self.senders.remove(&sender);
        }
        removed.map(|waiting| waiting.tx)
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            arrivals: self.arrivals,
            ..Self::default()
        };
    }

    /// The first nonce from `next` on that nothing waits for.
    pub(super) fn nonce_after(&self, sender: Address, next: u64) -> u64 {
        let Some(queue) = self.senders.get(&sender) else {
            return next;
        };
        let mut free = next;
        while queue.contains_key(&free) {
            free = free.saturating_add(1);
        }
        free
    }

    pub(super) fn waits_at(&self, sender: Address, nonce: u64) -> Option<&Tx> {
        self.senders.get(&sender)?.get(&nonce).map(|waiting| &waiting.tx)
    }

    /// The order of one block: highest tip first, then first come, each sender's nonces in order.
    pub(super) fn candidates(&self, base_fee: u64, next_nonce: impl Fn(Address) -> u64) -> Candidates<'_> {
        let mut candidates = Candidates {
            pool: self,
            base_fee,
            heap: BinaryHeap::new(),
        };
        for sender in self.senders.keys() {
            candidates.push(*sender, next_nonce(*sender));
        }
        candidates
    }
}

fn outbids(new: &Tx, old: &Tx) -> bool {
    let enough = |new: u128, old: u128| {
        let needed = old.saturating_mul(BUMP_PERCENT.saturating_add(100)).div_ceil(100);
        new >= needed
    };
    let tip = |tx: &Tx| {
        tx.envelope
            .max_priority_fee_per_gas()
            .unwrap_or_else(|| tx.envelope.max_fee_per_gas())
    };
    enough(new.envelope.max_fee_per_gas(), old.envelope.max_fee_per_gas()) && enough(tip(new), tip(old))
}

/// Candidates of a block, best first.
pub(super) struct Candidates<'a> {
    pool: &'a Pool,
    base_fee: u64,
    heap: BinaryHeap<(u128, std::cmp::Reverse<u64>, Address, u64)>,
}

impl<'a> Candidates<'a> {
    /// The best executable transaction that is left.
    pub(super) fn next(&mut self) -> Option<&'a Tx> {
        let (_, _, sender, nonce) = self.heap.pop()?;
        self.pool.waits_at(sender, nonce)
    }

    /// Lets the sender's next transaction compete, after the one before it was executed.
    pub(super) fn advance(&mut self, done: &Tx) {
        self.push(done.sender, done.envelope.nonce().saturating_add(1));
    }

    fn push(&mut self, sender: Address, nonce: u64) {
        let Some(waiting) = self.pool.senders.get(&sender).and_then(|queue| queue.get(&nonce)) else {
            return;
        };
        if let Some(tip) = waiting.tx.tip(self.base_fee) {
            self.heap
                .push((tip, std::cmp::Reverse(waiting.arrival), sender, nonce));
        }
    }
}
