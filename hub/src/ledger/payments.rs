//! The index of payment ids: what became of each, kept for the retention window.

use super::{Ledger, entry::Entry, log::Log};
use alloy::primitives::map::DefaultHashBuilder;
use hashbrown::HashTable;
use protocol_spec::{PaymentId, ReturnReason, Seq, UnixSeconds, message::PaymentStatus};
use std::{fmt, hash::BuildHasher, hint::black_box};

/// What became of a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// The client voucher that carried it.
    pub(super) seq: Seq,
    /// `None`: delivered.
    pub(super) bounced: Option<ReturnReason>,
    /// When it was committed.
    pub(super) at: UnixSeconds,
    /// Of the payment: until then a duplicate must be recognised.
    pub(super) expires_at: UnixSeconds,
}

/// A payment of one payer, in the list of its payments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) id: PaymentId,
    pub(super) outcome: Outcome,
}

/// Where each payment of one payer is in the list of them, by its id. The list holds the ids, so that a place takes ten to
/// some forty bytes here; and a small table that grows keeps nobody waiting.
#[derive(Clone, Default)]
pub(super) struct Places {
    table: HashTable<Place>,
    /// Clients choose the ids.
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    /// The low half of a position.
    position: u32,
    /// The low half of its id's hash: nearly always enough to tell that it is another one, without the list.
    hash: u32,
}

fn low_half(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Place {
    fn of(position: u64, hash: u32) -> Self {
        Self {
            position: low_half(position),
            hash,
        }
    }

    /// In a list that begins there, and never has four billion.
    fn position(self, from: u64) -> u64 {
        from.saturating_add(self.position.wrapping_sub(low_half(from)).into())
    }

    /// For the table, which looks at both ends.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << u32::BITS | u64::from(hash)
    }

    fn rehash(&self) -> u64 {
        Self::spread(self.hash)
    }
}

impl Places {
    pub(super) fn of(list: &Log<Known>) -> Self {
        let mut places = Self::default();
        places.table.reserve(list.len(), Place::rehash);
        for (position, known) in list.positions_from(list.from()) {
            places.note(position, known.id);
        }
        places
    }

    fn hash_of(&self, id: PaymentId) -> u32 {
        low_half(self.hasher.hash_one(u128::from_le_bytes(id.0)))
    }

    fn note(&mut self, position: u64, id: PaymentId) {
        let place = Place::of(position, self.hash_of(id));
        self.table.insert_unique(place.rehash(), place, Place::rehash);
    }

    fn find(&self, list: &Log<Known>, id: PaymentId) -> Option<Known> {
        let hash = self.hash_of(id);
        let mut known = None;
        self.table.find(Place::spread(hash), |place| {
            if place.hash == hash {
                let there = list.get(place.position(list.from()));
                known = there.filter(|known| known.id == id);
            }
            known.is_some()
        });
        known
    }

    /// Loads where `id` would be.
    fn load(&self, id: PaymentId) {
        let hash = self.hash_of(id);
        black_box(self.table.find(Place::spread(hash), |place| place.hash == hash));
    }

    /// The list's last payment is new.
    fn note_last(&mut self, list: &Log<Known>) {
        let Some(known) = list.back() else { return };
        self.note(list.end().saturating_sub(1), known.id);
    }

    /// The list's first payment is about to go.
    fn forget_first(&mut self, list: &Log<Known>) {
        let Some(known) = list.front() else { return };
        let first = Place::of(list.from(), self.hash_of(known.id));
        if let Ok(found) = self.table.find_entry(first.rehash(), |place| *place == first) {
            found.remove();
        }
        let (kept, room) = (self.table.len(), self.table.capacity());
        if room > ROOM_KEPT && kept < room >> 2 {
            self.table.shrink_to(kept.saturating_mul(2), Place::rehash);
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.table).finish()
    }
}

/// A table that has become a quarter full is made smaller, unless it has room for no more than this.
const ROOM_KEPT: usize = 64;

impl Entry {
    /// A payment of this payer that is not forgotten.
    pub(super) fn known(&self, id: PaymentId) -> Option<Known> {
        self.places().find(&self.stored.payments, id)
    }

    /// For [`Entry::known`].
    pub(super) fn load_place(&self, id: PaymentId) {
        self.places().load(id);
    }

    /// Made when the first payment is looked for: most of those that are only looked at, or paid, need none.
    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.stored.payments))
    }

    pub(super) fn push_payment(&mut self, known: Known) {
        self.stored.payments.push(known);
        if let Some(places) = self.places.get_mut() {
            places.note_last(&self.stored.payments);
        }
    }

    /// Forgets the oldest.
    pub(super) fn pop_payment(&mut self) {
        if let Some(places) = self.places.get_mut() {
            places.forget_first(&self.stored.payments);
        }
        self.stored.payments.pop_front();
    }
}

#[cfg(test)]
impl Entry {
    /// Every payment is found by its id, and nothing else is there.
    pub(super) fn check_places(&self) {
        let list = &self.stored.payments;
        // Made here it would be there from now on.
        let made = self.places.get().is_none().then(|| Places::of(list));
        let places = made.as_ref().or(self.places.get()).unwrap();
        assert_eq!(places.table.len(), list.len());
        for known in list.iter() {
            assert_eq!(places.find(list, known.id), Some(known));
        }
    }
}

impl Ledger {
    /// True when the id was used and is not forgotten.
    pub(super) fn knows_payment(&self, payer: usize, id: PaymentId) -> bool {
        self.outcome(payer, id).is_some()
    }

    /// What became of a payment, if it is known.
    pub(super) fn outcome(&self, payer: usize, id: PaymentId) -> Option<Outcome> {
        Some(self.entries.get(payer)?.known(id)?.outcome)
    }
}

impl Outcome {
    /// A payment that came back: it may be forgotten at any time, since delivering it later takes new money.
    pub(super) fn bounced(seq: Seq, reason: ReturnReason, at: UnixSeconds) -> Self {
        Self {
            seq,
            bounced: Some(reason),
            at,
            expires_at: at,
        }
    }

    /// False while a second delivery of the same payment would still be possible.
    pub(super) fn forgettable(&self, now: UnixSeconds) -> bool {
        self.bounced.is_some() || self.expires_at < now
    }

    pub(super) fn status(&self) -> PaymentStatus {
        match self.bounced {
            None => PaymentStatus::Accepted { seq: self.seq },
            Some(reason) => PaymentStatus::Bounced {
                seq: self.seq,
                reason,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use borsh::BorshDeserialize;

    /// A payment that came back.
    fn known(number: u64) -> Known {
        Known {
            // Alike in their first bytes.
            id: PaymentId([[0; 8], number.to_be_bytes()].concat().try_into().unwrap()),
            outcome: Outcome::bounced(Seq(number), ReturnReason::Expired, UnixSeconds(1)),
        }
    }

    #[test]
    fn ids_with_the_same_half_of_a_hash_are_told_apart() {
        let mut list = Log::default();
        let mut state = 7_u128;
        for number in 0..400_000 {
            state = state
                .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
                .wrapping_add(1);
            let id = PaymentId(state.to_le_bytes());
            list.push(Known { id, ..known(number) });
        }
        let places = Places::of(&list);
        let hashed = list.iter().map(|known| (places.hash_of(known.id), known));
        let mut hashed: Vec<(u32, Known)> = hashed.collect();
        hashed.sort_unstable_by_key(|(hash, _)| *hash);
        let alike = hashed.windows(2).filter(|two| two[0].0 == two[1].0).flatten();
        let alike: Vec<&Known> = alike.map(|(_, known)| known).collect();
        // 18 pairs are to be expected.
        assert!(!alike.is_empty());
        for known in alike {
            assert_eq!(places.find(&list, known.id).as_ref(), Some(known));
        }
    }

    #[test]
    fn every_payment_that_is_kept_is_found_and_no_other() {
        let mut state = 7_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33).checked_rem(below).unwrap()
        };
        // The low half of the positions runs over on the way.
        let from = u64::from(u32::MAX) - 3_000;
        let ends = borsh::to_vec(&(from, from)).unwrap();
        let mut list = Log::deserialize(&mut ends.as_slice()).unwrap();
        let mut places = Places::of(&list);
        let mut next = from;
        for _ in 0..300 {
            for _ in 0..draw(80) {
                list.push(known(next));
                places.note_last(&list);
                next += 1;
            }
            // Now and then nearly all.
            let gone = if draw(20) == 0 { 5_000 } else { draw(75) };
            for _ in 0..gone {
                places.forget_first(&list);
                list.pop_front();
            }
            let room = places.table.capacity();
            assert!(room <= ROOM_KEPT.max(list.len().saturating_mul(5)), "{room}");
            assert_eq!(places.table.len(), list.len());
            for number in from.max(list.from().saturating_sub(100))..next + 10 {
                let is_kept = (list.from()..list.end()).contains(&number);
                let found = places.find(&list, known(number).id);
                assert_eq!(found, is_kept.then(|| known(number)), "{number}");
            }
            if draw(10) == 0 {
                places = Places::of(&list);
            }
        }
        assert!(next > from + 6_000, "{next}");
    }
}
