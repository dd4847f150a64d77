//! A10, A11: adopting vouchers that carry locks.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Amount, Channel, Digest, Lock, Reject, Seq, Side, Voucher,
    channel::{Accepted, ShownLocks},
    limits,
    message::shown_locks,
};

const E: u64 = START + 5000;

/// What the other side shows: both vouchers with the lists of their locks.
#[derive(Clone)]
struct Shown {
    own: Sent,
    theirs: Option<Sent>,
    own_locks: Option<Vec<Lock>>,
    their_locks: Option<Vec<Lock>>,
}

impl Shown {
    /// Without lists.
    fn bare(own: Sent, theirs: Option<Sent>) -> Self {
        let (own_locks, their_locks) = (None, None);
        Self {
            own,
            theirs,
            own_locks,
            their_locks,
        }
    }

    fn to(&self, channel: &mut Channel) -> Result<(), Reject> {
        let locks = ShownLocks {
            own: self.own_locks.as_deref(),
            theirs: self.their_locks.as_deref(),
        };
        let theirs = self.theirs.as_ref().map(|theirs| &theirs.verified);
        unchanged_if_refused(channel, |channel| {
            channel.adopt(&self.own.verified, theirs, locks)
        })
    }

    fn refused(&self, channel: &Channel) -> &'static str {
        name(self.to(&mut channel.clone()))
    }

    /// The same, but what the other side signed is changed.
    fn with_theirs(&self, change: impl FnOnce(&mut Voucher)) -> Self {
        let mut voucher = self.theirs.as_ref().unwrap().verified.voucher().clone();
        change(&mut voucher);
        let theirs = Some(Sent {
            verified: verified(Client, &voucher),
            ops: vec![],
        });
        Self {
            theirs,
            ..self.clone()
        }
    }
}

fn locks_of(half: &protocol_spec::channel::Half) -> Vec<Lock> {
    half.locks.iter().cloned().collect()
}

fn restored(w: &mut World, backup: &[u8]) {
    w.hub = Channel::from_record(backup).unwrap();
}

/// The hub forgot: of its locks 1 to 3 the first was paid and the second came back, a fourth was added.
fn own_locks_lost() -> (World, Shown) {
    let mut w = World::new();
    w.send(
        Hub,
        &[add(lock(1, 10, E)), add(lock(2, 20, E)), add(lock(3, 30, E))],
    );
    w.send(Client, &[]);
    w.hub.told_witness(1, &opened(1), w.clock).unwrap();
    w.hub.told_witness(3, &opened(3), w.clock).unwrap();
    w.hub.consented(2).unwrap();
    w.client.consent(2).unwrap();
    let backup = w.hub.to_record();
    w.send(Hub, &[convert(1), drop_lock(2)]);
    let own = w.send(Hub, &[add(lock(4, 40, E))]);
    restored(&mut w, &backup);
    let mut shown = Shown::bare(own, None);
    shown.own_locks = Some(locks_of(w.client.received()));
    (w, shown)
}

#[test]
fn own_locks_are_adopted_and_those_that_left_are_live_until_that_is_acknowledged() {
    let (mut w, shown) = own_locks_lost();
    shown.to(&mut w.hub).unwrap();
    assert_eq!(locks_of(w.hub.sent()), [lock(3, 30, E), lock(4, 40, E)]);
    assert_eq!(w.hub.sent_voucher().as_ref(), Some(shown.own.verified.voucher()));
    assert_eq!(w.hub.sent().paid, Amount(10));
    assert_eq!(w.hub.settlement(), w.client.settlement());
    assert_eq!(w.hub.spendable(), Amount(500 - 10 - 70));
    let told: Vec<u64> = w.hub.told_witnesses().map(|(id, _)| id).collect();
    assert_eq!((told, w.hub.consented_locks().count()), (vec![3], 0));
    // R10: the client's older voucher, and the chain, may still know them.
    assert!([1, 2, 3, 4].iter().all(|id| w.hub.is_live(*id)));
    assert_eq!(Channel::from_record(&w.hub.to_record()).unwrap(), w.hub);
    w.send(Client, &[pay(1, 1, 0)]);
    assert!(!w.hub.is_live(1) && !w.hub.is_live(2) && w.hub.is_live(3) && w.hub.is_live(4));
}

#[test]
fn adopted_own_locks_are_honoured_and_no_new_ones_are_added() {
    let (mut w, shown) = own_locks_lost();
    shown.to(&mut w.hub).unwrap();
    w.hub.told_witness(4, &opened(4), w.clock).unwrap();
    w.send(Hub, &[convert(4)]);
    assert_eq!(
        (w.hub.sent().paid, w.client.received().paid),
        (Amount(50), Amount(50))
    );
    assert_eq!(name(w.issue(Hub, &[add(lock(9, 1, E))])), "LocksEnded");
    w.at(E + LAG);
    // Of the one that was told before the backup, too.
    assert!(matches!(
        w.issue(Hub, &[drop_lock(3)]),
        Err(Reject::LockNotDroppable { id: 3, .. })
    ));
    w.send(Hub, &[convert(3)]);
    assert!(w.hub.sent().locks.is_empty() && w.hub.is_restored());
}

#[test]
fn a_list_that_is_missing_or_another_is_refused() {
    let (w, shown) = own_locks_lost();
    let with = |list: Option<Vec<Lock>>| {
        let shown = Shown {
            own_locks: list,
            ..shown.clone()
        };
        shown.to(&mut w.hub.clone()).unwrap_err()
    };
    let expected = shown.own.verified.voucher().locks;
    let missing = Reject::LocksNotShown {
        payer: Hub,
        expected,
        got: Digest::ZERO,
    };
    assert_eq!((with(None), with(Some(vec![]))), (missing.clone(), missing));
    let right = [lock(3, 30, E), lock(4, 40, E)];
    let changed = |change: fn(&mut [Lock])| {
        let mut list = right.clone();
        change(&mut list);
        with(Some(list.to_vec())).name()
    };
    assert_eq!(changed(|list| list[1].amount = Amount(41)), "LocksNotShown");
    assert_eq!(changed(|list| list[0].expiry.0 -= 1), "LocksNotShown");
    assert_eq!(changed(|list| list[0].hash.0[0] ^= 1), "LocksNotShown");
    assert_eq!(changed(|list| list.swap(0, 1)), "LockIdReused");
    assert_eq!(changed(|list| list[1].id = 3), "LockIdReused");
    assert_eq!(changed(|list| list[1].amount = Amount::ZERO), "AmountZero");
    assert_eq!(
        changed(|list| list[1].amount = Amount(limits::AMOUNT_MAX)),
        "AmountOverflow"
    );
    assert_eq!(with(Some(right[..1].to_vec())).name(), "LocksNotShown");
    let many = (1..=limits::LOCKS_FROM_HUB_MAX as u64 + 1).map(|id| lock(id, 1, E));
    assert_eq!(with(Some(many.collect())).name(), "LocksTooMany");
}

/// Locks that are known, and none at all, need no list; one that is shown all the same is not read.
#[test]
fn what_is_known_need_not_be_shown() {
    let mut w = World::new();
    w.send(Hub, &[add(lock(1, 10, E))]);
    w.send(Client, &[add(lock(1, 10, E))]);
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    let backup = w.hub.to_record();
    let theirs = w.send(Client, &[pay(1, 5, 0)]);
    let own = w.send(Hub, &[credit(1, 5)]);
    restored(&mut w, &backup);
    let mut shown = Shown::bare(own, Some(theirs));
    let mut hub = w.hub.clone();
    shown.to(&mut hub).unwrap();
    assert_eq!(
        (locks_of(hub.sent()), locks_of(hub.received())).0,
        [lock(1, 10, E)]
    );
    assert_eq!(hub.known_witnesses().count(), 1);
    assert_eq!(hub.received().locks.total(), Amount(10));
    shown.own_locks = Some(vec![lock(7, 7, E)]);
    shown.to(&mut w.hub).unwrap();
    assert_eq!(w.hub, hub);
}

#[test]
fn the_other_sides_locks_are_adopted_as_accepted_ones() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E)), add(lock(2, 20, E))]);
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    w.client.told_witness(1, &opened(1), w.clock).unwrap();
    w.hub.consent(2).unwrap();
    w.client.consented(2).unwrap();
    let backup = w.hub.to_record();
    w.send(Client, &[convert(1), drop_lock(2)]);
    let theirs = w.send(Client, &[add(lock(5, 50, E))]);
    let own = w.send(Hub, &[credit(1, 5)]);
    restored(&mut w, &backup);
    let mut shown = Shown::bare(own, Some(theirs));
    assert_eq!(shown.refused(&w.hub), "LocksNotShown");
    shown.their_locks = Some(vec![lock(5, 50, E)]);
    shown.to(&mut w.hub).unwrap();
    assert_eq!(
        w.hub.known_witnesses().count() + w.hub.consents_given().count(),
        0
    );
    assert_eq!(w.hub.received().locks, w.client.sent().locks);
    assert_eq!(
        w.hub.received_signed().unwrap().voucher,
        w.client.sent_voucher().unwrap()
    );
    // R5: ids are used once, also those of the lost part that are left.
    assert_eq!(name(w.deliver_new(&[add(lock(5, 1, E))])), "LockIdReused");
    // R21: what opens it is used.
    w.hub.learn_witness(5, &opened(5), w.clock).unwrap();
    w.client.told_witness(5, &opened(5), w.clock).unwrap();
    w.at(E);
    assert_eq!(name(w.deliver_new(&[drop_lock(5)])), "LockNotDroppable");
    w.send(Client, &[convert(5)]);
    assert_eq!(w.hub.settlement(), w.client.settlement());
}

impl World {
    /// A voucher of the client that its own `Channel` would perhaps not make.
    fn deliver_new(&mut self, ops: &[protocol_spec::Op]) -> Result<Accepted, Reject> {
        let sent = self.forge(Client, ops, |_| {});
        self.deliver(Client, &sent)
    }
}

/// The client's lock of 10 left in a voucher that the hub never acknowledged.
fn their_lock_left(known: bool) -> (World, Shown) {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    if known {
        w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    }
    let backup = w.hub.to_record();
    let own = w.send(Hub, &[credit(1, 5)]);
    w.client.told_witness(1, &opened(1), w.clock).unwrap();
    let theirs = w.send(Client, &[convert(1)]);
    restored(&mut w, &backup);
    (w, Shown::bare(own, Some(theirs)))
}

#[test]
fn a_lock_whose_witness_is_known_leaves_by_payment() {
    let (w, shown) = their_lock_left(true);
    shown.to(&mut w.hub.clone()).unwrap();
    let robbed = shown.with_theirs(|v| v.paid = Amount(9));
    assert_eq!(robbed.refused(&w.hub), "LockNotDroppable");
    // Nothing was known, or it was given up.
    let (w, shown) = their_lock_left(false);
    let unpaid = shown.with_theirs(|v| v.paid = Amount(0));
    unpaid.to(&mut w.hub.clone()).unwrap();
    // R17: the chain knows what opens it.
    let mut marked = w.hub.clone();
    marked.mark(Client, 1);
    assert_eq!(unpaid.refused(&marked), "LockNotDroppable");
    let mut given_up = w.hub.clone();
    given_up.consent(1).unwrap();
    given_up.mark(Client, 1);
    unpaid.to(&mut given_up).unwrap();
}

/// What the own voucher acknowledges was accepted, with operations that are lost.
#[test]
fn what_the_own_voucher_acknowledges_is_not_judged_again() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    let mut backup = w.hub.clone();
    w.hub.consent(1).unwrap();
    w.client.consented(1).unwrap();
    let theirs = w.send(Client, &[drop_lock(1)]);
    let own = w.send(Hub, &[]);
    // Since it came back it has learnt what opens the lock that it had given up.
    backup.learn_witness(1, &opened(1), w.clock).unwrap();
    w.hub = backup;
    let shown = Shown::bare(own, Some(theirs));
    shown.to(&mut w.hub).unwrap();
    assert!(w.hub.received().locks.is_empty() && w.hub.known_witnesses().count() == 0);
}

#[test]
fn ids_of_the_other_side_are_used_once() {
    let (w, shown) = their_lock_left(true);
    let with = |list: Vec<Lock>| {
        let mut set = World::new();
        let ops: Vec<_> = list.iter().cloned().map(add).collect();
        set.send(Client, &ops);
        let commitment = set.hub.received().commitment();
        let mut shown = shown.with_theirs(|v| v.locks = commitment);
        shown.their_locks = Some(list);
        shown.to(&mut w.hub.clone())
    };
    assert_eq!(name(with(vec![lock(1, 11, E)])), "LockIdReused");
    assert_eq!(
        name(with(vec![lock(1, 10, E + 1), lock(2, 1, E)])),
        "LockIdReused"
    );
    with(vec![lock(1, 10, E), lock(2, 1, E)]).unwrap();
    with(vec![lock(2, 1, E)]).unwrap();
}

/// R4, to the unit, for either voucher: locked amounts count.
#[test]
fn locked_amounts_count_as_spent() {
    let mut w = World::new();
    let backup = w.hub.to_record();
    let theirs = w.send(Client, &[pay(1, 300, 0), add(lock(1, 700, E))]);
    let own = w.send(Hub, &[credit(1, 100), add(lock(1, 700, E))]);
    restored(&mut w, &backup);
    let mut shown = Shown::bare(own, Some(theirs));
    shown.own_locks = Some(vec![lock(1, 700, E)]);
    shown.their_locks = shown.own_locks.clone();
    // The client has 1000 and what the hub paid it.
    let mut rich = w.hub.clone();
    rich.withdraw_confirmed(Client, Amount(100));
    shown.to(&mut rich.clone()).unwrap();
    rich.withdraw_confirmed(Client, Amount(101));
    assert_eq!(shown.refused(&rich), "BalanceExceeded");
    // The hub has 500 and what the client paid it: 300.
    let own = shown.own.verified.voucher();
    let list = shown.own_locks.as_deref();
    assert_eq!(name(w.hub.covers(own, None)), "LocksNotShown");
    w.hub.covers(own, list).unwrap();
    w.hub.withdraw_confirmed(Hub, Amount(1));
    assert_eq!(name(w.hub.covers(own, list)), "BalanceExceeded");
}

#[test]
fn a11_a_restored_client_takes_its_locks_over_the_same_way() {
    let mut w = World::new();
    w.send(Hub, &[add(lock(1, 10, E))]);
    let backup = w.client.to_record();
    w.send(Client, &[add(lock(1, 20, E)), add(lock(2, 30, E))]);
    let own = w.send(Client, &[pay(1, 7, 0)]);
    let theirs = w.send(Hub, &[add(lock(2, 40, E))]);
    w.client = Channel::from_record(&backup).unwrap();
    let mut shown = Shown::bare(own, Some(theirs));
    shown.own_locks = Some(locks_of(w.hub.received()));
    shown.their_locks = Some(locks_of(w.hub.sent()));
    shown.to(&mut w.client).unwrap();
    assert_eq!(w.client.sent().locks, w.hub.received().locks);
    assert_eq!(w.client.received().locks, w.hub.sent().locks);
    assert_eq!(w.client.sent().seq, Seq(2));
    let again = Channel::from_record_and_locks(&w.client.to_record_without_locks(), w.client.lock_facts());
    assert_eq!(again.unwrap(), w.client);
    w.client.told_witness(2, &opened(2), w.clock).unwrap();
    w.send(Client, &[convert(2)]);
    assert_eq!((w.client.settlement(), w.hub.unacked()), (w.hub.settlement(), 0));
}

/// A message has room for so many locks, in whichever list, and both vouchers.
#[test]
fn lists_that_fit_a_message_are_shown_and_no_others() {
    let max = limits::SHOWN_LOCKS_MAX as u64;
    let set = |count: u64| {
        let mut w = World::new();
        let widest = |id: u64| Lock {
            resolver: protocol_spec::Address::repeat_byte(0xff),
            ..lock(id, 1, E)
        };
        for from in (1..=count).step_by(limits::OPS_PER_FRAME_MAX) {
            let to = count.min(from + limits::OPS_PER_FRAME_MAX as u64 - 1);
            let ops: Vec<_> = (from..=to).map(|id| add(widest(id))).collect();
            w.send(Client, &ops);
        }
        w.hub.received().locks.clone()
    };
    let counts = |first: u64, second: u64| {
        let (first, second) = shown_locks(&set(first), &set(second));
        (first.map(|list| list.len()), second.map(|list| list.len()))
    };
    assert_eq!(counts(0, 0), (None, None));
    assert_eq!(counts(max, 0), (Some(480), None));
    assert_eq!(counts(max, 1), (Some(480), None));
    assert_eq!(counts(max - 1, 1), (Some(479), Some(1)));
    assert_eq!(counts(0, max), (None, Some(480)));
    let most = Lock {
        id: u64::MAX,
        amount: Amount(limits::AMOUNT_MAX),
        expiry: protocol_spec::UnixSeconds(u64::MAX),
        ..set(1).iter().next().unwrap().clone()
    };
    let bytes = serde_json::to_string(&vec![most; limits::SHOWN_LOCKS_MAX])
        .unwrap()
        .len();
    assert!(bytes + (16 << 10) <= limits::MESSAGE_BYTES_MAX, "{bytes}");
}
