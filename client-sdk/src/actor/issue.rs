//! Making, signing and sending own vouchers. What is issued here leaves only after the turn's commit.

use super::{
    Actor, Outcome,
    entry::{Entry, OpenPayment, Order, OwnFrame, payments},
    pay::later,
    session::Pending,
    sight::Sight,
};
use crate::{
    ChannelError, PayError, PaymentState, SignerError,
    store::rows::{self, FrameRow, PaymentRow},
};
use protocol_spec::{
    Amount, ChannelId, Digest, Lock, Op, Seq, Signature, SignedVoucher, VoucherSignature,
    channel::{Clock, Issued, Phase},
    limits,
    message::{Frame, Request},
};
use tokio::time::Instant;

impl Actor {
    /// Issues what waits in every live channel.
    pub(super) fn issue_all(&mut self) {
        let clock = self.clock();
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for id in ids {
            self.issue(&id, clock);
        }
    }

    fn issue(&mut self, id: &ChannelId, clock: Clock) {
        self.refuse_late_locks(id);
        self.issue_locks(id, clock);
        while let Some(orders) = self.next_orders(id, clock) {
            let ops: Vec<Op> = orders
                .iter()
                .map(|order| Op::Pay(order.payment.clone()))
                .collect();
            let Some(entry) = self.entries.get_mut(id) else {
                return;
            };
            match entry.channel.issue(&ops, &self.hub.domain, clock) {
                Ok(issued) => self.issued(id, issued, Made::paying(ops, orders)),
                Err(reject) => {
                    for order in orders {
                        self.spent = self.spent.saturating_minus(order.cost());
                        self.refuse_order(order, &PayError::Refused(reject.clone()));
                    }
                    return;
                }
            }
        }
        self.acknowledge(id, clock);
    }

    /// The payments of the next voucher; `None` when nothing can or may be issued now.
    fn next_orders(&mut self, id: &ChannelId, clock: Clock) -> Option<Vec<Order>> {
        let window = self.options.frames_in_flight;
        let limit = self.options.limit.in_flight;
        let entry = self.entries.get_mut(id)?;
        let under_way = entry.frames.iter().filter(|frame| !frame.ops.is_empty()).count();
        if !may_sign(entry) || entry.holds_payments() || under_way >= window {
            return None;
        }
        let limit = limit.of(entry.gross());
        let mut in_flight = entry.in_flight.0;
        let (mut orders, mut expired) = (Vec::new(), Vec::new());
        while orders.len() < limits::OPS_PER_FRAME_MAX {
            let Some(order) = entry.queue.front() else { break };
            let cost = order.cost();
            let dead = order.payment.expires_at <= clock.now;
            in_flight = in_flight.saturating_add(if dead { 0 } else { cost.0 });
            // A single payment above the limit was refused on arrival; the limit may have shrunk since, so let it pass alone.
            if in_flight > limit.0 && !(orders.is_empty() && entry.in_flight.is_zero()) {
                break;
            }
            entry.queued = entry.queued.saturating_minus(cost);
            let Some(order) = entry.queue.pop_front() else {
                break;
            };
            if dead {
                expired.push(order);
            } else {
                orders.push(order);
            }
        }
        for order in expired {
            let payment_id = order.payment.payment_id;
            self.spent = self.spent.saturating_minus(order.cost());
            self.refuse_order(order, &PayError::NotSent { payment_id });
        }
        (!orders.is_empty()).then_some(orders)
    }

    /// An acknowledgement of its own when no payment carried it in time.
    fn acknowledge(&mut self, id: &ChannelId, clock: Clock) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        if !entry.channel.must_ack() {
            entry.ack_due = None;
            return;
        }
        let due = *entry.ack_due.get_or_insert_with(|| later(self.options.ack_delay));
        let now = due <= Instant::now() || self.stop_at.is_some() || entry.cooperation.is_some();
        if !now || !may_sign(entry) || entry.awaits_countersignature() {
            return;
        }
        if let Ok(issued) = entry.channel.issue(&[], &self.hub.domain, clock) {
            self.issued(id, issued, Made::default());
        }
    }

    /// Puts a new voucher and its payments into the turn's batch.
    pub(super) fn issued(&mut self, id: &ChannelId, issued: Issued, made: Made) {
        let Made { ops, orders, left } = made;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let seq = issued.voucher.seq;
        entry.dirty = true;
        entry.ack_due = None;
        for order in orders {
            let row = PaymentRow {
                channel_id: *id,
                payment: order.payment.clone(),
                state: PaymentState::InFlight { seq },
                returned: Amount::ZERO,
                bounced: None,
                lock: None,
            };
            self.batch.push(rows::put_payment(&row));
            entry.in_flight = Amount(entry.in_flight.0.saturating_add(order.cost().0));
            let open = OpenPayment::new(row, order);
            entry.open.insert(open.row.payment.payment_id, open);
        }
        let row = FrameRow {
            voucher: issued.voucher,
            ops,
            left,
        };
        self.batch.push(rows::put_frame(id, &row));
        entry.frames.push_back(OwnFrame {
            voucher: row.voucher,
            ops: row.ops,
            left: row.left,
            signature: None,
            sent: false,
        });
    }

    /// Signs and sends every frame that is not with the hub yet, in order. Called after the commit only.
    pub(super) async fn send_frames(&mut self) {
        let ids: Vec<ChannelId> = self.entries.keys().copied().collect();
        for id in ids {
            if self.entries.get(&id).is_some_and(|entry| entry.live())
                && let Err(error) = self.send_channel(&id).await
            {
                tracing::warn!(channel = %id, %error, "signing failed; retried");
            }
        }
    }

    async fn send_channel(&mut self, id: &ChannelId) -> Result<(), SignerError> {
        self.sign_frames(id).await?;
        loop {
            let next = self
                .entries
                .get_mut(id)
                .and_then(|entry| entry.frames.iter_mut().find(|frame| !frame.sent));
            let Some(frame) = next else { return Ok(()) };
            let Some(voucher) = frame.signed() else {
                return Ok(());
            };
            frame.sent = true;
            let seq = voucher.voucher.seq;
            let call = Frame {
                voucher,
                ops: frame.ops.clone(),
            };
            if self
                .call(Request::Voucher(call), Pending::Voucher(*id, seq))
                .is_none()
            {
                return Ok(());
            }
        }
    }

    /// Signs stored frames in ascending seq, so that the guard sees them in order.
    pub(super) async fn sign_frames(&mut self, id: &ChannelId) -> Result<(), SignerError> {
        loop {
            let next = self
                .entries
                .get(id)
                .and_then(|entry| entry.frames.iter().find(|frame| frame.signature.is_none()));
            let Some(frame) = next else { return Ok(()) };
            let seq = frame.voucher.seq;
            let digest = frame.voucher.digest(&self.hub.domain);
            let signature = self.sign_voucher(id, seq, digest).await?;
            if let Some(entry) = self.entries.get_mut(id) {
                let frame = entry.frames.iter_mut().find(|frame| frame.voucher.seq == seq);
                if let Some(frame) = frame {
                    frame.signature = Some(signature);
                    entry.own_newest = frame.signed();
                }
            }
        }
    }

    async fn sign_voucher(
        &mut self,
        id: &ChannelId,
        seq: Seq,
        digest: Digest,
    ) -> Result<Signature, SignerError> {
        self.guard
            .permit(*id, seq, digest)
            .map_err(|error| SignerError::Guard(error.to_string()))?;
        self.signer.sign(&digest).await
    }

    /// The newest own voucher, signed again if need be; `None` before the first.
    pub(super) async fn own_newest(&mut self, id: &ChannelId) -> Result<Option<SignedVoucher>, ChannelError> {
        self.sign_frames(id).await?;
        let entry = self.entries.get(id).ok_or(ChannelError::NoChannel)?;
        let Some(voucher) = entry.channel.sent_voucher() else {
            return Ok(None);
        };
        let known = entry.own_newest.clone();
        if let Some(known) = known.filter(|known| known.voucher == voucher) {
            return Ok(Some(known));
        }
        let digest = voucher.digest(&self.hub.domain);
        let signature = VoucherSignature::Direct(self.sign_voucher(id, voucher.seq, digest).await?);
        let signed = SignedVoucher { voucher, signature };
        if let Some(entry) = self.entries.get_mut(id) {
            entry.own_newest = Some(signed.clone());
        }
        Ok(Some(signed))
    }

    /// Gives up what waited too long: queued payments are not sent, signed ones are unknown.
    pub(super) fn expire_waiters(&mut self) {
        let now = Instant::now();
        let mut late = Vec::new();
        for entry in self.entries.values_mut() {
            for orders in entry.quoting.values_mut() {
                late.extend(orders.extract_if(.., |order| order.deadline <= now));
            }
            entry.quoting.retain(|_, orders| !orders.is_empty());
            let (dead, queue) = std::mem::take(&mut entry.queue)
                .into_iter()
                .partition::<Vec<_>, _>(|order| order.deadline <= now);
            entry.queue = queue.into();
            for order in &dead {
                entry.queued = entry.queued.saturating_minus(order.cost());
                self.spent = self.spent.saturating_minus(order.cost());
            }
            late.extend(dead);
            for (payment_id, open) in &mut entry.open {
                if open.deadline <= now {
                    for reply in open.replies.drain(..) {
                        let result = Err(PayError::Unknown {
                            payment_id: *payment_id,
                        });
                        self.outcomes.push(Outcome { reply, result });
                    }
                }
            }
        }
        self.expire_lock_waiters();
        for order in late {
            let payment_id = order.payment.payment_id;
            self.refuse_order(order, &PayError::NotSent { payment_id });
        }
    }

    /// Forgets own frames up to `ack` and gives their payments, oldest first.
    pub(super) fn acknowledged(&mut self, id: &ChannelId, ack: Seq) -> Vec<OpenPayment> {
        let mut done = Vec::new();
        let Some(entry) = self.entries.get_mut(id) else {
            return done;
        };
        while entry.frames.front().is_some_and(|frame| frame.voucher.seq <= ack) {
            let Some(frame) = entry.frames.pop_front() else {
                break;
            };
            self.batch.push(rows::delete_frame(id, frame.voucher.seq));
            if let Some(signed) = frame.signed() {
                entry.acknowledged = Some(signed);
            }
            for payment in payments(&frame.ops) {
                if let Some(open) = entry.open.remove(&payment.payment_id) {
                    let cost = super::entry::cost(payment);
                    entry.in_flight = entry.in_flight.saturating_minus(cost);
                    done.push(open);
                }
            }
        }
        done
    }
}

/// What a new voucher is made of.
#[derive(Default)]
pub(super) struct Made {
    pub(super) ops: Vec<Op>,
    /// Of its payments.
    pub(super) orders: Vec<Order>,
    /// Own locks that it takes out.
    pub(super) left: Vec<Lock>,
}

impl Made {
    fn paying(ops: Vec<Op>, orders: Vec<Order>) -> Self {
        let left = Vec::new();
        Self { ops, orders, left }
    }
}

/// Nothing is signed on a channel that is frozen, not live, or not open, nor while a dispute may be missed (R6).
pub(super) fn may_sign(entry: &Entry) -> bool {
    entry.live()
        && entry.sight > Sight::Stale
        && entry.fault.is_none()
        && *entry.channel.phase() == Phase::Open
}
