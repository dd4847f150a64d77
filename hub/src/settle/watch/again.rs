//! What was shown and mined, and is due again all the same: a reorg took it away, or node or contract contradict
//! themselves. It is told, and tried again less and less often, but in time.

use super::folder::Ward;
use crate::settle::{evidence::CheckedEvidence, journal::Entry, outlook::Offer};
use protocol_spec::{Digest, UnixSeconds};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Of the time left at most one part in so many is waited.
const PART_OF_REST: u64 = 8;

/// What a transaction shows: the same again adds nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    voucher: Digest,
    opened: bool,
    unlocks: BTreeSet<u64>,
}

impl Shown {
    pub(super) fn new(evidence: &CheckedEvidence, offer: &Offer) -> Self {
        let received = evidence.received();
        let voucher = received.voucher.as_ref().filter(|_| offer.voucher);
        Self {
            voucher: voucher.map_or(Digest::ZERO, |voucher| voucher.digest()),
            opened: received.opening.is_some(),
            unlocks: offer.unlocks.clone(),
        }
    }

    /// Ids of the locks in it.
    pub(super) fn unlocks(&self) -> &BTreeSet<u64> {
        &self.unlocks
    }

    /// One lock, and no voucher.
    pub(super) fn is_one_lock(&self) -> bool {
        self.voucher == Digest::ZERO && self.unlocks.len() == 1
    }
}

#[derive(Debug)]
struct Last {
    shown: Shown,
    /// It is in a block.
    mined: bool,
    /// It is in a block, where it failed.
    reverted: bool,
    /// How often it was mined in vain.
    in_vain: u32,
    not_before: Option<Instant>,
}

/// Whether something may be shown now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Yes.
    Go,
    /// Later. `true`: it was just found that it was mined in vain, to be told.
    Wait(bool),
}

/// By side of a channel: what was shown last, by this process.
#[derive(Debug, Default)]
pub(super) struct Again(BTreeMap<Ward, Last>);

impl Again {
    /// It was sent.
    pub(super) fn sent(&mut self, ward: Ward, shown: Shown) {
        let before = self.0.remove(&ward).filter(|last| last.shown == shown);
        let last = Last {
            in_vain: before.map_or(0, |last| last.in_vain),
            shown,
            mined: false,
            reverted: false,
            not_before: None,
        };
        self.0.insert(ward, last);
    }

    /// It is in a block, and succeeded.
    pub(super) fn mined(&mut self, entry: &Entry) {
        let ward = entry.purpose.channels.first().zip(entry.shown_side());
        let last = ward.and_then(|(id, side)| self.0.get_mut(&(*id, side)));
        if let Some(last) = last {
            last.mined = true;
        }
    }

    /// It is in a block, and failed.
    pub(super) fn reverted(&mut self, entry: &Entry) {
        let ward = entry.purpose.channels.first().zip(entry.shown_side());
        let last = ward.and_then(|(id, side)| self.0.get_mut(&(*id, side)));
        if let Some(last) = last {
            last.reverted = true;
        }
    }

    /// What was shown last and reverted; told once.
    pub(super) fn take_reverted(&mut self, ward: Ward) -> Option<Shown> {
        let last = self.0.get_mut(&ward)?;
        std::mem::take(&mut last.reverted).then(|| last.shown.clone())
    }

    /// Whether `shown` may be sent at chain time `now`; it must be there before `until`. `every`: between two looks.
    pub(super) fn turn(
        &mut self,
        ward: Ward,
        shown: &Shown,
        (now, until): (UnixSeconds, UnixSeconds),
        every: Duration,
    ) -> Turn {
        let Some(last) = self.0.get_mut(&ward).filter(|last| last.shown == *shown) else {
            return Turn::Go;
        };
        if std::mem::take(&mut last.mined) {
            let rest = Duration::from_secs(until.0.saturating_sub(now.0) / PART_OF_REST);
            let pause = every.saturating_mul(2_u32.saturating_pow(last.in_vain)).min(rest);
            last.in_vain = last.in_vain.saturating_add(1);
            last.not_before = Instant::now().checked_add(pause);
            return Turn::Wait(true);
        }
        match last.not_before {
            Some(at) if Instant::now() < at => Turn::Wait(false),
            _ => Turn::Go,
        }
    }
}
