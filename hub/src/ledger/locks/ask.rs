//! Questions to resolvers. Only the chain can tell whether a witness opens a lock with a resolver, so what a payee tells
//! is kept until the answer is there. Nothing of it is journaled before: a question that is open when the process ends
//! is forgotten, and its payee tells again.

use super::super::{Check, Commit, Ledger, Origin, Output, entry::Entry, session::answer};
use protocol_spec::{
    ChannelId, Condition, Opened, Reject, Witness,
    channel::Clock,
    message::{Empty, ErrorCode, Reply, Reveal, RpcError},
};
use std::collections::BTreeMap;

/// Open questions of one channel and in all, at most.
const PER_CHANNEL_MAX: usize = 8;
const TOTAL_MAX: usize = 1024;
/// With those about witnesses that were seen on chain; what is more waits until its block is confirmed.
pub const SEEN_AND_TOLD_MAX: usize = 2 * TOTAL_MAX;
/// A client whose witness was wrong is not asked about for so long, seconds: every question costs the node a call.
const PAUSE_S: u64 = 1;
/// When to tell again what could not be asked.
const RETRY_AFTER_MS: u32 = 1000;

/// The open questions by number.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Asked {
    newest: u64,
    open: BTreeMap<u64, Question>,
}

#[derive(Debug)]
struct Question {
    /// Index of the payee's channel.
    payee: usize,
    lock_id: u64,
    condition: Condition,
    witness: Witness,
    /// The payee that waits for an answer; `None`: it was seen on chain.
    origin: Option<Origin>,
}

impl Ledger {
    /// The payee tells what opens a lock of the hub.
    pub(in crate::ledger) fn reveal(
        &mut self,
        origin: Origin,
        call: Reveal,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let told = self
            .may_speak_of_locks(origin, &call.channel_id)
            .and_then(|payee| self.told(payee, origin, call, clock, commit));
        if let Some(result) = told.transpose() {
            answer(commit, origin, result.map(|()| Reply::Done(Empty {})));
        }
    }

    /// `None`: the answer waits for the chain's.
    fn told(
        &mut self,
        payee: usize,
        origin: Origin,
        call: Reveal,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Option<()>, RpcError> {
        let refuse = |reject: Reject| RpcError::from(&reject);
        let (lock_id, witness) = (call.lock_id, call.witness);
        let entry = self.entry(payee).map_err(refuse)?;
        let Some(lock) = entry.channel.sent().locks.lock(lock_id) else {
            self.told_of_left(payee, lock_id, witness, clock, commit);
            return Err(refuse(Reject::LockUnknown { id: lock_id }));
        };
        let (condition, expiry) = (lock.condition(), lock.expiry);
        if !condition.has_resolver() {
            let opened = Opened::by_hash(condition, witness);
            let opened = opened.ok_or_else(|| refuse(Reject::WitnessWrong { id: lock_id }))?;
            let revealed = self.revealed(payee, lock_id, &opened, clock, commit);
            return revealed.map(Some).map_err(refuse);
        }
        if entry.converts(lock_id) || entry.channel.told_witnesses().any(|told| told.0 == lock_id) {
            return Ok(Some(()));
        }
        if clock.now >= expiry {
            let now = clock.now;
            return Err(refuse(Reject::PreimageTooLate { expiry, now }));
        }
        let question = Question {
            payee,
            lock_id,
            condition,
            witness,
            origin: Some(origin),
        };
        self.ask_for_payee(question, clock, commit).map(|()| None)
    }

    /// R23: after a restore; the lock has left, but the payer's that it rested on has not.
    fn told_of_left(
        &mut self,
        payee: usize,
        lock_id: u64,
        witness: Witness,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let doubted = self.entries.get(payee).is_some_and(Entry::doubted);
        let condition = self.condition(payee, lock_id).filter(|_| doubted);
        let opened = condition.and_then(|condition| Opened::by_hash(condition, witness));
        if let Some(opened) = opened {
            self.use_seen(payee, lock_id, &opened, clock, commit);
        }
    }

    fn ask_for_payee(
        &mut self,
        question: Question,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), RpcError> {
        let open = &self.asked.open;
        let mine = open.values().filter(|other| other.payee == question.payee);
        let entry = self.entries.get(question.payee);
        let paused = entry.is_some_and(|entry| clock.now < entry.asks_from);
        if paused || open.len() >= TOTAL_MAX || mine.count() >= PER_CHANNEL_MAX {
            return Err(RpcError::of(ErrorCode::Busy).retry_after_ms(RETRY_AFTER_MS));
        }
        self.ask(question, commit);
        Ok(())
    }

    fn ask(&mut self, question: Question, commit: &mut Commit) {
        let number = self.asked.newest.saturating_add(1);
        self.asked.newest = number;
        commit.outputs.push(Output::Check(Check {
            number,
            condition: question.condition,
            witness: question.witness.clone(),
        }));
        self.asked.open.insert(number, question);
    }

    /// The chain's answer to a question.
    pub(in crate::ledger) fn checked(
        &mut self,
        number: u64,
        opens: Option<bool>,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(question) = self.asked.open.remove(&number) else {
            return;
        };
        let (payee, lock_id) = (question.payee, question.lock_id);
        let opened = Opened::vouched(question.condition, question.witness);
        let Some(origin) = question.origin else {
            if let Some(opened) = opened.filter(|_| opens == Some(true)) {
                self.use_seen(payee, lock_id, &opened, clock, commit);
            }
            return;
        };
        if let Err(error) = self.require_synced(payee) {
            return answer(commit, origin, Err(error));
        }
        let result = match (opens, opened) {
            (Some(true), Some(opened)) => self
                .revealed(payee, lock_id, &opened, clock, commit)
                .map_err(|reject| RpcError::from(&reject)),
            (None, _) => {
                let text = "the resolver could not be asked: the hub does not reach the chain; tell it again";
                Err(RpcError::because(ErrorCode::ChainFailed, text).retry_after_ms(RETRY_AFTER_MS))
            }
            _ => {
                if let Some(entry) = self.entries.get_mut(payee) {
                    entry.asks_from = clock.now.after(PAUSE_S);
                }
                Err(RpcError::from(&Reject::WitnessWrong { id: lock_id }))
            }
        };
        answer(commit, origin, result.map(|()| Reply::Done(Empty {})));
    }

    /// R23, before the block is confirmed. Told again, or not opening the lock, it changes nothing and is not journaled.
    pub(in crate::ledger) fn witness_seen(
        &mut self,
        channel: &ChannelId,
        lock_id: u64,
        witness: Witness,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let Some(payee) = self.index(channel) else { return };
        let Some(condition) = self.condition(payee, lock_id) else {
            return;
        };
        let full = self.asked.open.len() >= SEEN_AND_TOLD_MAX;
        if condition.has_resolver() && !full {
            let origin = None;
            self.ask(
                Question {
                    payee,
                    lock_id,
                    condition,
                    witness,
                    origin,
                },
                commit,
            );
        } else if let Some(opened) = Opened::by_hash(condition, witness) {
            self.use_seen(payee, lock_id, &opened, clock, commit);
        }
    }

    /// When a lock of the hub opens; also one that has left its voucher while the payer's still rests on it.
    pub(in crate::ledger) fn condition(&self, payee: usize, lock_id: u64) -> Option<Condition> {
        let entry = self.entries.get(payee)?;
        let own = entry.channel.sent().locks.lock(lock_id);
        own.map(protocol_spec::Lock::condition).or_else(|| {
            let resting = entry.stored.resting.get(&lock_id)?;
            let payer = self.entries.get(resting.payer)?;
            let lock = payer.channel.received().locks.lock(resting.lock_id)?;
            Some(lock.condition())
        })
    }

    /// A witness that was believed before: it is in the journal, on the chain, or in a voucher of the payer.
    /// Errors: no such lock, or not its preimage.
    pub(in crate::ledger) fn believed(
        &self,
        payee: usize,
        lock_id: u64,
        witness: Witness,
    ) -> Result<Opened, Reject> {
        let condition = self.condition(payee, lock_id);
        let condition = condition.ok_or(Reject::LockUnknown { id: lock_id })?;
        let opened = match condition.has_resolver() {
            true => Opened::vouched(condition, witness),
            false => Opened::by_hash(condition, witness),
        };
        opened.ok_or(Reject::WitnessWrong { id: lock_id })
    }
}
