//! Hub frames: verify, accept, and derive every outcome from what was accepted.

use super::{
    Actor, Outcome,
    entry::{Entry, LockedPayment, OpenPayment, cost},
    pay::outcome,
    sight::Sight,
};
use crate::{
    ClientEvent, FaultKind, PayError, PaymentState,
    store::rows::{self, CreditRow},
};
use protocol_spec::{
    Amount, ChannelId, Credit, Lock, Op, PaymentId, Reject, Return, ReturnReason, Seq, Side,
    VoucherSignature, batch,
    canary::{Canary, planted},
    channel::Accepted,
    message::Frame,
};
use std::time::Duration;
use tokio::time::Instant;

/// Frames that wait for a newer view of the chain; beyond that they are asked for again.
const HELD_MAX: usize = 1024;
/// A frame that waits for longer is told: an honest hub's comes true as soon as the chain is read.
const HELD_TOLD_AFTER: Duration = Duration::from_secs(30);
const ROOTS_MAX: usize = 64;

impl Actor {
    pub(super) fn hub_frame(&mut self, frame: Frame) {
        let id = frame.voucher.voucher.channel_id;
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.fault.is_some() || entry.missed {
            return;
        }
        if !entry.held.is_empty() {
            // Order within a channel: nothing overtakes a frame that waits.
            return self.hold(&id, frame);
        }
        self.take_frame(&id, frame);
    }

    fn hold(&mut self, id: &ChannelId, frame: Frame) {
        let full = self.entries.get_mut(id).is_some_and(|entry| {
            entry.held_since.get_or_insert_with(Instant::now);
            entry.held.push_back(frame);
            let full = entry.held.len() > HELD_MAX;
            if full && entry.sight == Sight::Stale {
                // A new connection would be of no more use: all is asked for again once the chain is seen.
                entry.miss();
                return false;
            }
            full
        });
        if full {
            self.disconnected("too many frames wait for the chain");
        }
    }

    /// Tries again what waited for the chain.
    pub(super) fn retry_held(&mut self, id: &ChannelId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if entry.sight == Sight::Stale {
            return;
        }
        let since = entry.held_since.take();
        let mut held = std::mem::take(&mut entry.held);
        while let Some(frame) = held.pop_front() {
            self.take_frame(id, frame);
            let Some(entry) = self.entries.get_mut(id) else {
                return;
            };
            if entry.fault.is_some() || entry.missed {
                return;
            }
            if !entry.held.is_empty() {
                entry.held.append(&mut held);
                entry.held_since = since;
                let due = since.is_some_and(|since| since.elapsed() >= HELD_TOLD_AFTER);
                if due && let Some(why) = entry.held_why.take() {
                    let news = ClientEvent::VoucherHeld {
                        channel_id: *id,
                        why,
                        hub_deposit: entry.channel.funds().hub_deposit,
                        hub_withdrawn: entry.channel.withdrawn(Side::Hub),
                    };
                    self.news.push(news);
                }
                let lag = Duration::from_secs(entry.channel.delays().lag_s);
                // With an old view it is this side that is late.
                if entry.sight == Sight::Good
                    && since.is_some_and(|since| since.elapsed() > lag)
                    && let Some(frame) = entry.held.pop_front()
                {
                    let text = "R4, R5: what it signed did not come true on chain in time".to_owned();
                    self.fault(id, FaultKind::BadVoucher, text, Some(frame));
                }
                return;
            }
        }
    }

    fn take_frame(&mut self, id: &ChannelId, frame: Frame) {
        let clock = self.clock();
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if frame.voucher.voucher.seq < entry.channel.received().seq {
            // Sent again after a resume; what was accepted stays.
            return;
        }
        if entry.sight == Sight::Stale {
            // R6: a dispute may be missed. Not acknowledged, it stays with the hub, too.
            return self.hold(id, frame);
        }
        let verified = match frame
            .voucher
            .clone()
            .verify(&self.hub.domain, &self.hub.key, true)
        {
            Ok(verified) => verified,
            Err(reject) => {
                let kind = match reject {
                    Reject::SeqOutOfRange { .. } | Reject::AmountOverflow => FaultKind::BadVoucher,
                    _ => FaultKind::BadSignature,
                };
                return self.fault(id, kind, reject.to_string(), Some(frame));
            }
        };
        let folded = folded(entry, &frame.ops);
        match entry
            .channel
            .accept(&verified, &frame.ops, clock.when_made(&frame.ops))
        {
            Ok(Accepted::New) => {
                entry.dirty = true;
                entry.evidence_due = true;
                entry.package_due = true;
                self.remember_root(&frame.voucher.signature, &verified.digest());
                let (seq, ack) = (frame.voucher.voucher.seq, frame.voucher.voucher.ack_seq);
                self.applied(id, seq, ack, &frame.ops);
                for lock in folded {
                    self.lock_received(id, seq, &lock);
                }
                self.locks_acknowledged(id, ack);
            }
            Ok(Accepted::Duplicate) => {}
            // R6: we signed a close or saw a dispute. The hub sends it again after a resume.
            Err(Reject::ChannelNotOpen { .. }) if planted(Canary::GoOnAfterMiss) => {}
            Err(Reject::ChannelNotOpen { .. }) => entry.miss(),
            // Our view of the chain may be behind the hub's: wait for it before judging.
            Err(
                reject @ (Reject::BalanceExceeded { .. }
                | Reject::LockNotDroppable { .. }
                | Reject::LockExpiryOutOfRange { .. }),
            ) => {
                if entry.held_first != Some(frame.voucher.voucher.seq) {
                    entry.held_first = Some(frame.voucher.voucher.seq);
                    entry.held_why = Some(reject.to_string());
                }
                self.hold(id, frame);
            }
            Err(reject @ Reject::SeqConflict { .. }) => {
                self.fault(id, FaultKind::Conflict, reject.to_string(), Some(frame));
            }
            Err(reject) => self.fault(id, FaultKind::BadVoucher, reject.to_string(), Some(frame)),
        }
    }

    /// What an accepted frame means: credits, returns, and the outcome of everything it acknowledges.
    fn applied(&mut self, id: &ChannelId, seq: Seq, ack: Seq, ops: &[Op]) {
        let mut returns = Vec::new();
        for op in ops {
            match op {
                Op::Credit(credit) => self.credited(id, seq, credit),
                Op::Return(returned) => {
                    self.returned(id, returned);
                    returns.push(returned.payment_id);
                }
                Op::LockAdd {
                    lock,
                    payment_id,
                    invoice,
                    ..
                } => self.lock_offered(id, lock, *payment_id, *invoice, self.clock()),
                Op::LockDrop { id: lock_id } => self.lock_dropped_by_hub(id, *lock_id),
                Op::LockConvert { .. } | Op::Pay(_) => {}
            }
        }
        let mut short = Vec::new();
        for open in self.acknowledged(id, ack) {
            match self.settled(open) {
                Ok(open) => self.finish(id, open),
                Err(shorted) => short.push(shorted),
            }
        }
        self.keep_returns(id, &returns);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.accepted = entry.accepted.max(ack);
        }
        self.shorted(id, short);
    }

    /// The final state of an acknowledged payment; an error when it bounced and not all of it came back.
    fn settled(&mut self, mut open: OpenPayment) -> Result<OpenPayment, OpenPayment> {
        let (seq, row) = (open.row.seq(), &mut open.row);
        let whole = row.returned >= cost(&row.payment);
        row.state = match row.bounced {
            Some(reason) if whole => PaymentState::Bounced { seq, reason },
            // Neither delivered nor returned: nothing is proven but that the hub cheats.
            Some(_) => PaymentState::Lost,
            None => PaymentState::Delivered { seq, fee: row.fee() },
        };
        if row.bounced.is_some() && open.counted {
            self.spent = self.spent.saturating_minus(row.returned);
        }
        self.batch.push(rows::put_payment(row));
        if open.row.state == PaymentState::Lost {
            Err(open)
        } else {
            Ok(open)
        }
    }

    /// A return may come before the acknowledgement; it must not be forgotten by a restart in between.
    fn keep_returns(&mut self, id: &ChannelId, returns: &[PaymentId]) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let open = returns.iter().filter_map(|payment| entry.open.get(payment));
        self.batch.extend(open.map(|open| rows::put_payment(&open.row)));
    }

    /// Freezes the channel for payments that bounced without coming back whole.
    fn shorted(&mut self, id: &ChannelId, short: Vec<OpenPayment>) {
        let Some(first) = short.first() else {
            return;
        };
        let row = &first.row;
        let text = format!(
            "payment {} bounced, {} of {} came back",
            row.payment.payment_id,
            row.returned,
            cost(&row.payment)
        );
        self.fault(id, FaultKind::ShortReturn, text, None);
        let fault = self.entries.get(id).and_then(|entry| entry.fault.clone());
        for (reply, fault) in short
            .into_iter()
            .flat_map(|open| open.replies)
            .zip(std::iter::repeat(fault))
        {
            if let Some(fault) = fault {
                let result = Err(PayError::Frozen { channel: *id, fault });
                self.outcomes.push(Outcome { reply, result });
            }
        }
    }

    fn credited(&mut self, id: &ChannelId, seq: Seq, credit: &Credit) {
        let key = rows::credit_key(id, &credit.payment_id, &credit.payer);
        let row = CreditRow {
            seq,
            amount: credit.amount,
            invoice: credit.invoice,
            told_at: None,
        };
        self.put_credit(id, key, row);
    }

    /// Stores a credit, and remembers it for the receipt that follows soon.
    pub(super) fn put_credit(&mut self, id: &ChannelId, key: Vec<u8>, row: CreditRow) {
        self.batch.push(rows::put_credit(key.clone(), &row));
        if let Some(entry) = self.entries.get_mut(id) {
            entry.credits.insert(key, row);
        }
    }

    pub(super) fn forget_credits(&mut self) {
        for entry in self.entries.values_mut() {
            entry.forget_credits();
        }
    }

    fn returned(&mut self, id: &ChannelId, returned: &Return) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let locked = |locked: &&mut LockedPayment| locked.row.payment.payment_id == returned.payment_id;
        if let Some(locked) = entry.locked.values_mut().find(locked) {
            locked.row.returned = Amount(locked.row.returned.0.saturating_add(returned.amount.0));
            self.batch.push(rows::put_payment(&locked.row));
            return;
        }
        let Some(open) = entry.open.get_mut(&returned.payment_id) else {
            tracing::info!(channel = %id, payment = %returned.payment_id, "money back for a settled payment");
            return;
        };
        let row = &mut open.row;
        row.returned = Amount(row.returned.0.saturating_add(returned.amount.0));
        if returned.reason != ReturnReason::Change {
            row.bounced = Some(returned.reason);
        }
    }

    /// Tells those who wait, after the commit.
    pub(super) fn finish(&mut self, id: &ChannelId, open: OpenPayment) {
        let result = outcome(id, &open.row.payment, &open.row.state);
        for reply in open.replies {
            self.outcomes.push(Outcome {
                reply,
                result: result.clone(),
            });
        }
    }

    fn remember_root(&mut self, signature: &VoucherSignature, digest: &protocol_spec::Digest) {
        if let VoucherSignature::Batch {
            root_signature,
            proof,
        } = signature
            && let Ok(root) = batch::root_of(digest, proof)
        {
            if self.roots.len() >= ROOTS_MAX {
                self.roots.pop_front();
            }
            self.roots.push_back((root, *root_signature));
        }
    }
}

/// The locks that `ops` convert, as they are before.
fn folded(entry: &Entry, ops: &[Op]) -> Vec<Lock> {
    let converted = ops.iter().filter_map(|op| match op {
        Op::LockConvert { id, .. } => entry.channel.received().locks.lock(*id),
        _ => None,
    });
    converted.cloned().collect()
}
