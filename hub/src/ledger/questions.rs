//! Questions of clients: they change nothing.

use super::{Commit, Ledger, Origin, session::answer};
use protocol_spec::{
    ChannelId, PaymentId, ReturnReason,
    channel::Clock,
    message::{ErrorCode, PaymentCall, PaymentReply, PaymentStatus, QuoteCall, QuoteReply, Reply, RpcError},
};

/// How long a quote binds, seconds.
pub(super) const QUOTE_LIFE_S: u64 = 60;

impl Ledger {
    pub(super) fn quote(&self, origin: Origin, call: &QuoteCall, clock: Clock, commit: &mut Commit) {
        let result = self.owned(origin, &call.channel_id).and_then(|index| {
            let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
            let token = entry.channel.config().token;
            let price = self.price(index, token, call.payee, call.amount, clock.now);
            let fee = self.fee(token, call.amount, clock.now);
            let fee = fee.ok_or_else(|| RpcError::of(ErrorCode::WrongHub))?;
            // What a client pays comes back while it is held (A10), wherever it goes.
            let would_bounce = match self.is_held(index) {
                true => Some(ReturnReason::Unavailable),
                false => price.err(),
            };
            let dry = would_bounce == Some(ReturnReason::InsufficientReserve);
            let payee = self.find(token, call.payee).filter(|_| dry);
            let ready_at = payee.and_then(|payee| self.ready_at(payee, call.amount, clock.now));
            let expires_at = clock.now.after(QUOTE_LIFE_S);
            Ok(Reply::Quote(QuoteReply {
                fee,
                expires_at,
                would_bounce,
                ready_at,
            }))
        });
        answer(commit, origin, result);
    }

    pub(super) fn payment(&self, origin: Origin, call: &PaymentCall, commit: &mut Commit) {
        let result = self.owned(origin, &call.channel_id).map(|index| {
            let status = self.status(index, call.payment_id);
            Reply::Payment(PaymentReply { status })
        });
        answer(commit, origin, result);
    }

    fn status(&self, payer: usize, id: PaymentId) -> PaymentStatus {
        if let Some(outcome) = self.outcome(payer, id) {
            return outcome.status();
        }
        let entry = self.entries.get(payer);
        match entry.and_then(|entry| entry.locked_payment(id)) {
            Some(lock) => PaymentStatus::Locked {
                lock_id: lock.id,
                expiry: lock.expiry,
            },
            None => PaymentStatus::Unknown {},
        }
    }

    pub(super) fn channel_info(&self, origin: Origin, id: &ChannelId, commit: &mut Commit) {
        let result = self.owned(origin, id).and_then(|index| {
            let entry = self.entry(index).map_err(|reject| RpcError::from(&reject))?;
            Ok(Reply::Channel(Box::new(entry.info())))
        });
        answer(commit, origin, result);
    }
}
