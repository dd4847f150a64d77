//! A channel at rest: the entry as bytes, a fifth of what it takes in full.

use super::{
    entry::{Entry, Stored},
    pack::{pack, unpack},
};
use borsh::BorshDeserialize;
use protocol_spec::{Amount, Channel, Reject, UnixSeconds};

/// Everything of an entry that no connection and no commit has in hand. In front of it, as it is: what the client paid.
#[derive(Clone, Debug)]
pub(super) struct Cold(Box<[u8]>);

impl Cold {
    /// The entry must be [`Entry::at_rest`].
    pub(super) fn of(entry: &Entry) -> Self {
        let stored = &entry.stored;
        let whole = (entry.asks_from, entry.channel.to_record(), stored);
        // Writing to a Vec cannot fail.
        let mut bytes = borsh::to_vec(&whole).unwrap_or_default();
        stored.backlog.put_rest(&mut bytes);
        stored.events.put_rest(&mut bytes);
        stored.payments.put_rest(&mut bytes);
        let paid = entry.channel.received().paid.0.to_le_bytes();
        Self([paid.as_slice(), &pack(&bytes)].concat().into())
    }

    /// The very entry it was made of.
    pub(super) fn warm(&self) -> Result<Box<Entry>, Reject> {
        let corrupt = |_| Reject::RecordCorrupt;
        let packed = self.0.split_first_chunk::<PAID_BYTES>().map(|(_, packed)| packed);
        let bytes = packed.and_then(unpack).ok_or(Reject::RecordCorrupt)?;
        let mut rest = bytes.as_slice();
        let (asks_from, record, mut stored) =
            <(UnixSeconds, Vec<u8>, Stored)>::deserialize(&mut rest).map_err(corrupt)?;
        stored.backlog.take_rest(&mut rest).map_err(corrupt)?;
        stored.events.take_rest(&mut rest).map_err(corrupt)?;
        stored.payments.take_rest(&mut rest).map_err(corrupt)?;
        if !rest.is_empty() {
            return Err(Reject::RecordCorrupt);
        }
        let mut entry = Box::new(Entry::restored(Channel::from_record(&record)?, stored));
        entry.asks_from = asks_from;
        Ok(entry)
    }

    /// `paid` of the client's newest voucher.
    pub(super) fn received(&self) -> Amount {
        let paid = self.0.first_chunk::<PAID_BYTES>();
        Amount(paid.map_or(0, |paid| u128::from_le_bytes(*paid)))
    }
}

#[cfg(test)]
impl Cold {
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn cut(&self) -> Self {
        Self(
            self.0
                .split_last()
                .map(|(_, rest)| rest.into())
                .unwrap_or_default(),
        )
    }
}

const PAID_BYTES: usize = 16;

impl Entry {
    /// Nothing is under way, and no connection waits for anything of it.
    pub(super) fn at_rest(&self) -> bool {
        self.pending.is_empty() && self.session.is_none() && self.subscribers.is_empty()
    }
}
