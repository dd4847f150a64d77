//! Items of a list one behind the other, each without what follows from the one before it: numbers and times go up by a little,
//! and most of a wide number is zeros.

use super::{
    entry::EventRow,
    output::Issue,
    payments::{Known, Outcome},
};
use borsh::{BorshDeserialize, BorshSerialize};
use protocol_spec::{Amount, Digest, Seq, UnixSeconds};
use std::{io, sync::Arc};

/// An item as bytes behind those of the one before, if there is one.
pub(super) trait Compact: Sized {
    fn put(&self, before: Option<&Self>, to: &mut Vec<u8>);

    /// Errors: `from` does not begin with an item.
    fn take(before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self>;
}

/// All of them; the first stands alone.
pub(super) fn put_all<T: Compact>(items: impl Iterator<Item = T>, to: &mut Vec<u8>) {
    let mut before = None;
    for item in items {
        item.put(before.as_ref(), to);
        before = Some(item);
    }
}

impl Compact for Known {
    fn put(&self, before: Option<&Self>, to: &mut Vec<u8>) {
        let (outcome, before) = (&self.outcome, before.map(|known| known.outcome));
        put_borsh(&(outcome.bounced, self.id), to);
        put_step(before.map(|outcome| outcome.seq.0), outcome.seq.0, to);
        put_step(before.map(|outcome| outcome.at.0), outcome.at.0, to);
        put_step(Some(outcome.at.0), outcome.expires_at.0, to);
    }

    fn take(before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self> {
        let before = before.map(|known| known.outcome);
        let (bounced, id) = BorshDeserialize::deserialize(from)?;
        let seq = Seq(take_step(before.map(|outcome| outcome.seq.0), from)?);
        let at = UnixSeconds(take_step(before.map(|outcome| outcome.at.0), from)?);
        let expires_at = UnixSeconds(take_step(Some(at.0), from)?);
        let outcome = Outcome {
            seq,
            bounced,
            at,
            expires_at,
        };
        Ok(Self { id, outcome })
    }
}

impl Compact for EventRow {
    fn put(&self, before: Option<&Self>, to: &mut Vec<u8>) {
        // Most payments have no invoice.
        let invoice = (self.invoice != Digest::default()).then_some(self.invoice);
        put_borsh(&(invoice, self.payment_id, self.payer), to);
        put_step(before.map(|before| before.payee_seq.0), self.payee_seq.0, to);
        put_step(before.map(|before| before.at.0), self.at.0, to);
        put_number(self.amount.0, to);
    }

    fn take(before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self> {
        let (invoice, payment_id, payer): (Option<Digest>, _, _) = BorshDeserialize::deserialize(from)?;
        let invoice = invoice.unwrap_or_default();
        let payee_seq = Seq(take_step(before.map(|before| before.payee_seq.0), from)?);
        let at = UnixSeconds(take_step(before.map(|before| before.at.0), from)?);
        let amount = Amount(take_number(from)?);
        Ok(Self {
            payment_id,
            invoice,
            payer,
            payee_seq,
            amount,
            at,
        })
    }
}

impl Compact for Arc<Issue> {
    fn put(&self, _before: Option<&Self>, to: &mut Vec<u8>) {
        put_borsh(self, to);
    }

    fn take(_before: Option<&Self>, from: &mut &[u8]) -> io::Result<Self> {
        BorshDeserialize::deserialize(from)
    }
}

fn put_borsh<T: BorshSerialize>(value: &T, to: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = value.serialize(to);
}

/// A number that is seldom much above the one before; any number may come.
fn put_step(before: Option<u64>, number: u64, to: &mut Vec<u8>) {
    put_number(number.wrapping_sub(before.unwrap_or_default()).into(), to);
}

fn take_step(before: Option<u64>, from: &mut &[u8]) -> io::Result<u64> {
    let step = u64::try_from(take_number(from)?).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(before.unwrap_or_default().wrapping_add(step))
}

/// Of a byte of a number: more follow.
const MORE: u8 = 0x80;

/// LEB128: seven bits to a byte, the lowest first; the highest bit is [`MORE`].
pub(super) fn put_number(number: u128, to: &mut Vec<u8>) {
    let mut rest = number;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            to.push(low);
            return;
        }
        to.push(low | MORE);
    }
}

/// Errors: `from` does not begin with a number, or with one that is too wide.
pub(super) fn take_number(from: &mut &[u8]) -> io::Result<u128> {
    let mut number = 0_u128;
    for shift in (0..u128::BITS).step_by(7) {
        let byte = u8::deserialize(from)?;
        let bits = u128::from(byte & !MORE);
        let placed = bits << shift;
        if placed >> shift != bits {
            break;
        }
        number |= placed;
        if byte & MORE == 0 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol_spec::{PaymentId, ReturnReason};

    /// Mostly what hubs see, and everything else as well.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![4 => 1_700_000_000..1_700_000_100_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
    }

    fn digest_of(byte: u8) -> Digest {
        Digest([byte; 32])
    }

    fn digest() -> impl Strategy<Value = Digest> {
        prop_oneof![
            Just(Digest::default()),
            Just(digest_of(7)),
            any::<u8>().prop_map(digest_of)
        ]
    }

    prop_compose! {
        fn known()(
            id in any::<[u8; 16]>(),
            seq in number(),
            bounced in prop_oneof![3 => Just(None), 1 => Just(Some(ReturnReason::Expired))],
            at in number(),
            expires_at in number(),
        ) -> Known {
            let outcome = Outcome {
                seq: Seq(seq),
                bounced,
                at: UnixSeconds(at),
                expires_at: UnixSeconds(expires_at),
            };
            Known { id: PaymentId(id), outcome }
        }
    }

    prop_compose! {
        fn receipt()(
            id in any::<[u8; 16]>(),
            invoice in digest(),
            payer in digest(),
            seq in number(),
            amount in prop_oneof![3 => 0..300_u128, 1 => any::<u128>(), 1 => Just(u128::MAX)],
            at in number(),
        ) -> EventRow {
            EventRow {
                payment_id: PaymentId(id),
                invoice,
                payer,
                payee_seq: Seq(seq),
                amount: Amount(amount),
                at: UnixSeconds(at),
            }
        }
    }

    fn bytes_of<T: Compact + Clone>(items: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_all(items.iter().cloned(), &mut bytes);
        bytes
    }

    fn items_of<T: Compact>(count: usize, mut from: &[u8]) -> io::Result<Vec<T>> {
        let mut items = Vec::new();
        for _ in 0..count {
            let item = T::take(items.last(), &mut from)?;
            items.push(item);
        }
        assert!(from.is_empty());
        Ok(items)
    }

    fn comes_back<T: Compact + Clone + PartialEq + std::fmt::Debug>(items: &[T]) {
        let bytes = bytes_of(items);
        assert_eq!(items_of::<T>(items.len(), &bytes).unwrap(), items);
        for len in 0..bytes.len() {
            assert!(
                items_of::<T>(items.len(), &bytes[..len]).is_err(),
                "{len} bytes are enough"
            );
        }
    }

    proptest! {
        #[test]
        fn ids_come_back(items in prop::collection::vec(known(), 0..6)) {
            comes_back(&items);
        }

        #[test]
        fn receipts_come_back(items in prop::collection::vec(receipt(), 0..6)) {
            comes_back(&items);
        }

        #[test]
        fn whatever_the_bytes_nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            before in (known(), receipt()),
        ) {
            drop(Known::take(None, &mut bytes.as_slice()));
            drop(EventRow::take(None, &mut bytes.as_slice()));
            drop(Known::take(Some(&before.0), &mut bytes.as_slice()));
            drop(EventRow::take(Some(&before.1), &mut bytes.as_slice()));
        }
    }

    #[test]
    fn what_follows_takes_little() {
        let (at, expires_at) = (UnixSeconds(1_700_000_000), UnixSeconds(1_700_003_600));
        let known = |seq| Known {
            id: PaymentId([9; 16]),
            outcome: Outcome {
                seq: Seq(seq),
                bounced: None,
                at,
                expires_at,
            },
        };
        // The id, one byte for what became of it, one for each of number and time, two for an hour.
        assert_eq!(
            bytes_of(&[known(70_000), known(70_001)]).len(),
            16 + 1 + 3 + 5 + 2 + 21
        );
        let receipt = |payer| EventRow {
            payment_id: PaymentId([9; 16]),
            invoice: Digest::default(),
            payer: digest_of(payer),
            payee_seq: Seq(70_000),
            amount: Amount(300),
            at,
        };
        let first = bytes_of(&[receipt(1)]).len();
        assert_eq!(
            bytes_of(&[receipt(1), receipt(2)]).len() - first,
            1 + 16 + 32 + 1 + 1 + 2
        );
    }

    #[test]
    fn a_number_that_is_too_wide_is_refused() {
        let max = [&[0xff; 18][..], &[0x03]].concat();
        assert_eq!(take_number(&mut max.as_slice()).unwrap(), u128::MAX);
        let (wider, longer) = (
            [&[0xff; 18][..], &[0x04]].concat(),
            [[0x80; 20].as_slice(), &[0]].concat(),
        );
        assert!(take_number(&mut wider.as_slice()).is_err());
        assert!(take_number(&mut longer.as_slice()).is_err());
        let step = bytes_of_number(u128::from(u64::MAX) + 1);
        assert!(take_step(None, &mut step.as_slice()).is_err());
    }

    fn bytes_of_number(number: u128) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_number(number, &mut bytes);
        bytes
    }
}
