//! One payment: delivered to its payee or returned to its payer, in the same commit.

use super::{Commit, Ledger, payments::Outcome};
use protocol_spec::{
    Amount, Credit, Digest, Op, Payee, Payment, PaymentId, Reject, Return, ReturnReason, Seq, UnixSeconds,
    canary::{Canary, planted},
    channel::{Clock, Phase},
    limits,
};

/// A payment that can be delivered.
struct Route {
    /// None: to the hub itself.
    payee: Option<usize>,
    fee: Amount,
}

impl Ledger {
    /// Delivers the payment or returns its money; `Some(reason)` when it bounced.
    /// Errors are programmer's errors: the sums were checked when the voucher was accepted. `tag`: `Credit::payer_of`, if it
    /// is known already.
    pub(super) fn settle_payment(
        &mut self,
        payer: usize,
        seq: Seq,
        payment: &Payment,
        tag: Option<Digest>,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<Option<ReturnReason>, Reject> {
        let known = !planted(Canary::ForgetIds)
            && (self.knows_payment(payer, payment.payment_id)
                || self.entry(payer)?.locks_payment(payment.payment_id));
        let route = if known {
            Err(ReturnReason::DuplicateId)
        } else {
            self.route(payer, payment, clock)
        };
        let bounced = match route {
            Ok(route) => {
                match route.payee {
                    Some(payee) => {
                        let tag = match tag {
                            Some(tag) => tag,
                            None => Credit::payer_of(&self.entry(payer)?.channel.id(), &payment.payment_id),
                        };
                        self.credit(payee, payment, tag, clock, commit)?;
                    }
                    None => self.order(payer, clock)?,
                }
                self.give_back(
                    payer,
                    payment.payment_id,
                    payment.fee_max.minus(route.fee)?,
                    ReturnReason::Change,
                    clock,
                    commit,
                )?;
                None
            }
            Err(reason) => {
                let whole = payment.amount.plus(payment.fee_max)?;
                self.give_back(payer, payment.payment_id, whole, reason, clock, commit)?;
                Some(reason)
            }
        };
        if !known {
            // A returned payment may be forgotten at any time: delivering it later takes new money.
            let at = clock.now;
            let expires_at = bounced.map_or(payment.expires_at, |_| at);
            self.remember(
                payer,
                payment.payment_id,
                Outcome {
                    seq,
                    bounced,
                    at,
                    expires_at,
                },
            );
        }
        Ok(bounced)
    }

    /// Where the payment goes and what it costs, or why it cannot be delivered.
    fn route(&self, payer: usize, payment: &Payment, clock: Clock) -> Result<Route, ReturnReason> {
        let from = self.entries.get(payer).ok_or(ReturnReason::Unavailable)?;
        match () {
            () if payment.expires_at <= clock.now => return Err(ReturnReason::Expired),
            () if payment.expires_at > clock.now.after(limits::PAYMENT_LIFE_MAX_S) => {
                return Err(ReturnReason::ExpiryTooFar);
            }
            () if self.is_held(payer) => return Err(ReturnReason::Unavailable),
            () if !self.can_remember(payer, clock.now) => return Err(ReturnReason::Unavailable),
            () => {}
        }
        let token = from.channel.config().token;
        if payment.payee == Payee::Account(self.hub) {
            self.accepts_quote(payer, payment, clock)?;
            let (payee, fee) = (None, Amount::ZERO);
            return Ok(Route { payee, fee });
        }
        let (payee, fee) = self.price(payer, token, payment.payee, payment.amount, clock.now)?;
        self.require_seen(payee, clock)?;
        if fee > payment.fee_max {
            return Err(ReturnReason::FeeTooLow);
        }
        let payee = Some(payee);
        Ok(Route { payee, fee })
    }

    /// R6: nothing is credited where a dispute may have been missed.
    pub(super) fn require_seen(&self, payee: usize, clock: Clock) -> Result<(), ReturnReason> {
        let to = self.entries.get(payee).ok_or(ReturnReason::UnknownPayee)?;
        to.require_fresh(clock).map_err(|_| ReturnReason::Unavailable)
    }

    /// R22: a lock's times rest on a view of the chain that is no older than lag.
    pub(super) fn require_seen_within_lag(&self, clock: Clock) -> Result<(), ReturnReason> {
        let age_s = clock.now.0.saturating_sub(clock.chain.0);
        match age_s <= self.policy.delays.lag_s {
            true => Ok(()),
            false => Err(ReturnReason::Unavailable),
        }
    }

    /// The payee's index, if its channel is known.
    pub(super) fn find(&self, token: protocol_spec::Address, payee: Payee) -> Option<usize> {
        match payee {
            Payee::Channel(id) => self.index(&id),
            Payee::Account(account) => self.by_account.get(&(account, token)).copied(),
        }
    }

    /// The payee's index and the fee, or why it would bounce.
    pub(super) fn price(
        &self,
        payer: usize,
        token: protocol_spec::Address,
        payee: Payee,
        amount: Amount,
        now: UnixSeconds,
    ) -> Result<(usize, Amount), ReturnReason> {
        let index = self.find(token, payee).ok_or(ReturnReason::UnknownPayee)?;
        let to = self.entries.get(index).ok_or(ReturnReason::UnknownPayee)?;
        match () {
            () if index == payer => Err(ReturnReason::SelfPayment),
            () if !to.stored.registered => Err(ReturnReason::UnknownPayee),
            () if to.channel.config().token != token => Err(ReturnReason::TokenMismatch),
            () if *to.channel.phase() != Phase::Open => Err(ReturnReason::PayeeClosed),
            () if to.stored.leaving_until > now => Err(ReturnReason::PayeeClosed),
            () if self.uncertain(index) => Err(ReturnReason::Unavailable),
            // One place is kept for the acknowledgement and the returns of the payee's own payments.
            () if to
                .channel
                .has_unacked(limits::UNACKED_MAX.saturating_sub(RESERVED_PLACES)) =>
            {
                Err(ReturnReason::PayeeBacklog)
            }
            () if self.hoards(to) || Self::shown_only(to) => Err(ReturnReason::PayeeBacklog),
            () if to.capacity() < amount || !to.fits(amount) => Err(ReturnReason::InsufficientReserve),
            () => {
                let fee = self.fee(token, amount, now);
                Ok((index, fee.ok_or(ReturnReason::Unavailable)?))
            }
        }
    }

    /// What delivering `amount` costs; none when it cannot be said. A quote given under the policy before still binds.
    pub(super) fn fee(
        &self,
        token: protocol_spec::Address,
        amount: Amount,
        now: UnixSeconds,
    ) -> Option<Amount> {
        let fee = self.policy.tariff(token)?.fee(amount)?;
        let former = self.former.get(&token);
        let former = former.and_then(|former| former.fee(amount, now));
        Some(former.map_or(fee, |former| former.min(fee)))
    }

    fn credit(
        &mut self,
        payee: usize,
        payment: &Payment,
        tag: Digest,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let credit = Credit {
            payment_id: payment.payment_id,
            payer: tag,
            amount: payment.amount,
            invoice: payment.invoice,
        };
        self.gather(payee, Op::Credit(credit), payment.amount, clock, commit)
    }

    pub(super) fn give_back(
        &mut self,
        payer: usize,
        payment_id: PaymentId,
        amount: Amount,
        reason: ReturnReason,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        let kept = match reason {
            ReturnReason::Change => Canary::KeepChange,
            _ => Canary::KeepBounce,
        };
        if amount.is_zero() || planted(kept) {
            return Ok(());
        }
        let returned = Return {
            payment_id,
            amount,
            reason,
        };
        self.gather(payer, Op::Return(returned), amount, clock, commit)
    }

    /// Adds an operation to the channel's voucher of this commit; a full one is issued first.
    pub(super) fn gather(
        &mut self,
        index: usize,
        op: Op,
        amount: Amount,
        clock: Clock,
        commit: &mut Commit,
    ) -> Result<(), Reject> {
        if !self.entry(index)?.has_place(&op) {
            self.issue(index, clock, commit);
        }
        commit.touched.insert(index);
        self.entry_mut(index)?.push(op, amount)
    }
}

/// Places in the list of unacknowledged vouchers kept free for a channel's own traffic.
const RESERVED_PLACES: usize = 1024;
