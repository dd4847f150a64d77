//! Co-operative messages: withdraw (R12-R14), close (R15), cancel of a dispute (R27), countersignature (R28).

use super::{Channel, Clock, Delays, Event, PendingWithdraw, Phase};
use crate::{
    Accept, Address, Amount, CancelDispute, Close, Lock, Reject, Seq, Side, UnixSeconds, Withdraw, limits,
};

impl Channel {
    /// The withdrawal by `side` of `amount` more, as this party would sign it now.
    pub fn plan_withdraw(
        &self,
        side: Side,
        amount: Amount,
        deadline: UnixSeconds,
    ) -> Result<Withdraw, Reject> {
        let (client, hub) = (self.half(Side::Client), self.half(Side::Hub));
        Ok(Withdraw {
            channel_id: self.id,
            side,
            total: self.withdrawn(side).plus(amount)?,
            client_seq: client.seq,
            client_paid: client.paid,
            hub_seq: hub.seq,
            hub_paid: hub.paid,
            deadline,
        })
    }

    /// R13, and from now on R12: after this returns the caller makes the change durable and signs.
    /// The same message again is permitted. Errors leave everything as it was.
    pub fn sign_withdraw(&mut self, withdraw: &Withdraw, clock: Clock) -> Result<(), Reject> {
        if self
            .pending_withdraw
            .as_ref()
            .is_some_and(|pending| pending.withdraw == *withdraw)
        {
            return Ok(());
        }
        self.require_open()?;
        if withdraw.channel_id != self.id {
            return Err(Reject::WrongChannel);
        }
        if self.pending_withdraw.is_some() {
            return Err(Reject::WithdrawPending);
        }
        check_deadline(withdraw.deadline, clock)?;
        self.check_withdraw_floors(withdraw)?;
        self.check_withdraw_amount(withdraw)?;
        self.pending_withdraw = Some(Box::new(PendingWithdraw {
            withdraw: withdraw.clone(),
        }));
        Ok(())
    }

    /// R13, first sentences: own (seq, paid) is one of our vouchers, the other's is what we last accepted. Mined, the message
    /// raises the floors as that voucher would: an own seq below what it acknowledges would hide the acknowledgement from the
    /// chain, and with an older own voucher a lock could be collected that was given up (R10).
    fn check_withdraw_floors(&self, withdraw: &Withdraw) -> Result<(), Reject> {
        let ((own_seq, own_paid), (other_seq, other_paid)) = self.withdraw_floors(withdraw);
        let mismatch = |field, expected, got| Err(Reject::WithdrawMismatch { field, expected, got });
        let acknowledged = self.incoming.ack_seq;
        if own_seq < acknowledged {
            return Err(Reject::WithdrawStale {
                payer: self.me,
                acknowledged,
                got: own_seq,
            });
        }
        let expected = self.outgoing.paid_at(own_seq)?;
        match () {
            () if own_paid != expected => mismatch("own paid", expected, own_paid),
            () if other_seq != self.incoming.seq => mismatch(
                "other seq",
                Amount(self.incoming.seq.0.into()),
                Amount(other_seq.0.into()),
            ),
            () if other_paid != self.incoming.paid => mismatch("other paid", self.incoming.paid, other_paid),
            // The adjudicator refuses a total that takes out nothing.
            () if withdraw.total <= self.funds.withdrawn(withdraw.side) => {
                mismatch("total", self.funds.withdrawn(withdraw.side), withdraw.total)
            }
            () => Ok(()),
        }
    }

    fn withdraw_floors(&self, withdraw: &Withdraw) -> ((Seq, Amount), (Seq, Amount)) {
        let client = (withdraw.client_seq, withdraw.client_paid);
        let hub = (withdraw.hub_seq, withdraw.hub_paid);
        if self.me == Side::Client {
            (client, hub)
        } else {
            (hub, client)
        }
    }

    /// R13: what the withdrawing side can spare. On its own side every own voucher from its seq here on counts, and every
    /// R10-live lock; the income is the other side's paid here, which is at least what they acknowledge, but for those after
    /// its seq here only what they acknowledge.
    fn check_withdraw_amount(&self, withdraw: &Withdraw) -> Result<(), Reject> {
        let ((own_seq, own_paid), (_, other_paid)) = self.withdraw_floors(withdraw);
        let deposit = self.funds.deposit(withdraw.side);
        let (income, spent) = if withdraw.side == self.me {
            let half = &self.outgoing.half;
            let income = half.ack_paid.max(other_paid);
            let promised = self.outgoing.promised_since(own_seq, income)?;
            (income, half.paid.plus(self.outgoing.live_total()?)?.max(promised))
        } else {
            let half = &self.incoming;
            (half.ack_paid.max(own_paid), half.paid.plus(half.locks.total())?)
        };
        let available = deposit.plus(income)?.saturating_minus(spent);
        if withdraw.total > available {
            return Err(Reject::WithdrawExceeds {
                side: withdraw.side,
                available,
                got: withdraw.total,
            });
        }
        Ok(())
    }

    /// The withdrawal this party signed that is neither final nor lapsed (R12).
    #[must_use]
    pub fn pending_withdraw(&self) -> Option<&Withdraw> {
        self.pending_withdraw.as_ref().map(|pending| &pending.withdraw)
    }

    /// True while a withdrawal this party signed is neither final nor lapsed (R12).
    #[must_use]
    pub fn is_withdraw_pending(&self) -> bool {
        self.pending_withdraw.is_some()
    }

    /// The close that divides what both sides know now.
    pub fn plan_close(&self, deadline: UnixSeconds) -> Close {
        let (client_balance, hub_balance) = self.settlement();
        Close {
            channel_id: self.id,
            client_deposit: self.funds.client_deposit,
            hub_deposit: self.funds.hub_deposit,
            client_balance,
            hub_balance,
            deadline,
        }
    }

    /// R15: after this returns the channel is closing; the caller makes it durable and signs. The same close again is
    /// permitted only while closing with the same deadline. Errors leave everything as it was.
    pub fn sign_close(&mut self, close: &Close, clock: Clock) -> Result<(), Reject> {
        if close.channel_id != self.id {
            return Err(Reject::WrongChannel);
        }
        match self.phase {
            Phase::Open => {}
            Phase::Closing { deadline } if deadline == close.deadline => {}
            _ => {
                return Err(Reject::ChannelNotOpen {
                    phase: self.phase.name(),
                });
            }
        }
        if self.has_locks() {
            return Err(Reject::CloseBlocked("locks are live or marked"));
        }
        if self.pending_withdraw.is_some() {
            return Err(Reject::CloseBlocked("a withdrawal is pending"));
        }
        check_deadline(close.deadline, clock)?;
        let ours = self.plan_close(close.deadline);
        let fields = [
            ("client_deposit", ours.client_deposit, close.client_deposit),
            ("hub_deposit", ours.hub_deposit, close.hub_deposit),
            ("client_balance", ours.client_balance, close.client_balance),
            ("hub_balance", ours.hub_balance, close.hub_balance),
        ];
        if let Some((field, expected, got)) = fields.into_iter().find(|(_, expected, got)| expected != got) {
            return Err(Reject::CloseMismatch { field, expected, got });
        }
        if self.phase == Phase::Open {
            self.enter(&Event::CloseSigned {
                deadline: close.deadline,
            })?;
        }
        Ok(())
    }

    /// R27: agrees to cancel the dispute the channel is in, once that is final: after a reorg the next one has the same number.
    /// Nothing changes until the cancel is final.
    pub fn sign_cancel(&self, cancel: &CancelDispute, clock: Clock) -> Result<(), Reject> {
        if cancel.channel_id != self.id {
            return Err(Reject::WrongChannel);
        }
        let Phase::Disputed { dispute_no, is_final } = self.phase else {
            return Err(Reject::ChannelNotOpen {
                phase: self.phase.name(),
            });
        };
        if dispute_no != cancel.dispute_no {
            return Err(Reject::DisputeNoMismatch {
                expected: dispute_no,
                got: cancel.dispute_no,
            });
        }
        if !is_final {
            return Err(Reject::DisputeNotFinal { dispute_no });
        }
        check_deadline(cancel.deadline, clock)?;
        let until = self.cancel_until(clock);
        if cancel.deadline > until {
            return Err(Reject::DeadlineOutOfRange {
                after: clock.now,
                until,
                got: cancel.deadline,
            });
        }
        Ok(())
    }

    /// R27: the latest deadline of a cancel that takes no lock of the other side its last chance. What resolves a lock fails
    /// if the cancel is mined before it, and so does the `dispute` that follows if the other side disputes before that:
    /// afterwards this must be seen, and there must be time for another transaction.
    fn cancel_until(&self, clock: Clock) -> UnixSeconds {
        let payer = self.me.other();
        let open = |lock: &&Lock| {
            let settled = self.consents_given.contains(&lock.id) || self.marked.contains(&(payer, lock.id));
            !settled && clock.chain < lock.expiry
        };
        let Delays { lag_s, act_s } = self.delays;
        let needed_s = lag_s.saturating_add(act_s).saturating_add(act_s);
        let expiries = self.incoming.locks.iter().filter(open).map(|lock| lock.expiry.0);
        expiries.min().map_or(UnixSeconds(u64::MAX), |expiry| {
            UnixSeconds(expiry.saturating_sub(needed_s).saturating_sub(1))
        })
    }

    /// R28: the countersignature over the newest accepted voucher, for a submitter. `None` before the first voucher.
    /// Errors: a marked lock is not converted yet.
    pub fn plan_accept(
        &self,
        submitter: Address,
        may_dispute: bool,
        deadline: UnixSeconds,
    ) -> Result<Option<Accept>, Reject> {
        let payer = self.me.other();
        if let Some((_, id)) = self
            .marked
            .iter()
            .find(|(side, id)| *side == payer && self.incoming.locks.lock(*id).is_some())
        {
            return Err(Reject::LockNotDroppable {
                id: *id,
                why: "it is marked and not converted",
            });
        }
        Ok(self.incoming_signature.is_some().then_some(Accept {
            voucher: self.incoming.digest,
            submitter,
            may_dispute,
            deadline,
        }))
    }
}

/// now < deadline <= now + 1 day, by `now` (never earlier than chain time).
fn check_deadline(deadline: UnixSeconds, clock: Clock) -> Result<(), Reject> {
    let until = clock.now.after(limits::DEADLINE_AHEAD_MAX_S);
    if deadline <= clock.now || deadline > until {
        return Err(Reject::DeadlineOutOfRange {
            after: clock.now,
            until,
            got: deadline,
        });
    }
    Ok(())
}
