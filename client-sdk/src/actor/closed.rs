//! What a close on chain makes of payments that were under way, and of invoices.
//!
//! Rows of payments stay as they were: what became of one follows from its row and from what the chain holds. So a close that is
//! undone (R25) takes back what was said.

use super::{Actor, Outcome, entry::Entry, entry::cost, pay::outcome};
use crate::{
    ChannelError, LockedPaid, LockedReceived, Paid, PayError, PaymentState,
    chain::{Seen, Shown},
    store::rows::{self, Closing, PaymentRow},
};
use protocol_spec::{
    Amount, Channel, ChannelId, Lock, Reject, Seq,
    canary::{Canary, planted},
    channel::Phase,
};
use std::{collections::BTreeSet, mem};

/// What a closed channel refuses.
pub(super) const CLOSED: Reject = Reject::ChannelNotOpen { phase: "closed" };

/// What is to be told of payments that have ended.
#[derive(Default)]
struct Ended {
    direct: Vec<Outcome<Paid>>,
    locked: Vec<Outcome<LockedPaid>>,
    /// What comes back of what was spent.
    back: Amount,
}

impl Actor {
    /// True when the channel is closed on chain.
    pub(super) fn is_closed(&self, id: &ChannelId) -> bool {
        let entry = self.entries.get(id);
        entry.is_some_and(|entry| entry.closing.is_some())
    }

    /// After a reading. A channel that is closed on chain ends what waits to be signed and what was signed; one that is closed no
    /// more takes that back. `seen`: what the chain shows; `None` where the hub's view is trusted.
    pub(super) fn end_on_chain(&mut self, id: &ChannelId, before: &Channel, seen: Option<&Seen>) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let known = entry.closing;
        let closing = match entry.channel.phase() {
            Phase::Closed => entry.closed_how(before, seen),
            _ => None,
        };
        if closing == known {
            return;
        }
        entry.closing = closing;
        entry.dirty = true;
        match (known, closing) {
            (None, Some(closing)) => {
                self.end_payments(id, closing);
                let judged = matches!(closing, Closing::Judged { .. });
                let shown = seen.map(|seen| seen.confirmed.shown);
                self.end_invoices(id, shown.filter(|_| judged));
            }
            (Some(_), None) => self.take_back(id),
            _ => {}
        }
    }

    /// The close was none.
    fn take_back(&mut self, id: &ChannelId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let again = mem::take(&mut entry.back_by_close);
        self.spent = Amount(self.spent.0.saturating_add(again.0));
        let locks = &entry.channel.received().locks;
        for lock in locks.iter().filter(|lock| entry.locks_in.get(lock.id).is_some()) {
            if let Some(row) = self.invoices.get_mut(&lock.hash)
                && row.paid.take().is_some()
            {
                self.batch.push(rows::put_invoice(row));
            }
        }
    }

    fn end_payments(&mut self, id: &ChannelId, closing: Closing) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let ended = entry.end_signed(closing);
        entry.back_by_close = ended.back;
        self.spent = self.spent.saturating_minus(ended.back);
        self.outcomes.extend(ended.direct);
        self.lock_outcomes.extend(ended.locked);
        self.fail_unsigned(id, || PayError::Refused(CLOSED));
    }

    /// Invoices whose locks were collected on chain are paid; who waits for another one waits in vain.
    fn end_invoices(&mut self, id: &ChannelId, court: Option<Shown>) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let seq = entry.channel.received().seq;
        for lock in court.map(|court| entry.collected(&court)).unwrap_or_default() {
            let paying = entry.locks_in.get(lock.id);
            if let (Some(paying), Some(row)) = (paying, self.invoices.get_mut(&lock.hash)) {
                row.paid = Some(LockedReceived {
                    payment_id: paying.payment_id,
                    channel_id: *id,
                    seq,
                    amount: lock.amount,
                });
                self.batch.push(rows::put_invoice(row));
            }
        }
        self.release_waiting(id);
        for hash in self.awaited(id) {
            if let Some(paid) = self.invoices.get(&hash).and_then(|row| row.paid.clone()) {
                self.answer_invoice(&hash, &Ok(paid));
            }
            self.fail_invoice(&hash, &ChannelError::Refused(CLOSED));
        }
    }
}

impl Entry {
    /// How it was closed; `None` until more than half of all endpoints say that it is. What the chain holds of own vouchers is what
    /// was paid only after a dispute: not when this client has signed a close, and not when more was shown than its store knows of,
    /// which is an old one then. What later readings show beside that makes it more, never less.
    fn closed_how(&self, before: &Channel, seen: Option<&Seen>) -> Option<Closing> {
        if planted(Canary::AssumeUnpaid) {
            let (seq, counted) = (Seq::NONE, Amount::ZERO);
            return Some(Closing::Judged { seq, counted });
        }
        let (least_seq, least_counted) = match self.closing {
            Some(Closing::Judged { seq, counted }) => (seq, counted),
            Some(Closing::Otherwise) => return self.closing,
            None if before.signed_close().is_some() => return Some(Closing::Otherwise),
            None => (Seq::NONE, Amount::ZERO),
        };
        let Some(seen) = seen else {
            return Some(Closing::Otherwise);
        };
        if !seen.closed_by_most {
            return self.closing;
        }
        let (facts, sent) = (&seen.confirmed, self.channel.sent());
        let known = facts.taken.seq <= sent.seq && facts.taken.paid <= sent.paid;
        let judged = known && facts.dispute_no > Seq::NONE && !self.channel.is_restored();
        Some(match judged {
            true => Closing::Judged {
                seq: facts.taken.seq.max(least_seq),
                counted: facts.taken.counted.max(least_counted),
            },
            false => Closing::Otherwise,
        })
    }

    fn end_signed(&mut self, closing: Closing) -> Ended {
        let mut ended = Ended::default();
        for open in self.open.values_mut() {
            let state = closing.fate(&open.row);
            ended.count(&open.row, &state, open.counted);
            let result = outcome(&open.row.channel_id, &open.row.payment, &state);
            ended.direct.extend(open.replies.drain(..).map(|reply| Outcome {
                reply,
                result: result.clone(),
            }));
        }
        for locked in self.locked.values_mut() {
            let (state, row) = (closing.fate(&locked.row), &locked.row);
            ended.count(row, &state, locked.counted);
            // Who was told what opened it waits no longer.
            if let Some(reply) = locked.reply.take()
                && let Err(error) = outcome(&row.channel_id, &row.payment, &state)
            {
                ended.locked.push(Outcome {
                    reply,
                    result: Err(error),
                });
            }
        }
        ended
    }

    /// The hub's locks that count in the dispute that has ended, as far as the sum of those that do leaves no doubt: whichever the
    /// others are.
    fn collected(&self, court: &Shown) -> Vec<Lock> {
        let half = self.channel.received();
        let given_up: BTreeSet<u64> = self.channel.consents_given().collect();
        let open = half.locks.iter().filter(|lock| !given_up.contains(&lock.id));
        let sum = open.fold(0_u128, |sum, lock| sum.saturating_add(lock.amount.0));
        let counts = |lock: &Lock| court.counted.0 > sum.saturating_sub(lock.amount.0);
        let shown = court.seq == half.seq;
        let known = self.channel.known_witnesses();
        let known = known.filter_map(|(id, _)| half.locks.lock(id));
        known.filter(|lock| shown && counts(lock)).cloned().collect()
    }
}

impl Ended {
    fn count(&mut self, row: &PaymentRow, state: &PaymentState, counted: bool) {
        let is_back = matches!(state, PaymentState::NotPaid { .. } | PaymentState::Bounced { .. });
        if is_back && counted {
            self.back = Amount(self.back.0.saturating_add(cost(&row.payment).0));
        }
    }
}

impl Closing {
    /// What became of a payment; of one that was under way what the close made of it.
    pub(super) fn fate(self, row: &PaymentRow) -> PaymentState {
        let PaymentState::InFlight { seq } = row.state else {
            return row.state.clone();
        };
        let lock = row.lock.as_ref();
        if lock.is_some_and(|lock| lock.witness.is_some()) {
            let fee = row.fee();
            return PaymentState::Delivered { seq, fee };
        }
        match (self, lock) {
            (Self::Otherwise, _) => PaymentState::Lost,
            (Self::Judged { seq: shown, .. }, _) if shown < seq => PaymentState::NotPaid { seq },
            (Self::Judged { .. }, None) => PaymentState::Lost,
            // What was opened was this one or another.
            (Self::Judged { counted, .. }, Some(_)) if counted >= cost(&row.payment) => PaymentState::Lost,
            (Self::Judged { seq: shown, .. }, Some(lock)) => match row.bounced {
                Some(reason) if lock.folded_at.is_some_and(|left| left <= shown) => {
                    PaymentState::Bounced { seq, reason }
                }
                _ => PaymentState::NotPaid { seq },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::OwnLock;
    use protocol_spec::{Digest, Payee, Payment, PaymentId, ReturnReason, UnixSeconds, Witness};

    const SEQ: Seq = Seq(5);
    const COST: u128 = 100;

    fn row(lock: Option<OwnLock>, bounced: Option<ReturnReason>) -> PaymentRow {
        PaymentRow {
            channel_id: ChannelId([1; 32]),
            payment: Payment {
                payment_id: PaymentId([2; 16]),
                payee: Payee::Channel(ChannelId([3; 32])),
                amount: Amount(COST - 1),
                fee_max: Amount(1),
                expires_at: UnixSeconds(1),
                invoice: Digest::ZERO,
            },
            state: PaymentState::InFlight { seq: SEQ },
            returned: Amount::ZERO,
            bounced,
            lock,
        }
    }

    fn judged(seq: u64, counted: u128) -> Closing {
        Closing::Judged {
            seq: Seq(seq),
            counted: Amount(counted),
        }
    }

    const NOT_PAID: PaymentState = PaymentState::NotPaid { seq: SEQ };

    #[test]
    fn a_direct_payment_was_paid_as_soon_as_its_voucher_was_shown() {
        let row = row(None, None);
        assert_eq!(judged(4, 0).fate(&row), NOT_PAID);
        assert_eq!(judged(4, u128::MAX).fate(&row), NOT_PAID);
        assert_eq!(judged(5, 0).fate(&row), PaymentState::Lost);
        assert_eq!(Closing::Otherwise.fate(&row), PaymentState::Lost);
    }

    #[test]
    fn a_lock_was_paid_when_it_may_have_been_opened() {
        let lock = |folded_at| OwnLock {
            id: 1,
            witness: None,
            folded_at,
        };
        let held = row(Some(lock(None)), None);
        assert_eq!(judged(4, COST).fate(&held), NOT_PAID, "it was not there yet");
        assert_eq!(judged(5, COST - 1).fate(&held), NOT_PAID);
        assert_eq!(judged(5, COST).fate(&held), PaymentState::Lost);
        assert_eq!(Closing::Otherwise.fate(&held), PaymentState::Lost);
        let reason = ReturnReason::Cancelled;
        let given_up = row(Some(lock(Some(Seq(8)))), Some(reason));
        assert_eq!(judged(7, 0).fate(&given_up), NOT_PAID);
        assert_eq!(
            judged(8, 0).fate(&given_up),
            PaymentState::Bounced { seq: SEQ, reason }
        );
        assert_eq!(
            judged(8, COST).fate(&given_up),
            PaymentState::Lost,
            "one endpoint says that a newer voucher was shown, another that locks were opened"
        );
    }

    #[test]
    fn whoever_knows_what_opens_its_lock_has_its_proof() {
        let lock = OwnLock {
            id: 1,
            witness: Witness::new(vec![7]).ok(),
            folded_at: None,
        };
        let row = row(Some(lock), None);
        let (seq, fee) = (SEQ, Amount(1));
        for closing in [judged(4, 0), judged(5, 0), judged(5, COST), Closing::Otherwise] {
            assert_eq!(closing.fate(&row), PaymentState::Delivered { seq, fee });
        }
    }

    #[test]
    fn what_had_an_answer_keeps_it() {
        let mut row = row(None, None);
        row.state = PaymentState::Delivered {
            seq: SEQ,
            fee: Amount(1),
        };
        assert_eq!(judged(4, 0).fate(&row), row.state);
    }
}
