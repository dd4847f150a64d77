//! How many locks one transaction resolves.

use crate::common::*;
use protocol_spec::{Address, Lock, Room, limits};

fn on_preimage() -> Lock {
    lock(1, 1, START + 9)
}

fn on_resolver() -> Lock {
    Lock {
        resolver: Address::repeat_byte(5),
        ..on_preimage()
    }
}

/// Transactions that these locks take in this order, each filled until the next lock does not fit.
fn filled(locks: impl Iterator<Item = Lock>) -> u64 {
    let (mut transactions, mut room) = (1, Room::default());
    for lock in locks {
        if !room.take(&lock) {
            (transactions, room) = (transactions + 1, Room::default());
            assert!(room.take(&lock), "one of any kind always fits");
        }
    }
    transactions
}

#[test]
fn a_lock_takes_its_weight_of_the_room_or_nothing() {
    let mut room = Room::of_gas(6 * limits::LOCK_GAS_MAX);
    assert!(room.take(&on_resolver()));
    assert_eq!(room.left(), 6 - limits::RESOLVER_LOCK_WEIGHT);
    assert!(!room.take(&on_resolver()));
    assert_eq!(room.left(), 6 - limits::RESOLVER_LOCK_WEIGHT);
    assert!(room.take(&on_preimage()) && room.take(&on_preimage()) && !room.take(&on_preimage()));
}

#[test]
fn room_follows_the_gas_between_one_lock_of_any_kind_and_a_whole_transaction() {
    let left = |gas| Room::of_gas(gas).left();
    assert_eq!(left(0), limits::RESOLVER_LOCK_WEIGHT);
    assert_eq!(left(10 * limits::LOCK_GAS_MAX - 1), 9);
    assert_eq!(left(10 * limits::LOCK_GAS_MAX), 10);
    assert_eq!(Room::of_gas(u64::MAX), Room::default());
    assert!(
        Room::default().left() * limits::LOCK_GAS_MAX < 1 << 24,
        "EIP-7825"
    );
}

/// The worst order leaves as much of every transaction as is just too little for a lock with a resolver.
#[test]
fn so_many_transactions_are_enough_in_the_worst_order_and_no_fewer() {
    let whole = Room::default().left();
    let (weight, wasted) = (limits::RESOLVER_LOCK_WEIGHT, limits::RESOLVER_LOCK_WEIGHT - 1);
    for count in 1..=3_u64 {
        let full = || {
            let first = (weight + wasted..whole).map(|_| on_preimage());
            [on_resolver()].into_iter().chain(first)
        };
        let worst = || (0..count).flat_map(|_| full());
        let used = count * (whole - wasted);
        assert_eq!(filled(worst()), Room::transactions(used));
        assert_eq!(Room::transactions(used), count);
        assert_eq!(
            filled(worst().chain([on_resolver()])),
            Room::transactions(used + weight)
        );
        assert_eq!(Room::transactions(used + 1), count + 1);
    }
}
