//! What was sent and is not deep in a block yet. No I/O.

use super::fees::Offer;
use super::prepare::Ready;
use alloy::primitives::{B256, Bytes};

/// Most transactions that are remembered. Those in blocks make room for others; when none is, nothing more is sent.
const ENTRIES_MAX: usize = 4_096;

/// A request that was sent, with all its transactions.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// The request, with the gas and the fees of the newest transaction.
    pub(super) ready: Ready,
    pub(super) nonce: u64,
    /// The newest transaction, signed.
    pub(super) raw: Bytes,
    /// Every transaction that was made for this request, oldest first; at most one of them can be executed.
    pub(super) hashes: Vec<B256>,
    /// The first `max_fee_per_gas`.
    pub(super) first_fee: u128,
    /// See [`Offer::ceiling`].
    pub(super) ceiling: u128,
    /// Chain time of the first look.
    pub(super) since_s: Option<u64>,
    /// Head at the first look at the newest transaction; `None` before it.
    pub(super) offered_at: Option<u64>,
    /// The block that it was found in.
    pub(super) mined_at: Option<u64>,
    /// Head when its nonce was found used by another transaction.
    pub(super) taken_at: Option<u64>,
    /// Head when the operator was last told that it cannot be raised.
    pub(super) told_at: Option<u64>,
}

impl Entry {
    pub(super) fn new(ready: Ready, nonce: u64, raw: Bytes, hash: B256) -> Self {
        let first_fee = ready.fees.max_fee_per_gas;
        Self {
            id: 0,
            ready,
            nonce,
            raw,
            hashes: vec![hash],
            first_fee,
            ceiling: first_fee,
            since_s: None,
            offered_at: None,
            mined_at: None,
            taken_at: None,
            told_at: None,
        }
    }

    pub(super) fn newest(&self) -> B256 {
        self.hashes.last().copied().unwrap_or_default()
    }

    pub(super) fn offer(&self, limit: Option<u128>, deadline_s: Option<u64>, now_s: u64) -> Offer {
        Offer {
            fees: self.ready.fees,
            first: self.first_fee,
            ceiling: self.ceiling,
            limit,
            since_s: self.since_s.unwrap_or(now_s),
            now_s,
            deadline_s,
        }
    }

    /// Whether the time by which it had to be in a block has passed.
    pub(super) fn is_late(&self, now_s: u64) -> bool {
        let deadline_s = self.ready.request.deadline_s;
        deadline_s.is_some_and(|deadline_s| deadline_s < now_s)
    }

    /// Another transaction for the same request.
    pub(super) fn replace(&mut self, ready: Ready, nonce: u64, raw: Bytes, hash: B256) {
        self.ready = ready;
        self.nonce = nonce;
        self.raw = raw;
        self.hashes.push(hash);
        self.offered_at = None;
        self.taken_at = None;
    }
}

/// All that is remembered, in the order in which it was sent.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    next_id: u64,
    /// Head when a gap below our nonces was first seen.
    pub(super) gap_at: Option<u64>,
    /// The lowest free nonce while a transaction of an earlier process waits there, and the head when that was first seen.
    pub(super) blocked_at: Option<(u64, u64)>,
}

impl Book {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers an entry and returns those that it makes obsolete: a nonce that was given replaces what was sent
    /// with it, and the oldest in a block goes when there are too many.
    pub(super) fn add(&mut self, entry: Entry) -> Vec<Entry> {
        let (nonce, replaces) = (entry.nonce, entry.ready.request.nonce.is_some());
        let (mut gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|other| replaces && other.nonce == nonce);
        self.entries = kept;
        self.next_id = self.next_id.saturating_add(1);
        let id = self.next_id;
        self.entries.push(Entry { id, ..entry });
        if self.entries.len() > ENTRIES_MAX {
            let done = self.entries.iter().position(|entry| entry.mined_at.is_some());
            gone.push(self.entries.remove(done.unwrap_or(0)));
        }
        gone
    }

    /// All entries as they are, lowest nonce first.
    pub(super) fn all(&self) -> Vec<Entry> {
        let mut all = self.entries.clone();
        all.sort_by_key(|entry| entry.nonce);
        all
    }

    /// Writes an entry back; nothing happens if it was forgotten in between.
    pub(super) fn put(&mut self, entry: Entry) {
        if let Some(place) = self.entries.iter_mut().find(|other| other.id == entry.id) {
            *place = entry;
        }
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.entries.retain(|entry| entry.id != id);
    }

    pub(super) fn find(&self, hash: B256) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.hashes.contains(&hash))
    }

    /// Whether no other request was sent with the same nonce after this one.
    pub(super) fn is_newest(&self, entry: &Entry) -> bool {
        let newer = |other: &Entry| other.nonce == entry.nonce && other.id > entry.id;
        !self.entries.iter().any(newer)
    }

    /// Those that wait for this one.
    pub(super) fn behind(&self, entry: &Entry) -> impl Iterator<Item = &Entry> {
        let nonce = entry.nonce;
        let others = self.entries.iter();
        others.filter(move |other| other.nonce > nonce && other.mined_at.is_none())
    }

    /// True when there is no room for another that waits.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES_MAX && self.entries.iter().all(|entry| entry.mined_at.is_none())
    }

    /// The lowest nonce that is not in a block.
    pub(super) fn lowest_waiting(&self, used: u64) -> Option<u64> {
        let nonces = self.entries.iter().map(|entry| entry.nonce);
        nonces.filter(|nonce| *nonce >= used).min()
    }

    /// Requests that are not in a block, as far as was seen, by their first hash.
    pub(super) fn waiting(&self) -> Vec<B256> {
        let waiting = self.entries.iter().filter(|entry| entry.mined_at.is_none());
        waiting
            .filter_map(|entry| entry.hashes.first().copied())
            .collect()
    }
}
