//! What is remembered of payments: ids at their payers, receipts at their payees, vouchers of the hub until they are
//! acknowledged. All of it is in memory, so there is a maximum for all channels together: beyond it a channel keeps no more than
//! its share of what can be forgotten, and takes no more than there is room for of what cannot.
//!
//! A channel forgets ids and receipts when it remembers something new, and when the hand points at it: with every record it
//! goes on by some channels, so that those that rest give memory back as well. What must be kept is never forgotten: who has
//! more ids that could still be delivered twice than there is room for cannot pay until some have expired, and whoever lets
//! vouchers pile up is not paid, and not heard, until it acknowledges them, or shows with a resume that it has them.

use super::{
    Commit, Ledger,
    entry::{Entry, EventRow},
    input::Change,
    output::Issue,
    payments::{Known, Outcome},
};
use protocol_spec::{
    Op, PaymentId, Seq, UnixSeconds,
    canary::{Canary, planted},
};
use std::sync::Arc;

/// A channel's share is at least this much.
const SHARE_MIN: u64 = 16;

/// Where memory is full, what must be kept may take up to this part of what is left of twice the policy's maximum.
const ROOM_PART: u64 = 8;

/// Vouchers that are not acknowledged may weigh so much, and where memory is full what room there is, but at least the
/// minimum: clients that pay without waiting have some.
const BACKLOG_MAX: u64 = 131_072;
const BACKLOG_MIN: u64 = 512;

/// So many vouchers of the hub may wait for an acknowledgement whose client has shown that it has them: their numbers are
/// kept, and not counted.
const SHOWN_MAX: usize = 4_096;

/// What a voucher and each of its operations weigh: as much memory as so many ids or receipts.
const VOUCHER_WEIGHT: u64 = 4;
const OP_WEIGHT: u64 = 2;

/// Forgotten at once at most when something new is remembered, beside twice as much as is new.
const FORGOTTEN: usize = 64;

/// How far the hand goes with a record, and how far when memory is full.
const LOOKS: usize = 4;
const LOOKS_FULL: usize = 64;

/// Forgotten with one move of the hand at most: payments wait meanwhile.
const FORGOTTEN_BY_HAND: usize = 32_768;

/// Ids, receipts and unacknowledged vouchers of all channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Remembered {
    items: u64,
    /// Channels that have any.
    holders: u64,
}

/// What is remembered of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    /// Ids, receipts, and what its vouchers weigh.
    pub(super) items: u64,
    /// Ids and receipts.
    pub(super) rows: u64,
    /// When the oldest of these was committed; of an id: when its payment expired, if that is later. The maximum, if there is none.
    pub(super) oldest: UnixSeconds,
}

impl Remembered {
    /// A channel has `after` items now, and had `before`.
    fn count(&mut self, before: u64, after: u64) {
        self.items = self.items.saturating_add(after).saturating_sub(before);
        self.holders = self
            .holders
            .saturating_add(u64::from(after > 0))
            .saturating_sub(u64::from(before > 0));
    }

    /// A channel with so many items is there from now on.
    pub(super) fn add(&mut self, items: u64) {
        self.count(0, items);
    }

    /// What one channel keeps, of what can be forgotten, when there is no more room. `max` is of the policy.
    fn share(&self, max: u64) -> u64 {
        max.checked_div(self.holders).unwrap_or(max).max(SHARE_MIN)
    }

    /// Up to which a channel may take more of what cannot be forgotten: the less there is left, the less, but always its share.
    /// So all channels together never take much more than three times `max`, in whatever order they come.
    fn room(&self, max: u64) -> u64 {
        let left = max.saturating_mul(2).saturating_sub(self.items);
        (left / ROOM_PART).max(self.share(max))
    }
}

impl Entry {
    pub(super) fn held(&self) -> Held {
        let stored = &self.stored;
        let id = stored
            .payments
            .front()
            .map(|known| known.outcome.at.max(known.outcome.expires_at));
        let receipt = stored.events.front().map(|row| row.at);
        Held {
            items: self.items(),
            rows: self.rows(),
            oldest: id
                .into_iter()
                .chain(receipt)
                .min()
                .unwrap_or(UnixSeconds(u64::MAX)),
        }
    }

    /// Ids, receipts, and what its vouchers weigh.
    pub(super) fn items(&self) -> u64 {
        self.rows().saturating_add(self.backlog_weight)
    }

    /// What its vouchers after `seq` weigh.
    pub(super) fn weight_after(&self, seq: Seq) -> u64 {
        let backlog = self.stored.backlog.iter();
        let after = backlog.filter(|issue| issue.voucher.seq > seq);
        after.map(|issue| weight(&issue)).sum()
    }

    /// When the first id or the first receipt was committed, whichever was earlier. The maximum, if there is none. Both are far
    /// away by the time they matter: `oldest_row` has the answer at hand.
    pub(super) fn first_row(&self) -> UnixSeconds {
        let id = self.stored.payments.front().map(|known| known.outcome.at);
        let receipt = self.stored.events.front().map(|row| row.at);
        let first = id.into_iter().chain(receipt).min();
        first.unwrap_or(UnixSeconds(u64::MAX))
    }

    fn rows(&self) -> u64 {
        self.stored
            .payments
            .len()
            .saturating_add(self.stored.events.len()) as u64
    }
}

impl Ledger {
    /// Ids and receipts remembered in all channels, and what the vouchers weigh that are not acknowledged.
    #[must_use]
    pub fn remembered(&self) -> u64 {
        self.remembered.items
    }

    fn is_full(&self) -> bool {
        self.remembered.items >= self.policy.remembered_max
    }

    /// What became of a payment, at its payer. One that bounced is not remembered where there is no place.
    pub(super) fn remember(&mut self, payer: usize, payment_id: PaymentId, outcome: Outcome) {
        if outcome.bounced.is_some() && !self.can_remember(payer, outcome.at) {
            return;
        }
        let Some(entry) = self.entries.get_mut(payer) else {
            return;
        };
        let before = entry.items();
        entry.push_payment(Known {
            id: payment_id,
            outcome,
        });
        if entry.stored.payments.len() == 1 {
            entry.oldest_row = entry.first_row();
        }
        self.remembered.count(before, entry.items());
        self.forget(payer, outcome.at, FORGOTTEN);
    }

    /// False when the channel has used up its place for ids that must still be kept.
    pub(super) fn can_remember(&self, payer: usize, now: UnixSeconds) -> bool {
        let Some(entry) = self.entries.get(payer) else {
            return false;
        };
        let payments = &entry.stored.payments;
        let in_channel = payments.len() < self.policy.events_per_channel_max as usize;
        // Of the oldest rows, which are far away, only what has to be asked.
        let in_all = || {
            !self.is_full()
                || entry.items() < self.remembered.room(self.policy.remembered_max)
                || entry.stored.events.front().is_some_and(|row| row.at != now)
        };
        // The same as in `forget`.
        let gives_way = || {
            payments.front().is_some_and(|oldest| {
                oldest.outcome.forgettable(now) && (oldest.outcome.at != now || !in_channel)
            })
        };
        (in_channel && in_all()) || gives_way()
    }

    /// A voucher of the hub, until its client acknowledges it, and the receipts that come with it. True if there are any.
    pub(super) fn remember_voucher(&mut self, payee: usize, issue: Arc<Issue>, now: UnixSeconds) -> bool {
        let Some(entry) = self.entries.get_mut(payee) else {
            return false;
        };
        let (before, rows) = (entry.items(), entry.rows());
        let first = entry.stored.events.len() == 0;
        push_receipts(entry, &issue, now);
        if first && entry.stored.events.len() > 0 {
            entry.oldest_row = entry.first_row();
        }
        entry.backlog_weight = entry.backlog_weight.saturating_add(weight(&issue));
        entry.stored.backlog.push(issue);
        let new = entry.rows().saturating_sub(rows);
        self.remembered.count(before, entry.items());
        let twice = usize::try_from(new.saturating_mul(2)).unwrap_or(usize::MAX);
        self.forget(payee, now, twice.saturating_add(FORGOTTEN));
        new > 0
    }

    /// Forgets the vouchers up to `seq`, which the client has acknowledged, or shown.
    pub(super) fn trim_backlog(&mut self, index: usize, seq: Seq) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let before = entry.items();
        let backlog = &mut entry.stored.backlog;
        while let Some(issue) = backlog.front().filter(|issue| issue.voucher.seq <= seq) {
            entry.backlog_weight = entry.backlog_weight.saturating_sub(weight(issue));
            backlog.pop_front();
        }
        self.remembered.count(before, entry.items());
    }

    /// True when the channel's vouchers that are not acknowledged take more memory than they may.
    pub(super) fn hoards(&self, entry: &Entry) -> bool {
        let most = match self.is_full() {
            true => self.remembered.room(self.policy.remembered_max),
            false => BACKLOG_MAX,
        };
        entry.backlog_weight > most.clamp(BACKLOG_MIN, BACKLOG_MAX)
    }

    /// True when too many vouchers wait of which nothing but the numbers is kept.
    pub(super) fn shown_only(entry: &Entry) -> bool {
        let kept = entry.stored.backlog.len().saturating_add(SHOWN_MAX);
        entry.channel.has_unacked(SHOWN_MAX) && entry.channel.unacked() > kept
    }

    /// A client that hoards showed the hub's voucher `seq`: those up to there need not be sent again. Without this, one that
    /// had signed some vouchers before it saw those of the hub could not go on: they acknowledge less.
    pub(super) fn seen(&mut self, index: usize, seq: Seq, commit: &mut Commit) {
        let Some(entry) = self.entries.get(index).filter(|entry| self.hoards(entry)) else {
            return;
        };
        let channel = entry.channel.id();
        self.trim_backlog(index, seq);
        self.dirty.insert(index);
        commit.changes.push(&Change::Seen { channel, seq });
    }

    /// Forgets up to `most` ids and receipts of a channel that are beyond the retention window, the channel's maximum or,
    /// where memory is full, its share; the oldest first. Returns how many.
    fn forget(&mut self, index: usize, now: UnixSeconds, most: usize) -> usize {
        let policy = &self.policy;
        let (retention_s, in_channel) = (policy.retention_s, policy.events_per_channel_max as usize);
        let in_all = policy.remembered_max;
        let remembered = self.remembered;
        let Some(entry) = self.entries.get_mut(index) else {
            return 0;
        };
        let longest = entry.stored.payments.len().max(entry.stored.events.len());
        if remembered.items <= in_all && longest <= in_channel && entry.oldest_row.after(retention_s) >= now {
            return 0; // nearly always: nothing of it is loaded
        }
        let before = entry.items();
        let share = remembered.share(in_all);
        let mut forgotten = 0_usize;
        while forgotten < most {
            let own = entry.items();
            let is_full = remembered.items.saturating_sub(before).saturating_add(own) > in_all;
            let crowded = is_full && own > share;
            // What was committed a moment ago is still to be shown to those who look on.
            let goes = |len: usize, at: UnixSeconds| {
                (crowded && at != now) || len > in_channel || at.after(retention_s) < now
            };
            let (payments, events) = (&entry.stored.payments, &entry.stored.events);
            let id_goes = |outcome: &Outcome| {
                let may_go = outcome.forgettable(now) && goes(payments.len(), outcome.at);
                may_go || (is_full && outcome.at != now && planted(Canary::ForgetForRoom))
            };
            let id = payments.front().copied().filter(|known| id_goes(&known.outcome));
            let receipt = events.front().map(|row| row.at);
            let receipt = receipt.filter(|at| goes(events.len(), *at));
            match (id, receipt) {
                (None, None) => break,
                (Some(known), receipt) if receipt.is_none_or(|at| known.outcome.at <= at) => {
                    entry.pop_payment();
                }
                _ => entry.stored.events.pop_front(),
            }
            forgotten = forgotten.saturating_add(1);
        }
        entry.oldest_row = entry.first_row();
        self.remembered.count(before, entry.items());
        forgotten
    }

    /// With each record: some channels, in turn, forget what they need not remember. By the chain's time: an own clock that is
    /// weeks ahead for a moment must not take everybody's memory.
    pub(super) fn move_hand(&mut self) {
        let now = self.chain.timestamp;
        let channels = self.entries.len();
        let looks = if self.is_full() { LOOKS_FULL } else { LOOKS };
        let passed = self.next_record.saturating_mul(looks as u64);
        let from = passed.checked_rem(channels as u64).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or_default();
        let mut left = FORGOTTEN_BY_HAND;
        for index in (from..channels).chain(0..from).take(looks) {
            if !self.has_surplus(index, now) {
                continue;
            }
            let forgotten = self.forget(index, now, left);
            left = left.saturating_sub(forgotten);
            if forgotten > 0 {
                self.dirty.insert(index);
            }
        }
    }

    /// True if the channel has something to forget, as far as that can be told without reading one at rest.
    fn has_surplus(&self, index: usize, now: UnixSeconds) -> bool {
        let Some(held) = self.entries.held(index) else {
            return false;
        };
        let crowded = self.remembered.items > self.policy.remembered_max
            && held.items > self.remembered.share(self.policy.remembered_max)
            && held.oldest < now;
        held.rows > 0 && (crowded || held.oldest.after(self.policy.retention_s) < now)
    }
}

/// What a voucher in the backlog weighs.
fn weight(issue: &Issue) -> u64 {
    (issue.ops.len() as u64)
        .saturating_mul(OP_WEIGHT)
        .saturating_add(VOUCHER_WEIGHT)
}

/// A receipt for each payment that arrives with the voucher.
fn push_receipts(entry: &mut Entry, issue: &Issue, now: UnixSeconds) {
    let row = |payment_id, invoice, payer, amount| EventRow {
        payment_id,
        invoice,
        payer,
        payee_seq: issue.voucher.seq,
        amount,
        at: now,
    };
    for op in &issue.ops {
        let row = match op {
            Op::Credit(c) => Some(row(c.payment_id, c.invoice, c.payer, c.amount)),
            Op::LockConvert { id, .. } => {
                let resting = entry.stored.resting.remove(id);
                resting.map(|lock| row(lock.payment_id, lock.invoice, lock.payer_tag, lock.amount))
            }
            _ => None,
        };
        if let Some(row) = row {
            entry.stored.reserve.volume.add(row.amount, now);
            entry.stored.events.push(row);
        }
    }
}
