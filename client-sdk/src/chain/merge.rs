//! What several endpoints say, as one reading. Any of them may be down, stand still or lie, about the time, too: nothing that one
//! of three says alone is believed, but for a dispute, which freezes the channel and is answered.

use super::{Facts, Reading, Seen, Shown};
use protocol_spec::{Amount, ChannelId, UnixSeconds, limits};
use std::{cmp::Reverse, collections::BTreeSet};

/// Endpoints, and the own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    /// How many there are, those included that do not answer.
    pub(crate) endpoints: usize,
    /// How many of them must agree. `None`: more than half of all.
    pub(crate) agree: Option<usize>,
    pub(crate) own: UnixSeconds,
}

impl Panel {
    /// The readings of all endpoints that answered last time, as one. `None` when there is none.
    ///
    /// Everything is what as many endpoints that are up to date say as must agree: the most that so many have reached, of the
    /// hub's withdrawals also the least that so many do not exceed. When fewer are up to date only disputes are told.
    /// A dispute is told by whoever shows it, up to date or not, until more than half show that it is past.
    pub(crate) fn merge(self, readings: &[&Reading]) -> Option<Reading> {
        let reference = self.reference(readings)?;
        // Of two the own clock decides: it may be as wrong as a node may be behind.
        let behind_max = limits::LAG_DEFAULT_S << u32::from(readings.len() == 2);
        let fresh = |reading: &&Reading| {
            reading.now.after(behind_max) >= reference
                && reading.now <= reference.after(limits::LAG_DEFAULT_S)
        };
        let (fresh, others): (Vec<&Reading>, Vec<&Reading>) = readings.iter().copied().partition(fresh);
        let needed = self.needed(fresh.len());
        let shared = |of: fn(&Reading) -> u64| reached(fresh.iter().map(|reading| of(reading)), needed);
        let mut merged = Reading {
            number: shared(|reading| reading.number).unwrap_or_default(),
            confirmed_number: shared(|reading| reading.confirmed_number).unwrap_or_default(),
            now: UnixSeconds(shared(|reading| reading.now.0).unwrap_or_default()),
            confirmed: UnixSeconds(shared(|reading| reading.confirmed.0).unwrap_or_default()),
            too_few: fresh.len() < needed,
            ..Reading::default()
        };
        let ids: BTreeSet<&ChannelId> = readings
            .iter()
            .flat_map(|reading| reading.channels.keys())
            .collect();
        for id in ids {
            // One that was asked before the channel was known says nothing about it.
            let of = |readings: &[&Reading]| -> Vec<Seen> {
                let seen = readings.iter().filter_map(|reading| reading.channels.get(id));
                seen.cloned().collect()
            };
            merged
                .channels
                .insert(*id, self.together(&of(&fresh), &of(&others), needed));
        }
        Some(merged)
    }

    fn majority(self) -> usize {
        (self.endpoints >> 1).saturating_add(1)
    }

    /// What undoes something takes more than half of all, whatever was asked for.
    fn undoing(self) -> usize {
        self.agree.unwrap_or_default().max(self.majority())
    }

    /// How many must agree of those that are `up_to_date`: a majority. Of two endpoints one that is left alone decides.
    fn needed(self, up_to_date: usize) -> usize {
        match (self.agree, self.endpoints, up_to_date) {
            (None, 2, 1) => 1,
            (agree, ..) => agree.unwrap_or(self.majority()),
        }
    }

    /// The time that heads are measured by: one that as many have reached as must agree, and never one alone. Of two, or when
    /// fewer answer, the newest that is not ahead of the own clock, or the oldest when all are ahead of it.
    fn reference(self, readings: &[&Reading]) -> Option<UnixSeconds> {
        let heads = || readings.iter().map(|reading| reading.now);
        let rank = self.agree.unwrap_or(self.majority()).max(2);
        match readings.len() > 2 && readings.len() >= rank {
            true => reached(heads(), rank),
            false => Some(heads().max()?.min(self.own).max(heads().min()?)),
        }
    }

    /// What endpoints that are up to date say of one channel, of which so many must agree, with the disputes of the `others`.
    fn together(self, fresh: &[Seen], others: &[Seen], needed: usize) -> Seen {
        let confirmed = || fresh.iter().map(|seen| &seen.confirmed);
        let newest = || fresh.iter().map(|seen| &seen.newest);
        // Over, or followed by another one: not told for ever by who stands still.
        let past = |dispute: &Facts| {
            let over = |facts: &&Facts| {
                facts.dispute_no > dispute.dispute_no
                    || (facts.dispute_no == dispute.dispute_no && !facts.disputed)
            };
            newest().filter(over).count() >= self.undoing()
        };
        let all = fresh.iter().chain(others).map(|seen| seen.newest);
        let disputes: Vec<Facts> = all.filter(|facts| facts.disputed && !past(facts)).collect();
        let numbers = newest()
            .filter(|facts| facts.disputed)
            .map(|facts| facts.dispute_no);
        let shared_dispute = reached(numbers, needed).filter(|_| !disputes.is_empty());
        let any_dispute = disputes.iter().map(|facts| facts.dispute_no).max();
        let few = fresh.len() < needed;
        let closed = confirmed().filter(|facts| facts.closed).count();
        let left = confirmed().filter(|facts| facts.open || facts.disputed).count();
        let least = reached(confirmed().map(|facts| Reverse(facts.hub_withdrawn)), needed);
        let newest_facts = shared(newest(), needed);
        // Shown in vain a lock costs nothing; not shown it is lost.
        let marked = fresh.iter().chain(others).flat_map(|seen| &seen.marked);
        let agreed = |id: &u64| {
            let by = fresh.iter().filter(|seen| seen.marked_for_good.contains(id));
            // It is never taken back, and ends what is done for the lock: as hard to say as that a channel is closed.
            by.count() >= needed.max(self.undoing())
        };
        let for_good = fresh.iter().flat_map(|seen| seen.marked_for_good.iter().copied());
        let seen = Seen {
            confirmed: shared(confirmed(), needed),
            newest: Facts {
                open: disputes.is_empty() && newest_facts.open,
                disputed: !disputes.is_empty(),
                dispute_no: shared_dispute.or(any_dispute).unwrap_or(newest_facts.dispute_no),
                ..newest_facts
            },
            open: newest().filter(|facts| facts.open).count(),
            disputes,
            needed,
            shared_dispute,
            agreed: closed == 0 || closed >= needed || fresh.len().saturating_sub(closed) >= needed,
            not_closed: self.endpoints > 1 && closed == 0 && left >= self.undoing(),
            closed_by_most: closed >= self.undoing(),
            hub_withdrawn_most: least.map_or(Amount::ZERO, |Reverse(least)| least),
            few,
            marked: marked.copied().collect(),
            marked_for_good: for_good.filter(agreed).collect(),
        };
        match few {
            true => seen.only_disputes(),
            false => seen,
        }
    }
}

/// What so many of them say.
fn shared<'a>(all: impl Iterator<Item = &'a Facts> + Clone, needed: usize) -> Facts {
    let most = |of: fn(&Facts) -> Amount| reached(all.clone().map(of), needed).unwrap_or_default();
    let agree = |of: fn(&Facts) -> bool| all.clone().filter(|facts| of(facts)).count() >= needed;
    Facts {
        open: agree(|facts| facts.open),
        disputed: agree(|facts| facts.disputed),
        closed: agree(|facts| facts.closed),
        client_deposit: most(|facts| facts.client_deposit),
        hub_deposit: most(|facts| facts.hub_deposit),
        client_withdrawn: most(|facts| facts.client_withdrawn),
        hub_withdrawn: most(|facts| facts.hub_withdrawn),
        // Marks of a dispute that is past live on (R17): of two that differ the later.
        dispute_no: reached(all.clone().map(|facts| Reverse(facts.dispute_no)), needed)
            .map_or_else(Default::default, |Reverse(number)| number),
        shown: Shown {
            seq: reached(all.clone().map(|facts| facts.shown.seq), needed).unwrap_or_default(),
            paid: most(|facts| facts.shown.paid),
            live: agree(|facts| facts.shown.live),
            opened: agree(|facts| facts.shown.opened),
            counted: most(|facts| facts.shown.counted),
            ..Shown::default()
        },
        taken: most_taken(all),
    }
}

/// The most that any of them says was taken: money is back only if none of those that are up to date says otherwise.
fn most_taken<'a>(all: impl Iterator<Item = &'a Facts>) -> Shown {
    let more = |most: Shown, facts: &Facts| Shown {
        seq: most.seq.max(facts.taken.seq),
        paid: most.paid.max(facts.taken.paid),
        live: most.live || facts.taken.live,
        counted: most.counted.max(facts.taken.counted),
        ..most
    };
    all.fold(Shown::default(), more)
}

/// The most that so many of them reach; `None` when there are fewer.
pub(super) fn reached<T: Ord>(all: impl Iterator<Item = T>, needed: usize) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().nth(needed.checked_sub(1)?)
}

/// Of several the one in the middle; of the two in the middle the larger.
pub(super) fn upper_middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len() >> 1).copied()
}

/// Of several the one in the middle; of the two in the middle the smaller.
pub(super) fn lower_middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len().saturating_sub(1) >> 1).copied()
}

#[cfg(test)]
mod tests;
