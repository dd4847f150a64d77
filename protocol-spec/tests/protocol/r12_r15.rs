//! Withdraw and close.

use crate::common::*;
use Side::{Client, Hub};
use protocol_spec::{
    Amount, Channel, Close, Reject, Seq, Side, UnixSeconds, Withdraw,
    channel::{Event, Phase},
    settlement::Adjudication,
};

const DEADLINE: u64 = START + 3600;

fn plan(w: &World, side: Side, amount: u128) -> Withdraw {
    let planner = if side == Client { &w.client } else { &w.hub };
    planner
        .plan_withdraw(side, Amount(amount), UnixSeconds(DEADLINE))
        .unwrap()
}

fn sign(w: &mut World, by: Side, withdraw: &Withdraw) -> Result<(), Reject> {
    let clock = w.clock;
    unchanged_if_refused(w.of(by), |channel| channel.sign_withdraw(withdraw, clock))
}

fn close(w: &mut World, by: Side, message: &Close) -> Result<(), Reject> {
    let clock = w.clock;
    unchanged_if_refused(w.of(by), |channel| channel.sign_close(message, clock))
}

#[test]
fn r12_accepts_cumulative_totals_and_counts_from_the_signature_on() {
    let mut w = World::new();
    let first = plan(&w, Client, 100);
    for side in [Client, Hub] {
        sign(&mut w, side, &first).unwrap();
        sign(&mut w, side, &first).unwrap();
        assert_eq!(w.of(side).withdrawn(Client), Amount(100));
        assert_eq!(w.of(side).funds().client_withdrawn, Amount(0));
        w.of(side).withdraw_confirmed(Client, Amount(100));
    }
    assert_eq!(plan(&w, Client, 50).total, Amount(150));
}

/// A signed withdrawal is pending until one of its own side and of at least its total is final.
#[test]
fn r12_accepts_the_end_of_a_pending_withdrawal_only_by_its_own() {
    let mut w = World::new();
    assert_eq!(
        (w.hub.pending_withdraw(), w.hub.is_withdraw_pending()),
        (None, false)
    );
    let message = plan(&w, Client, 100);
    sign(&mut w, Hub, &message).unwrap();
    for (side, total) in [(Hub, 100), (Hub, 1), (Client, 99)] {
        w.hub.withdraw_confirmed(side, Amount(total));
        assert_eq!(w.hub.pending_withdraw(), Some(&message));
        assert!(w.hub.is_withdraw_pending());
    }
    w.hub.withdraw_confirmed(Client, Amount(100));
    assert_eq!(
        (w.hub.pending_withdraw(), w.hub.is_withdraw_pending()),
        (None, false)
    );
}

#[test]
fn r12_rejects_a_second_withdrawal_while_one_is_pending() {
    let mut w = World::new();
    let first = plan(&w, Client, 100);
    sign(&mut w, Hub, &first).unwrap();
    let mut second = first.clone();
    second.total = Amount(200);
    assert_eq!(name(sign(&mut w, Hub, &second)), "WithdrawPending");
    assert_eq!(w.client.spendable(), Amount(1000));
    sign(&mut w, Client, &first).unwrap();
    assert_eq!(w.client.spendable(), Amount(900));
}

/// What the hub takes out leaves the client's money alone, and the other way round.
#[test]
fn r12_accepts_a_pending_withdrawal_as_that_of_its_own_side() {
    for (side, expected) in [(Client, (900, 500)), (Hub, (1000, 400))] {
        let mut w = World::new();
        let message = plan(&w, side, 100);
        sign(&mut w, Client, &message).unwrap();
        sign(&mut w, Hub, &message).unwrap();
        for (me, own) in [(Client, expected.0), (Hub, expected.1)] {
            let (channel, other) = (w.of(me).clone(), 1400 - own);
            assert_eq!(channel.spendable(), Amount(own), "{side:?}");
            assert_eq!(channel.other_spendable(), Amount(other), "{side:?}");
        }
    }
}

#[test]
fn r12_boundary_pending_until_chain_time_is_after_deadline_plus_lag() {
    let mut w = World::new();
    let first = plan(&w, Client, 100);
    sign(&mut w, Hub, &first).unwrap();
    w.hub.tick(clock(DEADLINE + LAG));
    assert_eq!(w.hub.withdrawn(Client), Amount(100));
    w.hub.tick(clock(DEADLINE + LAG + 1));
    assert_eq!(w.hub.withdrawn(Client), Amount(0));
    let mut only_now = clock(DEADLINE + 10 * LAG);
    only_now.chain = UnixSeconds(DEADLINE);
    let mut w = World::new();
    sign(&mut w, Hub, &first).unwrap();
    w.hub.tick(only_now);
    assert_eq!(w.hub.withdrawn(Client), Amount(100), "only chain time counts");
}

#[test]
fn r13_accepts_both_sides_and_the_release_of_a_reserve() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 300, 0)]);
    w.send(Hub, &[credit(1, 50)]);
    let release = plan(&w, Hub, 500);
    sign(&mut w, Client, &release).unwrap();
    sign(&mut w, Hub, &release).unwrap();
    assert_eq!((release.client_seq, release.client_paid), (Seq(1), Amount(300)));
    assert_eq!((release.hub_seq, release.hub_paid), (Seq(1), Amount(50)));
}

#[test]
fn r13_rejects_facts_that_are_not_ours() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 300, 0)]);
    w.send(Hub, &[credit(1, 50)]);
    let good = plan(&w, Client, 100);
    let changes: [(&str, fn(&mut Withdraw)); 8] = [
        ("WithdrawMismatch", |m| m.client_seq = Seq(2)),
        ("WithdrawMismatch", |m| m.client_paid = Amount(299)),
        ("AckUnknown", |m| m.hub_seq = Seq(2)),
        ("WithdrawMismatch", |m| m.hub_paid = Amount(51)),
        ("WithdrawMismatch", |m| m.total = Amount(0)),
        ("WithdrawExceeds", |m| m.total = Amount(10_000)),
        ("WrongChannel", |m| m.channel_id.0[0] ^= 1),
        ("DeadlineOutOfRange", |m| m.deadline = UnixSeconds(START)),
    ];
    for (expected, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(name(sign(&mut w, Hub, &bad)), expected);
    }
}

/// Mined, the message tells the chain the client's newest number, which is all that the hub could show. With an older number of
/// the hub's the acknowledgement in it would stay unknown, and the client could collect a lock that it gave up by the hub's
/// first voucher (R10).
#[test]
fn r13_boundary_the_oldest_own_voucher_that_is_named_is_the_acknowledged_one() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 50), add(lock(1, 100, START + 5000))]);
    w.client.consent(1).unwrap();
    w.hub.consented(1).unwrap();
    w.send(Hub, &[drop_lock(1)]);
    w.send(Client, &[]);
    w.send(Hub, &[credit(2, 7)]);
    assert!(!w.hub.is_live(1), "the hub relies on the acknowledgement");
    for (seq, paid, is_old) in [(0, 0, true), (1, 50, true), (2, 50, false), (3, 57, false)] {
        for side in [Client, Hub] {
            let mut w = w.clone();
            let mut message = plan(&w, side, 100);
            (message.hub_seq, message.hub_paid) = (Seq(seq), Amount(paid));
            let refused = is_old.then_some(Reject::WithdrawStale {
                payer: Hub,
                acknowledged: Seq(2),
                got: Seq(seq),
            });
            assert_eq!(sign(&mut w, Hub, &message).err(), refused, "{side:?} {seq}");
        }
    }
}

/// Whoever proposes it keeps the rule as well. To the co-signer it is another voucher than the one that it accepted last.
#[test]
fn r13_rejects_proposing_an_own_voucher_older_than_the_acknowledged_one() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 300, 0)]);
    w.send(Hub, &[credit(1, 50)]);
    let mut message = plan(&w, Client, 100);
    (message.client_seq, message.client_paid) = (Seq(0), Amount(0));
    assert_eq!(name(sign(&mut w, Client, &message)), "WithdrawStale");
    assert_eq!(name(sign(&mut w, Hub, &message)), "WithdrawMismatch");
}

/// An honest proposer names at least what it has acknowledged. When that acknowledgement arrives later than the message, the
/// co-signer does not know the proposer's newest voucher yet; the same message is signed afterwards.
#[test]
fn r13_accepts_what_comes_again_after_the_acknowledgement_that_was_under_way() {
    let mut w = World::new();
    w.send(Hub, &[credit(1, 50)]);
    let acknowledgement = w.issue(Client, &[]).unwrap();
    let message = plan(&w, Client, 100);
    assert_eq!(name(sign(&mut w, Hub, &message)), "WithdrawMismatch");
    w.deliver(Client, &acknowledgement).unwrap();
    for side in [Client, Hub] {
        sign(&mut w, side, &message).unwrap();
    }
}

/// The withdrawing side may have signed more since: each of its vouchers from the one named on must be covered.
#[test]
fn r13_accepts_and_rejects_what_the_withdrawing_side_signed_since() {
    for (spent, expected) in [(199, None), (200, None), (201, Some("WithdrawExceeds"))] {
        let mut w = World::new();
        w.send(Client, &[pay(1, 300, 0)]);
        w.send(Hub, &[credit(1, 50)]);
        let release = plan(&w, Hub, 550);
        sign(&mut w, Client, &release).unwrap();
        // Deposit 500 + received 300 - paid 50 - 550 leaves 200.
        w.issue(Hub, &[credit(2, spent)]).unwrap();
        let signed = sign(&mut w, Hub, &release);
        assert_eq!(signed.err().map(|reject| reject.name()), expected, "{spent}");
    }
}

/// A lock that was dropped for its age still counts in a voucher that the message does not supersede.
#[test]
fn r13_boundary_a_lock_of_an_older_own_voucher_counts_when_it_is_not_superseded() {
    for (named_is_older, total, expected) in [
        (true, 351, Some("WithdrawExceeds")),
        (true, 350, None),
        (false, 351, None),
    ] {
        let mut w = World::new();
        w.send(Hub, &[credit(1, 50), add(lock(1, 100, START + 5000))]);
        let mut release = plan(&w, Hub, total);
        w.clock.now = UnixSeconds(START + 5000 + protocol_spec::limits::LAG_DEFAULT_S);
        w.clock.chain = w.clock.now;
        w.issue(Hub, &[drop_lock(1)]).unwrap();
        release.deadline = w.clock.now.after(60);
        if !named_is_older {
            release.hub_seq = Seq(2);
        }
        assert_eq!(
            sign(&mut w, Hub, &release).err().map(|reject| reject.name()),
            expected,
            "{total}"
        );
    }
}

/// A lock of the withdrawing side that left its newest voucher, but not yet for the other side (R10), still counts.
#[test]
fn r13_boundary_a_lock_that_left_since_counts_until_it_is_acknowledged() {
    for (total, expected) in [(350, None), (351, Some("WithdrawExceeds"))] {
        let mut w = World::new();
        w.send(Hub, &[credit(1, 50), add(lock(1, 100, START + 5000))]);
        let release = plan(&w, Hub, total);
        w.client.consent(1).unwrap();
        w.hub.consented(1).unwrap();
        w.issue(Hub, &[drop_lock(1)]).unwrap();
        assert_eq!(
            sign(&mut w, Hub, &release).err().map(|reject| reject.name()),
            expected,
            "{total}"
        );
    }
}

/// The co-signer could never accept it otherwise: R4 counts what it acknowledges, and the withdrawal is final.
#[test]
fn r13_boundary_a_voucher_under_way_counts_what_it_acknowledges() {
    for (total, expected) in [(450, None), (451, Some("WithdrawExceeds"))] {
        let mut w = World::new();
        let under_way = w.issue(Hub, &[credit(1, 50)]).unwrap();
        w.send(Client, &[pay(1, 300, 0)]);
        let mut release = plan(&w, Hub, total);
        (release.hub_seq, release.hub_paid) = (Seq(0), Amount(0));
        sign(&mut w, Client, &release).unwrap();
        let signed = sign(&mut w, Hub, &release);
        assert_eq!(signed.err().map(|reject| reject.name()), expected, "{total}");
        let arrives = w.deliver(Hub, &under_way);
        let refused = expected.map(|_| "BalanceExceeded");
        assert_eq!(arrives.err().map(|reject| reject.name()), refused, "{total}");
    }
}

#[test]
fn r13_boundary_the_last_unit_with_locks_counted() {
    for by in [Client, Hub] {
        let mut w = World::new();
        w.send(Client, &[pay(1, 300, 0), add(lock(1, 100, START + 5000))]);
        w.send(Hub, &[credit(1, 50)]);
        let over = plan(&w, Client, 651);
        assert_eq!(name(sign(&mut w, by, &over)), "WithdrawExceeds");
        let exact = plan(&w, Client, 650);
        sign(&mut w, by, &exact).unwrap();
    }
}

#[test]
fn r13_boundary_the_deadline_is_after_now_and_within_a_day() {
    let mut w = World::new();
    let mut message = plan(&w, Client, 1);
    for deadline in [START, START + 86_401] {
        message.deadline = UnixSeconds(deadline);
        assert_eq!(name(sign(&mut w, Hub, &message)), "DeadlineOutOfRange");
    }
    for deadline in [START + 1, START + 86_400] {
        message.deadline = UnixSeconds(deadline);
        sign(&mut w.clone(), Hub, &message).unwrap();
    }
}

#[test]
fn r14_accepts_that_a_mined_withdrawal_raises_all_floors() {
    let mut chain = Adjudication::default();
    chain.withdraw((3, Amount(30)), (4, Amount(40)));
    assert_eq!((chain.client.seq, chain.client.paid), (3, Amount(30)));
    assert_eq!((chain.hub.seq, chain.hub.paid), (4, Amount(40)));
}

#[test]
fn r14_rejects_signing_one_outside_the_open_phase() {
    for event in [
        Event::DisputeSeen { dispute_no: Seq(1) },
        Event::CloseSigned {
            deadline: UnixSeconds(DEADLINE),
        },
    ] {
        let mut w = World::new();
        let message = plan(&w, Client, 1);
        w.hub.enter(&event).unwrap();
        assert_eq!(name(sign(&mut w, Hub, &message)), "ChannelNotOpen");
    }
}

#[test]
fn r14_boundary_floors_rise_by_maximum_and_kill_older_locks() {
    let mut chain = Adjudication::default();
    chain.withdraw((3, Amount(30)), (4, Amount(40)));
    chain.withdraw((2, Amount(35)), (5, Amount(10)));
    assert_eq!((chain.client.seq, chain.client.paid), (3, Amount(35)));
    assert_eq!((chain.hub.seq, chain.hub.paid), (5, Amount(40)));
    let mut w = World::new();
    w.hub.withdraw_confirmed(Client, Amount(10));
    w.hub.withdraw_confirmed(Client, Amount(5));
    assert_eq!(w.hub.funds().client_withdrawn, Amount(10));
}

#[test]
fn r15_accepts_the_same_division_on_both_sides() {
    let mut w = World::new();
    w.send(Client, &[pay(1, 300, 0)]);
    w.send(Hub, &[credit(1, 50)]);
    let message = w.client.plan_close(UnixSeconds(DEADLINE));
    assert_eq!(
        (message.client_balance, message.hub_balance),
        (Amount(750), Amount(750))
    );
    for side in [Client, Hub] {
        close(&mut w, side, &message).unwrap();
        close(&mut w, side, &message).unwrap();
        assert_eq!(w.of(side).phase().name(), "closing");
    }
}

#[test]
fn r15_rejects_other_sums_locks_and_pending_withdrawals() {
    let mut w = World::new();
    let good = w.client.plan_close(UnixSeconds(DEADLINE));
    let changes: [fn(&mut Close); 4] = [
        |m| m.client_balance = Amount(999),
        |m| m.hub_balance = Amount(501),
        |m| m.client_deposit = Amount(1001),
        |m| m.hub_deposit = Amount(499),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(name(close(&mut w, Hub, &bad)), "CloseMismatch");
    }
    let mut other = good.clone();
    other.channel_id.0[0] ^= 1;
    assert_eq!(name(close(&mut w, Hub, &other)), "WrongChannel");
    let mut locked = w.clone();
    locked.send(Client, &[add(lock(1, 1, START + 5000))]);
    assert_eq!(name(close(&mut locked, Hub, &good)), "CloseBlocked");
    let withdraw = plan(&w, Client, 1);
    sign(&mut w, Hub, &withdraw).unwrap();
    assert_eq!(name(close(&mut w, Hub, &good)), "CloseBlocked");
}

#[test]
fn r15_boundary_closing_ends_after_deadline_plus_lag() {
    let mut w = World::new();
    let message = w.client.plan_close(UnixSeconds(DEADLINE));
    close(&mut w, Hub, &message).unwrap();
    let mut later = message.clone();
    later.deadline = UnixSeconds(DEADLINE + 1);
    assert_eq!(
        name(close(&mut w, Hub, &later)),
        "ChannelNotOpen",
        "one close at a time"
    );
    w.hub.tick(clock(DEADLINE + LAG));
    assert_eq!(
        w.hub.phase(),
        &Phase::Closing {
            deadline: UnixSeconds(DEADLINE)
        }
    );
    w.hub.tick(clock(DEADLINE + LAG + 1));
    assert_eq!(w.hub.phase(), &Phase::Open);
}

/// The adjudicator takes a close in a dispute and after it, too: who forgot it would be paid what was spent already.
#[test]
fn r15_a_dispute_does_not_end_the_wait_for_a_close() {
    let mut w = World::new();
    let message = w.client.plan_close(UnixSeconds(DEADLINE));
    close(&mut w, Hub, &message).unwrap();
    w.hub.enter(&Event::DisputeSeen { dispute_no: Seq(1) }).unwrap();
    w.hub.tick(clock(DEADLINE + LAG));
    let mut again = Channel::from_record(&w.hub.to_record()).unwrap();
    for hub in [&mut w.hub, &mut again] {
        hub.enter(&Event::DisputeGone).unwrap();
        let deadline = UnixSeconds(DEADLINE);
        assert_eq!(hub.phase(), &Phase::Closing { deadline });
        assert_eq!(hub.signed_close(), Some(deadline));
        hub.enter(&Event::DisputeSeen { dispute_no: Seq(2) }).unwrap();
        hub.enter(&Event::DisputeGone).unwrap();
        hub.tick(clock(DEADLINE + LAG));
        assert_eq!(hub.phase(), &Phase::Closing { deadline });
        hub.tick(clock(DEADLINE + LAG + 1));
        assert_eq!((hub.phase(), hub.signed_close()), (&Phase::Open, None));
    }
    w.send(Client, &[pay(1, 1, 0)]);
}

#[test]
fn r15_boundary_a_close_that_lapsed_in_a_dispute_is_over() {
    let mut w = World::new();
    let message = w.client.plan_close(UnixSeconds(DEADLINE));
    close(&mut w, Hub, &message).unwrap();
    w.hub.enter(&Event::DisputeSeen { dispute_no: Seq(1) }).unwrap();
    w.hub.tick(clock(DEADLINE + LAG + 1));
    assert_eq!(w.hub.phase().name(), "disputed");
    w.hub.enter(&Event::DisputeGone).unwrap();
    assert_eq!(w.hub.phase(), &Phase::Open);
}
