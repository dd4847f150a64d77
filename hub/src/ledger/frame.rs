//! A client's voucher: accepted, then its payments delivered or returned, all in one commit.

use super::{
    Commit, Ledger, Origin, Output, entry::Entry, input::Change, locks::NewLock, policy::FormerFee,
    questions::QUOTE_LIFE_S,
};
use protocol_spec::{
    Amount, Digest, Op, Reject, ReturnReason, Seq, UnixSeconds, VerifiedVoucher, Voucher,
    canary::{Canary, planted},
    channel::{Accepted, Clock},
    limits,
    message::{Bounce, Reply, RpcError, VoucherReply},
};

impl Ledger {
    pub(super) fn frame(
        &mut self,
        origin: Origin,
        voucher: &VerifiedVoucher,
        ops: Vec<Op>,
        payers: &[Digest],
        clock: Clock,
        commit: &mut Commit,
    ) {
        let result = self.try_frame(origin, voucher, ops, payers, clock, commit);
        commit.replies.push(Output::Reply(
            origin,
            result.map(|reply| Box::new(Reply::Voucher(reply))),
        ));
    }

    fn try_frame(
        &mut self,
        origin: Origin,
        voucher: &VerifiedVoucher,
        ops: Vec<Op>,
        payers: &[Digest],
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<VoucherReply, RpcError> {
        let index = self.owned(origin, &voucher.voucher().channel_id)?;
        self.require_synced(index)?;
        self.require_resumed(origin, index)?;
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        // What was accepted before is answered as before (A1).
        if voucher.voucher().seq > entry.channel.received().seq {
            self.require_chain(index, clock)?;
        }
        let offline = self.offline_locks(index, &ops);
        let bounced = self
            .accept_frame(index, voucher, ops, payers, offline, clock, commit)
            .map_err(|reject| RpcError::from(&reject))?;
        Ok(VoucherReply {
            seq: voucher.voucher().seq,
            bounced,
        })
    }

    /// R24: accepts the voucher and delivers its payments. State is unchanged on an error.
    /// `payers`: see [`super::ahead::Hashed`]; what is missing is hashed here.
    #[expect(
        clippy::too_many_arguments,
        reason = "a frame with what was made of it before"
    )]
    pub(super) fn accept_frame(
        &mut self,
        index: usize,
        voucher: &VerifiedVoucher,
        ops: Vec<Op>,
        payers: &[Digest],
        offline: Vec<u64>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Vec<Bounce>, Reject> {
        self.check_backlog(index, voucher.voucher(), ops.is_empty())?;
        let entry = self.entry_mut(index)?;
        check_returnable(entry, voucher.voucher(), &ops)?;
        let at_its_end = entry.is_at_its_end();
        match entry.channel.accept(voucher, &ops, clock.when_made(&ops)) {
            Ok(Accepted::Duplicate) => return Ok(entry.stored.bounced.clone()),
            Err(reject) if !planted(Canary::CreditRefused) => return Err(reject),
            Ok(Accepted::New) | Err(_) => {}
        }
        self.trim_backlog(index, voucher.voucher().ack_seq);
        commit.touched.insert(index);
        let seq = voucher.voucher().seq;
        let mut bounced = Vec::new();
        let mut payers = payers.iter();
        for op in &ops {
            let tag = match op {
                Op::Pay(_) => payers.next().copied(),
                _ => None,
            };
            if let Some(bounce) = self.settle_accepted(index, seq, (op, tag), &offline, clock, commit) {
                bounced.push(bounce);
            }
        }
        self.look_at_demand(index);
        if ops.iter().any(Op::is_lock) {
            self.look_at_locks(index);
        }
        if at_its_end {
            self.catch_up(index, clock, commit);
        }
        self.entry_mut(index)?.stored.bounced.clone_from(&bounced);
        let signed = voucher.signed().clone();
        let change = match ops.iter().any(|op| matches!(op, Op::LockAdd { .. })) {
            true => Change::LockFrame { signed, ops, offline },
            false => Change::Frame { signed, ops },
        };
        commit.changes.push(&change);
        // What it acknowledges may have been the end of a lock.
        self.release_dead(index, ReturnReason::Cancelled, commit);
        Ok(bounced)
    }

    /// A client that sends but never takes the hub's vouchers is told to, before the hub runs out of numbers, or of memory,
    /// to keep them.
    fn check_backlog(&self, index: usize, voucher: &Voucher, only_ack: bool) -> Result<(), Reject> {
        let entry = self.entry(index)?;
        let (channel, received) = (&entry.channel, entry.channel.received());
        let newly = voucher.ack_seq.0.saturating_sub(received.ack_seq.0);
        let waiting = channel.sent().seq.0.saturating_sub(received.ack_seq.0);
        let full = channel.has_unacked(limits::UNACKED_MAX.saturating_sub(MARGIN)) && newly == 0;
        // One at a time would let it grow on, if something new comes with it: the newest can be the heaviest.
        let little = newly < waiting.div_ceil(2) && !(only_ack && newly > 0);
        let hoards = little && self.hoards(entry);
        if (full || hoards) && voucher.seq > received.seq {
            let max = channel.unacked();
            return Err(Reject::TooManyUnacked { max });
        }
        Ok(())
    }

    /// An accepted voucher's operation cannot fail any more: its sums were checked. If it does, state is wrong.
    #[expect(
        clippy::panic,
        reason = "state may be wrong: a crash beats money silently owed"
    )]
    fn settle_accepted(
        &mut self,
        payer: usize,
        seq: Seq,
        (op, tag): (&Op, Option<Digest>),
        offline: &[u64],
        clock: Clock,
        commit: &mut Commit,
    ) -> Option<Bounce> {
        let settled = match op {
            Op::Pay(payment) => self
                .settle_payment(payer, seq, payment, tag, clock, commit)
                .map(|bounced| bounced.map(|reason| (payment.payment_id, reason))),
            Op::LockAdd { payment_id, .. } => NewLock::of(op).map_or(Ok(None), |new| {
                self.take_lock(payer, seq, &new, offline, clock, commit)
                    .map(|refused| refused.map(|reason| (*payment_id, reason)))
            }),
            Op::LockConvert { id, witness } => self
                .lock_converted(payer, *id, witness, clock, commit)
                .map(|()| None),
            Op::LockDrop { id } => self.lock_dropped(payer, *id).map(|()| None),
            Op::Credit(_) | Op::Return(_) => Ok(None),
        };
        match settled {
            Ok(bounced) => bounced.map(|(payment_id, reason)| Bounce {
                payment_id,
                reason,
                ready_at: self.hint(payer, op, reason, clock),
            }),
            Err(reject) => panic!("an operation of an accepted voucher failed: {reject}"),
        }
    }

    /// Notes what bounced for want of reserve; when it can be tried again.
    fn hint(&mut self, payer: usize, op: &Op, reason: ReturnReason, clock: Clock) -> Option<UnixSeconds> {
        let (payee, amount) = match op {
            Op::Pay(payment) => (payment.payee, payment.amount),
            Op::LockAdd { lock, payee, .. } => (*payee, lock.amount),
            _ => return None,
        };
        let dry = reason == ReturnReason::InsufficientReserve;
        dry.then(|| self.want(payer, payee, amount, clock.now)).flatten()
    }

    /// Fees that rise do not rise for those who were quoted the old ones.
    pub(super) fn set_policy(&mut self, policy: super::Policy, clock: Clock, commit: &mut Commit) {
        self.started(clock.now, commit);
        let until = clock.now.after(QUOTE_LIFE_S);
        let former = self.policy.tokens.iter().map(|tariff| {
            let (flat, ppm) = (tariff.fee_flat, tariff.fee_ppm);
            (tariff.token, FormerFee { flat, ppm, until })
        });
        self.former = former.collect();
        // What it was before the process ended is not what it is.
        self.vaults.clear();
        if self.policy.tokens != policy.tokens {
            self.look_at_all_reserves();
        }
        self.policy = policy.clone();
        commit.changes.push(&Change::Policy(policy));
    }
}

/// Vouchers that one commit may still issue after the check.
const MARGIN: usize = 512;

/// What comes back must be there, and all of the frame's money must fit into the hub's own direction (the widths of R2).
fn check_returnable(entry: &Entry, voucher: &Voucher, ops: &[Op]) -> Result<(), Reject> {
    if voucher.seq <= entry.channel.received().seq {
        return Ok(());
    }
    let cost = |op: &Op| match op {
        Op::Pay(payment) => payment.amount.plus(payment.fee_max),
        Op::LockAdd { lock, .. } => Ok(lock.amount),
        _ => Ok(Amount::ZERO),
    };
    let whole = ops.iter().try_fold(Amount::ZERO, |sum, op| sum.plus(cost(op)?))?;
    // What only acknowledges or lets a lock go changes no sum.
    let moves = |op: &Op| !matches!(op, Op::LockDrop { .. });
    if entry.is_overdrawn() && ops.iter().any(moves) {
        return Err(Reject::BalanceExceeded {
            available: Amount::ZERO,
            needed: whole,
        });
    }
    entry.fits(whole).then_some(()).ok_or(Reject::AmountOverflow)
}
