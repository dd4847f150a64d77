//! Accepting: number, sum, acknowledgement, balance.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{Amount, Seq, Side, channel::Accepted};

#[test]
fn r01_accepts_next_voucher_and_a_jump_with_all_operations() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    let skipped: Vec<_> = (2..5)
        .map(|id| w.issue(Client, &[pay(id, 10, 0)]).unwrap())
        .collect();
    let mut jump = skipped[2].clone();
    jump.ops = skipped.iter().flat_map(|sent| sent.ops.clone()).collect();
    assert_eq!(w.deliver(Client, &jump).unwrap(), Accepted::New);
    assert_eq!(w.hub.received().paid, Amount(40));
    assert_eq!(name(w.deliver(Client, &skipped[0])), "SeqNotNewer");
}

#[test]
fn r01_accepts_the_same_voucher_again_as_duplicate() {
    let mut w = World::new();
    let sent = w.send(Client, &[pay(1, 10, 0)]);
    let before = w.hub.to_record();
    assert_eq!(w.deliver(Client, &sent).unwrap(), Accepted::Duplicate);
    assert_eq!(w.hub.to_record(), before);
}

#[test]
fn r01_rejects_old_conflicting_and_incomplete_vouchers() {
    let mut w = World::new();
    let first = w.forge(Client, &[pay(1, 11, 0)], |_| {});
    w.send(Client, &[pay(1, 10, 0)]);
    assert_eq!(name(w.deliver(Client, &first)), "SeqConflict");
    w.send(Client, &[pay(2, 10, 0)]);
    assert_eq!(name(w.deliver(Client, &first)), "SeqNotNewer");
    w.issue(Client, &[pay(3, 10, 0)]).unwrap();
    let after_a_gap = w.issue(Client, &[pay(4, 10, 0)]).unwrap();
    assert_eq!(name(w.deliver(Client, &after_a_gap)), "PaidMismatch");
}

#[test]
fn r01_rejects_a_jump_over_lock_operations() {
    let mut w = World::new();
    let locked = w.issue(Client, &[add(lock(1, 10, START + 5000))]).unwrap();
    let mut jump = w.issue(Client, &[pay(1, 10, 0)]).unwrap();
    jump.ops.splice(0..0, locked.ops.clone());
    assert_eq!(name(w.deliver(Client, &jump)), "SeqJumpWithLocks");
    assert_eq!(w.deliver(Client, &locked).unwrap(), Accepted::New);
}

#[test]
fn r01_boundary_a_jump_of_1024_is_the_longest() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 0)]);
    let too_far = w.forge(Client, &[pay(2, 10, 0)], |v| v.seq = Seq(1 + 1025));
    assert_eq!(name(w.deliver(Client, &too_far)), "SeqJumpTooFar");
    let far = w.forge(Client, &[pay(2, 10, 0)], |v| v.seq = Seq(1 + 1024));
    assert_eq!(w.deliver(Client, &far).unwrap(), Accepted::New);
}

#[test]
fn r01_boundary_an_acknowledgement_is_never_answered() {
    let mut w = World::new();
    assert_eq!(name(w.issue(Client, &[])), "NothingToSay");
    w.send(Client, &[pay(1, 10, 0)]);
    assert!(w.hub.must_ack() && !w.client.must_ack());
    w.send(Hub, &[]);
    assert!(!w.hub.must_ack() && !w.client.must_ack());
    assert_eq!(name(w.issue(Client, &[])), "NothingToSay");
}

#[test]
fn r02_accepts_amount_and_fee_of_all_payments() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 10, 3), pay(2, 20, 0)]);
    assert_eq!(w.hub.received().paid, Amount(33));
    w.send(Hub, &[give_back(1, 2), credit(9, 5)]);
    assert_eq!(w.client.received().paid, Amount(7));
    assert_eq!(w.client.spendable(), Amount(1000 - 33 + 7));
}

#[test]
fn r02_rejects_other_sums_and_other_operations() {
    let mut w = World::new();
    let cheap = w.forge(Client, &[pay(1, 10, 3)], |v| v.paid = Amount(12));
    assert_eq!(name(w.deliver(Client, &cheap)), "PaidMismatch");
    let dear = w.forge(Client, &[pay(1, 10, 3)], |v| v.paid = Amount(14));
    assert_eq!(name(w.deliver(Client, &dear)), "PaidMismatch");
    let mut swapped = w.forge(Client, &[pay(1, 10, 3)], |_| {});
    swapped.ops = vec![pay(2, 10, 3)];
    assert_eq!(name(w.deliver(Client, &swapped)), "HistoryMismatch");
    let wrong_way = w.forge(Client, &[credit(1, 10)], |_| {});
    assert_eq!(name(w.deliver(Client, &wrong_way)), "OpNotAllowed");
    let hub_pays = w.forge(Hub, &[pay(1, 10, 0)], |_| {});
    assert_eq!(name(w.deliver(Hub, &hub_pays)), "OpNotAllowed");
}

#[test]
fn r02_boundary_zero_amounts_and_256_operations() {
    let mut w = World::new();
    for op in [pay(1, 0, 5), pay(1, 0, 0)] {
        let sent = w.forge(Client, &[op], |_| {});
        assert_eq!(name(w.deliver(Client, &sent)), "AmountZero");
    }
    let many = |count: usize| vec![pay(1, 1, 0); count];
    let too_many = w.forge(Client, &many(257), |_| {});
    assert_eq!(name(w.deliver(Client, &too_many)), "OpsTooMany");
    w.send(Client, &many(256));
}

#[test]
fn r03_accepts_acks_of_any_unforgotten_own_voucher() {
    let mut w = World::new();
    let late = w.forge(Client, &[pay(1, 1, 0)], |_| {}); // ack (0, 0)
    w.send(Hub, &[credit(1, 5)]);
    w.send(Hub, &[credit(2, 5)]);
    assert_eq!(w.deliver(Client, &late).unwrap(), Accepted::New);
    let mut w2 = World::new();
    w2.send(Hub, &[credit(1, 5)]);
    w2.send(Hub, &[credit(2, 5)]);
    let older = w2.forge(Client, &[pay(1, 1, 0)], |v| {
        (v.ack_seq, v.ack_paid) = (Seq(1), Amount(5))
    });
    assert_eq!(w2.deliver(Client, &older).unwrap(), Accepted::New);
}

#[test]
fn r03_rejects_falling_unknown_and_wrong_acks() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 5)]);
    w.send(Hub, &[credit(2, 5)]);
    w.send(Client, &[pay(1, 1, 0)]);
    let cases: [(u64, u128, &str); 5] = [
        (1, 5, "AckNotMonotone"),
        (0, 0, "AckNotMonotone"),
        (3, 10, "AckUnknown"),
        (2, 9, "AckPaidMismatch"),
        (2, 11, "AckPaidMismatch"),
    ];
    for (seq, paid, expected) in cases {
        let sent = w.forge(Client, &[pay(2, 1, 0)], |v| {
            (v.ack_seq, v.ack_paid) = (Seq(seq), Amount(paid))
        });
        assert_eq!(name(w.deliver(Client, &sent)), expected);
    }
}

#[test]
fn r03_boundary_zero_ack_has_zero_paid() {
    let mut w = World::new();
    let sent = w.forge(Client, &[pay(1, 1, 0)], |v| v.ack_paid = Amount(1));
    assert_eq!(name(w.deliver(Client, &sent)), "AckPaidMismatch");
    w.send(Client, &[pay(1, 1, 0)]);
}

#[test]
fn r04_accepts_what_was_acknowledged_on_top_of_the_deposit() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 500)]);
    w.send(Client, &[pay(1, 1400, 100)]);
    assert_eq!(w.hub.other_spendable(), Amount::ZERO);
}

/// Once everything is acknowledged both sides say the same of what each can still pay.
#[test]
fn r04_accepts_that_both_sides_see_the_same_left_over() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 300, 0), add(lock(1, 100, START + 5000))]);
    w.send(Hub, &[credit(1, 50), add(lock(1, 7, START + 5000))]);
    w.send(Client, &[]);
    assert_eq!(
        (w.client.spendable(), w.hub.spendable()),
        (Amount(650), Amount(743))
    );
    assert_eq!(w.hub.other_spendable(), w.client.spendable());
    assert_eq!(w.client.other_spendable(), w.hub.spendable());
}

#[test]
fn r04_rejects_money_that_is_not_acknowledged_or_not_confirmed() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 100)]);
    let unfunded = w.forge(Client, &[pay(1, 1100, 0)], |v| {
        (v.ack_seq, v.ack_paid) = (Seq(0), Amount(0))
    });
    assert_eq!(name(w.deliver(Client, &unfunded)), "BalanceExceeded");
    // the client counts a deposit that the hub has not seen confirmed
    w.client.deposit_confirmed(Client, Amount(2000));
    let early = w.issue(Client, &[pay(1, 1500, 0)]).unwrap();
    assert_eq!(name(w.deliver(Client, &early)), "BalanceExceeded");
    w.hub.deposit_confirmed(Client, Amount(2000));
    assert_eq!(w.deliver(Client, &early).unwrap(), Accepted::New);
}

#[test]
fn r04_boundary_the_last_unit() {
    let mut w = World::new();
    let over = w.forge(Client, &[pay(1, 1001, 0)], |_| {});
    assert_eq!(name(w.deliver(Client, &over)), "BalanceExceeded");
    let locked = w.forge(Client, &[pay(1, 900, 0), add(lock(1, 101, START + 5000))], |_| {});
    assert!(w.deliver(Client, &locked).is_err());
    w.send(Client, &[pay(1, 900, 0), add(lock(1, 100, START + 5000))]);
    let over = w.forge(Client, &[pay(2, 1, 0)], |_| {});
    assert_eq!(name(w.deliver(Client, &over)), "BalanceExceeded");
}

#[test]
fn r04_boundary_a_signed_withdrawal_counts_as_withdrawn() {
    let mut w = World::new();
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(400), protocol_spec::UnixSeconds(START + 100))
        .unwrap();
    w.hub.sign_withdraw(&withdraw, w.clock).unwrap();
    let over = w.forge(Client, &[pay(1, 601, 0)], |_| {});
    assert_eq!(name(w.deliver(Client, &over)), "BalanceExceeded");
    let exact = w.forge(Client, &[pay(1, 600, 0)], |_| {});
    assert_eq!(w.deliver(Client, &exact).unwrap(), Accepted::New);
}
