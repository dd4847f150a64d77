//! What is done for some frames together before they are applied, or repeated, one by one. It changes nothing: the marks of
//! their payers are hashed side by side, and the channels and ids that they concern are loaded, which are far away when there are
//! many.
//! A record that is repeated is read and hashed as a whole, on any thread.

use super::{
    Input, Ledger,
    entry::Entry,
    input::{Change, Record},
};
use crate::digests;
use hub_verify::prefetch;
use protocol_spec::{ChannelId, Digest, Domain, Op, Payee, PaymentId, Reject, UnixSeconds, Voucher};
use std::vec::IntoIter;

/// Looked at together: few enough that what was loaded for them is still near when the last one is applied.
const TOGETHER: usize = 16;

/// Payments of one frame whose payees and ids are loaded.
const LOADED_MAX: usize = 4;

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

/// What was hashed for some frames together, given out in their order.
#[derive(Debug)]
pub(super) struct Hashes {
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

impl Hashes {
    /// For all of `frames`.
    pub(super) fn of(domain: &Domain, frames: &[impl Framed]) -> Self {
        let payers = frames.iter().filter_map(Framed::frame);
        let payers = digests::payers(payers.flat_map(|(channel, ops)| payments(channel, ops)));
        let encoded = frames.iter().filter_map(Framed::unhashed).map(Voucher::encoded);
        let vouchers = digests::of_structs(domain, &encoded.collect::<Vec<_>>()).into_iter();
        Self {
            payers,
            vouchers,
            given: 0,
        }
    }

    /// Of the next frame, which is `frame`.
    pub(super) fn next(&mut self, frame: &impl Framed) -> Hashed<'_> {
        let own = frame
            .frame()
            .map_or(0, |(channel, ops)| payments(channel, ops).count());
        let from = self.given;
        self.given = from.saturating_add(own);
        Hashed {
            payers: self.payers.get(from..self.given).unwrap_or_default(),
            voucher: frame.unhashed().and_then(|_| self.vouchers.next()),
        }
    }
}

/// A durable record, ready to be repeated.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) number: u64,
    pub(super) now: UnixSeconds,
    pub(super) changes: Vec<Change>,
    pub(super) hashes: Hashes,
}

impl Prepared {
    /// Errors: the bytes are not a record.
    pub(crate) fn of(domain: &Domain, number: u64, bytes: &[u8]) -> Result<Self, Reject> {
        let Record { now, changes } = borsh::from_slice(bytes).map_err(|_| Reject::RecordCorrupt)?;
        let hashes = Hashes::of(domain, &changes);
        Ok(Self {
            number,
            now,
            changes,
            hashes,
        })
    }

    /// Number of the record.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// The first of `frames`, which are looked at together.
pub(super) fn together<T>(frames: &[T]) -> &[T] {
    frames.get(..TOGETHER).unwrap_or(frames)
}

fn payments(channel: ChannelId, ops: &[Op]) -> impl Iterator<Item = (ChannelId, PaymentId)> {
    ops.iter().filter_map(move |op| match op {
        Op::Pay(payment) => Some((channel, payment.payment_id)),
        _ => None,
    })
}

impl Ledger {
    /// Loads what applying `frames` looks at, or starts to.
    pub(super) fn load(&self, frames: &[impl Framed]) {
        let mut entries: Vec<&Entry> = Vec::with_capacity(frames.len().saturating_mul(2));
        let mut ids: Vec<(&Entry, PaymentId)> = Vec::with_capacity(frames.len());
        for (channel, ops) in frames.iter().filter_map(Framed::frame) {
            let Some(payer) = self.index(&channel) else {
                continue;
            };
            let Some(payer) = self.entries.get(payer) else {
                continue;
            };
            entries.push(payer);
            for op in ops.iter().take(LOADED_MAX) {
                let Op::Pay(payment) = op else { continue };
                ids.push((payer, payment.payment_id));
                if let Payee::Channel(payee) = &payment.payee {
                    let payee = self.index(payee).and_then(|index| self.entries.get(index));
                    entries.extend(payee);
                }
            }
        }
        entries.iter().copied().for_each(prefetch);
        // What hangs on them: their addresses are in what was loaded.
        entries.iter().for_each(|entry| entry.load_rows());
        for (payer, id) in ids {
            // Here the CPU has several of these look-ups under way at a time; where they are needed, one.
            payer.load_place(id);
        }
        entries.iter().for_each(|entry| entry.load_oldest_voucher());
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

    /// The first that an acknowledgement takes away.
    fn load_oldest_voucher(&self) {
        let oldest = self.stored.backlog.front();
        oldest.into_iter().for_each(|issue| prefetch(issue.as_ref()));
    }
}
