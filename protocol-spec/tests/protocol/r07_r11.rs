//! Signing: what the payer refuses to sign, preimages and the life of locks.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{Amount, Digest, Op, Seq, Side, SigningGuard};

const E: u64 = START + 5000;

#[test]
fn r07_accepts_and_acknowledges_the_newest_accepted_voucher() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 5)]);
    w.send(Hub, &[credit(2, 6)]);
    let sent = w.send(Client, &[pay(1, 1, 0)]);
    let voucher = sent.verified.voucher();
    assert_eq!((voucher.ack_seq, voucher.ack_paid), (Seq(2), Amount(11)));
}

#[test]
fn r07_rejects_what_the_payee_would_refuse() {
    let mut w = World::new();
    let cases: [(Vec<Op>, &str); 7] = [
        (vec![pay(1, 1001, 0)], "BalanceExceeded"),
        (vec![pay(1, 0, 1)], "AmountZero"),
        (vec![credit(1, 1)], "OpNotAllowed"),
        (vec![convert(1)], "LockUnknown"),
        (vec![add(lock(0, 1, E))], "LockIdReused"),
        (vec![add(lock(1, 1, START))], "LockExpiryOutOfRange"),
        (vec![pay(1, u128::MAX, 1)], "AmountOverflow"),
    ];
    for (ops, expected) in cases {
        assert_eq!(name(w.issue(Client, &ops)), expected);
    }
    // a mark alone does not make a wrong witness right
    w.send(Client, &[add(lock(1, 10, E))]);
    w.client.mark(Client, 1);
    assert_eq!(
        name(w.issue(
            Client,
            &[Op::LockConvert {
                id: 1,
                witness: vec![9; 32]
            }]
        )),
        "WitnessWrong"
    );
}

#[test]
fn r07_boundary_one_seq_is_never_signed_twice() {
    let mut w = World::new();
    let mut guard = SigningGuard::default();
    for id in 1..20 {
        let sent = w.send(Client, &[pay(id, 1, 0)]);
        assert_eq!(sent.seq(), Seq(id.into()));
        guard
            .permit(w.client.id(), sent.seq(), sent.verified.digest())
            .unwrap();
    }
    let (id, seq, other) = (w.client.id(), w.client.sent().seq, Digest([1; 32]));
    assert!(guard.permit(id, seq, other).is_err());
}

#[test]
fn r08_accepts_a_preimage_told_before_the_expiry() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    assert_eq!(
        name(w.issue(Client, &[convert(1)])),
        "WitnessWrong",
        "not told yet"
    );
    w.at(E - 1);
    w.client.told_witness(1, &opened(1), w.clock).unwrap();
    w.at(E + 10 * LAG);
    assert_eq!(
        name(w.issue(Client, &[drop_lock(1)])),
        "LockNotDroppable",
        "told in time: it must be converted"
    );
    w.send(Client, &[convert(1)]);
    assert_eq!(w.hub.received().paid, Amount(10));
}

#[test]
fn r08_rejects_a_preimage_told_late_or_wrong_or_for_nothing() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    let told = |w: &mut World, id, of| {
        let clock = w.clock;
        unchanged_if_refused(&mut w.client, |c| c.told_witness(id, &opened(of), clock))
    };
    assert_eq!(name(told(&mut w, 2, 2)), "LockUnknown");
    assert_eq!(name(told(&mut w, 1, 2)), "WitnessWrong");
    w.at(E);
    assert_eq!(name(told(&mut w, 1, 1)), "PreimageTooLate");
    assert_eq!(name(w.issue(Client, &[convert(1)])), "WitnessWrong");
}

#[test]
fn r08_boundary_now_decides_and_a_mark_excuses() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    let mut late = clock(E - 1);
    late.now = protocol_spec::UnixSeconds(E);
    assert_eq!(
        name(w.client.told_witness(1, &opened(1), late)),
        "PreimageTooLate"
    );
    w.client.mark(Client, 1);
    w.client.told_witness(1, &opened(1), late).unwrap();
}

/// What must be converted: listed from the time it was told until it was.
#[test]
fn r08_accepts_what_was_told_into_the_list_until_it_is_converted() {
    let mut w = World::new();
    w.send(
        Client,
        &(1..=3).map(|id| add(lock(id, 10, E))).collect::<Vec<_>>(),
    );
    for id in [3, 2] {
        w.client.told_witness(id, &opened(id), w.clock).unwrap();
    }
    let told = |w: &World| -> Vec<_> {
        let all = w.client.told_witnesses();
        all.map(|(id, witness)| (id, witness.preimage().unwrap()))
            .collect()
    };
    assert_eq!(told(&w), [(2, preimage(2)), (3, preimage(3))]);
    w.send(Client, &[convert(3)]);
    assert_eq!(told(&w), [(2, preimage(2))]);
}

/// What may go for its age: neither marked nor told in time, and not before expiry + lag.
#[test]
fn r09_accepts_what_has_expired_into_the_list_and_nothing_else() {
    let mut w = World::new();
    w.send(
        Client,
        &(2..=4).map(|id| add(lock(id, 10, E))).collect::<Vec<_>>(),
    );
    w.send(Client, &[add(lock(5, 10, E + 1)), add(lock(6, 10, E))]);
    w.client.mark(Client, 3);
    w.client.told_witness(4, &opened(4), w.clock).unwrap();
    let expired = |at| w.client.expired_locks(clock(at)).collect::<Vec<_>>();
    assert!(expired(E + LAG - 1).is_empty());
    assert_eq!(expired(E + LAG), [2, 6]);
    assert_eq!(expired(E + LAG + 1), [2, 5, 6]);
    let marked = [(Client, 3), (Hub, 3), (Client, 2)].map(|(payer, id)| w.client.is_marked(payer, id));
    assert_eq!(marked, [true, false, false]);
}

#[test]
fn r09_accepts_a_drop_by_consent_or_by_expiry() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E)), add(lock(2, 10, E))]);
    w.hub.consent(1).unwrap();
    w.client.consented(1).unwrap();
    w.send(Client, &[drop_lock(1)]);
    w.at(E + LAG);
    w.send(Client, &[drop_lock(2)]);
    assert!(w.client.sent().locks.is_empty());
}

#[test]
fn r09_rejects_a_drop_of_a_marked_lock_however_late() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.client.mark(Client, 1);
    w.at(E + 100 * LAG);
    assert_eq!(name(w.issue(Client, &[drop_lock(1)])), "LockNotDroppable");
}

#[test]
fn r09_boundary_exactly_expiry_plus_lag() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.at(E + LAG - 1);
    assert_eq!(name(w.issue(Client, &[drop_lock(1)])), "LockNotDroppable");
    w.at(E + LAG);
    w.send(Client, &[drop_lock(1)]);
}

/// A lock of 400 that both agreed to drop, dropped in a voucher the hub has not acknowledged.
fn leaving() -> World {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 400, E))]);
    w.hub.consent(1).unwrap();
    w.client.consented(1).unwrap();
    w
}

#[test]
fn r10_accepts_that_an_acknowledged_removal_is_final() {
    let mut w = leaving();
    w.send(Client, &[drop_lock(1)]);
    w.send(Hub, &[]);
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(1000), protocol_spec::UnixSeconds(START + 60))
        .unwrap();
    w.client.sign_withdraw(&withdraw, w.clock).unwrap();
}

#[test]
fn r10_accepts_that_a_lock_is_live_until_its_removal_is_acknowledged() {
    let mut w = leaving();
    let live = |w: &World| [1, 2].map(|id| w.client.is_live(id));
    assert_eq!(live(&w), [true, false]);
    w.send(Client, &[drop_lock(1)]);
    assert_eq!(live(&w), [true, false]);
    w.send(Hub, &[]);
    assert_eq!(live(&w), [false, false]);
}

/// R9 kills it at once, although there is a consent as well.
#[test]
fn r10_accepts_that_a_lock_dropped_for_its_age_is_dead() {
    let mut w = leaving();
    w.at(E + LAG);
    w.send(Client, &[drop_lock(1)]);
    assert!(!w.client.is_live(1));
}

#[test]
fn r10_rejects_that_a_consent_message_alone_kills_a_lock() {
    let mut w = leaving();
    assert_eq!(w.client.sent().locks.total(), Amount(400));
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(601), protocol_spec::UnixSeconds(START + 60))
        .unwrap();
    assert_eq!(
        name(w.client.sign_withdraw(&withdraw, w.clock)),
        "WithdrawExceeds"
    );
    w.send(Client, &[drop_lock(1)]);
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(601), protocol_spec::UnixSeconds(START + 60))
        .unwrap();
    assert_eq!(
        name(w.client.sign_withdraw(&withdraw, w.clock)),
        "WithdrawExceeds",
        "not acknowledged yet"
    );
    let close = w.client.plan_close(protocol_spec::UnixSeconds(START + 60));
    assert_eq!(name(w.client.sign_close(&close, w.clock)), "CloseBlocked");
}

#[test]
fn r10_boundary_the_ack_of_the_removing_seq_and_no_earlier_one() {
    let mut w = leaving();
    let removing = w.issue(Client, &[drop_lock(1)]).unwrap();
    w.send(Hub, &[credit(1, 1)]); // acknowledges seq 1 only
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(602), protocol_spec::UnixSeconds(START + 60))
        .unwrap();
    assert_eq!(
        name(w.client.sign_withdraw(&withdraw, w.clock)),
        "WithdrawExceeds"
    );
    w.deliver(Client, &removing).unwrap();
    w.send(Hub, &[]);
    let withdraw = w
        .client
        .plan_withdraw(Client, Amount(1001), protocol_spec::UnixSeconds(START + 60))
        .unwrap();
    w.client.sign_withdraw(&withdraw, w.clock).unwrap();
}

#[test]
fn r11_accepts_giving_up_an_unknown_preimage() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.hub.consent(1).unwrap();
    let sent = w.forge(Client, &[drop_lock(1)], |v| v.locks = Digest::ZERO);
    w.deliver(Client, &sent).unwrap();
}

#[test]
fn r11_accepts_consents_into_the_lists_until_the_lock_is_gone() {
    let mut w = World::new();
    w.send(
        Client,
        &[add(lock(1, 10, E)), add(lock(2, 10, E)), add(lock(3, 10, E))],
    );
    for id in [3, 2] {
        w.hub.consent(id).unwrap();
        w.client.consented(id).unwrap();
    }
    let given = |w: &World| w.hub.consents_given().collect::<Vec<_>>();
    let received = |w: &World| w.client.consented_locks().collect::<Vec<_>>();
    assert_eq!((given(&w), received(&w)), (vec![2, 3], vec![2, 3]));
    w.send(Client, &[drop_lock(2)]);
    assert_eq!((given(&w), received(&w)), (vec![3], vec![3]));
}

#[test]
fn r11_rejects_giving_up_what_may_be_used() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E)), add(lock(2, 10, E))]);
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    w.hub.mark(Client, 2);
    for id in [1, 2] {
        assert_eq!(
            name(unchanged_if_refused(&mut w.hub, |hub| hub.consent(id))),
            "ConsentRefused"
        );
    }
    assert_eq!(name(w.hub.consent(3)), "LockUnknown");
    assert_eq!(name(w.client.consented(3)), "LockUnknown");
}

#[test]
fn r11_boundary_a_preimage_learnt_after_the_consent_is_never_used() {
    let mut w = World::new();
    w.send(Client, &[add(lock(1, 10, E))]);
    w.hub.consent(1).unwrap();
    w.hub.learn_witness(1, &opened(1), w.clock).unwrap();
    assert_eq!(w.hub.known_witnesses().count(), 0);
    let sent = w.forge(Client, &[drop_lock(1)], |v| v.locks = Digest::ZERO);
    w.deliver(Client, &sent).unwrap();
}

#[test]
fn r07_boundary_unacknowledged_vouchers_are_bounded() {
    let mut w = World::new();
    for channel in [&mut w.client, &mut w.hub] {
        channel.deposit_confirmed(Client, Amount(1 << 40));
    }
    // The last acknowledged voucher is remembered, and is none of them.
    w.send(Client, &[pay(1, 1, 0)]);
    w.send(Hub, &[]);
    for _ in 0..protocol_spec::limits::UNACKED_MAX {
        w.client.issue(&[pay(1, 1, 0)], &domain(), w.clock).unwrap();
    }
    assert_eq!(name(w.issue(Client, &[pay(1, 1, 0)])), "TooManyUnacked");
}
