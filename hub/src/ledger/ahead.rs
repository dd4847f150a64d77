//! What is done for some frames together before they are applied, or repeated, one by one. It changes nothing: the marks of
//! their payers are hashed side by side, and the channels that they concern are loaded, which are far away when there are many.

use super::{Input, Ledger, entry::Entry, input::Change};
use crate::digests;
use hub_verify::prefetch;
use protocol_spec::{ChannelId, Digest, Domain, Op, Payee, PaymentId};

/// Looked at together: few enough that what was loaded for them is still near when the last one is applied.
pub(super) const TOGETHER: usize = 16;

/// Payments of one frame whose payees are loaded.
const PAYEES_MAX: usize = 4;

/// A client's voucher with its operations: in an input, or in a record.
pub(super) trait Framed {
    /// The channel and the operations, if that is what it is.
    fn frame(&self) -> Option<(ChannelId, &[Op])>;
}

impl Framed for Box<Input> {
    fn frame(&self) -> Option<(ChannelId, &[Op])> {
        match self.as_ref() {
            Input::Frame { voucher, ops, .. } => Some((voucher.voucher().channel_id, ops)),
            _ => None,
        }
    }
}

impl Framed for Change {
    fn frame(&self) -> Option<(ChannelId, &[Op])> {
        match self {
            Self::Frame { signed, ops } | Self::LockFrame { signed, ops, .. } => {
                Some((signed.voucher.channel_id, ops))
            }
            _ => None,
        }
    }
}

/// `Credit::payer_of` for each payment of `frames`, in their order.
pub(super) fn payers(frames: &[impl Framed]) -> Vec<Digest> {
    let frames = frames.iter().filter_map(Framed::frame);
    digests::payers(frames.flat_map(|(channel, ops)| payments(channel, ops)))
}

/// How many of them belong to one frame.
pub(super) fn count(frame: &impl Framed) -> usize {
    let frame = frame.frame();
    frame.map_or(0, |(channel, ops)| payments(channel, ops).count())
}

/// The digests of the vouchers among `changes`, in their order.
pub(super) fn vouchers(domain: &Domain, changes: &[Change]) -> Vec<Digest> {
    let encoded = changes.iter().filter_map(|change| match change {
        Change::Frame { signed, .. } | Change::LockFrame { signed, .. } => Some(signed.voucher.encoded()),
        _ => None,
    });
    digests::of_structs(domain, &encoded.collect::<Vec<_>>())
}

fn payments(channel: ChannelId, ops: &[Op]) -> impl Iterator<Item = (ChannelId, PaymentId)> {
    ops.iter().filter_map(move |op| match op {
        Op::Pay(payment) => Some((channel, payment.payment_id)),
        _ => None,
    })
}

impl Ledger {
    /// Starts to load what applying `frames` looks at.
    pub(super) fn load(&self, frames: &[impl Framed]) {
        let mut entries: Vec<&Entry> = Vec::with_capacity(frames.len().saturating_mul(2));
        let entry = |id: &ChannelId| self.index(id).and_then(|index| self.entries.get(index));
        for (channel, ops) in frames.iter().filter_map(Framed::frame) {
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
