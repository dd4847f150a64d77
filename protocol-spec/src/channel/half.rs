//! One direction: its newest voucher's facts and the step that operations make from it (R2, R5, history).

use super::Clock;
use crate::{
    Amount, ChannelId, Digest, History, Lock, LockSet, LocksOpening, Op, Reject, Seq, Side, Voucher, limits,
};
use borsh::{BorshDeserialize, BorshSerialize};
use std::collections::VecDeque;

/// As the newest lock's id: no more locks are added.
pub(super) const IDS_ENDED: u64 = u64::MAX;

/// One direction of a channel.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Half {
    /// Who pays in this direction.
    pub payer: Side,
    /// Number of the newest voucher; 0 before the first.
    pub seq: Seq,
    /// Its `paid`.
    pub paid: Amount,
    /// Its history.
    pub history: Digest,
    /// Its `ack_seq`.
    pub ack_seq: Seq,
    /// Its `ack_paid`.
    pub ack_paid: Amount,
    /// Its locks. Not in the Borsh form: see `channel::record`.
    #[borsh(skip)]
    pub locks: LockSet,
    /// Highest lock id ever used in this direction.
    pub newest_lock: u64,
    /// The opening of its commitment; `None` without locks.
    pub opening: Option<Box<LocksOpening>>,
    /// EIP-712 digest of the newest voucher.
    pub digest: Digest,
}

/// Why a lock may leave without payment; differs between signing and accepting.
pub(super) trait LockRules {
    /// R5 (b), (c) when accepting; R9 when signing.
    fn may_drop(&self, lock: &Lock, clock: Clock) -> Result<(), Reject>;
    /// R5 (a) when accepting; R8 when signing.
    fn may_convert(&self, lock: &Lock, witness: &[u8]) -> Result<(), Reject>;
}

/// What operations make of a direction.
pub(super) struct Step {
    pub(super) paid: Amount,
    pub(super) history: Digest,
    /// `None` without lock operations.
    pub(super) locks: Option<Box<LockStep>>,
}

pub(super) struct LockStep {
    payer: Side,
    pub(super) set: LockSet,
    /// Of `set`, once every operation was applied.
    opening: Option<Box<LocksOpening>>,
    pub(super) newest: u64,
    pub(super) converted: Vec<Lock>,
    pub(super) dropped: Vec<Lock>,
}

impl Half {
    pub(super) fn new(id: &ChannelId, payer: Side) -> Self {
        Self {
            payer,
            seq: Seq::NONE,
            paid: Amount::ZERO,
            history: super::initial_history(id, payer),
            ack_seq: Seq::NONE,
            ack_paid: Amount::ZERO,
            locks: LockSet::default(),
            newest_lock: 0,
            opening: None,
            digest: Digest::ZERO,
        }
    }

    /// The newest voucher's `locks`: the commitment to them, zero without locks.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        commitment(self.opening.as_deref())
    }

    /// The newest voucher; `None` before the first. It is kept as its facts only.
    pub(super) fn voucher(&self, id: ChannelId) -> Option<Voucher> {
        (self.seq != Seq::NONE).then_some(Voucher {
            channel_id: id,
            seq: self.seq,
            paid: self.paid,
            ack_seq: self.ack_seq,
            ack_paid: self.ack_paid,
            locks: self.commitment(),
            history: self.history,
        })
    }

    /// Applies `ops` to a copy of the sums (R2), the history and, if any touches them, the locks (R5).
    pub(super) fn step(&self, ops: &[Op], clock: Clock, rules: &dyn LockRules) -> Result<Step, Reject> {
        if ops.len() > limits::OPS_PER_FRAME_MAX {
            return Err(Reject::OpsTooMany {
                max: limits::OPS_PER_FRAME_MAX,
                got: ops.len(),
            });
        }
        let mut step = Step {
            paid: self.paid,
            history: self.history,
            locks: None,
        };
        for op in ops {
            if !op.allowed_from(self.payer) {
                return Err(Reject::OpNotAllowed);
            }
            step.history = History(step.history).extended(op).0;
            let added = match op {
                Op::Pay(payment) => nonzero(payment.amount)?.plus(payment.fee_max)?,
                Op::Credit(credit) => nonzero(credit.amount)?,
                Op::Return(returned) => nonzero(returned.amount)?,
                lock_op => self.lock_step(&mut step.locks).apply(lock_op, clock, rules)?,
            };
            step.paid = step.paid.plus(added)?;
        }
        if let Some(locks) = &mut step.locks {
            locks.set.settle();
            locks.opening = locks.set.opening().map(Box::new);
        }
        Ok(step)
    }

    fn lock_step<'a>(&self, slot: &'a mut Option<Box<LockStep>>) -> &'a mut LockStep {
        slot.get_or_insert_with(|| {
            Box::new(LockStep {
                payer: self.payer,
                set: self.locks.clone(),
                opening: None,
                newest: self.newest_lock,
                converted: Vec::new(),
                dropped: Vec::new(),
            })
        })
    }

    /// The sum of the locks after `step`, and what a voucher commits to them with. Without lock operations both are the newest
    /// voucher's.
    pub(super) fn locked_after(&self, step: &Step) -> (Amount, Digest) {
        match &step.locks {
            Some(locks) => (locks.set.total(), commitment(locks.opening.as_deref())),
            None => (self.locks.total(), self.commitment()),
        }
    }

    /// Takes over a checked voucher.
    pub(super) fn advance(&mut self, voucher: &Voucher, digest: Digest, locks: Option<Box<LockStep>>) {
        self.seq = voucher.seq;
        self.paid = voucher.paid;
        self.history = voucher.history;
        self.ack_seq = voucher.ack_seq;
        self.ack_paid = voucher.ack_paid;
        self.digest = digest;
        if let Some(step) = locks {
            self.locks = step.set;
            self.opening = step.opening;
            self.newest_lock = step.newest;
        }
    }
}

impl LockStep {
    /// Applies one lock operation; returns what it adds to `paid`.
    fn apply(&mut self, op: &Op, clock: Clock, rules: &dyn LockRules) -> Result<Amount, Reject> {
        match op {
            Op::LockAdd { lock, .. } => {
                self.check_new(lock, clock)?;
                self.newest = lock.id;
                self.set.add(Lock::clone(lock), self.payer)?;
                Ok(Amount::ZERO)
            }
            Op::LockConvert { id, witness } => {
                let lock = self.set.lock(*id).ok_or(Reject::LockUnknown { id: *id })?;
                if witness.len() > limits::WITNESS_BYTES_MAX {
                    return Err(Reject::WitnessWrong { id: *id });
                }
                rules.may_convert(lock, witness)?;
                let lock = self.set.remove(*id)?;
                let amount = lock.amount;
                self.converted.push(lock);
                Ok(amount)
            }
            Op::LockDrop { id } => {
                let lock = self.set.lock(*id).ok_or(Reject::LockUnknown { id: *id })?;
                rules.may_drop(lock, clock)?;
                self.dropped.push(self.set.remove(*id)?);
                Ok(Amount::ZERO)
            }
            Op::Pay(_) | Op::Credit(_) | Op::Return(_) => Ok(Amount::ZERO),
        }
    }

    /// R5: the id is new, the amount is not zero, and chain time < expiry <= chain time + MAX_LOCK.
    fn check_new(&self, lock: &Lock, clock: Clock) -> Result<(), Reject> {
        nonzero(lock.amount)?;
        if self.newest == IDS_ENDED {
            return Err(Reject::LocksEnded);
        }
        if lock.id <= self.newest {
            return Err(Reject::LockIdReused {
                newest: self.newest,
                got: lock.id,
            });
        }
        let until = clock.chain.after(limits::LOCK_LIFE_MAX_S);
        if lock.expiry <= clock.chain || lock.expiry > until {
            return Err(Reject::LockExpiryOutOfRange {
                after: clock.chain,
                until,
                got: lock.expiry,
            });
        }
        Ok(())
    }
}

fn commitment(opening: Option<&LocksOpening>) -> Digest {
    opening.map_or(Digest::ZERO, LocksOpening::commitment)
}

pub(super) fn nonzero(amount: Amount) -> Result<Amount, Reject> {
    if amount.is_zero() {
        Err(Reject::AmountZero)
    } else {
        Ok(amount)
    }
}

/// What is remembered of an own voucher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Sent {
    pub(super) seq: Seq,
    pub(super) paid: Amount,
    /// Sum of its locks.
    pub(super) locked: Amount,
    /// What it acknowledges.
    pub(super) ack_paid: Amount,
}

/// The direction this party signs, with what it must remember of its own vouchers (R3, R10).
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Outgoing {
    /// The direction.
    pub half: Half,
    /// Own vouchers from the last acknowledged one on.
    pub(super) sent: VecDeque<Sent>,
    /// Locks consented away, live until the other side acknowledges the seq that removed them (R10).
    pub(super) leaving: Vec<(Seq, Lock)>,
}

impl Outgoing {
    pub(super) fn new(half: Half) -> Self {
        Self {
            half,
            sent: VecDeque::new(),
            leaving: Vec::new(),
        }
    }

    /// `paid` of the own voucher with `seq`; zero for 0. R3.
    pub(super) fn paid_at(&self, seq: Seq) -> Result<Amount, Reject> {
        if seq == Seq::NONE {
            return Ok(Amount::ZERO);
        }
        self.place(seq)
            .and_then(|index| self.sent.get(index))
            .map(|sent| sent.paid)
            .ok_or(Reject::AckUnknown {
                newest: self.half.seq,
                got: seq,
            })
    }

    /// Where `seq` is in the list: without gaps as far behind the first as its number says.
    fn place(&self, seq: Seq) -> Option<usize> {
        let first = self.sent.front()?.seq;
        let dense = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        if self.sent.get(dense).is_some_and(|sent| sent.seq == seq) {
            return Some(dense);
        }
        self.sent.binary_search_by_key(&seq, |sent| sent.seq).ok()
    }

    /// Bounds of `paid` of an own voucher that is newer than `acknowledged`, not newer than the newest, and forgotten:
    /// sums never fall as seqs grow.
    pub(super) fn forgotten(&self, seq: Seq, acknowledged: (Seq, Amount)) -> Option<(Amount, Amount)> {
        let at = self.sent.partition_point(|sent| sent.seq < seq);
        let most = self.sent.get(at)?.paid;
        let before = at.checked_sub(1).and_then(|before| self.sent.get(before));
        let least = before.map_or(Amount::ZERO, |sent| sent.paid);
        let (acknowledged_seq, acknowledged_paid) = acknowledged;
        let most = if seq == acknowledged_seq {
            acknowledged_paid
        } else {
            most
        };
        Some((least.max(acknowledged_paid), most))
    }

    /// Own vouchers kept: all that are not acknowledged, and one more at most.
    pub(super) fn kept(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn unacked_after(&self, ack: Seq) -> usize {
        // At most one of those is kept.
        let known = self.sent.iter().take_while(|sent| sent.seq <= ack).count();
        self.sent.len().saturating_sub(known)
    }

    /// Forgets what an accepted acknowledgement of `ack` makes unnecessary.
    pub(super) fn acknowledged(&mut self, ack: Seq) {
        while self.sent.front().is_some_and(|sent| sent.seq < ack) {
            self.sent.pop_front();
        }
        self.leaving.retain(|(removed_at, _)| *removed_at > ack);
    }

    /// Takes down the newest own voucher.
    pub(super) fn remember_newest(&mut self) {
        let half = &self.half;
        self.sent.push_back(Sent {
            seq: half.seq,
            paid: half.paid,
            locked: half.locks.total(),
            ack_paid: half.ack_paid,
        });
    }

    /// The most that an own voucher from `seq` on promises: paid and locked. At least the newest's. One after `seq` may still
    /// have to be accepted (R4): what it does not acknowledge of `income` is as good as spent. R13.
    pub(super) fn promised_since(&self, seq: Seq, income: Amount) -> Result<Amount, Reject> {
        let newest = self.half.paid.plus(self.half.locks.total())?;
        let since = self.sent.iter().filter(|sent| sent.seq >= seq);
        since
            .map(|sent| {
                let counted = if sent.seq > seq { sent.ack_paid } else { income };
                sent.paid
                    .plus(sent.locked)?
                    .plus(income.saturating_minus(counted))
            })
            .try_fold(newest, |most, promised| Ok(most.max(promised?)))
    }

    /// Sum of all locks that R10 calls live: those in the newest voucher and those leaving.
    pub(super) fn live_total(&self) -> Result<Amount, Reject> {
        let leaving = Amount::sum(self.leaving.iter().map(|(_, lock)| lock.amount))?;
        self.half.locks.total().plus(leaving)
    }
}
