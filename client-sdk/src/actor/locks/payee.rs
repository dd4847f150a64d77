//! The payee's side: accepts what pays an own invoice, holds what a resolver is to release, gives up the rest.

use crate::{
    ChannelError, ClientEvent, LockHeld, LockedReceived,
    actor::{Actor, closed::CLOSED, entry::Entry, locks::Paying, session::Pending, sight::Sight},
    store::rows::{self, InvoiceRow},
};
use protocol_spec::{
    Amount, ChannelId, Condition, Digest, Invoice, Lock, Opened, PaymentId, Preimage, Reject, Seq, Side,
    SignedInvoice, UnixSeconds, Witness,
    channel::{Clock, Phase},
    message::{LockCall, Request, Reveal},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::sync::oneshot;

pub(crate) type AcceptReply = oneshot::Sender<Result<LockedReceived, ChannelError>>;
pub(in crate::actor) type HeldReply = oneshot::Sender<Result<LockHeld, ChannelError>>;

/// Calls about locks that wait for their answers on one connection: after a resume there may be news of thousands, and a hub
/// takes 512 calls at once of everything together.
const NEWS_AT_ONCE: usize = 64;

/// What the hub must be told about its own locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::actor) enum LockNews {
    Reveal(u64, Witness),
    Consent(u64),
}

impl Actor {
    /// Makes, stores and signs an invoice.
    pub(in crate::actor) async fn make_invoice(
        &mut self,
        channel_id: ChannelId,
        amount: Amount,
        life: Duration,
        memo: Digest,
        condition: Option<Condition>,
    ) -> Result<SignedInvoice, ChannelError> {
        let open = self.entries.get(&channel_id).ok_or(ChannelError::NoChannel)?;
        if let Some(fault) = &open.fault {
            return Err(ChannelError::Frozen(fault.clone()));
        }
        if *open.channel.phase() != Phase::Open {
            let phase = open.channel.phase().name();
            return Err(Reject::ChannelNotOpen { phase }.into());
        }
        if open.locks_ended() {
            return Err(Reject::LocksEnded.into());
        }
        if amount.is_zero() {
            return Err(Reject::AmountZero.into());
        }
        let made = condition.is_none().then(|| Preimage(self.options.ports.random()));
        let condition = condition.or_else(|| made.as_ref().map(Condition::preimage));
        let condition = condition.ok_or(ChannelError::UnknownInvoice)?;
        // What pays the one must not pay the other.
        if self.invoices.contains_key(&condition.hash) {
            return Err(ChannelError::HashUsed);
        }
        let invoice = Invoice {
            channel_id,
            amount,
            hash: condition.hash,
            resolver: condition.resolver,
            expires_at: self.clock().now.after(life.as_secs()),
            memo,
        };
        let signature = self.signer.sign(&invoice.digest(&self.hub.domain)).await?;
        let row = InvoiceRow {
            invoice: invoice.clone(),
            preimage: made,
            paid: None,
        };
        self.batch.push(rows::put_invoice(&row));
        self.invoices.insert(invoice.hash, row);
        Ok(SignedInvoice { invoice, signature })
    }

    /// Waits until the invoice is paid.
    pub(in crate::actor) fn await_invoice(&mut self, hash: Digest, reply: AcceptReply) {
        match self.invoices.get(&hash) {
            None => self.after_commit(reply, Err(ChannelError::UnknownInvoice)),
            Some(row) => match &row.paid {
                Some(paid) => {
                    let paid = paid.clone();
                    self.after_commit(reply, Ok(paid));
                }
                None if self.is_closed(&row.invoice.channel_id) => {
                    self.after_commit(reply, Err(CLOSED.into()));
                }
                None => {
                    let entry = self.entries.get(&row.invoice.channel_id);
                    match entry.and_then(|entry| entry.frozen_for(&hash)) {
                        Some(frozen) => self.after_commit(reply, Err(frozen)),
                        None => self.accepting.entry(hash).or_default().push(reply),
                    }
                }
            },
        }
    }

    /// The channel's invoices for which somebody waits.
    pub(in crate::actor) fn awaited(&self, id: &ChannelId) -> BTreeSet<Digest> {
        let waiting = self.accepting.keys().chain(self.releasing.keys());
        let waiting = waiting.chain(self.holding.keys()).copied();
        let mine = |hash: &Digest| {
            let row = self.invoices.get(hash);
            row.is_some_and(|row| row.invoice.channel_id == *id)
        };
        waiting.filter(mine).collect()
    }

    /// Ends all waits for an invoice that is not paid.
    pub(in crate::actor) fn fail_invoice(&mut self, hash: &Digest, error: &ChannelError) {
        self.answer_invoice(hash, &Err(error.clone()));
        for reply in self.holding.remove(hash).unwrap_or_default() {
            self.after_commit(reply, Err(error.clone()));
        }
    }

    /// Answers everybody who waits for the invoice to be paid.
    pub(in crate::actor) fn answer_invoice(
        &mut self,
        hash: &Digest,
        answer: &Result<LockedReceived, ChannelError>,
    ) {
        let accepting = self.accepting.remove(hash).into_iter();
        let waiting = accepting.chain(self.releasing.remove(hash));
        for reply in waiting.flatten().collect::<Vec<_>>() {
            self.after_commit(reply, answer.clone());
        }
    }

    /// The hub's voucher carries a new lock: it is opened or held if it pays an own invoice, and given up otherwise.
    pub(in crate::actor) fn lock_offered(
        &mut self,
        id: &ChannelId,
        lock: &Lock,
        payment_id: PaymentId,
        invoice: Digest,
        clock: Clock,
    ) {
        let known = self.invoices.get(&lock.hash).filter(|row| row.paid.is_none());
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let (delays, good) = (entry.channel.delays(), entry.sight == Sight::Good);
        // The hub must have time to fold it before the dispute that R21 asks for: `lag`.
        let needed_s = delays.act_s.saturating_add(delays.lag_s);
        let refused = entry.holds_another(lock) || entry.channel.is_restored();
        let row = known.filter(|row| !refused && row.invoice.paid_by(id, lock, clock.now, needed_s));
        // The receipt repeats it: another payer's payment may have the same id.
        let row = row.filter(|row| row.invoice.digest(&self.hub.domain) == invoice);
        let opened = row.map(|row| {
            row.preimage
                .and_then(|preimage| Opened::by_hash(lock.condition(), preimage.into()))
        });
        entry.dirty = true;
        let paying = Paying {
            payment_id,
            invoice,
            hash: lock.hash,
        };
        match opened {
            // Told only who sees the chain: [`Actor::open_locks`] goes on.
            Some(Some(_)) if !good => {
                entry.locks_in.insert(lock.id, paying);
            }
            Some(Some(opened)) if entry.channel.learn_witness(lock.id, &opened, clock).is_ok() => {
                entry.locks_in.insert(lock.id, paying);
                let told = LockNews::Reveal(lock.id, opened.witness().clone());
                entry.lock_news.push_back(told);
            }
            Some(None) => {
                entry.locks_in.insert(lock.id, paying);
                self.lock_held(id, lock, payment_id);
            }
            _ => {
                // Never known, so it cannot be refused.
                let _ = entry.channel.consent(lock.id);
                entry.lock_news.push_back(LockNews::Consent(lock.id));
            }
        }
    }

    /// The chain is seen well again: what was offered meanwhile is opened, or given up if it is too late.
    pub(in crate::actor) fn open_locks(&mut self, id: &ChannelId) {
        let clock = self.clock();
        // A11: whether it was opened in the lost part is not known, so nothing may be given up.
        let Some(entry) = self.entries.get(id).filter(|entry| !entry.channel.is_restored()) else {
            return;
        };
        let channel = &entry.channel;
        let known = channel.known_witnesses().map(|(lock_id, _)| lock_id);
        let decided: BTreeSet<u64> = known.chain(channel.consents_given()).collect();
        let open = |lock: &&Lock| !decided.contains(&lock.id) && !lock.condition().has_resolver();
        let locks = channel.received().locks.iter().filter(open);
        let offered = locks.filter_map(|lock| Some((lock.clone(), *entry.locks_in.get(lock.id)?)));
        for (lock, paying) in offered.collect::<Vec<_>>() {
            self.lock_offered(id, &lock, paying.payment_id, paying.invoice, clock);
        }
    }

    /// The hub folded a lock: the invoice is paid.
    pub(in crate::actor) fn lock_received(&mut self, id: &ChannelId, seq: Seq, lock: &Lock) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let Some(paying) = entry.locks_in.remove(lock.id) else {
            // A11: it came in the lost part, and nobody here can say which payment its receipt is of.
            if entry.channel.is_restored() {
                entry.credits_lost_until = entry.credits_lost_until.max(seq);
                entry.dirty = true;
            }
            return;
        };
        let Paying {
            payment_id, invoice, ..
        } = paying;
        entry.dirty = true;
        let row = rows::CreditRow {
            seq,
            amount: lock.amount,
            invoice,
            told_at: None,
        };
        // The lock does not name its payer, and another one may have chosen the same id.
        self.put_credit(id, rows::lock_credit_key(id, &payment_id, &invoice), row);
        let paid = LockedReceived {
            payment_id,
            channel_id: *id,
            seq,
            amount: lock.amount,
        };
        if let Some(row) = self.invoices.get_mut(&lock.hash) {
            row.paid = Some(paid.clone());
            self.batch.push(rows::put_invoice(row));
        }
        self.answer_invoice(&lock.hash, &Ok(paid));
    }

    /// A11: locks of the hub that are not in its adopted voucher any more have ended in the lost part. Those whose witness was
    /// known can only have been paid (R5); `known` has them as they were before.
    pub(in crate::actor) fn hub_locks_lost(&mut self, id: &ChannelId, known: &[Lock]) {
        let Some(entry) = self.entries.get(id) else {
            return;
        };
        let (seq, live) = (entry.channel.received().seq, &entry.channel.received().locks);
        let is_gone = |lock_id: u64| live.lock(lock_id).is_none();
        let paid: Vec<Lock> = known.iter().filter(|lock| is_gone(lock.id)).cloned().collect();
        let gone = entry.locks_in.iter().map(|(lock_id, _)| lock_id);
        let gone: Vec<u64> = gone.filter(|lock_id| is_gone(*lock_id)).collect();
        for lock in &paid {
            self.lock_received(id, seq, lock);
        }
        for lock_id in gone {
            self.lock_dropped_by_hub(id, lock_id);
        }
    }

    pub(in crate::actor) fn lock_dropped_by_hub(&mut self, id: &ChannelId, lock_id: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.dirty |= entry.locks_in.remove(lock_id).is_some();
        }
    }

    /// Everything the hub may have missed, on a connection that has just resumed.
    pub(in crate::actor) fn tell_locks_again(&mut self, id: &ChannelId) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let reveals = entry.channel.known_witnesses();
        let reveals = reveals.map(|(lock_id, witness)| LockNews::Reveal(lock_id, witness.clone()));
        let consents = entry.channel.consents_given().map(LockNews::Consent);
        entry.lock_news = reveals.chain(consents).collect();
    }

    /// Tells the hub what was decided about its locks, so much at a time. Only after the turn's commit.
    pub(in crate::actor) fn send_lock_news(&mut self) {
        let due = |entry: &Entry| entry.live() && entry.sight > Sight::Stale && !entry.lock_news.is_empty();
        let due = self.entries.iter().filter(|(_, entry)| due(entry));
        let due: Vec<ChannelId> = due.map(|(id, _)| *id).collect();
        if due.is_empty() {
            return;
        }
        let lock_calls = self.calls.values();
        let lock_calls = lock_calls.filter(|(pending, _)| matches!(pending, Pending::Lock(_)));
        let mut room = NEWS_AT_ONCE.saturating_sub(lock_calls.count());
        for channel_id in due {
            let Some(entry) = self.entries.get_mut(&channel_id) else {
                continue;
            };
            let count = room.min(entry.lock_news.len());
            let news: Vec<LockNews> = entry.lock_news.drain(..count).collect();
            room = room.saturating_sub(count);
            for one in news {
                let request = match one {
                    LockNews::Reveal(lock_id, witness) => Request::Reveal(Reveal {
                        channel_id,
                        lock_id,
                        witness,
                    }),
                    LockNews::Consent(lock_id) => Request::Consent(LockCall { channel_id, lock_id }),
                };
                self.call(request, Pending::Lock(channel_id));
            }
        }
    }

    /// R21: a lock that the hub should have folded long ago must be collected on chain: [`Actor::defend`] does it where it can.
    pub(in crate::actor) fn watch_locks(&mut self) {
        let now = self.clock().now;
        let mut late = Vec::new();
        for (id, entry) in &mut self.entries {
            let act_s = entry.channel.delays().act_s;
            let locks = &entry.channel.received().locks;
            let known = entry.channel.known_witnesses();
            // What was resolved on chain in time counts whenever that is shown (R17).
            let marked = |id: u64| entry.channel.is_marked(Side::Hub, id);
            let due: Vec<(u64, UnixSeconds, Digest)> = known
                .filter_map(|(lock_id, _)| locks.lock(lock_id))
                .filter(|lock| !marked(lock.id))
                .filter(|lock| lock.expiry <= now.after(act_s))
                .map(|lock| (lock.id, lock.expiry, lock.hash))
                .collect();
            for (lock_id, expiry, hash) in due {
                if entry.alarmed.insert(lock_id) {
                    late.push((*id, lock_id, expiry, hash));
                }
            }
        }
        for (channel_id, lock_id, expiry, hash) in late {
            let Some(entry) = self.entries.get(&channel_id) else {
                continue;
            };
            let defence = self.defences.answer(entry.channel.config(), self.options.defend);
            let at_risk = || ChannelError::LockAtRisk { expiry, defence };
            self.fail_releases(at_risk, |other| *other == hash);
            self.emit(ClientEvent::LockAtRisk {
                channel_id,
                lock_id,
                expiry,
                defence,
            });
        }
    }
}
