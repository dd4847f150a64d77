//! Taking payments: limits, balance, quotes, the queue.

use super::{
    Actor, Outcome, PayOrder, PayReply,
    entry::{Entry, Order, QuoteKey},
    session::Pending,
    sight::Sight,
};
use crate::{Paid, PayError, PaymentState, StoreError};
use protocol_spec::{
    Amount, ChannelId, Payment, PaymentId, Reject,
    channel::Phase,
    message::{QuoteCall, QuoteReply, Request, RpcError},
};
use tokio::time::Instant;

/// Quotes remembered for a channel; beyond that all are asked for again.
const QUOTES_MAX: usize = 1024;

impl Actor {
    /// Takes a payment, or answers at once why not.
    pub(super) async fn pay(&mut self, mut order: PayOrder) -> Result<(), StoreError> {
        if let Some(id) = order.options.payment_id {
            match self.known(id, order).await? {
                Some(unknown) => order = unknown,
                None => return Ok(()),
            }
        }
        if let Err(error) = self.payable(order.channel_id, order.amount) {
            self.refuse(order.reply, error);
            return Ok(());
        }
        let expires_in = order.options.expires_in.unwrap_or(self.options.expires_in);
        let payment = Payment {
            payment_id: order
                .options
                .payment_id
                .unwrap_or_else(|| PaymentId(self.options.ports.random())),
            payee: order.payee,
            amount: order.amount,
            fee_max: order.options.fee_max.unwrap_or_default(),
            expires_at: self.clock().now.after(expires_in.as_secs()),
            invoice: order.options.invoice.unwrap_or_default(),
        };
        let waiting = Order {
            payment,
            replies: vec![order.reply],
            deadline: later(self.options.pay_timeout),
        };
        if order.options.fee_max.is_some() {
            self.enqueue(order.channel_id, waiting);
        } else {
            self.ask_quote(order.channel_id, waiting);
        }
        Ok(())
    }

    fn refuse(&mut self, reply: PayReply, error: PayError) {
        self.outcomes.push(Outcome {
            reply,
            result: Err(error),
        });
    }

    pub(super) fn payable(&self, channel: ChannelId, amount: Amount) -> Result<(), PayError> {
        let entry = self.entries.get(&channel).ok_or(PayError::NoChannel)?;
        if let Some(fault) = &entry.fault {
            return Err(PayError::Frozen {
                channel,
                fault: fault.clone(),
            });
        }
        if *entry.channel.phase() != Phase::Open {
            return Err(PayError::Refused(Reject::ChannelNotOpen {
                phase: entry.channel.phase().name(),
            }));
        }
        if amount.is_zero() {
            return Err(PayError::AmountZero);
        }
        self.seen_well(entry, Sight::NoLocks)?;
        self.affordable(entry, amount)
    }

    pub(super) fn affordable(&self, entry: &Entry, needed: Amount) -> Result<(), PayError> {
        let available = entry.available();
        if needed > available {
            return Err(PayError::InsufficientBalance { available, needed });
        }
        self.options.limit.check(needed, entry.gross(), self.spent)
    }

    /// A payment id used before: joins it or answers from the store. Gives the order back when the id is new.
    async fn known(&mut self, id: PaymentId, order: PayOrder) -> Result<Option<PayOrder>, StoreError> {
        let same = |payment: &Payment| {
            payment.payee == order.payee
                && payment.amount == order.amount
                && payment.invoice == order.options.invoice.unwrap_or_default()
        };
        // Who asks again waits again, also for a payment of an earlier run.
        let patience = later(self.options.pay_timeout);
        for (channel_id, entry) in &mut self.entries {
            // After a close on chain nothing is waited for.
            let is_closed = entry.closing.is_some();
            let open = entry.open.get_mut(&id).filter(|_| !is_closed).map(|open| {
                open.deadline = open.deadline.max(patience);
                (&open.row.payment, &mut open.replies)
            });
            let queued = entry
                .queue
                .iter_mut()
                .chain(entry.quoting.values_mut().flatten())
                .find(|queued| queued.payment.payment_id == id)
                .map(|queued| (&queued.payment, &mut queued.replies));
            if let Some((payment, replies)) = open.or(queued) {
                if same(payment) && *channel_id == order.channel_id {
                    replies.push(order.reply);
                } else {
                    self.refuse(order.reply, PayError::DuplicateId { payment_id: id });
                }
                return Ok(None);
            }
        }
        // It waits as a lock.
        if self.entries.values().any(|entry| entry.waits(&id)) {
            self.refuse(order.reply, PayError::DuplicateId { payment_id: id });
            return Ok(None);
        }
        let Some(row) = self.payment_row(&id).await? else {
            return Ok(Some(order));
        };
        let result = if same(&row.payment) && row.channel_id == order.channel_id {
            outcome(&row.channel_id, &row.payment, &row.state)
        } else {
            Err(PayError::DuplicateId { payment_id: id })
        };
        self.outcomes.push(Outcome {
            reply: order.reply,
            result,
        });
        Ok(None)
    }

    /// Puts a payment with a fee into the queue.
    fn enqueue(&mut self, channel_id: ChannelId, order: Order) {
        let cost = order.cost();
        let checked = match self.entries.get(&channel_id) {
            Some(entry) => self.affordable(entry, cost),
            None => Err(PayError::NoChannel),
        };
        match (checked, self.entries.get_mut(&channel_id)) {
            (Ok(()), Some(entry)) => {
                entry.queued = Amount(entry.queued.0.saturating_add(cost.0));
                entry.queue.push_back(order);
                self.spent = Amount(self.spent.0.saturating_add(cost.0));
            }
            (checked, _) => {
                let error = checked.err().unwrap_or(PayError::NoChannel);
                self.refuse_order(order, &error);
            }
        }
    }

    pub(super) fn refuse_order(&mut self, order: Order, error: &PayError) {
        for reply in order.replies {
            self.outcomes.push(Outcome {
                reply,
                result: Err(error.clone()),
            });
        }
    }

    fn ask_quote(&mut self, channel_id: ChannelId, mut order: Order) {
        let key = QuoteKey {
            payee: order.payment.payee,
            amount: order.payment.amount,
        };
        let now = self.clock().now;
        let known = self
            .entries
            .get(&channel_id)
            .and_then(|entry| entry.quotes.get(&key));
        if let Some((fee, _)) = known.filter(|(_, until)| *until > now) {
            order.payment.fee_max = *fee;
            return self.enqueue(channel_id, order);
        }
        let Some(entry) = self.entries.get_mut(&channel_id) else {
            return self.refuse_order(order, &PayError::NoChannel);
        };
        let waiting = entry.quoting.entry(key).or_default();
        waiting.push(order);
        // One question for all equal payments; offline ones are asked when the channel is live again.
        if waiting.len() == 1 && entry.live() {
            self.send_quote(channel_id, key);
        }
    }

    fn send_quote(&mut self, channel_id: ChannelId, key: QuoteKey) {
        let call = QuoteCall {
            channel_id,
            payee: key.payee,
            amount: key.amount,
        };
        let pending = Pending::Quote(channel_id, key);
        self.call(Request::Quote(call), pending);
    }

    /// Asks again for everything that waits, on a new connection.
    pub(super) fn ask_quotes(&mut self, channel_id: ChannelId) {
        let keys: Vec<_> = self
            .entries
            .get(&channel_id)
            .map(|entry| entry.quoting.keys().copied().collect())
            .unwrap_or_default();
        for key in keys {
            self.send_quote(channel_id, key);
        }
    }

    pub(super) fn quoted(
        &mut self,
        channel_id: ChannelId,
        key: QuoteKey,
        answer: Result<QuoteReply, RpcError>,
    ) {
        let waiting = self
            .entries
            .get_mut(&channel_id)
            .and_then(|entry| entry.quoting.remove(&key));
        let limit = crate::Limit::Percent(self.options.fee_limit_percent).of(key.amount);
        if let (Ok(quote), Some(entry)) = (&answer, self.entries.get_mut(&channel_id))
            && quote.fee <= limit
        {
            if entry.quotes.len() >= QUOTES_MAX {
                entry.quotes.clear();
            }
            entry.quotes.insert(key, (quote.fee, quote.expires_at));
        }
        for mut order in waiting.unwrap_or_default() {
            match &answer {
                Ok(quote) if quote.fee <= limit => {
                    order.payment.fee_max = quote.fee;
                    self.enqueue(channel_id, order);
                }
                Ok(quote) => {
                    let fee = quote.fee;
                    self.refuse_order(order, &PayError::FeeTooHigh { fee, limit });
                }
                Err(error) => self.refuse_order(order, &PayError::Quote(error.clone())),
            }
        }
    }
}

/// The answer to a payer from a payment's state.
pub(super) fn outcome(
    channel_id: &ChannelId,
    payment: &Payment,
    state: &PaymentState,
) -> Result<Paid, PayError> {
    let payment_id = payment.payment_id;
    match state {
        PaymentState::Delivered { seq, fee } => Ok(Paid {
            payment_id,
            channel_id: *channel_id,
            seq: *seq,
            amount: payment.amount,
            fee: *fee,
        }),
        PaymentState::Bounced { reason, .. } => Err(PayError::Bounced {
            payment_id,
            reason: *reason,
        }),
        PaymentState::NotPaid { .. } => Err(PayError::NotPaid { payment_id }),
        PaymentState::Queued | PaymentState::InFlight { .. } | PaymentState::Lost => {
            Err(PayError::Unknown { payment_id })
        }
    }
}

/// The instant `duration` from now; now itself if that is beyond the end of time.
pub(crate) fn later(duration: std::time::Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now)
}
