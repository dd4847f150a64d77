//! What is done for some inputs together before they are applied one by one. It changes nothing: the marks of their
//! payers are hashed side by side, and the channels that they concern are loaded, which are far away when there are many.

use super::{Input, Ledger, entry::Entry};
use crate::digests;
use hub_verify::prefetch;
use protocol_spec::{ChannelId, Digest, Op, Payee, PaymentId};

/// Inputs looked at together: few enough that what was loaded for them is still near when the last one is applied.
pub(super) const TOGETHER: usize = 16;

/// Payments of one frame whose payees are loaded.
const PAYEES_MAX: usize = 4;

/// `Credit::payer_of` for each payment of `inputs`, in their order.
pub(super) fn payers(inputs: &[Input]) -> Vec<Digest> {
    digests::payers(frames(inputs).flat_map(|(channel, ops)| payments(channel, ops)))
}

/// How many of them belong to one input.
pub(super) fn count(input: &Input) -> usize {
    frames(std::slice::from_ref(input))
        .map(|(channel, ops)| payments(channel, ops).count())
        .sum()
}

fn frames(inputs: &[Input]) -> impl Iterator<Item = (ChannelId, &[Op])> {
    inputs.iter().filter_map(|input| match input {
        Input::Frame { voucher, ops, .. } => Some((voucher.voucher().channel_id, ops.as_slice())),
        _ => None,
    })
}

fn payments(channel: ChannelId, ops: &[Op]) -> impl Iterator<Item = (ChannelId, PaymentId)> {
    ops.iter().filter_map(move |op| match op {
        Op::Pay(payment) => Some((channel, payment.payment_id)),
        _ => None,
    })
}

impl Ledger {
    /// Starts to load what applying `inputs` looks at.
    pub(super) fn load(&self, inputs: &[Input]) {
        let mut entries: Vec<&Entry> = Vec::with_capacity(inputs.len().saturating_mul(2));
        let entry = |id: &ChannelId| self.index(id).and_then(|index| self.entries.get(index));
        for (channel, ops) in frames(inputs) {
            entries.extend(entry(&channel));
            for op in ops.iter().take(PAYEES_MAX) {
                if let Op::Pay(payment) = op
                    && let Payee::Channel(payee) = &payment.payee
                {
                    entries.extend(entry(payee));
                }
            }
        }
        entries.iter().copied().for_each(prefetch);
        // What hangs on them: their addresses are in what was loaded.
        for entry in entries {
            entry.load_rows();
        }
    }
}

impl Entry {
    fn load_rows(&self) {
        let stored = &self.stored;
        stored.backlog.front().into_iter().for_each(prefetch);
        stored.backlog.back().into_iter().for_each(prefetch);
        stored.payments.back().into_iter().for_each(prefetch);
        stored.events.back().into_iter().for_each(prefetch);
    }
}
