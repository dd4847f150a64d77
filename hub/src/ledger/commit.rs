//! A commit: inputs are applied one by one, then every touched channel gets its voucher.

use super::{
    Input, Ledger, Output,
    ahead::{Hashed, Hashes, Prepared, together},
    entry::Entry,
    input::{Change, Changes},
    output::{EventOut, FrameOut, Issue},
    session::Resumed,
    touched::Indices,
};
use crate::{digests, engine::SessionId};
use hub_verify::prefetch;
use protocol_spec::{
    Digest, Op, Reject, ReturnReason, SignedVoucher, UnixSeconds, VerifiedVoucher,
    channel::{Clock, Draft},
};
use std::sync::Arc;

/// Events shown to one subscriber per commit, at most.
const EVENTS_PER_COMMIT_MAX: usize = 256;

/// And to all of them. Those that get none stay behind until the next commit.
const EVENTS_IN_COMMIT_MAX: usize = 16_384;

/// Channels that get their vouchers together: enough to hash them side by side, few enough to stay in the near cache
/// from the first look at them to the last.
const ISSUED_TOGETHER: usize = 64;

/// So many channels ahead of the draft of a voucher its channel is loaded.
const LOADED_BEFORE: usize = 4;

/// What a commit made.
#[derive(Debug, Default)]
pub struct Commit {
    /// Number and bytes of the journal record; `None` when nothing changed.
    pub record: Option<(u64, Vec<u8>)>,
    /// Effects, in order.
    pub outputs: Vec<Output>,
    /// Answers, sent after everything else.
    pub(super) replies: Vec<Output>,
    pub(super) changes: Changes,
    pub(super) touched: Indices,
    pub(super) resumed: Resumed,
}

/// A channel's next voucher before it is hashed.
struct Drafted {
    index: usize,
    ops: Vec<Op>,
    draft: Draft,
}

impl Ledger {
    /// Applies `inputs` at `now` (the own clock; the ledger takes the later of it and the chain's time).
    pub fn commit(&mut self, inputs: Vec<Input>, now: UnixSeconds) -> Commit {
        self.commit_paced(inputs.into_iter().map(Box::new).collect(), now, &|_| true)
    }

    /// The same, showing events only to connections that are `ready` for more; the others keep their place.
    #[expect(
        clippy::vec_box,
        reason = "made on another thread; a copy costs more than the pointer"
    )]
    pub(crate) fn commit_paced(
        &mut self,
        inputs: Vec<Box<Input>>,
        now: UnixSeconds,
        ready: &dyn Fn(SessionId) -> bool,
    ) -> Commit {
        let mut commit = Commit {
            changes: Changes::with_room(self.record_bytes),
            replies: Vec::with_capacity(inputs.len()),
            ..Commit::default()
        };
        let now = self.clock(now).now;
        self.look_for_rollback(&inputs, now, &mut commit);
        let mut inputs = inputs.into_iter();
        while !inputs.as_slice().is_empty() {
            let some = together(inputs.as_slice());
            self.load(some);
            let mut hashes = Hashes::of(&self.domain, some);
            let count = some.len();
            for input in inputs.by_ref().take(count) {
                let hashed = hashes.next(&input);
                self.apply(input, hashed.payers, self.clock(now), &mut commit);
            }
        }
        self.finish(now, ready, &mut commit);
        commit
    }

    /// Repeats a durable record after a restart. Errors: the bytes are not a record, or do not follow from the state:
    /// the database is not this hub's; stop.
    pub fn replay(&mut self, number: u64, bytes: &[u8]) -> Result<(), Reject> {
        self.replay_prepared(Prepared::of(&self.domain, number, bytes)?)
            .map(drop)
    }

    /// The same with a record that was read before. Returns what the commit made when it was live, but for what connections saw.
    pub(crate) fn replay_prepared(&mut self, prepared: Prepared) -> Result<Commit, Reject> {
        let Prepared {
            number,
            now,
            changes,
            mut hashes,
        } = prepared;
        if number != self.next_record {
            return Err(Reject::RecordCorrupt);
        }
        let mut commit = Commit::default();
        let expected = changes.len();
        let mut changes = changes.into_iter();
        while !changes.as_slice().is_empty() {
            let some = together(changes.as_slice());
            self.load(some);
            let count = some.len();
            for change in changes.by_ref().take(count) {
                let hashed = hashes.next(&change);
                self.repeat(change, hashed, self.clock(now), &mut commit)?;
            }
        }
        if commit.changes.count() != expected {
            return Err(Reject::RecordCorrupt);
        }
        self.finish(now, &|_| true, &mut commit);
        Ok(commit)
    }

    fn repeat(
        &mut self,
        change: Change,
        hashed: Hashed<'_>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        match change {
            Change::Policy(policy) => self.set_policy(policy, clock, commit),
            Change::Frame { signed, ops } => {
                self.repeat_frame((signed, ops, Vec::new()), hashed, clock, commit)?;
            }
            Change::LockFrame { signed, ops, offline } => {
                self.repeat_frame((signed, ops, offline), hashed, clock, commit)?;
            }
            Change::Revealed {
                channel,
                lock_id,
                witness,
            } => {
                let index = self.index(&channel).ok_or(Reject::RecordCorrupt)?;
                let opened = self.believed(index, lock_id, witness)?;
                self.revealed(index, lock_id, &opened, clock, commit)?;
            }
            Change::GaveUp { channel, lock_id } => {
                let index = self.index(&channel).ok_or(Reject::RecordCorrupt)?;
                self.payee_gave_up(index, lock_id, clock, commit)?;
            }
            Change::Flush(id) => self.flush(&id, clock, commit)?,
            Change::Routed(id) => self.set_routed(&id, commit)?,
            Change::Registered(id) => self.set_registered(&id, commit)?,
            Change::Withdraw(call) => drop(self.sign_withdraw(call, clock, commit)?),
            Change::Leaving(call) => drop(self.set_leaving(call, clock, commit)?),
            Change::Close(call) => self.sign_close(call, clock, commit)?,
            Change::Cancel(call) => self.sign_cancel(call, clock, commit)?,
            Change::Chain(block) => self.chain_block(block, clock.now, commit),
            Change::DisputeSeen { channel, dispute_no } => {
                self.dispute_seen(&channel, dispute_no, clock.now, commit);
            }
            Change::ChainBroken => self.chain_broken(commit),
            Change::Reconciled(told) => self.reconciled(told, clock, commit),
            Change::Thawed { channel, money } => self.thawed(&channel, money, clock, commit),
            Change::DisputeGone { channel } => self.dispute_gone(&channel, clock, commit),
            Change::WitnessSeen {
                channel,
                lock_id,
                witness,
            } => {
                let index = self.index(&channel).ok_or(Reject::RecordCorrupt)?;
                let opened = self.believed(index, lock_id, witness)?;
                self.use_seen(index, lock_id, &opened, clock, commit);
            }
            Change::RolledBack { channel, shown } => {
                self.set_rolled_back(channel, shown, clock.now, commit);
            }
            Change::Resynced { channel, own, theirs } => {
                self.repeat_resync(&channel, own, theirs, clock, commit)?;
            }
            Change::LossAccepted(channel) => self.accept_loss(&[channel], clock, commit),
            Change::Vault(vault) => self.vault_told(vault, commit),
            Change::Quoted(quote) => {
                let index = self.index(&quote.channel_id).ok_or(Reject::RecordCorrupt)?;
                self.set_quote(index, quote, commit);
            }
            Change::Offered(release) => self.set_offer(release, commit),
            Change::Refilling { channel, amount } => self.refilling(&channel, amount, commit),
            Change::Seen { channel, seq } => {
                let index = self.index(&channel).ok_or(Reject::RecordCorrupt)?;
                self.seen(index, seq, commit);
            }
        }
        Ok(())
    }

    fn repeat_frame(
        &mut self,
        (signed, ops, offline): (SignedVoucher, Vec<Op>, Vec<u64>),
        hashed: Hashed<'_>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let index = self
            .index(&signed.voucher.channel_id)
            .ok_or(Reject::RecordCorrupt)?;
        let signer = self.entry(index)?.channel.config().client_signer;
        let digest = hashed.voucher.ok_or(Reject::RecordCorrupt)?;
        let voucher = VerifiedVoucher::assume_hashed(signed, digest, signer);
        self.accept_frame(index, &voucher, ops, hashed.payers, offline, clock, commit)
            .map(drop)
    }

    /// `payers`: see [`Hashed`].
    fn apply(&mut self, input: Box<Input>, payers: &[Digest], clock: Clock, commit: &mut Commit) {
        match *input {
            Input::Policy(policy) => self.set_policy(policy, clock, commit),
            Input::Frame { origin, voucher, ops } => {
                self.frame(origin, &voucher, ops, payers, clock, commit);
            }
            Input::Login(origin) => self.login(origin, commit),
            Input::Register(origin, call) => self.register(origin, &call, commit),
            Input::Resume(origin, resumption) => self.resume(origin, &resumption, clock, commit),
            Input::Quote(origin, call) => self.quote(origin, &call, clock, commit),
            Input::Payment(origin, call) => self.payment(origin, &call, commit),
            Input::Channel(origin, id) => self.channel_info(origin, &id, commit),
            Input::Subscribe(origin, call) => self.subscribe(origin, &call, commit),
            Input::Unsubscribe(origin, id) => self.unsubscribe(origin, &id, commit),
            Input::Withdraw(origin, call) => self.withdraw(origin, call, clock, commit),
            Input::PrepareClose(origin, call) => self.prepare_close(origin, call, clock, commit),
            Input::Close(origin, call) => self.close(origin, call, clock, commit),
            Input::CancelDispute(origin, call) => self.cancel_dispute(origin, call, clock, commit),
            Input::Reveal(origin, call) => self.reveal(origin, call, clock, commit),
            Input::Consent(origin, call) => self.consented(origin, &call, clock, commit),
            Input::Capacity(origin, call) => self.capacity_asked(origin, &call, clock, commit),
            Input::Vault(vault) => self.vault_told(vault, commit),
            Input::Refilling { channel, amount } => self.refilling(&channel, amount, commit),
            Input::Offer(channel) => self.offer(&channel, clock, commit),
            Input::Gone(session) => self.gone(session),
            Input::Chain(block) => self.chain_block(block, clock.now, commit),
            Input::DisputeSeen { channel, dispute_no } => {
                self.dispute_seen(&channel, dispute_no, clock.now, commit);
            }
            Input::ChainBroken => self.chain_broken(commit),
            Input::Reconciled(told) => self.reconciled(told, clock, commit),
            Input::Thawed { channel, money } => self.thawed(&channel, money, clock, commit),
            Input::DisputeGone { channel } => self.dispute_gone(&channel, clock, commit),
            Input::WitnessSeen {
                channel,
                lock_id,
                witness,
            } => self.witness_seen(&channel, lock_id, witness, clock, commit),
            Input::Checked { number, opens } => self.checked(number, opens, clock, commit),
            Input::AcceptLoss(channels) => self.accept_loss(&channels, clock, commit),
        }
    }

    /// Issues the vouchers, shows events, closes the record.
    fn finish(&mut self, now: UnixSeconds, ready: &dyn Fn(SessionId) -> bool, commit: &mut Commit) {
        let clock = self.clock(now);
        self.issue_all(clock, commit);
        self.look_at_reserves();
        self.show_events(ready, commit);
        commit.outputs.append(&mut commit.replies);
        if commit.changes.count() == 0 {
            return;
        }
        self.move_hand();
        let changes = std::mem::take(&mut commit.changes);
        let record = changes.record(now);
        self.record_bytes = record.len();
        commit.record = Some((self.next_record, record));
        self.next_record = self.next_record.saturating_add(1);
    }

    /// The next voucher of every channel touched. Their digests are made together.
    fn issue_all(&mut self, clock: Clock, commit: &mut Commit) {
        let touched = commit.touched.take();
        commit
            .outputs
            .reserve(touched.len().saturating_add(commit.replies.len()));
        for some in touched.chunks(ISSUED_TOGETHER) {
            let mut drafts: Vec<Drafted> = Vec::with_capacity(some.len());
            let mut soon = some.iter().skip(LOADED_BEFORE);
            for index in some {
                let next = soon.next().and_then(|index| self.entries.get(*index));
                next.into_iter().for_each(prefetch);
                drafts.extend(self.draft(*index, clock));
            }
            let encoded: Vec<_> = drafts
                .iter()
                .map(|drafted| drafted.draft.voucher().encoded())
                .collect();
            let digests = digests::of_structs(&self.domain, &encoded);
            for (drafted, digest) in drafts.into_iter().zip(digests) {
                self.issue_draft(drafted, digest, clock, commit);
            }
            self.look_at_reserves();
        }
    }

    /// The channel's next voucher, at once.
    pub(super) fn issue(&mut self, index: usize, clock: Clock, commit: &mut Commit) {
        if let Some(drafted) = self.draft(index, clock) {
            let digest = drafted.draft.voucher().digest(&self.domain);
            self.issue_draft(drafted, digest, clock, commit);
        }
    }

    /// The channel's next voucher: what gathered in this commit and the acknowledgement.
    ///
    /// Capacity was checked when each operation was gathered, so a refusal here is a programmer's error;
    /// going on would owe money silently, so the process stops.
    #[expect(clippy::panic, reason = "state may be wrong: a crash beats a wrong signature")]
    fn draft(&mut self, index: usize, clock: Clock) -> Option<Drafted> {
        let uncertain = self.uncertain(index);
        let entry = self.entries.get_mut(index)?;
        // Every way to a new state of a channel passes here before the commit ends.
        self.dirty.insert(index);
        if uncertain && entry.pending.is_empty() {
            return None; // A10, R25: nothing is signed, not even an acknowledgement.
        }
        if entry.pending.is_empty() && !entry.channel.must_ack() {
            return None;
        }
        let ops = std::mem::take(&mut entry.pending);
        entry.pending_sum = protocol_spec::Amount::ZERO;
        entry.pending_places = 0;
        match entry.channel.draft(&ops, clock) {
            Ok(draft) => Some(Drafted { index, ops, draft }),
            // A dispute or close came in the same commit after a voucher: nothing is signed any more (R6).
            Err(Reject::ChannelNotOpen { .. }) if ops.is_empty() => None,
            Err(reject) => panic!("channel {}: own voucher refused: {reject}", entry.channel.id()),
        }
    }

    #[expect(clippy::panic, reason = "state may be wrong: a crash beats a wrong signature")]
    fn issue_draft(&mut self, drafted: Drafted, digest: Digest, clock: Clock, commit: &mut Commit) {
        let Drafted { index, ops, draft } = drafted;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        let issued = match entry.channel.issue_draft(draft, digest, clock) {
            Ok(issued) => issued,
            Err(reject) => panic!("channel {}: own voucher refused: {reject}", entry.channel.id()),
        };
        let issue = Arc::new(Issue {
            voucher: issued.voucher,
            digest: issued.digest,
            ops,
        });
        let news = self.remember_voucher(index, Arc::clone(&issue), clock.now);
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if news && !entry.subscribers.is_empty() {
            self.lagging.insert(index);
        }
        commit.outputs.push(Output::Frame(FrameOut {
            session: entry.session,
            issue: Arc::clone(&issue),
            again: false,
        }));
        let dropped = issue.ops.iter().any(|op| matches!(op, Op::LockDrop { .. }));
        if !entry.lock_lists().owes {
            self.locked.remove(&index);
        }
        if dropped {
            // Those dropped for their age are dead at once (R9); the others wait for their acknowledgement.
            self.release_dead(index, ReturnReason::Expired, commit);
        }
    }

    fn show_events(&mut self, ready: &dyn Fn(SessionId) -> bool, commit: &mut Commit) {
        let epoch = self.policy.log_epoch;
        let mut shown = 0_usize;
        let first = self.shown_up_to.take().unwrap_or_default();
        let mut lagging = std::mem::take(&mut self.lagging);
        let from_there = lagging.split_off(&first);
        for index in from_there.into_iter().chain(lagging) {
            if shown >= EVENTS_IN_COMMIT_MAX {
                self.lagging.insert(index);
                self.shown_up_to.get_or_insert(index);
                continue;
            }
            let Some(entry) = self.entries.get_mut(index) else {
                continue;
            };
            let (channel, newest) = (entry.channel.id(), entry.newest_event());
            let mut subscribers = std::mem::take(&mut entry.subscribers);
            // Its next event is no longer kept: it must notice, and come back with its cursor.
            subscribers.retain(|subscriber| {
                let behind = subscriber.next < entry.stored.events.from();
                if behind {
                    commit.outputs.push(Output::Drop(subscriber.session));
                }
                !behind
            });
            for subscriber in subscribers
                .iter_mut()
                .filter(|subscriber| ready(subscriber.session))
            {
                let next = entry.stored.events.positions_from(subscriber.next);
                for (position, row) in next.take(EVENTS_PER_COMMIT_MAX) {
                    shown = shown.saturating_add(1);
                    subscriber.next = position.saturating_add(1);
                    commit.outputs.push(Output::Event(Box::new(EventOut {
                        session: subscriber.session,
                        cursor: Entry::cursor(epoch, position),
                        receipt: row.receipt(channel),
                    })));
                }
            }
            if subscribers.iter().any(|subscriber| subscriber.next <= newest) {
                self.lagging.insert(index);
            }
            entry.subscribers = subscribers;
        }
    }

    pub(super) fn entry(&self, index: usize) -> Result<&Entry, Reject> {
        self.entries.get(index).ok_or(Reject::WrongChannel)
    }

    pub(super) fn entry_mut(&mut self, index: usize) -> Result<&mut Entry, Reject> {
        self.entries.get_mut(index).ok_or(Reject::WrongChannel)
    }
}
