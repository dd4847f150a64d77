//! What is done for some frames together before they are applied, or repeated, one by one. It changes nothing: the marks of
//! their payers are hashed side by side, and the channels that they concern are loaded, which are far away when there are many.

use super::{Input, Ledger, entry::Entry, input::Change};
use crate::digests;
use hub_verify::prefetch;
use protocol_spec::{ChannelId, Digest, Op, Payee, PaymentId, Voucher};
use std::{iter::Take, vec::IntoIter};

/// Looked at together: few enough that what was loaded for them is still near when the last one is applied.
const TOGETHER: usize = 16;

/// Payments of one frame whose payees are loaded.
const PAYEES_MAX: usize = 4;

/// A client's voucher with its operations: in an input, or in a record.
pub(super) trait Framed {
    /// The channel and the operations, if that is what it is.
    fn frame(&self) -> Option<(ChannelId, &[Op])>;

    /// Its voucher, if that has not been hashed yet.
    fn unhashed(&self) -> Option<&Voucher>;
}

impl Framed for Box<Input> {
    fn frame(&self) -> Option<(ChannelId, &[Op])> {
        match self.as_ref() {
            Input::Frame { voucher, ops, .. } => Some((voucher.voucher().channel_id, ops)),
            _ => None,
        }
    }

    fn unhashed(&self) -> Option<&Voucher> {
        None
    }
}

impl Framed for Change {
    fn frame(&self) -> Option<(ChannelId, &[Op])> {
        self.framed()
            .map(|(signed, ops)| (signed.voucher.channel_id, ops))
    }

    fn unhashed(&self) -> Option<&Voucher> {
        self.framed().map(|(signed, _)| &signed.voucher)
    }
}

/// Some frames that go together, in their order, each with what was hashed for it.
pub(super) struct Together<'a, T> {
    frames: Take<&'a mut IntoIter<T>>,
    payers: Vec<Digest>,
    vouchers: IntoIter<Digest>,
    /// How many of `payers` belong to those that were given out.
    given: usize,
}

/// What was hashed for one frame together with others.
pub(super) struct Hashed<'a> {
    /// `Credit::payer_of` for each of its payments.
    pub(super) payers: &'a [Digest],
    /// Of its voucher, if that had not been hashed.
    pub(super) voucher: Option<Digest>,
}

impl<T: Framed> Together<'_, T> {
    /// The next one.
    pub(super) fn next(&mut self) -> Option<(T, Hashed<'_>)> {
        let frame = self.frames.next()?;
        let own = frame
            .frame()
            .map_or(0, |(channel, ops)| payments(channel, ops).count());
        let from = self.given;
        self.given = from.saturating_add(own);
        let payers = self.payers.get(from..self.given).unwrap_or_default();
        let voucher = frame.unhashed().and_then(|_| self.vouchers.next());
        Some((frame, Hashed { payers, voucher }))
    }
}

fn payments(channel: ChannelId, ops: &[Op]) -> impl Iterator<Item = (ChannelId, PaymentId)> {
    ops.iter().filter_map(move |op| match op {
        Op::Pay(payment) => Some((channel, payment.payment_id)),
        _ => None,
    })
}

impl Ledger {
    /// The next of `frames`, loaded and hashed. `None` at their end.
    pub(super) fn together<'a, T: Framed>(&self, frames: &'a mut IntoIter<T>) -> Option<Together<'a, T>> {
        let all = frames.as_slice();
        let some = all.get(..TOGETHER).unwrap_or(all);
        if some.is_empty() {
            return None;
        }
        self.load(some);
        let payers = some.iter().filter_map(Framed::frame);
        let payers = digests::payers(payers.flat_map(|(channel, ops)| payments(channel, ops)));
        let encoded = some.iter().filter_map(Framed::unhashed).map(Voucher::encoded);
        let vouchers = digests::of_structs(&self.domain, &encoded.collect::<Vec<_>>()).into_iter();
        Some(Together {
            frames: frames.take(TOGETHER),
            payers,
            vouchers,
            given: 0,
        })
    }

    /// Starts to load what applying `frames` looks at.
    fn load(&self, frames: &[impl Framed]) {
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
