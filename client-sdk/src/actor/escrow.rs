//! Locks that a resolver releases, on the payee's side: held, released with a witness, or given up.

use super::{
    Actor,
    closed::CLOSED,
    entry::Entry,
    locks::{AcceptReply, HeldReply, LockNews},
    pay::later,
    sight::Sight,
};
use crate::{ChannelError, LockHeld};
use protocol_spec::{
    ChannelId, Digest, Lock, Opened, PaymentId, Reject,
    message::{ErrorCode, RpcError},
};
use std::{mem, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// When news that the hub could not take are told again, unless it says when.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// Opens the lock that is held for the invoice on `hash`. The chain was asked.
pub(crate) struct ReleaseOrder {
    pub(crate) hash: Digest,
    pub(crate) opened: Opened,
    pub(crate) reply: AcceptReply,
}

impl Actor {
    /// A lock that pays an own invoice and waits for its witness.
    pub(super) fn lock_held(&mut self, id: &ChannelId, lock: &Lock, payment_id: PaymentId) {
        let held = held(id, lock, payment_id);
        for reply in self.holding.remove(&lock.hash).unwrap_or_default() {
            self.after_commit(reply, Ok(held));
        }
    }

    /// Waits until a lock is held for the invoice.
    pub(super) fn await_lock(&mut self, hash: Digest, reply: HeldReply) {
        let Some(row) = self.invoices.get(&hash).filter(|row| row.preimage.is_none()) else {
            return self.after_commit(reply, Err(ChannelError::UnknownInvoice));
        };
        let id = row.invoice.channel_id;
        if self.is_closed(&id) {
            return self.after_commit(reply, Err(CLOSED.into()));
        }
        let entry = self.entries.get(&id);
        if let Some(fault) = entry.and_then(|entry| entry.fault.clone()) {
            return self.after_commit(reply, Err(ChannelError::Frozen(fault)));
        }
        match entry.and_then(|entry| entry.held_for(&hash).next()) {
            Some((lock, payment_id)) => {
                let held = held(&id, lock, payment_id);
                self.after_commit(reply, Ok(held));
            }
            None => self.holding.entry(hash).or_default().push(reply),
        }
    }

    /// Opens the lock that is held for the invoice, and waits for the hub to fold it. Until the chain has been read it waits,
    /// as payments do.
    pub(super) fn release(&mut self, order: ReleaseOrder) {
        let ReleaseOrder { hash, opened, reply } = order;
        let clock = self.clock();
        let Some(row) = self.invoices.get(&hash) else {
            return self.after_commit(reply, Err(ChannelError::UnknownInvoice));
        };
        if let Some(paid) = row.paid.clone() {
            return self.after_commit(reply, Ok(paid));
        }
        let id = row.invoice.channel_id;
        if self.is_closed(&id) {
            return self.after_commit(reply, Err(CLOSED.into()));
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return self.after_commit(reply, Err(ChannelError::NoChannel));
        };
        if entry.channel.is_restored() {
            return self.after_commit(reply, Err(Reject::LocksEnded.into()));
        }
        if entry.sight < Sight::Good {
            if entry.sight_told < Sight::Good {
                return self.after_commit(reply, Err(ChannelError::ChainStale));
            }
            return entry.release_queue.push(ReleaseOrder { hash, opened, reply });
        }
        let lock = entry.held_for(&hash).next().map(|(lock, _)| lock.clone());
        let Some(lock) = lock else {
            return self.after_commit(reply, Err(ChannelError::NotHeld));
        };
        let (now, expiry) = (clock.now, lock.expiry);
        let learnt = match now < expiry {
            true => entry.channel.learn_witness(lock.id, &opened, clock),
            false => Err(Reject::PreimageTooLate { expiry, now }),
        };
        if let Err(reject) = learnt {
            return self.after_commit(reply, Err(reject.into()));
        }
        entry.dirty = true;
        entry.evidence_due = true;
        if !entry.live() {
            // What is stored is collected on chain in any case.
            let frozen = entry.fault.clone().map(ChannelError::Frozen);
            return self.after_commit(reply, Err(frozen.unwrap_or(ChannelError::Offline)));
        }
        entry
            .lock_news
            .push_back(LockNews::Reveal(lock.id, opened.witness().clone()));
        self.releasing.entry(hash).or_default().push(reply);
    }

    /// The chain was read: what waited for that is released.
    pub(super) fn release_waiting(&mut self, id: &ChannelId) {
        let entry = self.entries.get_mut(id);
        let waiting = entry.map(|entry| mem::take(&mut entry.release_queue));
        for order in waiting.into_iter().flatten() {
            self.release(order);
        }
    }

    /// What waits for the chain to be read waits no longer. Nothing of it was stored.
    pub(super) fn fail_waiting_releases(&mut self) {
        let queues = self.entries.values_mut().map(|entry| &mut entry.release_queue);
        for order in queues.flat_map(mem::take) {
            // Not with the commit: nothing may be committed any more.
            let _ = order.reply.send(Err(ChannelError::ChainStale));
        }
    }

    /// R11: gives up the lock that is held for the invoice, for good.
    pub(super) fn give_up(&mut self, hash: Digest, reply: oneshot::Sender<Result<(), ChannelError>>) {
        let given_up = self.try_give_up(hash);
        self.after_commit(reply, given_up);
    }

    fn try_give_up(&mut self, hash: Digest) -> Result<(), ChannelError> {
        let row = self.invoices.get(&hash).ok_or(ChannelError::UnknownInvoice)?;
        let id = row.invoice.channel_id;
        let entry = self.entries.get_mut(&id).ok_or(ChannelError::NoChannel)?;
        let lock_id = entry.held_for(&hash).next().map(|(lock, _)| lock.id);
        let lock_id = lock_id.ok_or(ChannelError::NotHeld)?;
        entry.channel.consent(lock_id)?;
        entry.locks_in.remove(lock_id);
        entry.lock_news.push_back(LockNews::Consent(lock_id));
        entry.dirty = true;
        Ok(())
    }

    /// Tells those who released invoices that `which` picks that it did not come to an end; the witnesses are stored.
    pub(super) fn fail_releases(&mut self, why: impl Fn() -> ChannelError, which: impl Fn(&Digest) -> bool) {
        let failed: Vec<AcceptReply> = self
            .releasing
            .extract_if(.., |hash, _| which(hash))
            .flat_map(|(_, replies)| replies)
            .collect();
        for reply in failed {
            self.after_commit(reply, Err(why()));
        }
    }

    /// The hub did not take news about its locks. What it does not know any more it was told before; anything else is
    /// told again: its node may be behind, or down, or its clock ahead.
    pub(super) fn lock_news_refused(&mut self, id: &ChannelId, error: &RpcError) {
        tracing::debug!(channel = %id, %error, "about a lock");
        let wait = error
            .data
            .retry_after_ms
            .map(u64::from)
            .map(Duration::from_millis);
        let not_yet = ["WitnessWrong", "PreimageTooLate"].contains(&error.data.name.as_str());
        let again = not_yet || wait.is_some() || error.is(ErrorCode::RateLimited);
        if let Some(entry) = self.entries.get_mut(id).filter(|_| again) {
            entry
                .lock_news_at
                .get_or_insert_with(|| later(wait.unwrap_or(TELL_AGAIN)));
        }
    }

    /// Tells the hub again what it could not take.
    pub(super) fn repeat_lock_news(&mut self) {
        let now = Instant::now();
        let due = |entry: &Entry| entry.live() && entry.lock_news_at.is_some_and(|at| at <= now);
        let due = self.entries.iter().filter(|(_, entry)| due(entry));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.tell_locks_again(&id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.lock_news_at = None;
            }
        }
    }
}

impl Entry {
    /// Locks of the hub that pay the own invoice on `hash`, with their payments.
    fn held_for(&self, hash: &Digest) -> impl Iterator<Item = (&Lock, PaymentId)> {
        self.locks_in.with_hash(hash).filter_map(|(id, paying)| {
            let lock = self.channel.received().locks.lock(id)?;
            Some((lock, paying.payment_id))
        })
    }

    /// True when another lock pays the same invoice already.
    pub(super) fn holds_another(&self, lock: &Lock) -> bool {
        let mut held = self.held_for(&lock.hash);
        held.any(|(other, _)| other.id != lock.id)
    }
}

fn held(id: &ChannelId, lock: &Lock, payment_id: PaymentId) -> LockHeld {
    LockHeld {
        payment_id,
        channel_id: *id,
        amount: lock.amount,
        expiry: lock.expiry,
    }
}
