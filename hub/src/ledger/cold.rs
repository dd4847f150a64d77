//! A channel at rest: the entry as bytes, a fifth of what one with short lists takes in full.

use super::{
    entry::{Entry, Stored},
    pack::{pack, unpack},
    remembered::Held,
};
use borsh::BorshDeserialize;
use protocol_spec::{Amount, Channel, Reject, UnixSeconds};

/// Everything of an entry that no connection and no commit has in hand. In front of it, as they are: what the client paid, and
/// what is remembered of its payments.
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
        let (paid, held) = (entry.channel.received().paid, entry.held());
        let front: [&[u8]; 4] = [
            &paid.0.to_le_bytes(),
            &held.items.to_le_bytes(),
            &held.rows.to_le_bytes(),
            &held.oldest.0.to_le_bytes(),
        ];
        let packed = pack(&bytes);
        Self([front.concat().as_slice(), &packed].concat().into())
    }

    /// The very entry it was made of.
    pub(super) fn warm(&self) -> Result<Box<Entry>, Reject> {
        let corrupt = |_| Reject::RecordCorrupt;
        let bytes = self.0.get(FRONT_BYTES..).and_then(unpack);
        let bytes = bytes.ok_or(Reject::RecordCorrupt)?;
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
        Amount(self.front(0).map_or(0, u128::from_le_bytes))
    }

    /// See [`Entry::held`].
    pub(super) fn held(&self) -> Held {
        Held {
            items: self.front(PAID_BYTES).map_or(0, u64::from_le_bytes),
            rows: self.front(PAID_BYTES + 8).map_or(0, u64::from_le_bytes),
            oldest: UnixSeconds(self.front(PAID_BYTES + 16).map_or(0, u64::from_le_bytes)),
        }
    }

    fn front<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
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
const FRONT_BYTES: usize = PAID_BYTES + 8 + 8 + 8;

impl Entry {
    /// Nothing is under way, and no connection waits for anything of it.
    pub(super) fn at_rest(&self) -> bool {
        self.pending.is_empty() && self.session.is_none() && self.subscribers.is_empty()
    }
}
