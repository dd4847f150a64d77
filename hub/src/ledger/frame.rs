//! A client's voucher: accepted, then its payments delivered or returned, all in one commit.

use super::{Commit, Ledger, Origin, Output, input::Change};
use protocol_spec::{
    Channel, Digest, Op, Payment, Reject, ReturnReason, Seq, VerifiedVoucher, Voucher,
    channel::{Accepted, Clock},
    limits,
    message::{Bounce, ErrorCode, Reply, RpcError, VoucherReply},
};

impl Ledger {
    pub(super) fn frame(
        &mut self,
        origin: Origin,
        voucher: &VerifiedVoucher,
        ops: Vec<Op>,
        clock: Clock,
        commit: &mut Commit,
    ) {
        let result = self.try_frame(origin, voucher, ops, clock, commit);
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
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<VoucherReply, RpcError> {
        let index = self.owned(origin, &voucher.voucher().channel_id)?;
        if self.rolled_back {
            return Err(RpcError::of(ErrorCode::RolledBack));
        }
        let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
        if entry.session != Some(origin.session) {
            return Err(RpcError::of(ErrorCode::NotResumed));
        }
        if ops.iter().any(Op::is_lock) {
            return Err(RpcError::because(
                ErrorCode::InvalidParams,
                "this hub does not forward locked payments yet",
            ));
        }
        let bounced = self
            .accept_frame(index, voucher, ops, clock, commit)
            .map_err(|reject| RpcError::from(&reject))?;
        Ok(VoucherReply {
            seq: voucher.voucher().seq,
            bounced,
        })
    }

    /// R24: accepts the voucher and delivers its payments. State is unchanged on an error.
    pub(super) fn accept_frame(
        &mut self,
        index: usize,
        voucher: &VerifiedVoucher,
        ops: Vec<Op>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Vec<Bounce>, Reject> {
        let entry = self.entry_mut(index)?;
        check_backlog(&entry.channel, voucher.voucher())?;
        if entry.channel.accept(voucher, &ops, clock)? == Accepted::Duplicate {
            return Ok(self.bounces_of(index, &ops));
        }
        entry.trim_backlog();
        commit.touched.insert(index);
        let seq = voucher.voucher().seq;
        let mut bounced = Vec::new();
        for op in &ops {
            if let Op::Pay(payment) = op
                && let Some(reason) = self.settle_accepted(index, seq, payment, op.digest(), clock, commit)
            {
                bounced.push(Bounce {
                    payment_id: payment.payment_id,
                    reason,
                });
            }
        }
        commit.changes.push(Change::Frame {
            signed: voucher.signed().clone(),
            ops,
        });
        Ok(bounced)
    }

    /// An accepted voucher's payment cannot fail any more: its sums were checked. If it does, state is wrong.
    #[expect(
        clippy::panic,
        reason = "state may be wrong: a crash beats money silently owed"
    )]
    fn settle_accepted(
        &mut self,
        payer: usize,
        seq: Seq,
        payment: &Payment,
        content: Digest,
        clock: Clock,
        commit: &mut Commit,
    ) -> Option<ReturnReason> {
        match self.settle_payment(payer, seq, payment, content, clock, commit) {
            Ok(bounced) => bounced,
            Err(reject) => panic!(
                "payment {} of an accepted voucher failed: {reject}",
                payment.payment_id
            ),
        }
    }

    /// The answer to a frame that was accepted before.
    fn bounces_of(&self, index: usize, ops: &[Op]) -> Vec<Bounce> {
        let bounce = |op: &Op| match op {
            Op::Pay(payment) => {
                let reason: Option<ReturnReason> = self.payments.outcome(index, payment.payment_id)?.bounced;
                reason.map(|reason| Bounce {
                    payment_id: payment.payment_id,
                    reason,
                })
            }
            _ => None,
        };
        ops.iter().filter_map(bounce).collect()
    }

    pub(super) fn set_policy(&mut self, policy: super::Policy, commit: &mut Commit) {
        self.policy = policy.clone();
        commit.changes.push(Change::Policy(policy));
    }
}

/// A client that sends but never takes the hub's vouchers is told to, before the hub runs out of numbers to keep.
fn check_backlog(channel: &Channel, voucher: &Voucher) -> Result<(), Reject> {
    let full = channel.unacked().saturating_add(MARGIN) >= limits::UNACKED_MAX;
    if full && voucher.seq > channel.received().seq && voucher.ack_seq <= channel.received().ack_seq {
        return Err(Reject::TooManyUnacked {
            max: limits::UNACKED_MAX,
        });
    }
    Ok(())
}

/// Vouchers that one commit may still issue after the check.
const MARGIN: usize = 512;
